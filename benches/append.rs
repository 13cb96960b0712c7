//! How much a second is kept durably for 1, 8 and 64 callers at once: turns, runs of five steps that end at once, and chats, which are runs of
//! two rows whose last one brings a turn; turns and chats with a model call each. Then how fast 10,000 open runs are claimed.
//! `cargo bench --bench append`

use std::sync::Arc;
use std::time::{Duration, Instant};

use synapse::clock;
use synapse::error::Result;
use synapse::store::{Append, FIRST_EPOCH, ModelCall, NewRun, NewTurn, Outcome, PinnedDefinition, RunFacts, RunRow, RunStatus, Store};

/// How long each number of callers is measured.
const TIME: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<()> {
    // Beside the build, because the directory for temporary files is often no disk.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(synapse::error::Error::internal)?;
    let store = Store::open(directory.path()).await?;
    for work in [Work::Turns, Work::TurnsAfterHistory, Work::Runs, Work::Chats] {
        for callers in [1, 8, 64] {
            measure(&store, callers, work).await?;
        }
    }
    claim().await
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
enum Work {
    Turns,
    TurnsAfterHistory,
    Runs,
    Chats,
}

async fn measure(store: &Store, callers: usize, work: Work) -> Result<()> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers).map(|caller| tokio::spawn(call(store.clone(), caller, work, start + TIME))).collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.map_err(synapse::error::Error::internal)??);
    }
    waits.sort_unstable();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    let rate = waits.len() as f64 / start.elapsed().as_secs_f64();
    println!("{:<17} {callers:>3} callers {rate:>8.0}/s, p50 {:?}, p99 {:?}", format!("{work:?}"), at(50), at(99));
    Ok(())
}

/// Does it again and again, a hundred turns in each session, and returns how long each took.
async fn call(store: Store, caller: usize, work: Work, end: Instant) -> Result<Vec<Duration>> {
    let mut waits = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        let session_id = format!("{caller}-{work:?}-{}", waits.len() / 100);
        if matches!(work, Work::TurnsAfterHistory) {
            store.sessions().recent(&session_id, "assistant", 200).await?;
        }
        match work {
            Work::Turns | Work::TurnsAfterHistory => {
                store.model_calls().record(model_call(&session_id));
                store.sessions().append(turn(session_id)).await?;
            }
            Work::Runs => drop(store.runs().create(run(RunStatus::Completed, 5)).await?),
            Work::Chats => chat(&store, session_id).await?,
        }
        waits.push(start.elapsed());
    }
    Ok(waits)
}

async fn chat(store: &Store, session_id: String) -> Result<()> {
    let chat = NewRun { orchestration_id: None, agent_id: Some("assistant".to_owned()), ..run(RunStatus::Running, 1) };
    let (run_id, facts) = (chat.run_id.clone(), RunFacts { status: RunStatus::Completed, ended_at: Some(clock::now()), ..chat.facts });
    store.runs().create(chat).await?;
    store.model_calls().record(model_call(&session_id));
    let row = RunRow { number: 2, first_event: 3, ..row(1) };
    let append = Append { run_id, epoch: FIRST_EPOCH, row, facts, progress: true, repeat: None, turn: Some(turn(session_id)) };
    store.runs().append(append).await.map(drop)
}

/// Measures how fast the next process takes over what was going on.
async fn claim() -> Result<()> {
    const OPEN: usize = 10_000;
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(synapse::error::Error::internal)?;
    let runs = Store::open(directory.path()).await?.runs();
    let new = (0..OPEN).map(|_| runs.create(run(RunStatus::Running, 3)));
    futures_util::future::try_join_all(new).await?;
    drop(runs);
    let start = Instant::now();
    let runs = Store::open(directory.path()).await?.runs();
    let mut claimed = 0;
    loop {
        let some = runs.claim(500).await?;
        if some.is_empty() {
            break;
        }
        for run in &some {
            claimed += runs.rows(&run.run_id, 0, 100).await?.len();
        }
    }
    println!("{claimed} open runs claimed and read in {:?}", start.elapsed());
    Ok(())
}

fn run(status: RunStatus, steps: usize) -> NewRun {
    let now = clock::now();
    let facts =
        RunFacts { status, wake_at: None, ended_at: status.has_ended().then_some(now), cost: 0.0, input_tokens: 0, output_tokens: 0 };
    NewRun {
        run_id: format!("run_{}", clock::ordered_id().simple()),
        orchestration_id: Some("pipeline".to_owned()),
        agent_id: None,
        session_id: None,
        name: "Pipeline".to_owned(),
        definition: Some(Arc::new(PinnedDefinition { hash: [7; 32], body: r#"{"id":"pipeline"}"#.repeat(200).into() })),
        principal: "key".to_owned(),
        created_at: now,
        background: false,
        facts,
        row: row(steps),
        repeat: None,
        turn: None,
    }
}

fn row(steps: usize) -> RunRow {
    let record = r#"{"type":"step_finished","step":"clean","attempt":1,"output":{"title":"Tide table","lines":12},"at":1795000000000}"#;
    RunRow { number: 1, first_event: 1, events: 2, body: format!("[{}]", vec![record; steps * 2].join(",")) }
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
