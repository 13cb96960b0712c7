//! The command line of Synapse.

use std::process::ExitCode;

use clap::Parser;
use synapse::command::{Command, run};

/// Streams leave many buffers of odd sizes behind; this allocator gives them back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs AI agents and orchestrations for other programs, over gRPC and REST alike.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("synapse: {error}");
            ExitCode::FAILURE
        }
    }
}
