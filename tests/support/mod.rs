//! The real server as a process, and a client that speaks both of its protocols and tells the same outcome of either.

mod client;
mod events;
mod grpc;
mod model;
mod process;
mod rest;
mod server;

pub(crate) use client::{Client, Dialect, Outcome, answered, refused};
pub(crate) use events::{Events, Told, joined, kinds};
pub(crate) use model::ModelService;
pub(crate) use process::{Failed, Process};
pub(crate) use rest::refusal;
pub(crate) use server::{Certificate, KEY_ID, Server, Setup, key_record};

use std::time::Duration;

/// How long anything that is waited for may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until there is something to see.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} did not come in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
