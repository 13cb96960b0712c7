//! What a failed call means: genai's errors and the services' own words, brought down to our kinds without any secret.

use std::time::Duration;

use genai::adapter::AdapterKind;
use genai::webc::{Error as WebError, StreamTimeout};
use genai::{BoxError, Error};
use jiff::fmt::rfc2822;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::clock;
use crate::provider::{Kind, ModelError};

/// The most characters of a service's own words that an error repeats.
const QUOTED_CHARACTERS: usize = 300;

/// The other side of a call, as far as its failures are concerned.
#[derive(Clone, Copy)]
pub(super) struct Other<'a> {
    /// The service's name.
    pub(super) title: &'a str,
    /// The key that no error may show.
    pub(super) key: Option<&'a SecretString>,
}

impl Other<'_> {
    /// Turns genai's error into ours.
    pub(super) fn explain(self, error: &Error) -> ModelError {
        match error {
            Error::HttpError { status, body, headers, .. } => self.refusal(*status, body, Some(headers)),
            Error::WebModelCall { webc_error, .. } | Error::WebAdapterCall { webc_error, .. } => self.explain_web(webc_error),
            Error::WebStream { error, .. } => self.explain_stream(error),
            // genai's own words for a frame of Bedrock's that it cannot read.
            Error::ChatResponse { model_iden, body } if model_iden.adapter_kind == AdapterKind::BedrockApi && body["error"].is_string() => {
                self.garbled("sent something that is no answer")
            }
            Error::ChatResponse { body, .. } => match status_of(body) {
                Some(status) => self.refusal(status, &body.to_string(), None),
                None => self.garbled("sent something that is no answer"),
            },
            Error::StreamParse { .. }
            | Error::SerdeJson(_)
            | Error::JsonValueExt(_)
            | Error::NoChatResponse { .. }
            | Error::ChatResponseGeneration { .. }
            | Error::InvalidJsonResponseElement { .. } => self.garbled("sent something that is no answer"),
            Error::RequiresApiKey { .. } | Error::NoAuthResolver { .. } | Error::NoAuthData { .. } | Error::Resolver { .. } => {
                ModelError::new(Kind::NotConfigured, format!("no key for {}", self.title))
            }
            // Their texts may hold the request or the address.
            _ => ModelError::new(Kind::Rejected, format!("{} cannot be asked this", self.title)),
        }
    }

    /// Says that what came is no answer.
    pub(super) fn garbled(self, what: &str) -> ModelError {
        ModelError::new(Kind::Garbled, format!("{} {what}", self.title))
    }

    fn explain_web(self, error: &WebError) -> ModelError {
        match error {
            WebError::ResponseFailedStatus { status, body, headers } => self.refusal(*status, body, Some(headers)),
            WebError::Reqwest(error) => self.explain_transport(error),
            _ => self.garbled("sent something that is no answer"),
        }
    }

    fn explain_stream(self, error: &BoxError) -> ModelError {
        if let Some(error) = error.downcast_ref::<Error>() {
            self.explain(error)
        } else if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            self.explain_transport(error)
        } else if error.is::<StreamTimeout>() {
            ModelError::new(Kind::TimedOut, format!("{} was silent for too long", self.title))
        } else {
            self.garbled("sent something that is no text")
        }
    }

    /// Says what happened to the connection, from the innermost cause: the outer ones repeat the address.
    fn explain_transport(self, error: &reqwest::Error) -> ModelError {
        if error.is_builder() {
            return ModelError::new(Kind::NotConfigured, format!("the key or the address for {} cannot be sent", self.title));
        }
        let cause = innermost(error).map_or_else(|| "no connection".to_owned(), |cause| self.quote(&cause.to_string()));
        let what = if error.is_connect() { "cannot be reached" } else { "broke off" };
        ModelError::new(Kind::Unavailable, format!("{} {what}: {cause}", self.title))
    }

    /// Says what a status other than success means.
    fn refusal(self, status: StatusCode, body: &str, headers: Option<&HeaderMap>) -> ModelError {
        let title = self.title;
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let number = status.as_u16();
        let kind = match number {
            401 => return ModelError::new(Kind::Rejected, format!("{title} refused the key ({status})")),
            403 => return ModelError::new(Kind::Rejected, format!("{title} refused access with this key ({status})")),
            // Waiting does not fill an empty account.
            429 if body.to_string().contains("insufficient_quota") => Kind::Rejected,
            429 => Kind::RateLimited,
            408 | 425 | 499 | 500.. => Kind::Unavailable,
            _ => Kind::Rejected,
        };
        let words = words_of(&body).map(|words| format!(": {}", self.quote(words))).unwrap_or_default();
        let retry_after = headers.and_then(wait_in_headers).or_else(|| wait_in_body(&body));
        ModelError { kind, detail: format!("{title} answered {status}{words}"), retry_after }
    }

    /// Repeats foreign words: on one line, not too many, and never the key.
    fn quote(self, words: &str) -> String {
        let words = match self.key {
            Some(key) => words.replace(key.expose_secret(), "[key]"),
            None => words.to_owned(),
        };
        words.chars().map(|character| if character.is_control() { ' ' } else { character }).take(QUOTED_CHARACTERS).collect()
    }
}

fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    let mut cause = error.source()?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(cause)
}

/// Returns the object that speaks of the error, wherever the service puts it.
fn error_of(body: &Value) -> &Value {
    let body = body.get(0).unwrap_or(body);
    body.get("error").unwrap_or(body)
}

/// Returns the service's own words.
fn words_of(body: &Value) -> Option<&str> {
    let error = error_of(body);
    ["message", "detail", "Message"].iter().find_map(|name| error.get(name)?.as_str()).or_else(|| error.as_str())
}

/// Returns the status that an error inside a stream would have had as an answer; none for what is not an error either.
fn status_of(body: &Value) -> Option<StatusCode> {
    let error = error_of(body);
    if let Some(status) = error.get("code").and_then(Value::as_u64).and_then(|code| StatusCode::from_u16(code.try_into().ok()?).ok()) {
        return Some(status);
    }
    let name = |field: &str| error.get(field).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let names = [name("type"), name("code"), name("status")].concat();
    let told = |words: &[&str]| words.iter().any(|word| names.contains(word));
    let status = if told(&["rate_limit", "resource_exhausted", "throttl"]) {
        StatusCode::TOO_MANY_REQUESTS
    } else if told(&["authentication", "invalid_api_key"]) {
        StatusCode::UNAUTHORIZED
    } else if told(&["permission"]) {
        StatusCode::FORBIDDEN
    } else if told(&["invalid", "not_found", "too_large", "context_length"]) {
        StatusCode::BAD_REQUEST
    } else if names.is_empty() && words_of(body).is_none() {
        return None;
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Some(status)
}

/// Reads `retry-after`, in seconds or as a date, or the finer `retry-after-ms`.
fn wait_in_headers(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(wait) = text("retry-after-ms").and_then(|wait| wait.parse().ok()) {
        return Some(Duration::from_millis(wait));
    }
    let wait = text("retry-after")?;
    if let Ok(seconds) = wait.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = rfc2822::parse(wait).ok()?.timestamp();
    Some(Duration::try_from(until.duration_since(clock::now())).unwrap_or_default())
}

/// Reads Google's `retryDelay`, such as `"34s"`.
fn wait_in_body(body: &Value) -> Option<Duration> {
    let details = error_of(body).get("details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    Duration::try_from_secs_f64(delay.strip_suffix('s')?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use genai::ModelIden;
    use reqwest::header::HeaderValue;
    use serde_json::json;

    use super::*;

    const KEY: &str = "sk-very-secret";

    fn told(status: u16, body: &str, headers: &[(&'static str, &str)]) -> ModelError {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect();
        let error = Error::HttpError {
            status: StatusCode::from_u16(status).unwrap(),
            canonical_reason: String::new(),
            body: body.to_owned(),
            headers: Box::new(headers),
        };
        let model_iden = ModelIden::new(AdapterKind::OpenAI, "m");
        let nested = Error::WebStream { model_iden, cause: String::new(), error: Box::new(error) };
        Other { title: "OpenAI", key: Some(&KEY.to_owned().into()) }.explain(&nested)
    }

    #[test]
    fn a_status_decides_the_kind() {
        for (status, kind) in [
            (302, Kind::Rejected),
            (400, Kind::Rejected),
            (401, Kind::Rejected),
            (403, Kind::Rejected),
            (404, Kind::Rejected),
            (422, Kind::Rejected),
            (429, Kind::RateLimited),
            (408, Kind::Unavailable),
            (500, Kind::Unavailable),
            (503, Kind::Unavailable),
            (529, Kind::Unavailable),
        ] {
            assert_eq!(told(status, "", &[]).kind, kind, "{status}");
        }
        assert_eq!(told(429, r#"{"error":{"code":"insufficient_quota"}}"#, &[]).kind, Kind::Rejected);
    }

    #[test]
    fn the_services_words_are_told_without_the_key() {
        let body = json!({"error": {"message": format!("no\nmodel for {KEY}: {}", "x".repeat(1000))}}).to_string();
        let error = told(404, &body, &[]);
        assert!(error.detail.starts_with("OpenAI answered 404 Not Found: no model for [key]: xxx"), "{error}");
        assert!(error.detail.len() < 400);
        assert_eq!(told(401, &body, &[]).detail, "OpenAI refused the key (401 Unauthorized)");
        assert_eq!(told(500, "<html>", &[]).detail, "OpenAI answered 500 Internal Server Error");
        assert_eq!(told(404, r#"{"error":"no such model"}"#, &[]).detail, "OpenAI answered 404 Not Found: no such model");
    }

    #[test]
    fn the_wait_is_read_in_all_its_forms() {
        let wait = |headers: &[(&'static str, &str)], body: &str| told(429, body, headers).retry_after;
        assert_eq!(wait(&[("retry-after", "7")], ""), Some(Duration::from_secs(7)));
        assert_eq!(wait(&[("retry-after", "7"), ("retry-after-ms", "250")], ""), Some(Duration::from_millis(250)));
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], ""), Some(Duration::ZERO));
        assert_eq!(wait(&[("retry-after", "soon")], ""), None);
        assert_eq!(wait(&[("retry-after", "-1")], ""), None);
        assert_eq!(wait(&[], r#"{"error":{"details":[{"retryDelay":"1.5s"}]}}"#), Some(Duration::from_millis(1500)));
        let far = wait(&[("retry-after", "Sat, 21 Oct 2215 07:28:00 GMT")], "").unwrap();
        assert!(far > Duration::from_secs(1_000_000_000));
    }

    #[test]
    fn an_error_inside_a_stream_is_told_by_its_name() {
        for (body, kind) in [
            (json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}), Kind::Unavailable),
            (json!({"error": {"type": "rate_limit_error"}}), Kind::RateLimited),
            (json!({"type": "invalid_request_error"}), Kind::Rejected),
            (json!({"code": 429}), Kind::RateLimited),
            (json!({"error": {"code": 400, "status": "INVALID_ARGUMENT"}}), Kind::Rejected),
            (json!({"type": "authentication_error"}), Kind::Rejected),
            (json!("nothing known"), Kind::Unavailable),
            (json!(7), Kind::Garbled),
        ] {
            let error = Error::ChatResponse { model_iden: ModelIden::new(AdapterKind::OpenAI, "m"), body: body.clone() };
            assert_eq!(Other { title: "X", key: None }.explain(&error).kind, kind, "{body}");
        }
    }
}
