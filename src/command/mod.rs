//! What the operator can say on the command line.

mod ask;
mod chat;
mod check;
mod demo;
mod first_call;
mod import;
mod keys;
mod log;
mod model;
mod serve;
mod sign_in;
mod tools;

use std::process::ExitCode;

use clap::Subcommand;

use crate::config::Config;
use crate::wire::OPENAPI;

/// What went wrong, told in one line.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves until it is told to stop.
    Serve,
    /// Shows everything at once: gets the local model, serves, asks one question and goes on serving.
    Demo,
    /// Talks to a running server and prints the answer as it comes.
    Chat(chat::Chat),
    /// Makes, lists and revokes API keys.
    #[command(subcommand)]
    Keys(keys::KeyCommand),
    /// Makes tools of an OpenAPI document, and signs in at tool servers.
    #[command(subcommand)]
    Tools(tools::ToolCommand),
    /// Gets the local model.
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Reads the data directory and names every problem.
    Check,
    /// Prints the OpenAPI document.
    Openapi,
}

/// Runs a command.
pub async fn run(command: Command) -> Result<ExitCode, Failure> {
    let config = Config::from_environment().map_err(|problems| problems.join("\n"))?;
    match command {
        Command::Serve => serve::serve(config).await,
        Command::Demo => demo::demo(config).await,
        Command::Chat(chat) => chat::chat(chat, &config).await,
        Command::Keys(command) => keys::keys(command, &config).await,
        Command::Tools(command) => tools::tools(command, &config).await,
        Command::Model(command) => model::model(command, &config).await,
        Command::Check => check::check(&config).await,
        Command::Openapi => {
            print!("{OPENAPI}");
            Ok(ExitCode::SUCCESS)
        }
    }
}
