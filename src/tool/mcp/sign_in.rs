//! Signing in at a tool server: OAuth with PKCE, its answer taken on a loopback port.

use std::future::IntoFuture;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::routing::get;
use reqwest::Url;
use rmcp::service::ServiceExt;
use rmcp::transport::auth::{AuthError, AuthorizationCallback, AuthorizationManager, OAuthClientConfig};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::connection::Client;
use super::credentials::Credentials;
use super::http;
use crate::definition::{McpServer, Reach};
use crate::store::McpTokens;
use crate::tool::Failure;

/// How long a person may take to sign in.
const SIGN_IN_TIME: Duration = Duration::from_mins(5);

/// How long the server may take to say what it asks for.
const ASK_TIME: Duration = Duration::from_secs(30);

/// How long the browser may take to read that it went well.
const THANKS_TIME: Duration = Duration::from_secs(1);

/// Where the browser comes back to.
const PATH: &str = "/callback";

/// The name under which the client registers.
const CLIENT_NAME: &str = "Synapse";

/// Signs in at a tool server and keeps what that gave. `show` is given the address that a person opens in a browser on this machine.
/// `scopes` are the rights that are asked for; where there are none, those that the server names.
pub async fn sign_in(record: &McpServer, tokens: &McpTokens, scopes: &[String], show: impl FnOnce(&str)) -> Result<(), Failure> {
    let Reach::Remote { url, token: None } = &record.reach else {
        let name = &record.name;
        return Err(Failure::new(format!("tool server `{name}` takes no sign-in: it is a program, or has a `token` in its record")));
    };
    let challenge = match challenge(record, url, tokens).await? {
        None if scopes.is_empty() => {
            return Err(Failure::new(format!("tool server `{}` asks for no sign-in, or has one that is still good", record.name)));
        }
        challenge => challenge.unwrap_or_default(),
    };
    let (credentials, mut manager) =
        (Credentials::new(&record.name, url, tokens.clone()), AuthorizationManager::new(url).await.map_err(failed)?);
    manager.set_credential_store(credentials.clone());
    let resolution = manager
        .resolve_metadata_from_challenge(Some(&challenge).filter(|challenge| !challenge.is_empty()).map(String::as_str))
        .await
        .map_err(failed)?;
    manager.set_metadata(resolution.metadata);
    let door = Door::open().await.map_err(|error| Failure::new(format!("cannot listen on this machine: {error}")))?;
    let scopes = if scopes.is_empty() { manager.select_initial_scopes(&[]).await } else { scopes.to_vec() };
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let registered = register(&mut manager, &credentials, &door.address(), &scopes).await.map_err(failed)?;
    let address = manager.get_authorization_url(&scopes).await.map_err(failed)?;
    show(&address);
    let back = door.callback(&address).await?;
    // The client first: tokens are of no use without it.
    if let Some(client) = registered {
        credentials.keep_client(&client).await.map_err(failed)?;
    }
    let exchange = manager.exchange_code_for_token_with_issuer(&back.code, &back.csrf_token, back.issuer.as_deref());
    exchange.await.map(|_| ()).map_err(failed)
}

/// Asks the server who it wants to see, and returns what `WWW-Authenticate` says; nothing where it is content.
async fn challenge(record: &McpServer, url: &str, tokens: &McpTokens) -> Result<Option<String>, Failure> {
    let transport = http::with_sign_in(&record.name, url, tokens, http::End::default()).await;
    let transport = match transport {
        Ok(transport) => transport,
        // What an earlier sign-in gave may be what is wrong.
        Err(_) => http::with_nothing(url).await.map_err(Failure::new)?,
    };
    let asked = async {
        let service = Client::default().serve(transport).await.map_err(|error| error.auth_challenge().map(str::to_owned))?;
        // Some begin with everybody, and ask only then.
        service.list_tools(None).await.map(drop).map_err(|error| error.auth_challenge().map(str::to_owned))
    };
    match timeout(ASK_TIME, asked).await {
        Ok(Ok(())) => Ok(None),
        Ok(Err(challenge)) => Ok(Some(challenge.unwrap_or_default())),
        Err(_) => Err(Failure::new(format!("tool server `{}` did not answer within {} seconds", record.name, ASK_TIME.as_secs()))),
    }
}

/// Makes the manager a client of the server: the one that the operator registered, or a new one, which is returned.
async fn register(
    manager: &mut AuthorizationManager,
    credentials: &Credentials,
    redirect: &str,
    scopes: &[&str],
) -> Result<Option<OAuthClientConfig>, AuthError> {
    let Some((id, secret)) = credentials.own_client().await? else {
        return manager.register_client(CLIENT_NAME, redirect, scopes).await.map(Some);
    };
    let client = OAuthClientConfig::new(id, redirect);
    manager.configure_client(match secret {
        Some(secret) => client.with_client_secret(secret),
        None => client,
    })?;
    Ok(None)
}

/// Where the browser comes back to.
struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    async fn open() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Self { address: listener.local_addr()?, listener })
    }

    fn address(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Waits for the browser to come back from the address that it was shown.
    async fn callback(self, shown: &str) -> Result<AuthorizationCallback, Failure> {
        let state = state(shown).ok_or_else(|| Failure::new("the sign-in failed: its address has no `state`"))?;
        let (sender, mut came) = mpsc::channel(1);
        let router = Router::new().route(PATH, get(come_back)).with_state(Awaited { state, sender });
        let thanked = CancellationToken::new();
        let server = axum::serve(self.listener, router).with_graceful_shutdown(thanked.clone().cancelled_owned());
        let server = AbortOnDropHandle::new(tokio::spawn(server.into_future()));
        let query = timeout(SIGN_IN_TIME, came.recv()).await.ok().flatten();
        let query = query.ok_or_else(|| Failure::new("nobody signed in within 5 minutes"))?;
        thanked.cancel();
        let _ = timeout(THANKS_TIME, server).await; // the answer of the page is a courtesy
        let told = AuthorizationCallback::from_redirect_url(&format!("http://{}{PATH}?{query}", self.address));
        told.map_err(|_| Failure::new("the sign-in was refused"))
    }
}

/// The browser that is waited for, and who waits.
#[derive(Clone)]
struct Awaited {
    state: String,
    sender: mpsc::Sender<String>,
}

/// Takes what the browser brings, once. Anybody on this machine may knock; only who knows the `state` ends the wait.
async fn come_back(State(awaited): State<Awaited>, RawQuery(query): RawQuery) -> (StatusCode, &'static str) {
    let query = query.unwrap_or_default();
    if state(&format!("http://localhost{PATH}?{query}")).as_ref() != Some(&awaited.state) {
        return (StatusCode::BAD_REQUEST, "This is no answer to the sign-in.\n");
    }
    match awaited.sender.try_send(query) {
        Ok(()) => (StatusCode::OK, "Thank you. You can close this page and go back to the terminal.\n"),
        Err(_) => (StatusCode::GONE, "This sign-in is over.\n"),
    }
}

/// Returns what tells one sign-in from every other.
fn state(address: &str) -> Option<String> {
    let address: Url = address.parse().ok()?;
    address.query_pairs().find(|(name, _)| name == "state").map(|(_, state)| state.into_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn failed(error: AuthError) -> Failure {
    Failure::new(format!("the sign-in failed: {error}"))
}
