//! `synapse model`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Subcommand;

use super::Failure;
use crate::config::Config;
use crate::provider::weights::{self, Progress};

/// What can be done with the local model.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Fetches the weights and verifies them.
    Fetch,
}

/// Works on the model directory.
pub(super) async fn model(command: ModelCommand, config: &Config) -> Result<ExitCode, Failure> {
    match command {
        ModelCommand::Fetch => fetch(config).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Fetches the weights and shows how far it is.
pub(super) async fn fetch(config: &Config) -> Result<(), Failure> {
    let mut shown = 0;
    let path = weights::fetch(&config.model_dir, config.model_url.as_deref(), |progress| show(progress, &mut shown)).await?;
    eprintln!("the local model is in `{}`", path.display());
    Ok(())
}

/// Fetches the weights while the server serves already.
pub(super) async fn fetch_in_background(config: Config) {
    if let Err(error) = fetch(&config).await {
        eprintln!("the local model could not be fetched: {error}");
    }
}

/// Prints a line for every tenth, or one that moves where a person watches.
fn show(progress: Progress, shown: &mut u64) {
    let Progress { source, done, total } = progress;
    let tenth = done * 10 / total.max(1);
    let megabytes = |bytes: u64| bytes / 1_000_000;
    if std::io::stderr().is_terminal() {
        eprint!("\rfetching the local model from {source}: {} of {} MB", megabytes(done), megabytes(total));
        if done >= total {
            eprintln!();
        }
        let _ = std::io::stderr().flush();
    } else if tenth >= *shown {
        eprintln!("fetching the local model from {source}: {} of {} MB", megabytes(done), megabytes(total));
        *shown = tenth + 1;
    }
}
