//! What is seen of every request: its id, its place in a trace, one line in the access log and its counters.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tracing::{Instrument, Span, field};

use crate::clock;
use crate::grpc::METHODS;
use crate::metrics::Metrics;
use crate::rest::refusal;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The time until the head of the answer, for clients that have always found it there.
const PROCESS_TIME: HeaderName = HeaderName::from_static("x-process-time");

/// The routes that are no rpc.
const OPEN_ROUTES: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/openapi.json"];

/// The most characters of a request id that a client may choose.
const REQUEST_ID_CHARACTERS: usize = 128;

/// Observes a request and its answer. A handler that panics has one, too.
pub(super) async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let route = route(&request);
    let method = request.method().clone();
    let span = span(route, &id, request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let mut response = answered
        .unwrap_or_else(|_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "An internal error occurred. Check server logs for details."));
    let (status, time) = (response.status().as_u16(), started.elapsed());
    metrics.request(route, status, time);
    let milliseconds = time.as_secs_f64() * 1e3;
    span.in_scope(|| {
        tracing::info!(target: "synapse::access", %method, status, grpc_status = grpc_status(&response), milliseconds, "answered");
    });
    response.headers_mut().entry(REQUEST_ID).or_insert(id);
    if let Ok(time) = HeaderValue::try_from(format!("{milliseconds:.2}ms")) {
        response.headers_mut().insert(PROCESS_TIME, time);
    }
    response
}

/// Takes a client's id over if it is short and printable, otherwise makes one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let usable = |id: &&HeaderValue| !id.is_empty() && id.len() <= REQUEST_ID_CHARACTERS && id.as_bytes().iter().all(u8::is_ascii_graphic);
    let made = || HeaderValue::try_from(clock::ordered_id().simple().to_string()).unwrap_or(HeaderValue::from_static("unknown"));
    headers.get(REQUEST_ID).filter(usable).cloned().unwrap_or_else(made)
}

/// Names the route: REST by its pattern, gRPC by its method, everything else as one, so that no client can make up new names.
fn route(request: &Request) -> &'static str {
    let pattern = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).filter(|pattern| !pattern.contains('*'));
    let asked = pattern.unwrap_or_else(|| request.uri().path());
    let routes = METHODS.iter().filter_map(|method| method.rest).map(|(_, path)| path);
    let calls = METHODS.iter().map(|method| method.grpc);
    routes.chain(calls).chain(OPEN_ROUTES).find(|known| *known == asked).unwrap_or("other")
}

fn grpc_status(response: &Response) -> Option<&str> {
    response.headers().get("grpc-status")?.to_str().ok()
}

/// Opens the span of a request. A caller's trace is taken over from `traceparent` (W3C Trace Context, level 1).
fn span(route: &str, id: &HeaderValue, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        "request",
        route,
        request_id = id.to_str().unwrap_or_default(),
        key = field::Empty,
        trace_id = field::Empty,
        parent_span_id = field::Empty
    );
    if let Some((trace, parent)) = headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(trace_parent) {
        span.record("trace_id", trace).record("parent_span_id", parent);
    }
    span
}

/// Reads `version-traceid-parentid-flags`; ids of zeros only are invalid, as is version ff.
fn trace_parent(header: &str) -> Option<(&str, &str)> {
    let mut parts = header.trim().split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let zeros = |text: &str| text.bytes().all(|byte| byte == b'0');
    let known = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    (known && hex(trace, 32) && hex(parent, 16) && hex(flags, 2) && !zeros(trace) && !zeros(parent)).then_some((trace, parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_parent_is_read_and_nonsense_is_not() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_parent(header), Some(("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")));
        for header in [
            "",
            "00-0-0-0",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &header.replace("4bf92f", "XXXXXX"),
            &format!("{header}-x"),
        ] {
            assert_eq!(trace_parent(header), None, "{header}");
        }
    }
}
