//! A tool server over HTTP, with an authorization server beside it, that behaves as it is told and remembers what it was asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::stream;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

/// The server.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Remembered>,
    /// Its own, so that its end ends every connection.
    runtime: Option<Runtime>,
}

/// What the server knows.
#[derive(Default)]
pub(crate) struct Remembered {
    address: Mutex<String>,
    /// The sessions that are good.
    sessions: Mutex<Vec<String>>,
    /// Every message, with the headers that came with it.
    pub(crate) seen: Mutex<Vec<(HeaderMap, Value)>>,
    /// The access tokens that are good; nothing where nobody is asked who is there.
    pub(crate) access: Mutex<Option<Vec<String>>>,
    /// The refresh tokens that are good.
    pub(crate) refresh: Mutex<Vec<String>>,
    /// The challenges of the codes that were given.
    codes: Mutex<HashMap<String, String>>,
    /// What is told on the stream that is not the answer to anything.
    told: Mutex<Option<broadcast::Sender<String>>>,
    tools: Mutex<Vec<String>>,
    forgetful: Mutex<bool>,
    /// Whether somebody signed in with more rights.
    more: Mutex<bool>,
    started: Mutex<usize>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        Self::serve(Arc::default(), "127.0.0.1:0").await
    }

    /// A server that wants to know who is there.
    pub(crate) async fn guarded(tokens: &[&str]) -> Self {
        let fake = Self::start().await;
        *fake.state.access.lock().unwrap() = Some(tokens.iter().map(|token| (*token).to_owned()).collect());
        fake
    }

    async fn serve(state: Arc<Remembered>, address: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (listener, bound) = (TcpListener::bind(address).await.unwrap().into_std().unwrap(), runtime.enter());
        let (listener, address) = (TcpListener::from_std(listener.try_clone().unwrap()).unwrap(), listener.local_addr().unwrap());
        drop(bound);
        *state.address.lock().unwrap() = format!("http://{address}");
        let router = Router::new()
            .route("/mcp", post(message).get(listen).delete(|| async {}))
            .route("/moved", post(|| async { Redirect::temporary("/mcp") }))
            .route("/.well-known/oauth-protected-resource/mcp", get(resource))
            .route("/.well-known/oauth-authorization-server", get(authorization_server))
            .route("/register", post(register))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(state.clone());
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state, runtime: Some(runtime) }
    }

    /// Ends and begins again at the same address; sessions are forgotten.
    pub(crate) async fn restart(self) -> Self {
        let address = self.stop().await;
        Self::serve(Arc::default(), &address).await
    }

    /// Ends, and returns the address.
    pub(crate) async fn stop(mut self) -> String {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(|| drop(runtime)).await.unwrap();
        self.address.to_string()
    }

    /// Forgets every session, and says so with a 400 and an error that names no request.
    pub(crate) fn forget(&self) {
        self.state.sessions.lock().unwrap().clear();
        *self.state.forgetful.lock().unwrap() = true;
    }

    /// Begins at an address.
    pub(crate) async fn start_at(address: &str) -> Self {
        Self::serve(Arc::default(), address).await
    }

    pub(crate) fn record(&self, path: &str, token: Option<&str>) -> Value {
        json!({"name": "far", "url": format!("http://{}{path}", self.address), "token": token})
    }

    /// Returns the messages of one method.
    pub(crate) fn seen(&self, method: &str) -> Vec<(HeaderMap, Value)> {
        self.state.seen.lock().unwrap().iter().filter(|(_, message)| message["method"] == method).cloned().collect()
    }

    /// Has one tool more, and says so.
    pub(crate) fn change(&self) -> bool {
        self.state.tools.lock().unwrap().push("added".to_owned());
        let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
        let told = self.state.told.lock().unwrap();
        told.as_ref().is_some_and(|told| told.send(changed.to_string()).is_ok())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn message(State(state): State<Arc<Remembered>>, headers: HeaderMap, Json(message): Json<Value>) -> Response {
    state.seen.lock().unwrap().push((headers.clone(), message.clone()));
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer ")).unwrap_or_default();
    if state.access.lock().unwrap().as_ref().is_some_and(|good| !good.iter().any(|token| token == bearer)) {
        let address = state.address.lock().unwrap().clone();
        let challenge = format!(r#"Bearer resource_metadata="{address}/.well-known/oauth-protected-resource/mcp", scope="tools""#);
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response();
    }
    let session = headers.get("mcp-session-id").and_then(|session| session.to_str().ok()).unwrap_or_default().to_owned();
    let known = state.sessions.lock().unwrap().contains(&session);
    match message["method"].as_str().unwrap_or_default() {
        "initialize" => initialize(&state, &message),
        _ if !known && *state.forgetful.lock().unwrap() => {
            let error = json!({"code": -32000, "message": "no valid session id"});
            (StatusCode::BAD_REQUEST, Json(json!({"jsonrpc": "2.0", "error": error}))).into_response()
        }
        _ if !known => StatusCode::NOT_FOUND.into_response(),
        "tools/list" => {
            let mut tools = vec!["echo", "sse", "image", "large", "large_event", "never", "broken", "nameless", "more", "resumable"];
            let added = state.tools.lock().unwrap().clone();
            tools.extend(added.iter().map(String::as_str));
            let tools: Vec<_> = tools.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
            answer(&message, &json!({"tools": tools}))
        }
        "ping" => answer(&message, &json!({})),
        "tools/call" if message["params"]["name"] == "more" && !*state.more.lock().unwrap() => {
            let challenge = r#"Bearer error="insufficient_scope", scope="tools more""#;
            (StatusCode::FORBIDDEN, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
        }
        "tools/call" => call(&message).await,
        _ => StatusCode::ACCEPTED.into_response(),
    }
}

fn initialize(state: &Remembered, message: &Value) -> Response {
    let mut started = state.started.lock().unwrap();
    *started += 1;
    let session = format!("session-{started}");
    state.sessions.lock().unwrap().push(session.clone());
    let version = &message["params"]["protocolVersion"];
    let capabilities = json!({"tools": {"listChanged": true}});
    let result = json!({"protocolVersion": version, "capabilities": capabilities, "serverInfo": {"name": "fake", "version": "1"}});
    let mut response = answer(message, &result);
    response.headers_mut().insert("mcp-session-id", session.parse().unwrap());
    response
}

async fn call(message: &Value) -> Response {
    let event = |text: String| ([(header::CONTENT_TYPE, "text/event-stream")], format!("data: {text}\n\n")).into_response();
    let result = |content: Value| json!({"jsonrpc": "2.0", "id": message["id"], "result": {"content": [content]}});
    match message["params"]["name"].as_str().unwrap() {
        "echo" => answer(message, &json!({"content": [{"type": "text", "text": message["params"]["arguments"]["text"]}]})),
        "more" => answer(message, &json!({"content": [{"type": "text", "text": "more"}]})),
        "sse" => event(result(json!({"type": "text", "text": "streamed"})).to_string()),
        "image" => event(result(json!({"type": "image", "mimeType": "image/webp", "data": "UklGRg=="})).to_string()),
        "large" => endless("application/json", "{\"a\": \""),
        "large_event" => endless("text/event-stream", "data: "),
        "broken" => ([(header::CONTENT_TYPE, "application/json")], "\u{0}\u{1}no json").into_response(),
        "resumable" => {
            let begin = stream::iter([Ok::<_, std::io::Error>("id: 1\ndata: \n\n")]);
            ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(begin.chain(stream::pending()))).into_response()
        }
        "nameless" => {
            let error = json!({"code": -32603, "message": "something is wrong"});
            (StatusCode::BAD_REQUEST, Json(json!({"jsonrpc": "2.0", "id": null, "error": error}))).into_response()
        }
        _ => std::future::pending().await,
    }
}

/// A body without an end.
fn endless(media_type: &'static str, begin: &'static str) -> Response {
    let more = stream::unfold(false, move |begun| async move {
        let bytes = if begun { "x".repeat(65536) } else { begin.to_owned() };
        Some((Ok::<_, std::io::Error>(bytes), true))
    });
    ([(header::CONTENT_TYPE, media_type)], Body::from_stream(more)).into_response()
}

/// The stream on which the server tells what nobody asked.
async fn listen(State(state): State<Arc<Remembered>>) -> Response {
    if state.access.lock().unwrap().is_some() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let receiver = state.told.lock().unwrap().get_or_insert_with(|| broadcast::channel(8).0).subscribe();
    let events = BroadcastStream::new(receiver).map(|text| text.map(|text| format!("data: {text}\n\n")));
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

fn answer(message: &Value, result: &Value) -> Response {
    Json(json!({"jsonrpc": "2.0", "id": message["id"], "result": result})).into_response()
}

async fn resource(State(state): State<Arc<Remembered>>) -> Json<Value> {
    let address = state.address.lock().unwrap().clone();
    Json(json!({"resource": format!("{address}/mcp"), "authorization_servers": [address]}))
}

async fn authorization_server(State(state): State<Arc<Remembered>>) -> Json<Value> {
    let address = state.address.lock().unwrap().clone();
    let at = |path: &str| format!("{address}{path}");
    Json(json!({
        "issuer": address, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "registration_endpoint": at("/register"), "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
    }))
}

async fn register(Json(client): Json<Value>) -> (StatusCode, Json<Value>) {
    (StatusCode::CREATED, Json(json!({"client_id": "registered", "redirect_uris": client["redirect_uris"]})))
}

/// Signs everybody in.
async fn authorize(State(state): State<Arc<Remembered>>, Query(query): Query<HashMap<String, String>>) -> Redirect {
    assert_eq!(query["code_challenge_method"], "S256");
    assert!(query["scope"].split(' ').any(|scope| scope == "tools"), "{query:?}");
    *state.more.lock().unwrap() = query["scope"].contains("more");
    let code = format!("code-{}", state.codes.lock().unwrap().len());
    state.codes.lock().unwrap().insert(code.clone(), query["code_challenge"].clone());
    Redirect::to(&format!("{}?code={code}&state={}", query["redirect_uri"], query["state"]))
}

async fn token(State(state): State<Arc<Remembered>>, form: String) -> Response {
    let form: Uri = format!("/?{form}").parse().unwrap();
    let Query(form) = Query::<HashMap<String, String>>::try_from_uri(&form).unwrap();
    let good = match form["grant_type"].as_str() {
        "authorization_code" => {
            let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
            state.codes.lock().unwrap().remove(&form["code"]) == Some(challenge)
        }
        "refresh_token" => state.refresh.lock().unwrap().contains(&form["refresh_token"]),
        other => panic!("nobody asks for `{other}`"),
    };
    if !good {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response();
    }
    let mut access = state.access.lock().unwrap();
    let access = access.get_or_insert_default();
    let fresh = format!("access-{}", access.len() + 1);
    access.push(fresh.clone());
    state.refresh.lock().unwrap().push("refresh-1".to_owned());
    let tokens = json!({"access_token": fresh, "token_type": "Bearer", "expires_in": 3600, "refresh_token": "refresh-1"});
    Json(tokens).into_response()
}
