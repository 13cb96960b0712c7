//! The routers: gRPC by its content type, REST by its paths, and around both what every request goes through.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, StatusCode, Uri};
use tonic::service::Routes;
use tonic_web::GrpcWebLayer;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};
use tower_http::timeout::RequestBodyTimeoutLayer;

use super::StartError;
use super::authenticate::{Locks, authenticate, is_grpc};
use super::health::{Readiness, alive};
use super::observe::observe;
use crate::config::Config;
use crate::engine::Engine;
use crate::grpc::{Agents, ApiKeys, Chats, Conversations, Orchestrations, Runs, Services};
use crate::metrics::Metrics;
use crate::rest::{self, Gateway, refusal};
use crate::store::{AdminToken, Keys};
use crate::wire::DESCRIPTOR;

/// What stands behind the door.
pub(super) struct Door {
    pub engine: Arc<Engine>,
    pub keys: Keys,
    pub admin: Arc<AdminToken>,
    pub metrics: Metrics,
    pub ready: Readiness,
}

/// The entrances of the two listeners.
pub(super) struct Entrances {
    pub everything: Entrance,
    pub grpc: Entrance,
}

/// Where the requests of a listener go.
#[derive(Clone)]
pub(super) struct Entrance {
    grpc: Router,
    /// Everything that is not gRPC; a gRPC-only listener has nothing of it.
    rest: Option<Router>,
}

impl Entrance {
    /// Answers a request.
    pub(super) async fn answer(&self, request: Request) -> Response {
        let rest = self.rest.as_ref().filter(|_| !is_grpc(request.headers()));
        let Ok(response) = rest.unwrap_or(&self.grpc).clone().oneshot(request).await;
        response
    }
}

/// Builds the entrances; `open` are gRPC services that want no key.
pub(super) fn entrances(door: &Door, config: &Config, open: Routes) -> Result<Entrances, StartError> {
    let services = Services {
        chat: Arc::new(Chats(door.engine.clone())),
        agent: Arc::new(Agents(door.engine.definitions.clone())),
        orchestration: Arc::new(Orchestrations(door.engine.clone())),
        run: Arc::new(Runs(door.engine.clone())),
        session: Arc::new(Conversations(door.engine.sessions.clone())),
        key: Arc::new(ApiKeys(door.keys.clone())),
    };
    let locks = Locks { keys: door.keys.clone(), admin: door.admin.clone() };
    let gateway = Gateway::new(&config.limits);

    let open = open.add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?);
    let pauses = RequestBodyTimeoutLayer::new(config.limits.body_pause);
    let calls = services.routes(config.limits.body_bytes).into_axum_router();
    let calls = calls.layer(ServiceBuilder::new().layer(from_fn_with_state(locks.clone(), authenticate)).layer(pauses));
    let grpc = open
        .into_axum_router()
        .reset_fallback()
        .merge(calls)
        .layer(ServiceBuilder::new().layer(from_fn(post_only)).layer(GrpcWebLayer::new()));
    let api = rest::router(&services, &gateway).method_not_allowed_fallback(not_allowed);
    let api = api.layer(from_fn_with_state(locks, authenticate_rest));
    let rest = open_routes(door).merge(api).fallback(not_found).method_not_allowed_fallback(not_allowed);

    let (grpc, rest) = (around(grpc, door, config)?, around(rest, door, config)?);
    Ok(Entrances { everything: Entrance { grpc: grpc.clone(), rest: Some(rest) }, grpc: Entrance { grpc, rest: None } })
}

/// The routes that want no key.
fn open_routes(door: &Door) -> Router {
    let (ready, metrics) = (door.ready.clone(), door.metrics.clone());
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(async move || ready.answer().await))
        .route("/metrics", get(move || std::future::ready(count(&metrics))))
        .route("/openapi.json", get(rest::openapi))
        .route("/docs", get(rest::docs_home))
        .route("/docs/", get(rest::docs_page))
        .route("/docs/{*file}", get(rest::docs_file))
}

/// Puts around a router what every request goes through, as one layer: axum boxes each and clones all that are inside, for every request.
fn around(router: Router, door: &Door, config: &Config) -> Result<Router, StartError> {
    let router = router.layer(from_fn_with_state(door.metrics.clone(), observe));
    Ok(match cors(&config.cors_origins)? {
        Some(cors) => router.layer(cors),
        None => router,
    })
}

/// Answers for a path that nobody has. One that only ends with a slash too many is led to the right one, method and body as they are.
async fn not_found(uri: Uri) -> Response {
    match uri.path().strip_suffix('/').filter(|path| path.starts_with("/api/")) {
        Some(path) => Redirect::temporary(&uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))).into_response(),
        None => refusal(StatusCode::NOT_FOUND, "Not Found"),
    }
}

/// Lets only POST through: tonic looks at the path alone, and gRPC knows no other verb.
async fn post_only(request: Request, next: Next) -> Response {
    if request.method() == Method::POST { next.run(request).await } else { refusal(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed") }
}

/// Authenticates all but OPTIONS, which tells what a route offers: the public document tells it as well, and no handler is behind it.
async fn authenticate_rest(locks: State<Locks>, request: Request, next: Next) -> Response {
    if request.method() == Method::OPTIONS { next.run(request).await } else { authenticate(locks, request, next).await }
}

/// Answers OPTIONS; axum adds the `Allow` header to this answer as to every refused method.
async fn not_allowed(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    refusal(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}

fn count(metrics: &Metrics) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "An internal error occurred. Check server logs for details.")
        }
    }
}

fn cors(origins: &[String]) -> Result<Option<CorsLayer>, StartError> {
    if origins.is_empty() {
        return Ok(None);
    }
    let grpc = ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"].map(HeaderName::from_static);
    let cors = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        // Mirrored, because `*` does not cover `authorization`.
        .allow_headers(AllowHeaders::mirror_request())
        .allow_private_network(true)
        .expose_headers(grpc);
    if origins.iter().any(|origin| origin == "*") {
        return Ok(Some(cors.allow_origin(Any)));
    }
    let origins = origins
        .iter()
        .map(|origin| HeaderValue::try_from(origin).map_err(|_| format!("`CORS_ORIGINS` has `{origin}`, which is no origin")));
    Ok(Some(cors.allow_origin(origins.collect::<Result<Vec<_>, _>>()?)))
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTOR)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
