//! `synapse tools`.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, import, sign_in};
use crate::config::Config;

/// What can be done with tools. A running server sees a change within seconds.
#[derive(Debug, Subcommand)]
pub enum ToolCommand {
    /// Makes an HTTP tool of every operation of an OpenAPI document.
    Import(import::Import),
    /// Signs in at a tool server that asks for it, in a browser.
    SignIn(sign_in::SignIn),
}

/// Works on tools.
pub(super) async fn tools(command: ToolCommand, config: &Config) -> Result<ExitCode, Failure> {
    match command {
        ToolCommand::Import(arguments) => import::import(arguments, config),
        ToolCommand::SignIn(arguments) => sign_in::sign_in(&arguments, config).await,
    }
}
