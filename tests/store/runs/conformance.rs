//! What everything that keeps runs has to do. `open` opens the same database once more, as the next process would.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use synapse::error::Reason;
use synapse::store::{
    Append, Appended, Created, Cursor, FIRST_EPOCH, NewRun, PAGE_BYTES, PinnedDefinition, ROW_BYTES, Repeat, Repeated, RunFacts, RunFilter,
    RunKind, RunRow, RunStatus, RunStore, RunSummary,
};

use super::sample::{append, at, facts, mark, row, run};

type Runs = Arc<dyn RunStore>;

async fn begin(runs: &Runs, run: NewRun) {
    assert_eq!(runs.create(run).await.unwrap(), Created::New);
}

async fn numbers(runs: &Runs, run_id: &str) -> Vec<u64> {
    runs.rows(run_id, 0, 1000).await.unwrap().iter().map(|row| row.number).collect()
}

fn ids(runs: &[RunSummary]) -> Vec<&str> {
    runs.iter().map(|run| run.run_id.as_str()).collect()
}

fn definition(hash: u8) -> Arc<PinnedDefinition> {
    Arc::new(PinnedDefinition { hash: [hash; 32], body: format!(r#"{{"id":{hash}}}"#).into() })
}

/// Returns a run that ended so many seconds after the beginning of the test.
fn ended(run_id: &str, seconds: i64) -> NewRun {
    NewRun { facts: RunFacts { ended_at: Some(at(seconds)), ..facts(RunStatus::Failed) }, ..run(run_id) }
}

pub(crate) async fn everything_that_is_told_of_a_run_is_kept(open: impl AsyncFn() -> Runs) {
    let full = NewRun {
        orchestration_id: Some("o \u{1f642}\0".to_owned()),
        agent_id: Some("a".to_owned()),
        session_id: Some("s".to_owned()),
        definition: Some(definition(7)),
        background: true,
        facts: RunFacts { wake_at: Some(at(60)), ended_at: Some(at(70)), ..facts(RunStatus::Paused) },
        ..run("full")
    };
    let runs = open().await;
    begin(&runs, full.clone()).await;
    begin(&runs, run("empty")).await;
    drop(runs);
    let runs = open().await;
    let expected = RunSummary {
        run_id: full.run_id,
        orchestration_id: full.orchestration_id,
        agent_id: full.agent_id,
        session_id: full.session_id,
        name: full.name,
        definition: Some([7; 32]),
        principal: full.principal,
        created_at: full.created_at,
        background: true,
        facts: full.facts,
        epoch: FIRST_EPOCH,
        crashes: 0,
        rows: 1,
        events: 2,
    };
    assert_eq!(runs.get("full").await.unwrap(), Some(expected));
    assert_eq!(runs.rows("full", 0, 10).await.unwrap(), [row(1)]);
    assert_eq!(runs.definition(&[7; 32]).await.unwrap().as_deref(), Some(r#"{"id":7}"#));
    assert_eq!(runs.definition(&[8; 32]).await.unwrap(), None);
    let empty = runs.get("empty").await.unwrap().unwrap();
    assert_eq!((empty.orchestration_id, empty.agent_id, empty.session_id, empty.definition), (None, None, None, None));
    assert_eq!(runs.get("nothing").await.unwrap(), None);
    assert_eq!(runs.rows("nothing", 0, 10).await.unwrap(), []);
}

pub(crate) async fn a_row_continues_the_log_or_is_refused(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    begin(&runs, run("r")).await;
    let next = append("r", 2, RunStatus::Paused);
    let gap = RunRow { first_event: 4, ..row(2) };
    let overlap = RunRow { first_event: 2, ..row(2) };
    for refused in [
        append("r", 1, RunStatus::Failed),
        append("r", 3, RunStatus::Failed),
        append("x", 2, RunStatus::Failed),
        Append { row: gap, ..next.clone() },
        Append { row: overlap, ..next.clone() },
    ] {
        assert_eq!(runs.append(refused.clone()).await.unwrap(), Appended::Fenced, "{refused:?}");
    }
    assert_eq!(runs.get("r").await.unwrap().unwrap().facts, facts(RunStatus::Running));
    assert_eq!(runs.append(next.clone()).await.unwrap(), Appended::Done);
    assert_eq!(runs.append(next).await.unwrap(), Appended::Fenced);
    let kept = runs.get("r").await.unwrap().unwrap();
    assert_eq!((kept.rows, kept.events, kept.facts), (2, 4, facts(RunStatus::Paused)));
    assert_eq!(runs.rows("r", 0, 10).await.unwrap(), [row(1), row(2)]);
}

pub(crate) async fn rows_of_many_runs_at_once_are_all_kept_in_dense_numbers(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    join_all((0..20).map(|caller| {
        let runs = runs.clone();
        async move {
            let run_id = format!("r{caller}");
            begin(&runs, run(&run_id)).await;
            for number in 2..=10 {
                assert_eq!(runs.append(append(&run_id, number, RunStatus::Running)).await.unwrap(), Appended::Done);
                assert_eq!(runs.get(&run_id).await.unwrap().unwrap().rows, number, "acknowledged but not there");
            }
        }
    }))
    .await;
    for caller in 0..20 {
        assert_eq!(numbers(&runs, &format!("r{caller}")).await, (1..=10).collect::<Vec<_>>());
    }
}

pub(crate) async fn a_row_of_an_older_epoch_is_refused(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    begin(&runs, NewRun { facts: facts(RunStatus::Paused), ..run("r") }).await;
    assert_eq!(runs.take("r").await.unwrap().unwrap().epoch, 2);
    assert_eq!(runs.append(append("r", 2, RunStatus::Running)).await.unwrap(), Appended::Fenced);
    assert_eq!(runs.append(Append { epoch: 2, ..append("r", 2, RunStatus::Running) }).await.unwrap(), Appended::Done);
}

pub(crate) async fn of_many_that_take_a_run_one_goes_on_with_it(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    begin(&runs, NewRun { facts: facts(RunStatus::Paused), ..run("r") }).await;
    let taken = join_all((0..8).map(|_| runs.take("r"))).await.into_iter().map(|run| run.unwrap().unwrap().epoch);
    let epochs: HashSet<u64> = taken.collect();
    assert_eq!(epochs, (2..10).collect());
    let appended = join_all(epochs.iter().map(|epoch| runs.append(Append { epoch: *epoch, ..append("r", 2, RunStatus::Running) }))).await;
    let done = appended.into_iter().filter(|appended| appended.as_ref().unwrap() == &Appended::Done);
    assert_eq!(done.count(), 1);
}

pub(crate) async fn a_run_that_goes_on_cannot_be_taken(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    begin(&runs, run("running")).await;
    begin(&runs, ended("ended", 0)).await;
    assert_eq!(runs.take("running").await.unwrap(), None);
    assert_eq!(runs.take("nothing").await.unwrap(), None);
    assert_eq!(runs.take("ended").await.unwrap().unwrap().facts.status, RunStatus::Failed);
}

pub(crate) async fn the_same_request_is_answered_once(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    let started = NewRun { repeat: Some(mark("start", 0)), ..run("r") };
    begin(&runs, started.clone()).await;
    let first = Repeated { run_id: "r".to_owned(), after: 0 };
    assert_eq!(runs.create(NewRun { run_id: "again".to_owned(), ..started.clone() }).await.unwrap(), Created::Repeated(first.clone()));
    assert_eq!(runs.get("again").await.unwrap(), None);
    let resumed = Append { repeat: Some(mark("resume", 2)), ..append("r", 2, RunStatus::Paused) };
    assert_eq!(runs.append(resumed.clone()).await.unwrap(), Appended::Done);
    drop(runs);
    let runs = open().await;
    let second = Repeated { run_id: "r".to_owned(), after: 2 };
    assert_eq!(runs.append(Append { row: row(3), ..resumed }).await.unwrap(), Appended::Repeated(second.clone()));
    assert_eq!(runs.create(started.clone()).await.unwrap(), Created::Repeated(first.clone()));
    assert_eq!(numbers(&runs, "r").await, [1, 2]);
    assert_eq!(runs.repeated("key", "start", &[0; 32]).await.unwrap(), Some(first));
    assert_eq!(runs.repeated("key", "resume", &[2; 32]).await.unwrap(), Some(second));
    assert_eq!(runs.repeated("key", "other", &[2; 32]).await.unwrap(), None);
    assert_eq!(runs.repeated("other", "start", &[0; 32]).await.unwrap(), None);
    let of_another = Some(Repeat { principal: "other".to_owned(), ..mark("start", 9) });
    begin(&runs, NewRun { repeat: of_another, ..run("other") }).await;
}

pub(crate) async fn a_refused_row_leaves_no_mark(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    begin(&runs, run("r")).await;
    let fenced = Append { repeat: Some(mark("resume", 2)), ..append("r", 3, RunStatus::Paused) };
    assert_eq!(runs.append(fenced).await.unwrap(), Appended::Fenced);
    assert_eq!(runs.repeated("key", "resume", &[2; 32]).await.unwrap(), None);
}

pub(crate) async fn equal_requests_at_once_begin_one_run(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    let created = join_all((0..8).map(|caller| runs.create(NewRun { repeat: Some(mark("k", 0)), ..run(&format!("r{caller}")) }))).await;
    let new = created.iter().filter(|created| created.as_ref().unwrap() == &Created::New);
    assert_eq!(new.count(), 1);
    assert_eq!(runs.list(RunFilter::default(), None, 10).await.unwrap().runs.len(), 1);
}

pub(crate) async fn another_request_with_the_same_key_is_a_conflict_and_fails_nobody_else(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    begin(&runs, NewRun { repeat: Some(mark("k", 0)), ..run("r") }).await;
    let begun = (0..10).map(|caller| {
        let repeat = (caller == 5).then(|| mark("k", 1));
        runs.create(NewRun { repeat, ..run(&format!("r{caller}")) })
    });
    for (caller, created) in join_all(begun).await.into_iter().enumerate() {
        match created {
            Ok(created) => assert_eq!(created, Created::New),
            Err(error) => assert_eq!((caller, error.reason(), error.detail().contains("`k`")), (5, Reason::Conflict, true)),
        }
    }
    assert_eq!(runs.get("r5").await.unwrap(), None);
    let resumed = Append { repeat: Some(mark("k", 1)), ..append("r", 2, RunStatus::Paused) };
    assert_eq!(runs.append(resumed).await.unwrap_err().reason(), Reason::Conflict);
    assert_eq!(numbers(&runs, "r").await, [1]);
    assert_eq!(runs.repeated("key", "k", &[1; 32]).await.unwrap_err().reason(), Reason::Conflict);
}

pub(crate) async fn a_run_that_fails_to_be_written_fails_nobody_else(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    let same = ["a", "b", "a", "c"].map(|run_id| runs.create(run(run_id)));
    let created: Vec<_> = join_all(same).await.into_iter().map(|created| created.map_err(|error| error.reason())).collect();
    assert_eq!(created, [Ok(Created::New), Ok(Created::New), Err(Reason::Internal), Ok(Created::New)]);
}

pub(crate) async fn pages_hold_every_run_once_newest_first(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    for number in 0..7 {
        begin(&runs, NewRun { created_at: at(number / 2), ..run(&format!("r{number}")) }).await;
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = runs.list(RunFilter::default(), after, 3).await.unwrap();
        seen.extend(page.runs.into_iter().map(|run| run.run_id));
        begin(&runs, NewRun { created_at: at(100), ..run(&format!("later {}", seen.len())) }).await;
        let Some(next) = page.next else { break };
        after = Some(Cursor::decode(&next.encode()).unwrap());
    }
    assert_eq!(seen, ["r6", "r5", "r4", "r3", "r2", "r1", "r0"]);
}

pub(crate) async fn every_filter_chooses_its_runs(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    let of = |id: &str| Some(id.to_owned());
    begin(&runs, NewRun { agent_id: of("a"), ..run("chat a") }).await;
    begin(&runs, NewRun { agent_id: of("b"), created_at: at(1), facts: facts(RunStatus::Failed), ..run("chat b") }).await;
    begin(&runs, NewRun { agent_id: of("a"), orchestration_id: of("x"), created_at: at(2), ..run("x by a") }).await;
    begin(&runs, NewRun { orchestration_id: of("x"), created_at: at(3), facts: facts(RunStatus::Paused), ..run("x") }).await;
    begin(&runs, NewRun { orchestration_id: of("y"), created_at: at(4), facts: facts(RunStatus::Failed), ..run("y") }).await;
    let all = RunFilter::default();
    let (a, x) = (RunFilter { agent_id: Some("a"), ..all }, RunFilter { orchestration_id: Some("x"), ..all });
    let cases: [(RunFilter<'_>, &[&str]); 12] = [
        (all, &["y", "x", "x by a", "chat b", "chat a"]),
        (a, &["x by a", "chat a"]),
        (x, &["x", "x by a"]),
        (RunFilter { agent_id: Some("a"), ..x }, &["x by a"]),
        (RunFilter { status: Some(RunStatus::Failed), ..all }, &["y", "chat b"]),
        (RunFilter { status: Some(RunStatus::Cancelled), ..all }, &[]),
        (RunFilter { kind: Some(RunKind::Chat), ..all }, &["chat b", "chat a"]),
        (RunFilter { kind: Some(RunKind::Orchestration), ..a }, &["x by a"]),
        (RunFilter { created_after: Some(at(3)), ..all }, &["y", "x"]),
        (RunFilter { created_before: Some(at(1)), ..all }, &["chat a"]),
        (RunFilter { created_after: Some(at(1)), created_before: Some(at(3)), ..all }, &["x by a", "chat b"]),
        (RunFilter { status: Some(RunStatus::Failed), kind: Some(RunKind::Orchestration), ..all }, &["y"]),
    ];
    for (filter, expected) in cases {
        let page = runs.list(filter, None, 10).await.unwrap();
        assert_eq!((ids(&page.runs), page.next), (expected.to_vec(), None), "{filter:?}");
    }
}

pub(crate) async fn running_runs_of_an_earlier_process_are_claimed_once(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    for number in 0..5 {
        begin(&runs, run(&format!("r{number}"))).await;
    }
    begin(&runs, NewRun { facts: facts(RunStatus::Paused), ..run("paused") }).await;
    begin(&runs, ended("ended", 0)).await;
    assert_eq!(runs.claim(10).await.unwrap(), []);
    drop(runs);
    let runs = open().await;
    begin(&runs, run("new")).await;
    let mut claimed = Vec::new();
    for _ in 0..3 {
        claimed.extend(runs.claim(2).await.unwrap());
    }
    let mut found = ids(&claimed);
    found.sort_unstable();
    assert_eq!(found, ["r0", "r1", "r2", "r3", "r4"]);
    assert!(claimed.iter().all(|run| (run.epoch, run.crashes) == (2, 1)), "{claimed:?}");
    assert_eq!(runs.claim(2).await.unwrap(), []);
    assert_eq!(runs.append(append("r0", 2, RunStatus::Running)).await.unwrap(), Appended::Fenced);
    assert_eq!(runs.append(append("new", 2, RunStatus::Running)).await.unwrap(), Appended::Done);
}

pub(crate) async fn crashes_are_counted_until_there_is_a_result(open: impl AsyncFn() -> Runs) {
    begin(&open().await, run("r")).await;
    for (crashes, epoch) in [(1, 2), (2, 3), (3, 4)] {
        let runs = open().await;
        let claimed = runs.claim(10).await.unwrap();
        assert_eq!((claimed[0].crashes, claimed[0].epoch), (crashes, epoch));
    }
    let runs = open().await;
    let epoch = runs.claim(10).await.unwrap()[0].epoch;
    let crashes = async || runs.get("r").await.unwrap().unwrap().crashes;
    assert_eq!(runs.append(Append { epoch, ..append("r", 2, RunStatus::Running) }).await.unwrap(), Appended::Done);
    assert_eq!(crashes().await, 4);
    assert_eq!(runs.append(Append { epoch, progress: true, ..append("r", 3, RunStatus::Running) }).await.unwrap(), Appended::Done);
    assert_eq!(crashes().await, 0);
}

pub(crate) async fn a_released_run_has_not_crashed(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    begin(&runs, run("r")).await;
    runs.release_all().await.unwrap();
    assert_eq!(runs.append(append("r", 2, RunStatus::Running)).await.unwrap(), Appended::Fenced);
    drop(runs);
    let runs = open().await;
    let claimed = runs.claim(10).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].crashes, claimed[0].epoch), (1, 0, 2));
    drop(runs);
    assert_eq!(open().await.claim(10).await.unwrap()[0].crashes, 1);
}

pub(crate) async fn paused_runs_are_due_when_they_said(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    assert_eq!(runs.next_wake().await.unwrap(), None);
    let wake = |run_id: &str, status, seconds| NewRun { facts: RunFacts { wake_at: Some(at(seconds)), ..facts(status) }, ..run(run_id) };
    for (run_id, status, seconds) in [
        ("second", RunStatus::Paused, 20),
        ("first", RunStatus::Paused, 10),
        ("third", RunStatus::Paused, 30),
        ("running", RunStatus::Running, 5),
        ("ended", RunStatus::Completed, 5),
    ] {
        begin(&runs, wake(run_id, status, seconds)).await;
    }
    begin(&runs, NewRun { facts: facts(RunStatus::Paused), ..run("for people") }).await;
    assert_eq!(runs.next_wake().await.unwrap(), Some(at(10)));
    assert_eq!(runs.due(at(9), 10).await.unwrap(), [""; 0]);
    assert_eq!(runs.due(at(20), 10).await.unwrap(), ["first", "second"]);
    assert_eq!(runs.due(at(30), 2).await.unwrap(), ["first", "second"]);
    let epoch = runs.take("first").await.unwrap().unwrap().epoch;
    assert_eq!(runs.append(Append { epoch, ..append("first", 2, RunStatus::Running) }).await.unwrap(), Appended::Done);
    assert_eq!(runs.next_wake().await.unwrap(), Some(at(20)));
}

pub(crate) async fn what_ended_too_long_ago_is_purged_with_all_that_belongs_to_it(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    for (number, hash) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
        begin(
            &runs,
            NewRun {
                definition: Some(definition(hash)),
                repeat: Some(mark(&format!("k{number}"), 0)),
                ..ended(&format!("r{number}"), number)
            },
        )
        .await;
    }
    begin(&runs, run("running")).await;
    begin(&runs, NewRun { facts: facts(RunStatus::Paused), ..run("paused") }).await;
    assert_eq!(runs.purge(at(4), u64::MAX, 2).await.unwrap(), 2);
    assert_eq!((runs.get("r1").await.unwrap(), runs.get("r2").await.unwrap()), (None, None));
    assert_eq!(runs.rows("r1", 0, 10).await.unwrap(), []);
    assert_eq!(runs.repeated("key", "k1", &[0; 32]).await.unwrap(), None);
    assert_eq!((runs.definition(&[1; 32]).await.unwrap(), runs.definition(&[2; 32]).await.unwrap().is_some()), (None, true));
    assert_eq!(runs.purge(at(4), u64::MAX, 2).await.unwrap(), 1);
    assert_eq!(runs.purge(at(4), u64::MAX, 2).await.unwrap(), 0);
    assert!(runs.definition(&[2; 32]).await.unwrap().is_some(), "a run follows it");
    let left = runs.list(RunFilter::default(), None, 10).await.unwrap().runs;
    assert_eq!(ids(&left), ["paused", "running", "r4"]);
}

pub(crate) async fn of_ended_runs_the_newest_are_kept(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    begin(&runs, run("running")).await;
    for number in [3, 1, 5, 2, 4] {
        begin(&runs, ended(&format!("r{number}"), number)).await;
    }
    assert_eq!(runs.purge(at(0), 5, 10).await.unwrap(), 0);
    assert_eq!(runs.purge(at(0), 3, 1).await.unwrap(), 1);
    assert_eq!(runs.get("r1").await.unwrap(), None);
    assert_eq!(runs.purge(at(0), 3, 10).await.unwrap(), 1);
    assert_eq!(runs.purge(at(0), 3, 10).await.unwrap(), 0);
    assert_eq!(runs.purge(at(5), 3, 10).await.unwrap(), 2);
    assert_eq!(runs.purge(at(0), 0, 10).await.unwrap(), 1);
    assert_eq!(ids(&runs.list(RunFilter::default(), None, 10).await.unwrap().runs), ["running"]);
}

pub(crate) async fn a_run_that_was_taken_up_again_is_not_purged(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    begin(&runs, ended("r", 0)).await;
    let epoch = runs.take("r").await.unwrap().unwrap().epoch;
    assert_eq!(runs.append(Append { epoch, ..append("r", 2, RunStatus::Running) }).await.unwrap(), Appended::Done);
    assert_eq!(runs.purge(at(100), 0, 10).await.unwrap(), 0);
    assert_eq!(numbers(&runs, "r").await, [1, 2]);
}

pub(crate) async fn long_logs_are_purged_in_small_bites(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    for run_id in ["a", "b", "c"] {
        begin(&runs, run(run_id)).await;
        for group in (2..=1100).collect::<Vec<_>>().chunks(28) {
            let rows = group.iter().map(|number| runs.append(append(run_id, *number, RunStatus::Running)));
            assert!(join_all(rows).await.into_iter().all(|appended| appended.unwrap() == Appended::Done));
        }
        assert_eq!(runs.append(append(run_id, 1101, RunStatus::Failed)).await.unwrap(), Appended::Done);
    }
    assert_eq!(runs.purge(at(10), 0, 10).await.unwrap(), 1);
    assert_eq!(runs.purge(at(10), 0, 10).await.unwrap(), 1);
    assert_eq!(runs.purge(at(10), 0, 10).await.unwrap(), 1);
}

pub(crate) async fn a_page_of_rows_is_bounded(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    let large = |number| RunRow { body: "x".repeat(PAGE_BYTES / 2), ..row(number) };
    begin(&runs, NewRun { row: large(1), ..run("r") }).await;
    for number in 2..=3 {
        runs.append(Append { row: large(number), ..append("r", number, RunStatus::Running) }).await.unwrap();
    }
    let page = async |after, limit| runs.rows("r", after, limit).await.unwrap().iter().map(|row| row.number).collect::<Vec<_>>();
    assert_eq!((page(0, 10).await, page(2, 10).await, page(0, 1).await), (vec![1, 2], vec![3], vec![1]));
    assert_eq!(page(3, 10).await, [0; 0]);
    assert_eq!(page(u64::MAX, 10).await, [0; 0]);
}

pub(crate) async fn a_row_that_is_too_large_is_refused(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    let large = RunRow { body: "x".repeat(ROW_BYTES + 1), ..row(1) };
    assert_eq!(runs.create(NewRun { row: large.clone(), ..run("r") }).await.unwrap_err().reason(), Reason::TooLarge);
    begin(&runs, run("r")).await;
    let refused = runs.append(Append { row: RunRow { number: 2, first_event: 3, ..large }, ..append("r", 2, RunStatus::Running) }).await;
    assert_eq!(refused.unwrap_err().reason(), Reason::TooLarge);
    assert_eq!(runs.append(append("r", 2, RunStatus::Running)).await.unwrap(), Appended::Done);
}

pub(crate) async fn nonsense_of_a_provider_loses_no_row(open: impl AsyncFn() -> Runs) {
    let runs = open().await;
    let nonsense = RunFacts { cost: f64::NAN, input_tokens: u64::MAX, output_tokens: u64::MAX, ..facts(RunStatus::Running) };
    begin(&runs, NewRun { facts: nonsense, ..run("r") }).await;
    let kept = runs.get("r").await.unwrap().unwrap().facts;
    assert_eq!((kept.cost.to_bits(), kept.input_tokens), (0, u64::MAX >> 1));
}
