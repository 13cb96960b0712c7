//! Two hundred kills, at moments that are known and at random ones, while customers order and talk.

use std::sync::Arc;
use std::time::Duration;

use rstest::rstest;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{sleep, timeout};

use crate::customer::{Customer, Shop};
use crate::ledger::Ledger;
use crate::line::Line;
use crate::orders::shop;
use crate::support::{Dialect, Server};
use crate::talking::Talk;

/// The kills of one data directory.
const KILLS: usize = 50;

/// Orders that begin in each life of the server, and talks.
const NEW: (usize, usize) = (5, 2);

/// Customers that are served at once; more wait for the next life.
const CUSTOMERS: usize = 40;

/// A life that nothing ends before, in milliseconds.
const LIFE: u64 = 1_000;

/// The longest that it takes until everybody is served.
const CALM: Duration = Duration::from_mins(1);

/// Something that customers and tools notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moment {
    /// An event of this type was read.
    Told(String),
    /// A tool was called, and works.
    Called,
    /// A tool has returned.
    Returned,
    /// A run was accepted with a 202, or a retry was.
    Accepted,
    /// An answer was accepted.
    Answered,
}

/// When a server dies.
enum Death {
    /// As soon as that happens.
    At(Moment),
    /// After so many milliseconds.
    After(u64),
    /// As soon as everybody is served.
    Calm,
    /// As soon as it listens.
    Listening,
    /// So many milliseconds after its start.
    Starting(u64),
}

/// Chooses the deaths: known moments in turn, and random ones in between. Every third life is long enough for everybody, because runs under
/// which the server dies five times in a row fail.
fn death(number: usize, random: &mut Random) -> Death {
    const EVENTS: [&str; 8] = [
        "step_start",
        "thinking",
        "step_complete",
        "tool_execution",
        "human_input_required",
        "human_input_received",
        "orchestration_complete",
        "orchestration_start",
    ];
    let (round, even) = (number / 9, (number / 9).is_multiple_of(2));
    match number % 9 {
        0 => Death::At(Moment::Told(EVENTS[round % EVENTS.len()].to_owned())),
        1 if even => Death::Listening,
        1 => Death::Starting(random.below(120)),
        3 => Death::At(Moment::Called),
        4 => Death::At(if even { Moment::Accepted } else { Moment::Answered }),
        6 => Death::At(Moment::Returned),
        7 => Death::After(random.below(400)),
        _ => Death::Calm,
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_promised_holds_after_fifty_kills(#[values(1, 2, 3, 4)] seed: u64) {
    let (moments, mut seen) = unbounded_channel();
    let (ledger, tools) = Ledger::open(moments.clone()).await;
    let mut server = shop(&tools).start();
    let (tell, address) = watch::channel(Some(server.address));
    let shop = Arc::new(Shop { line: Line::new(address, &server.key), ledger, moments });
    let mut random = Random(seed);
    let (mut orders, mut talks) = (JoinSet::new(), JoinSet::new());
    let (mut served, mut held) = (Vec::new(), Vec::new());
    let (mut ordered, mut talked) = (0, 0);
    for number in 0..KILLS {
        served.extend(std::iter::from_fn(|| orders.try_join_next()).map(Result::unwrap));
        held.extend(std::iter::from_fn(|| talks.try_join_next()).map(Result::unwrap));
        for _ in 0..NEW.0.min(CUSTOMERS.saturating_sub(orders.len())) {
            orders.spawn(Customer::new(&shop, ordered + usize::try_from(seed).unwrap()).served());
            ordered += 1;
        }
        for _ in 0..NEW.1.min(CUSTOMERS.saturating_sub(talks.len())) {
            talks.spawn(Talk::new(&shop, talked).held());
            talked += 1;
        }
        let death = death(number + 18 * usize::try_from(seed).unwrap(), &mut random);
        live(&death, &mut seen).await;
        if matches!(death, Death::Calm) {
            let all = async {
                while let Some(customer) = orders.join_next().await {
                    served.push(customer.unwrap());
                }
                while let Some(talk) = talks.join_next().await {
                    held.push(talk.unwrap());
                }
            };
            timeout(CALM, all).await.unwrap();
        }
        tell.send_replace(None);
        kill(&mut server, &death).await;
        tell.send_replace(Some(server.address));
    }
    served.extend(orders.join_all().await);
    held.extend(talks.join_all().await);
    block_in_place(|| server.process.terminate());
    assert_eq!(server.process.ended().await, Some(0));
    block_in_place(|| server.start_again());
    tell.send_replace(Some(server.address));
    assert_eq!((served.len(), held.len()), (ordered, talked));
    let other = server.client(Dialect::Grpc);
    for customer in &served {
        customer.check(&other).await;
    }
    let interruptions: usize = served.iter().map(Customer::interruptions).sum();
    assert!(interruptions > KILLS, "{KILLS} kills interrupted {interruptions} steps of {} runs only", served.len());
    for talk in &held {
        talk.check().await;
    }
    for status in ["running", "paused", "failed"] {
        let open = shop.line.get(&format!("/orchestrations/runs?status={status}")).await;
        let orphans = open["runs"].as_array().unwrap();
        // A start without a key that broke off may have happened; then nobody answers its questions, or cancels it.
        assert!(orphans.iter().all(|run| run["orchestration_id"] != "sequence" && run["orchestration_id"] != "loop"), "{open}");
    }
}

async fn live(death: &Death, seen: &mut UnboundedReceiver<Moment>) {
    while seen.try_recv().is_ok() {}
    match death {
        Death::At(moment) => {
            let happens = async { while seen.recv().await.is_some_and(|happened| happened != *moment) {} };
            let _ = timeout(Duration::from_millis(LIFE), happens).await;
        }
        Death::After(time) => sleep(Duration::from_millis(*time)).await,
        Death::Listening | Death::Calm => {}
        Death::Starting(_) => sleep(Duration::from_millis(100)).await,
    }
}

async fn kill(server: &mut Server, death: &Death) {
    block_in_place(|| server.process.kill());
    let log = server.process.errors();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
    if let Death::Starting(time) = death {
        server.start_and_kill(Duration::from_millis(*time)).await;
    }
    block_in_place(|| server.start_again());
}

/// Numbers that look random and are the same in every test.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
