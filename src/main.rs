//! The command line of Synapse.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use synapse::command::{Command, run};
use synapse::python::Launch;

/// Streams leave many buffers of odd sizes behind; this allocator gives them back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs AI agents and orchestrations for other programs, over gRPC and REST alike.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    start: Start,
}

#[derive(Subcommand)]
enum Start {
    #[command(flatten)]
    Command(Command),
    /// Confines itself and becomes a Python interpreter; the server starts it.
    #[command(hide = true)]
    PythonWorker(Launch),
}

fn main() -> ExitCode {
    match Arguments::parse().start {
        Start::Command(command) => perform(command),
        // Without a runtime, whose threads would want more memory than the launcher leaves.
        Start::PythonWorker(launch) => launch.become_python(),
    }
}

#[tokio::main]
async fn perform(command: Command) -> ExitCode {
    match run(command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("synapse: {error}");
            ExitCode::FAILURE
        }
    }
}
