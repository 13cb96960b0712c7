//! Whether the server lives and whether it is ready.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::json;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::grpc::METHODS;
use crate::rest::refusal;
use crate::store::{DefinitionFiles, Keys, Store};

const STARTING: u8 = 0;
const READY: u8 = 1;
const STOPPING: u8 = 2;

/// How far the server is.
#[derive(Clone)]
pub(super) struct Readiness {
    phase: Arc<AtomicU8>,
    definitions: Arc<DefinitionFiles>,
    keys: Keys,
    store: Store,
}

impl Readiness {
    pub(super) fn new(definitions: Arc<DefinitionFiles>, keys: Keys, store: Store) -> Self {
        Self { phase: Arc::default(), definitions, keys, store }
    }

    pub(super) fn start(&self) {
        self.phase.store(READY, Ordering::Release);
    }

    pub(super) fn stop(&self) {
        self.phase.store(STOPPING, Ordering::Release);
    }

    /// Answers `/readyz`: 503 until started, while stopping and while the disk cannot be written. Files whose last good version is in use are told, and do not make it unready.
    pub(super) async fn answer(&self) -> Response {
        match self.phase.load(Ordering::Acquire) {
            STARTING => return refusal(StatusCode::SERVICE_UNAVAILABLE, "the server is starting"),
            STOPPING => return refusal(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping"),
            _ => {}
        }
        if let Err(error) = self.store.check().await {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, error.detail());
        }
        let problems = self.definitions.problems().into_iter().chain(self.keys.problem());
        let problems: Vec<String> = problems.map(|problem| problem.to_string()).collect();
        json_response(&json!({ "status": "ready", "problems": problems }))
    }
}

/// Tells gRPC's health service how the server is, as a whole and for each service.
pub(super) async fn tell(health: &HealthReporter, status: ServingStatus) {
    for service in services() {
        health.set_service_status(service, status).await;
    }
}

/// Ends the streams of those who watch the health, which would otherwise keep a stop waiting.
pub(super) async fn end(health: &mut HealthReporter) {
    for service in services() {
        health.clear_service_status(service).await;
    }
}

fn services() -> BTreeSet<&'static str> {
    iter::once("").chain(METHODS.iter().filter_map(|method| method.grpc.split('/').nth(1))).collect()
}

/// Answers `/healthz`.
pub(super) async fn alive() -> Response {
    json_response(&json!({ "status": "alive" }))
}

fn json_response(value: &serde_json::Value) -> Response {
    let mut response = Response::new(value.to_string().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
