//! Every refusal of the REST side: `{"detail": "..."}` with its status.

use axum::response::Response;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use tonic::Status;

use crate::error::http_status;
use crate::grpc::reason;

/// The most characters that a detail has, so that a caller's own input does not come back whole.
const DETAIL_CHARACTERS: usize = 1_000;

/// Refuses with a status and a sentence.
pub fn refusal(status: StatusCode, detail: &str) -> Response {
    let detail: String = detail.chars().take(DETAIL_CHARACTERS).collect();
    let mut response = Response::new(serde_json::json!({ "detail": detail }).to_string().into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Refuses as a gRPC status says.
pub fn status_refusal(status: &Status) -> Response {
    let code = reason(status).map_or_else(|| http_status(status.code()), crate::error::Reason::http);
    refusal(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), status.message())
}
