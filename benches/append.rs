//! How many turns a second are kept durably, for 1, 8 and 64 callers at once: `cargo bench --bench append`.

use std::time::{Duration, Instant};

use synapse::error::Result;
use synapse::store::{NewTurn, Sessions};

/// How long each number of callers is measured.
const TIME: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<()> {
    // Beside the build, because the directory for temporary files is often no disk.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(synapse::error::Error::internal)?;
    let sessions = Sessions::open(directory.path()).await?;
    for callers in [1, 8, 64] {
        for read_first in [false, true] {
            measure(&sessions, callers, read_first).await?;
        }
    }
    Ok(())
}

async fn measure(sessions: &Sessions, callers: usize, read_first: bool) -> Result<()> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers).map(|caller| tokio::spawn(chat(sessions.clone(), caller, read_first, start + TIME))).collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.map_err(synapse::error::Error::internal)??);
    }
    waits.sort_unstable();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    let rate = waits.len() as f64 / start.elapsed().as_secs_f64();
    println!("{callers:>3} callers, history read first: {read_first:<5} {rate:>8.0} turns/s, p50 {:?}, p99 {:?}", at(50), at(99));
    Ok(())
}

/// Keeps turn after turn, a hundred in each session, and returns how long each took.
async fn chat(sessions: Sessions, caller: usize, read_first: bool, end: Instant) -> Result<Vec<Duration>> {
    let mut waits = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        let session_id = format!("{caller}-{read_first}-{}", waits.len() / 100);
        if read_first {
            sessions.recent(&session_id, "assistant", 200).await?;
        }
        sessions.append(turn(session_id)).await?;
        waits.push(start.elapsed());
    }
    Ok(waits)
}

fn turn(session_id: String) -> NewTurn {
    NewTurn {
        session_id,
        agent_id: "assistant".to_owned(),
        agent_name: "Assistant".to_owned(),
        user: "When is high tide at the northern pier tomorrow?".to_owned(),
        images: Vec::new(),
        assistant: "High tide is at 14:05, half an hour later than today. ".repeat(4),
        model: "scripted.echo".to_owned(),
        input_tokens: 120,
        output_tokens: 60,
    }
}
