//! Reads a REST request as the message of its rpc: the body, or the path and the query.

use std::str::FromStr;

use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};
use tonic::metadata::MetadataMap;
use tower_http::timeout::{TimeoutBody, TimeoutError};

use crate::config::Limits;

/// Where the fields of a request come from.
pub(super) struct Binding {
    /// Whether the body is the message.
    pub body: bool,
    /// The fields that the path or the query carry.
    pub parameters: &'static [Parameter],
}

/// A field in the path or the query.
pub(super) struct Parameter {
    pub name: &'static str,
    pub shape: Shape,
    pub repeated: bool,
    pub in_path: bool,
}

/// How the text of a parameter is read.
#[derive(Clone, Copy)]
#[allow(dead_code, clippy::allow_attributes, reason = "which shapes are used depends on the schema")]
pub(super) enum Shape {
    Text,
    Number,
    Flag,
}

/// Why a request cannot be read.
pub(super) struct Refused {
    pub status: StatusCode,
    pub detail: String,
}

type Read<T> = Result<T, Refused>;

/// Reads the message of a request.
pub(super) async fn message<M: DeserializeOwned>(request: Request<Body>, binding: &Binding, limits: &Limits) -> Read<tonic::Request<M>> {
    let (mut parts, body) = request.into_parts();
    let parameters = if binding.parameters.is_empty() { Map::new() } else { parameters(&mut parts, binding).await? };
    let message = if binding.body {
        check_media_type(&parts.headers)?;
        parse(&bytes(&parts.headers, body, limits).await?, parameters)?
    } else {
        typed(Value::Object(parameters))?
    };
    Ok(tonic::Request::from_parts(MetadataMap::from_headers(parts.headers), parts.extensions, message))
}

fn refused(status: StatusCode, detail: impl Into<String>) -> Refused {
    Refused { status, detail: detail.into() }
}

fn bad(detail: impl Into<String>) -> Refused {
    refused(StatusCode::BAD_REQUEST, detail)
}

fn check_media_type(headers: &HeaderMap) -> Read<()> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = media_type.strip_prefix("application/").unwrap_or_default();
    if subtype == "json" || subtype.ends_with("+json") {
        return Ok(());
    }
    Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the body must be JSON with `content-type: application/json`, not `{given}`")))
}

async fn bytes(headers: &HeaderMap, body: Body, limits: &Limits) -> Read<bytes::Bytes> {
    let limit = limits.body_bytes;
    let too_large = || refused(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"));
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large()); // nothing of it is kept
    }
    match Limited::new(Box::pin(TimeoutBody::new(limits.body_pause, body)), limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) if timed_out(&*error) => Err(refused(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")),
        Err(error) => Err(bad(format!("the body could not be read: {error}"))),
    }
}

fn timed_out(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<TimeoutError>() || error.source().is_some_and(timed_out)
}

/// Parses a body. Serde would take an array for an object's fields in order, so the first character is looked at.
fn parse<M: DeserializeOwned>(body: &[u8], parameters: Map<String, Value>) -> Read<M> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => return Err(bad("the body is empty; send a JSON object")),
        Some(b'{') => {}
        Some(_) => match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
            Ok(_) => return Err(bad("the body must be a JSON object")),
            Err(error) => return Err(bad(format!("the body is not valid JSON: {error}"))),
        },
    }
    if parameters.is_empty() {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let message = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| bad(explain(&error)))?;
        deserializer.end().map_err(|error| bad(format!("the body is not valid JSON: {error}")))?;
        return Ok(message);
    }
    let mut object: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| bad(format!("the body is not valid JSON: {error}")))?;
    object.extend(parameters);
    typed(Value::Object(object))
}

fn typed<M: DeserializeOwned>(value: Value) -> Read<M> {
    serde_path_to_error::deserialize(value).map_err(|error| bad(explain(&error)))
}

/// Says what is wrong at which field.
fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let (path, inner) = (error.path().to_string(), error.inner());
    if inner.is_syntax() || inner.is_eof() || path == "." {
        return format!("the body is not valid JSON: {inner}");
    }
    format!("`{path}`: {inner}")
}

async fn parameters(parts: &mut Parts, binding: &Binding) -> Read<Map<String, Value>> {
    let mut object = Map::new();
    let path = RawPathParams::from_request_parts(parts, &()).await.map_err(|error| bad(error.body_text()))?;
    for (name, text) in &path {
        if let Some(parameter) = binding.parameters.iter().find(|parameter| parameter.in_path && parameter.name == name) {
            insert(&mut object, parameter, text)?;
        }
    }
    let query = parts.uri.query().unwrap_or_default();
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|_| bad(format!("the query `{query}` cannot be read; percent-encode its values")))?;
    for (name, text) in &pairs.0 {
        if let Some(parameter) = binding.parameters.iter().find(|parameter| !parameter.in_path && parameter.name == name) {
            insert(&mut object, parameter, text)?;
        }
    }
    Ok(object)
}

fn insert(object: &mut Map<String, Value>, parameter: &Parameter, text: &str) -> Read<()> {
    let Parameter { name, shape, repeated, .. } = *parameter;
    let value = match shape {
        Shape::Text => Value::String(text.to_owned()),
        Shape::Flag => Value::Bool(bool::deserialize(text_value(text)).map_err(|_| bad(format!("`{name}` must be `true` or `false`")))?),
        Shape::Number => Value::Number(Number::from_str(text).map_err(|_| bad(format!("`{name}` must be a number")))?),
    };
    match (repeated, object.get_mut(name)) {
        (true, Some(Value::Array(values))) => values.push(value),
        (true, _) => drop(object.insert(name.to_owned(), Value::Array(vec![value]))),
        (false, None) => drop(object.insert(name.to_owned(), value)),
        (false, Some(_)) => return Err(bad(format!("`{name}` is given twice"))),
    }
    Ok(())
}

fn text_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::{get, post};
    use serde::Serialize;
    use serde_json::json;
    use tower::ServiceExt;

    use super::*;
    use crate::config::Config;
    use crate::wire::Time;

    const ORCHESTRATION: Parameter = Parameter { name: "orchestration_id", shape: Shape::Text, repeated: false, in_path: true };
    const RUN: Parameter = Parameter { name: "run_id", shape: Shape::Text, repeated: false, in_path: true };
    const ONE: Binding = Binding { body: false, parameters: &[ORCHESTRATION, RUN] };
    const MANY: Binding = Binding {
        body: false,
        parameters: &[
            Parameter { name: "status", shape: Shape::Text, repeated: true, in_path: false },
            Parameter { name: "created_after", shape: Shape::Text, repeated: false, in_path: false },
        ],
    };

    async fn read<M: DeserializeOwned>(request: Request<Body>, binding: &Binding) -> Result<M, String> {
        let limits = Config::read(|_| None).unwrap().limits;
        message(request, binding, &limits).await.map(tonic::Request::into_inner).map_err(|refused| refused.detail)
    }

    /// A list of runs as it is asked for.
    #[derive(Serialize, Deserialize)]
    struct List {
        #[serde(default)]
        status: Vec<String>,
        created_after: Option<Time>,
    }

    async fn answer(router: Router, verb: &str, path: &str) -> (StatusCode, String) {
        let request = Request::builder().method(verb).uri(path).body(Body::empty()).unwrap();
        let (head, body) = router.oneshot(request).await.unwrap().into_parts();
        (head.status, String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap())
    }

    /// Answers with what a query is read as, or why it is not.
    async fn list(query: &str) -> String {
        let read = |request: Request<Body>| async { read::<List>(request, &MANY).await.map(axum::Json) };
        answer(Router::new().route("/runs", get(read)), "GET", &format!("/runs?{query}")).await.1
    }

    #[tokio::test]
    async fn a_query_may_name_a_moment_and_a_list() {
        let read = list("created_after=2026-11-23T15:48:07.5%2B01:00&status=running&status=paused").await;
        assert_eq!(read, r#"{"status":["running","paused"],"created_after":"2026-11-23T14:48:07.5Z"}"#);
        assert_eq!(list("").await, r#"{"status":[],"created_after":null}"#);
    }

    #[tokio::test]
    async fn a_moment_that_is_none_is_refused_by_name() {
        for wrong in ["yesterday", "2026-11-23", "1795445287", ""] {
            let detail = list(&format!("created_after={wrong}")).await;
            assert!(detail.starts_with("`created_after`: "), "{detail}");
        }
        let twice = list("created_after=2026-11-23T14:48:07Z&created_after=2026-11-23T14:48:07Z").await;
        assert_eq!(twice, "`created_after` is given twice");
    }

    /// The routes of orchestrations and of their runs, each of which answers with itself and what it read off the path.
    fn routes() -> Router {
        let echo = |route: &'static str| {
            move |request: Request<Body>| async move {
                let read: Value = read(request, &ONE).await.unwrap();
                format!("{route} {read}")
            }
        };
        let gets = ["/orchestrations", "/orchestrations/{orchestration_id}", "/orchestrations/runs", "/orchestrations/runs/{run_id}"];
        let posts = [
            "/orchestrations/{orchestration_id}/run",
            "/orchestrations/{orchestration_id}/run/stream",
            "/orchestrations/runs/{run_id}/resume",
        ];
        let router = gets.into_iter().fold(Router::new(), |router, path| router.route(path, get(echo(path))));
        posts.into_iter().fold(router, |router, path| router.route(path, post(echo(path))))
    }

    #[rstest::rstest]
    #[case("GET", "/orchestrations/tides", "/orchestrations/{orchestration_id}", json!({"orchestration_id": "tides"}))]
    #[case("GET", "/orchestrations/runs", "/orchestrations/runs", json!({}))]
    #[case("GET", "/orchestrations/runs2", "/orchestrations/{orchestration_id}", json!({"orchestration_id": "runs2"}))]
    #[case("GET", "/orchestrations/runs/run_1", "/orchestrations/runs/{run_id}", json!({"run_id": "run_1"}))]
    #[case("POST", "/orchestrations/tides/run", "/orchestrations/{orchestration_id}/run", json!({"orchestration_id": "tides"}))]
    #[case("POST", "/orchestrations/tides/run/stream", "/orchestrations/{orchestration_id}/run/stream", json!({"orchestration_id": "tides"}))]
    #[case("POST", "/orchestrations/runs/run_1/resume", "/orchestrations/runs/{run_id}/resume", json!({"run_id": "run_1"}))]
    #[case("POST", "/orchestrations/runs/run/resume", "/orchestrations/runs/{run_id}/resume", json!({"run_id": "run"}))]
    #[tokio::test]
    async fn routes_that_look_alike_are_told_apart(#[case] verb: &str, #[case] path: &str, #[case] route: &str, #[case] read: Value) {
        assert_eq!(answer(routes(), verb, path).await, (StatusCode::OK, format!("{route} {read}")));
    }

    #[tokio::test]
    async fn an_orchestration_cannot_be_run_under_the_name_runs() {
        assert_eq!(answer(routes(), "POST", "/orchestrations/runs/run").await.0, StatusCode::METHOD_NOT_ALLOWED);
    }
}
