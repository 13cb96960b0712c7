//! The API page and the document behind it, both without any other host.

use std::sync::{Arc, LazyLock};

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use utoipa_swagger_ui::Config;

use super::{json, refusal};
use crate::wire::OPENAPI;

static PAGE: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/openapi.json")));

/// Answers with the OpenAPI document.
pub async fn openapi() -> Response {
    json(OPENAPI.as_bytes().to_vec())
}

/// Answers with a file of the API page; without one, leads to it.
pub async fn docs(file: Option<Path<String>>) -> Response {
    let Some(Path(file)) = file else { return Redirect::permanent("/docs/").into_response() };
    match utoipa_swagger_ui::serve(&file, PAGE.clone()) {
        Ok(Some(file)) => {
            let mut response = Response::new(file.bytes.into_owned().into());
            if let Ok(media_type) = HeaderValue::from_str(&file.content_type) {
                response.headers_mut().insert(CONTENT_TYPE, media_type);
            }
            response
        }
        Ok(None) => refusal(StatusCode::NOT_FOUND, "Not Found"),
        Err(error) => {
            tracing::error!(%error, "the API page cannot be shown");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "An internal error occurred. Check server logs for details.")
        }
    }
}
