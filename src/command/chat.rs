//! `synapse chat`.

use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::ask::{Question, ask};
use crate::config::Config;

/// A question for a running server.
#[derive(Debug, Args)]
pub struct Chat {
    /// What to say.
    message: String,
    /// The agent's id or name; the first agent without it.
    #[arg(long)]
    agent: Option<String>,
    /// The session to go on with; its id is printed to standard error after each answer.
    #[arg(long)]
    session: Option<String>,
    /// The server; `SYNAPSE_URL`, otherwise this machine's, without it.
    #[arg(long)]
    url: Option<String>,
}

/// Asks and prints.
pub(super) async fn chat(chat: Chat, config: &Config) -> Result<ExitCode, Failure> {
    let key = config.api_key.as_ref().ok_or("set `SYNAPSE_API_KEY` to an API key; `synapse keys create NAME` makes one")?;
    let url = chat.url.or_else(|| config.url.clone()).unwrap_or_else(|| format!("http://127.0.0.1:{}", config.port));
    let question = Question { message: chat.message, agent: chat.agent, session_id: chat.session };
    let session_id = ask(&url, key, &question).await?;
    eprintln!("session: {session_id}");
    Ok(ExitCode::SUCCESS)
}
