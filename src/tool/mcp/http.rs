//! Tool servers over streamable HTTP: a client that carries no token elsewhere, and answers of a bounded size.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{AuthClient, AuthorizationManager};
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use secrecy::{ExposeSecret, SecretString};

use super::credentials::Credentials;
use super::noticing::NoticingClient;
use crate::store::McpTokens;

/// The longest message that is read of a server, in bytes.
pub(super) const MESSAGE_BYTES: usize = 16 << 20;

/// The longest answer that is read of a refusal, in bytes.
const REFUSAL_BYTES: usize = 8 << 10;

/// How long a server may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How often a stream that broke off is taken up again, with 0.5 s before the first time and twice as much before each other.
const RESUMPTIONS: usize = 4;

/// How the client names itself.
const USER_AGENT: &str = concat!("synapse/", env!("CARGO_PKG_VERSION"));

/// A connection whose requests carry what a sign-in gave, where there was one.
pub(super) type SignedTransport = StreamableHttpClientTransport<AuthClient<NoticingClient>>;

/// Where a connection says why it came to its end.
pub(super) type End = Arc<OnceLock<String>>;

/// Reaches a server with the token of its record.
pub(super) fn with_token(url: &str, token: &SecretString, end: End) -> Result<StreamableHttpClientTransport<NoticingClient>, String> {
    let client = NoticingClient::new(client(&parsed(url)?)?, end);
    Ok(StreamableHttpClientTransport::with_client(client, config(url).auth_header(token.expose_secret())))
}

/// Reaches a server that has no token in its record: with what a sign-in gave, or with nothing.
pub(super) async fn with_sign_in(server: &str, url: &str, tokens: &McpTokens, end: End) -> Result<SignedTransport, String> {
    let http = NoticingClient::new(client(&parsed(url)?)?, end);
    let failed = |error| format!("what its sign-in gave cannot be used: {error}");
    let mut manager = AuthorizationManager::new(url).await.map_err(failed)?;
    let credentials = Credentials::new(server, url, tokens.clone());
    manager.set_credential_store(credentials.clone());
    if manager.initialize_from_store().await.map_err(failed)? {
        credentials.restore_client(&mut manager).await.map_err(failed)?;
    }
    Ok(StreamableHttpClientTransport::with_client(AuthClient::new(http, manager), config(url)))
}

/// Reaches a server without telling it who is there.
pub(super) async fn with_nothing(url: &str) -> Result<SignedTransport, String> {
    let manager = AuthorizationManager::new(url).await.map_err(|error| error.to_string())?;
    let http = NoticingClient::new(client(&parsed(url)?)?, End::default());
    Ok(StreamableHttpClientTransport::with_client(AuthClient::new(http, manager), config(url)))
}

fn parsed(url: &str) -> Result<Url, String> {
    let parsed: Url = url.parse().map_err(|error| format!("its `url` is no address: {error}"))?;
    match parsed.scheme() {
        "http" | "https" => Ok(parsed),
        other => Err(format!("its `url` begins with `{other}`; write `http` or `https`")),
    }
}

fn config(url: &str) -> StreamableHttpClientTransportConfig {
    let mut resume = ExponentialBackoff::default();
    (resume.max_times, resume.base_duration) = (Some(RESUMPTIONS), Duration::from_millis(500));
    let mut config = StreamableHttpClientTransportConfig::with_uri(url);
    config.retry_config = Arc::new(resume);
    config.max_sse_event_size(MESSAGE_BYTES).max_json_response_size(MESSAGE_BYTES).max_error_response_size(REFUSAL_BYTES)
}

fn client(url: &Url) -> Result<Client, String> {
    // A redirect would carry the token to wherever it points. A connection that is kept may be a dead one, on which nobody could tell
    // whether a call has arrived.
    let builder = Client::builder().connect_timeout(CONNECT_TIME).redirect(Policy::none()).pool_max_idle_per_host(0).user_agent(USER_AGENT);
    let builder = if is_near(url) { builder.no_proxy() } else { builder };
    builder.build().map_err(|_| "no HTTP client can be made: are there root certificates?".to_owned())
}

/// Tells whether an address is on this machine, where no proxy stands between.
fn is_near(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
