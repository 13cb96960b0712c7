//! What is counted, in the words of Prometheus (OpenMetrics text format 1.0).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::provider::Usage;

/// Labels of a request. Paths are the routes of the schema, so that their number is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    provider: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    provider: &'static str,
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    kind: &'static str,
    outcome: &'static str,
}

/// The counters of this process. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Counters>);

struct Counters {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_time: Family<RouteLabels, Histogram>,
    connections: Gauge,
    model_calls: Family<ModelLabels, Counter>,
    model_time: Family<ModelLabels, Histogram>,
    tokens: Family<TokenLabels, Counter<u64, AtomicU64>>,
    runs: Family<RunLabels, Counter>,
    runs_working: Gauge,
}

/// From half a millisecond to 33 seconds.
fn request_time() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 4.0, 9))
}

/// From ten milliseconds to 164 seconds.
fn model_time() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 4.0, 8))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("synapse");
        let requests = Family::default();
        let request_time = Family::new_with_constructor(request_time as fn() -> Histogram);
        let connections = Gauge::default();
        let model_calls = Family::default();
        let model_time = Family::new_with_constructor(model_time as fn() -> Histogram);
        let tokens = Family::default();
        registry.register("requests", "Requests by route and HTTP status", requests.clone());
        registry.register_with_unit("request_head", "Time until the head of the answer was sent", Unit::Seconds, request_time.clone());
        registry.register("connections", "Open connections", connections.clone());
        registry.register("model_calls", "Model calls by provider and outcome", model_calls.clone());
        registry.register_with_unit("model_call", "Time of model calls, retries included", Unit::Seconds, model_time.clone());
        registry.register("tokens", "Tokens that models read and wrote", tokens.clone());
        let runs = Family::default();
        let runs_working = Gauge::default();
        registry.register("runs", "Runs that ended, chats among them, by kind and outcome", runs.clone());
        registry.register("runs_working", "Runs that have something to do", runs_working.clone());
        let counters = Counters { registry, requests, request_time, connections, model_calls, model_time, tokens, runs, runs_working };
        Self(Arc::new(counters))
    }
}

impl Metrics {
    /// Counts a request whose answer's head was sent.
    pub fn request(&self, route: &'static str, status: u16, time: Duration) {
        self.0.requests.get_or_create(&RequestLabels { route, status }).inc();
        self.0.request_time.get_or_create(&RouteLabels { route }).observe(time.as_secs_f64());
    }

    /// Counts a connection until the guard is dropped.
    pub fn connection(&self) -> Present {
        Present::count(&self.0.connections)
    }

    /// Counts a run that works until the guard is dropped.
    pub fn run(&self) -> Present {
        Present::count(&self.0.runs_working)
    }

    /// Counts a run that ended.
    pub fn run_ended(&self, kind: &'static str, outcome: &'static str) {
        self.0.runs.get_or_create(&RunLabels { kind, outcome }).inc();
    }

    /// Counts a model call; one without usage failed.
    pub fn model_call(&self, provider: &'static str, time: Duration, usage: Option<Usage>) {
        let labels = ModelLabels { provider, outcome: if usage.is_some() { "answered" } else { "failed" } };
        self.0.model_calls.get_or_create(&labels).inc();
        self.0.model_time.get_or_create(&labels).observe(time.as_secs_f64());
        let usage = usage.unwrap_or_default();
        for (direction, tokens) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
            self.0.tokens.get_or_create(&TokenLabels { provider, direction }).inc_by(tokens);
        }
    }

    /// Writes everything in the text format that Prometheus reads.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

/// Something that is counted as long as it is there.
pub struct Present(Gauge);

impl Present {
    fn count(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}
