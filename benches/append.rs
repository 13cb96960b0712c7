//! How many turns a second are kept durably, each with a model call recorded, for 1, 8 and 64 callers at once: `cargo bench --bench append`.

use std::time::{Duration, Instant};

use synapse::clock;
use synapse::error::Result;
use synapse::store::{ModelCall, NewTurn, Outcome, Store};

/// How long each number of callers is measured.
const TIME: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<()> {
    // Beside the build, because the directory for temporary files is often no disk.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(synapse::error::Error::internal)?;
    let store = Store::open(directory.path()).await?;
    for callers in [1, 8, 64] {
        for read_first in [false, true] {
            measure(&store, callers, read_first).await?;
        }
    }
    Ok(())
}

async fn measure(store: &Store, callers: usize, read_first: bool) -> Result<()> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers).map(|caller| tokio::spawn(chat(store.clone(), caller, read_first, start + TIME))).collect();
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
async fn chat(store: Store, caller: usize, read_first: bool, end: Instant) -> Result<Vec<Duration>> {
    let (sessions, model_calls) = (store.sessions(), store.model_calls());
    let mut waits = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        let session_id = format!("{caller}-{read_first}-{}", waits.len() / 100);
        if read_first {
            sessions.recent(&session_id, "assistant", 200).await?;
        }
        model_calls.record(model_call(&session_id));
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

fn model_call(session_id: &str) -> ModelCall {
    ModelCall {
        created_at: clock::now(),
        agent_id: "assistant".to_owned(),
        session_id: session_id.to_owned(),
        model: "scripted.echo".to_owned(),
        provider: "scripted".to_owned(),
        input_tokens: 120,
        output_tokens: 60,
        cached_tokens: 0,
        cost: Some(0.000_72),
        latency: 850,
        outcome: Outcome::Answered,
    }
}
