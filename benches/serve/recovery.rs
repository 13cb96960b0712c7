//! What a start costs that finds open runs: the time until it is ready, and the memory: `cargo bench --bench serve -- recovery`.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::program::Program;
use crate::row;
use crate::runs::{define, many};

/// Runs that wait for a person.
const PAUSED: usize = 9_000;

/// Runs that worked when the server died.
const WORKING: usize = 1_000;

/// How long after a start its memory is measured.
const SETTLED: Duration = Duration::from_secs(2);

/// Measures on a data directory whose server is killed again and again.
pub(crate) async fn measure(directory: &Path, request: impl Fn(&str, &str, &str) -> Vec<u8>) -> io::Result<()> {
    define(&directory.join("data"))?;
    let run = |id: &str, body: &str| request("POST", &format!("/api/v1/orchestrations/{id}/run"), body);
    Program::synapse(directory).await?.stop().await?;
    let server = started(directory, "no open run", "").await?;
    many(&server, &run("paused", r#"{"message": "x"}"#), PAUSED).await?;
    server.kill().await?;
    let server = started(directory, "9,000 paused runs", "rows only").await?;
    many(&server, &run("working", r#"{"message": "x", "background": true}"#), WORKING).await?;
    server.kill().await?;
    started(directory, "9,000 paused and 1,000 running runs", "under 3 s").await?.kill().await
}

/// Starts, and tells how long that took and how much memory it has.
async fn started(directory: &Path, finding: &str, goal: &str) -> io::Result<Program> {
    let server = Program::synapse(directory).await?;
    sleep(SETTLED).await;
    row(&format!("ready after a crash with {finding}"), &format!("{:.1?}, {:.1} MB", server.ready, server.memory()?), goal);
    Ok(server)
}
