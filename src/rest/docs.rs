//! The API page and the document behind it, both without any other host.

use std::sync::{Arc, LazyLock};

use axum::extract::Path;
use axum::response::{Redirect, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use utoipa_swagger_ui::Config;

use super::{json, refusal};
use crate::wire::OPENAPI;

/// Shows our document, and asks nobody else what they think of it.
static PAGE: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/openapi.json").validator_url("none")));

/// Answers with the OpenAPI document.
pub async fn openapi() -> Response {
    json(OPENAPI.as_bytes().to_vec())
}

/// Leads to the API page, whose files are found relative to it.
pub async fn docs_home() -> Redirect {
    Redirect::permanent("/docs/")
}

/// Answers with the API page.
pub async fn docs_page() -> Response {
    file("index.html")
}

/// Answers with a file of the API page.
pub async fn docs_file(Path(name): Path<String>) -> Response {
    file(&name)
}

fn file(name: &str) -> Response {
    match utoipa_swagger_ui::serve(name, PAGE.clone()) {
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
