//! Tool servers as `mcp_servers.json` describes them (Model Context Protocol).

use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::Problem;
use super::record::{Record, records_by};

/// The file of the tool servers, inside the data directory.
pub const MCP_SERVERS_FILE: &str = "mcp_servers.json";

/// One tool server.
#[derive(Debug, Clone, PartialEq)]
pub struct McpServer {
    /// The name; its tools are called `<name>__<tool>`.
    pub name: String,
    /// How it is reached.
    pub reach: Reach,
}

/// How a tool server is reached.
#[derive(Clone)]
pub enum Reach {
    /// A child process that speaks over its standard input and output.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// The variables that it gets besides the few that every child gets; values may be secrets.
        env: Vec<(String, String)>,
    },
    /// A service over streamable HTTP.
    Remote {
        /// The address.
        url: String,
        /// The bearer token, where one is set; without it a server may ask for OAuth.
        token: Option<SecretString>,
    },
}

impl PartialEq for Reach {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stdio { command, args, env }, Self::Stdio { command: command2, args: args2, env: env2 }) => {
                (command, args, env) == (command2, args2, env2)
            }
            (Self::Remote { url, token }, Self::Remote { url: url2, token: token2 }) => {
                url == url2 && token.as_ref().map(ExposeSecret::expose_secret) == token2.as_ref().map(ExposeSecret::expose_secret)
            }
            _ => false,
        }
    }
}

impl fmt::Debug for Reach {
    /// Shows neither arguments nor variables nor tokens: they may be secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio { command, .. } => formatter.debug_struct("Stdio").field("command", command).finish_non_exhaustive(),
            Self::Remote { url, .. } => formatter.debug_struct("Remote").field("url", url).finish_non_exhaustive(),
        }
    }
}

/// Reads tool servers; those whose `status` is `disabled` are left out. It fails only if nothing of the file can be used.
pub fn mcp_servers(text: &str) -> Result<(Vec<Arc<McpServer>>, Vec<Problem>), Problem> {
    let (servers, problems) = records_by("name", MCP_SERVERS_FILE, text, mcp_server)?;
    Ok((servers.into_iter().flatten().map(Arc::new).collect(), problems))
}

fn mcp_server(record: &mut Record) -> Option<McpServer> {
    if record.maybe_text("status").as_deref() == Some("disabled") {
        return None;
    }
    let url = record.maybe_text("url").filter(|url| !url.trim().is_empty());
    let kind = record.maybe_text("server_type").unwrap_or_else(|| if url.is_some() { "remote" } else { "stdio" }.to_owned());
    let reach = match kind.as_str() {
        "stdio" => Reach::Stdio {
            command: required(record, "command")?,
            args: record.texts("args"),
            env: record.text_map("env").into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        },
        "remote" => Reach::Remote {
            url: required(record, "url")?,
            token: record.maybe_text("token").filter(|token| !token.trim().is_empty()).map(SecretString::from),
        },
        other => {
            record.report("server_type", format!("`{other}` is unknown, so the server is left out; write `stdio` or `remote`"));
            return None;
        }
    };
    Some(McpServer { name: record.id(), reach })
}

fn required(record: &mut Record, field: &str) -> Option<String> {
    let text = record.maybe_text(field).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if text.is_none() {
        record.report(field, "is missing, so the server is left out; write a text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_a_server_are_read_and_secrets_stay_unseen() {
        let (servers, problems) = mcp_servers(
            r#"[{"name": "files", "label": "Files", "server_type": "stdio", "status": "connected", "command": "npx", "args": ["-y", "x"], "env": {"TOKEN": "s3cret"}},
                {"name": "far", "server_type": "remote", "url": "https://h/mcp", "token": "s3cret"},
                {"name": "off", "server_type": "remote", "status": "disabled"}, {"name": "short", "url": "https://h"}]"#,
        )
        .unwrap();
        assert_eq!(problems, []);
        assert_eq!(servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>(), ["files", "far", "short"]);
        assert!(!format!("{servers:?}").contains("s3cret"));
        assert!(matches!(&servers[2].reach, Reach::Remote { token: None, .. }));
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_left_out_and_named() {
        let (servers, problems) =
            mcp_servers(r#"[{"name": "a"}, {"name": "b", "server_type": "remote"}, {"name": "c", "server_type": "carrier pigeon"}]"#)
                .unwrap();
        assert_eq!(servers, []);
        assert_eq!(
            problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "`mcp_servers.json`, `a`, `command`: is missing, so the server is left out; write a text",
                "`mcp_servers.json`, `b`, `url`: is missing, so the server is left out; write a text",
                "`mcp_servers.json`, `c`, `server_type`: `carrier pigeon` is unknown, so the server is left out; write `stdio` or `remote`",
            ]
        );
    }
}
