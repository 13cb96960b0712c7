//! `synapse tools sign-in`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::Failure;
use crate::config::Config;
use crate::definition::McpServer;
use crate::store::{DefinitionFiles, McpTokens, create_data_dir};
use crate::tool::mcp;

/// Where to sign in.
#[derive(Debug, Args)]
pub struct SignIn {
    /// The name of the server in `mcp_servers.json`.
    server: String,
    /// The rights to ask for, with blanks between; the default is what the server names.
    #[arg(long, default_value = "")]
    scope: String,
}

/// Signs in at a tool server.
pub(super) async fn sign_in(arguments: &SignIn, config: &Config) -> Result<ExitCode, Failure> {
    let name = &arguments.server;
    create_data_dir(&config.data_dir)?;
    let server = find(name, config)?;
    let show = |address: &str| println!("Open this address in a browser on this machine and sign in:\n\n{address}\n");
    let scopes: Vec<_> = arguments.scope.split_whitespace().map(str::to_owned).collect();
    mcp::sign_in(&server, &McpTokens::open(&config.data_dir), &scopes, show).await?;
    println!("Signed in at `{name}`. A running server uses its tools within a minute.");
    Ok(ExitCode::SUCCESS)
}

fn find(name: &str, config: &Config) -> Result<Arc<McpServer>, Failure> {
    let files = DefinitionFiles::open(&config.data_dir, &config.settings)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let definitions = files.current();
    let found = definitions.mcp_servers.iter().find(|server| server.name == name);
    Ok(found.cloned().ok_or_else(|| format!("tool server `{name}` is not in `mcp_servers.json`, or is disabled there"))?)
}
