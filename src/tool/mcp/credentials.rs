//! What a sign-in gave, between the data directory and the OAuth client. The files are those that existing data directories hold.

use rmcp::transport::auth::{AuthError, AuthorizationManager, CredentialStore, OAuthClientConfig, StoredCredentials};
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::store::McpTokens;

/// Beside the fields of the token response: when it came, who gave it, and what it allows.
const RECEIVED_AT: &str = "received_at";
const ISSUER: &str = "issuer";
const GRANTED_SCOPES: &str = "granted_scopes";

/// The address that a file belongs to: a server of the same name elsewhere must not be told what is in it.
const SERVER_URL: &str = "server_url";

/// The credentials of one server.
#[derive(Clone)]
pub(super) struct Credentials {
    server: String,
    url: String,
    tokens: McpTokens,
}

impl Credentials {
    pub(super) fn new(server: &str, url: &str, tokens: McpTokens) -> Self {
        Self { server: server.to_owned(), url: url.to_owned(), tokens }
    }

    /// Returns the client that the operator registered by hand; those that were registered on the way name their redirect addresses.
    pub(super) async fn own_client(&self) -> Result<Option<(String, Option<String>)>, AuthError> {
        let client = self.client().await?.filter(|client| !client.contains_key("redirect_uris"));
        Ok(client.and_then(|client| Some((text(&client, "client_id")?, text(&client, "client_secret")))))
    }

    /// Keeps a client that was registered on the way.
    pub(super) async fn keep_client(&self, client: &OAuthClientConfig) -> Result<(), AuthError> {
        let mut value = json!({"client_id": client.client_id, "client_secret": client.client_secret});
        value["redirect_uris"] = json!([client.redirect_uri]);
        value[SERVER_URL] = json!(self.url);
        self.tokens.keep_client(&self.server, &value).await.map_err(failed)
    }

    /// Gives the OAuth client its secret back, which refreshing needs where there is one.
    pub(super) async fn restore_client(&self, manager: &mut AuthorizationManager) -> Result<(), AuthError> {
        let Some(client) = self.client().await? else { return Ok(()) };
        let (Some(id), Some(secret)) = (text(&client, "client_id"), text(&client, "client_secret")) else { return Ok(()) };
        let redirect = client.get("redirect_uris").and_then(|uris| uris.get(0)).and_then(Value::as_str);
        manager.configure_client(OAuthClientConfig::new(id, redirect.unwrap_or("http://127.0.0.1/")).with_client_secret(secret))
    }

    async fn client(&self) -> Result<Option<Map<String, Value>>, AuthError> {
        let client = self.tokens.client(&self.server).await.map_err(failed)?;
        Ok(client.and_then(|client| self.of_this_address(client)))
    }

    /// Returns the fields of a file; nothing where it belongs to another address. One that names none is of an earlier data directory or
    /// was written by hand.
    fn of_this_address(&self, file: Value) -> Option<Map<String, Value>> {
        let Value::Object(mut fields) = file else { return None };
        let here = fields.remove(SERVER_URL).is_none_or(|url| url == self.url.as_str());
        here.then_some(fields)
    }

    /// Reads the file's fields.
    async fn read(&self) -> Result<Option<StoredCredentials>, AuthError> {
        let file = self.tokens.tokens(&self.server).await.map_err(failed)?;
        let Some(mut token) = file.and_then(|file| self.of_this_address(file)) else { return Ok(None) };
        let Some(client_id) = self.client().await?.and_then(|client| text(&client, "client_id")) else { return Ok(None) };
        let received_at = token.remove(RECEIVED_AT).and_then(|time| time.as_u64());
        let issuer = token.remove(ISSUER).and_then(|issuer| Some(issuer.as_str()?.to_owned()));
        let scopes = token.remove(GRANTED_SCOPES).and_then(|scopes| serde_json::from_value(scopes).ok()).unwrap_or_default();
        let response = serde_json::from_value(Value::Object(token)).map_err(|_| unusable(&self.server))?;
        Ok(Some(StoredCredentials::new(client_id, Some(response), scopes, received_at).with_issuer(issuer)))
    }
}

#[tonic::async_trait]
impl CredentialStore for Credentials {
    async fn load(&self) -> Result<Option<StoredCredentials>, AuthError> {
        self.read().await
    }

    async fn save(&self, credentials: StoredCredentials) -> Result<(), AuthError> {
        let Some(response) = credentials.token_response else { return self.clear().await };
        let mut value = serde_json::to_value(response).map_err(|_| unusable(&self.server))?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert(SERVER_URL.to_owned(), self.url.clone().into());
            fields.insert(RECEIVED_AT.to_owned(), credentials.token_received_at.into());
            fields.insert(ISSUER.to_owned(), credentials.issuer.into());
            fields.insert(GRANTED_SCOPES.to_owned(), credentials.granted_scopes.into());
        }
        self.tokens.keep_tokens(&self.server, &value).await.map_err(failed)
    }

    async fn clear(&self) -> Result<(), AuthError> {
        self.tokens.forget_tokens(&self.server).await.map_err(failed)
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    fields.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn failed(error: Error) -> AuthError {
    AuthError::CredentialStoreError(error.detail().to_owned())
}

fn unusable(server: &str) -> AuthError {
    AuthError::CredentialStoreError(format!("the tokens of `{server}` cannot be read; sign in again"))
}
