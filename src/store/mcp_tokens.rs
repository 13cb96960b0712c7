//! What sign-ins at tool servers gave: private files, a pair for each server.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::{self, aside, refused};
use crate::error::{Error, Result};

/// The directory of the files, inside the data directory.
const DIRECTORY: &str = "mcp_tokens";

/// What follows the name of a server in the names of its files.
const TOKENS: &str = "";
const CLIENT: &str = "_client";

/// The tokens and registered clients of a data directory.
#[derive(Debug, Clone)]
pub struct McpTokens {
    directory: PathBuf,
}

impl McpTokens {
    /// Names the files of a data directory. None need exist.
    pub fn open(data_dir: &Path) -> Self {
        Self { directory: data_dir.join(DIRECTORY) }
    }

    /// Returns the tokens of a server.
    pub async fn tokens(&self, server: &str) -> Result<Option<Value>> {
        self.read(server, TOKENS).await
    }

    /// Returns the client that is registered with a server.
    pub async fn client(&self, server: &str) -> Result<Option<Value>> {
        self.read(server, CLIENT).await
    }

    /// Keeps the tokens of a server.
    pub async fn keep_tokens(&self, server: &str, tokens: &Value) -> Result<()> {
        self.write(server, TOKENS, tokens).await
    }

    /// Keeps the client that is registered with a server.
    pub async fn keep_client(&self, server: &str, client: &Value) -> Result<()> {
        self.write(server, CLIENT, client).await
    }

    /// Forgets the tokens of a server; its client stays.
    pub async fn forget_tokens(&self, server: &str) -> Result<()> {
        let path = self.path(server, TOKENS)?;
        aside(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused(&path, error)),
            _ => Ok(()),
        })
        .await
    }

    async fn read(&self, server: &str, kind: &str) -> Result<Option<Value>> {
        let path = self.path(server, kind)?;
        aside(move || {
            let text = files::read_text(&path).map_err(|error| refused(&path, error))?;
            // The parser's words could repeat a token.
            let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
            parsed.map_err(|_| Error::invalid(format!("`{}` is no JSON; delete it and sign in again", path.display())))
        })
        .await
    }

    async fn write(&self, server: &str, kind: &str, value: &Value) -> Result<()> {
        let (path, text) = (self.path(server, kind)?, format!("{value:#}\n"));
        aside(move || {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap_or(&path));
            made.and_then(|()| files::replace(&path, text.as_bytes())).map_err(|error| refused(&path, error))
        })
        .await
    }

    /// Returns the path of a file, which stays inside the directory whatever the server is called.
    fn path(&self, server: &str, kind: &str) -> Result<PathBuf> {
        if server.is_empty() || server.starts_with('.') || server.contains(['/', '\0']) {
            return Err(Error::invalid(format!("the tool server `{server}` cannot have a file of tokens; give it a name without `/`")));
        }
        if kind == TOKENS && server.ends_with(CLIENT) {
            // `far_client.json` is the client of `far`.
            return Ok(self.directory.join(server).join("tokens.json"));
        }
        Ok(self.directory.join(format!("{server}{kind}.json")))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn tokens_are_kept_privately_and_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = McpTokens::open(directory.path());
        assert_eq!(tokens.tokens("far").await.unwrap(), None);
        tokens.keep_tokens("far", &json!({"access_token": "a"})).await.unwrap();
        tokens.keep_client("far", &json!({"client_id": "c"})).await.unwrap();
        let path = directory.path().join("mcp_tokens/far.json");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(tokens.tokens("far").await.unwrap(), Some(json!({"access_token": "a"})));
        tokens.forget_tokens("far").await.unwrap();
        tokens.forget_tokens("far").await.unwrap();
        assert_eq!(tokens.tokens("far").await.unwrap(), None);
        assert_eq!(tokens.client("far").await.unwrap(), Some(json!({"client_id": "c"})));
    }

    #[tokio::test]
    async fn no_two_servers_share_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = McpTokens::open(directory.path());
        let servers = ["far", "far_client", "far_client_client"];
        for server in servers {
            tokens.keep_client(server, &json!(["client", server])).await.unwrap();
            tokens.keep_tokens(server, &json!(["tokens", server])).await.unwrap();
        }
        for server in servers {
            assert_eq!(tokens.client(server).await.unwrap(), Some(json!(["client", server])));
            assert_eq!(tokens.tokens(server).await.unwrap(), Some(json!(["tokens", server])));
        }
        tokens.forget_tokens("far_client").await.unwrap();
        assert_eq!(tokens.client("far").await.unwrap(), Some(json!(["client", "far"])));
    }

    #[tokio::test]
    async fn no_name_leads_out_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = McpTokens::open(directory.path());
        for name in ["../x", "a/b", "..", ""] {
            assert!(tokens.keep_tokens(name, &json!({})).await.is_err(), "{name}");
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_broken_file_is_named_without_its_contents() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("mcp_tokens")).unwrap();
        fs::write(directory.path().join("mcp_tokens/far.json"), "s3cret").unwrap();
        let error = McpTokens::open(directory.path()).tokens("far").await.unwrap_err();
        assert!(error.detail().ends_with("far.json` is no JSON; delete it and sign in again"), "{}", error.chain());
        assert!(!error.chain().contains("s3cret"));
    }
}
