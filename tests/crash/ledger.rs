//! The service that the tools call: it writes down every call as it arrives, because from then on it has its effect.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

use crate::storm::Moment;

/// How long a call takes.
const TIME: Duration = Duration::from_millis(25);

/// The tool that is refused until its order is allowed.
pub(crate) const DELIVER: &str = "deliver";

/// A call that arrived.
#[derive(Clone)]
struct Call {
    tool: String,
    order: String,
    id: String,
}

/// What was called so far. Clones share everything.
#[derive(Clone)]
pub(crate) struct Ledger {
    calls: Arc<Mutex<Vec<Call>>>,
    allowed: Arc<Mutex<HashSet<String>>>,
    moments: UnboundedSender<Moment>,
}

impl Ledger {
    /// Begins to listen, and returns the address of its tools.
    pub(crate) async fn open(moments: UnboundedSender<Moment>) -> (Self, String) {
        let ledger = Self { calls: Arc::default(), allowed: Arc::default(), moments };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/{tool}", post(called)).with_state(ledger.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (ledger, url)
    }

    /// Takes deliveries of an order from now on.
    pub(crate) fn allow(&self, order: &str) {
        self.allowed.lock().unwrap().insert(order.to_owned());
    }

    /// Returns the ids that the calls of a tool for an order had, in the order of their first arrival, and how often each arrived.
    pub(crate) fn ids(&self, tool: &str, order: &str) -> Vec<(String, usize)> {
        let mut ids: Vec<(String, usize)> = Vec::new();
        for call in self.calls.lock().unwrap().iter().filter(|call| call.tool == tool && call.order == order) {
            match ids.iter_mut().find(|(id, _)| *id == call.id) {
                Some((_, times)) => *times += 1,
                None => ids.push((call.id.clone(), 1)),
            }
        }
        ids
    }
}

async fn called(State(ledger): State<Ledger>, Path(tool): Path<String>, headers: HeaderMap, body: String) -> (StatusCode, String) {
    let id = headers["idempotency-key"].to_str().unwrap().to_owned();
    let order = order_in(&body);
    ledger.calls.lock().unwrap().push(Call { tool: tool.clone(), order: order.clone(), id });
    let _ = ledger.moments.send(Moment::Called);
    sleep(TIME).await;
    let _ = ledger.moments.send(Moment::Returned);
    if tool == DELIVER && !ledger.allowed.lock().unwrap().contains(&order) {
        return (StatusCode::BAD_REQUEST, "nobody is at home".to_owned());
    }
    (StatusCode::OK, format!("{tool} is done"))
}

/// Finds the name of the order in what a tool was called with.
fn order_in(body: &str) -> String {
    let (_, rest) = body.split_once("order-").unwrap_or_else(|| panic!("no order in {body}"));
    let name: String = rest.chars().take_while(|character| character.is_ascii_alphanumeric() || *character == '-').collect();
    format!("order-{name}")
}
