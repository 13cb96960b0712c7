//! Runs to write, and how those in a database are looked at.

use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use synapse::store::{Append, FIRST_EPOCH, NewRun, NewTurn, Repeat, RunFacts, RunRow, RunStatus};

/// Returns a time that is so many seconds after the beginning of a test.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

/// Returns what is known of a run that stands there, and ended at the beginning of the test if it ended at all.
pub(crate) fn facts(status: RunStatus) -> RunFacts {
    let ended_at = status.has_ended().then(|| at(0));
    RunFacts { status, wake_at: None, ended_at, cost: 0.5, input_tokens: 10, output_tokens: 2 }
}

/// Returns a row of two events that continues a log of such rows.
pub(crate) fn row(number: u64) -> RunRow {
    RunRow { number, first_event: number * 2 - 1, events: 2, body: format!(r#"[{{"number":{number}}}]"#) }
}

/// Returns a chat that goes on.
pub(crate) fn run(run_id: &str) -> NewRun {
    NewRun {
        run_id: run_id.to_owned(),
        orchestration_id: None,
        agent_id: None,
        session_id: None,
        name: "A run".to_owned(),
        definition: None,
        principal: "key".to_owned(),
        created_at: at(0),
        background: false,
        facts: facts(RunStatus::Running),
        row: row(1),
        repeat: None,
        turn: None,
    }
}

/// Returns a row of a run that stands there afterwards.
pub(crate) fn append(run_id: &str, number: u64, status: RunStatus) -> Append {
    Append {
        run_id: run_id.to_owned(),
        epoch: FIRST_EPOCH,
        row: row(number),
        facts: facts(status),
        progress: false,
        repeat: None,
        turn: None,
    }
}

/// Returns the mark of a request.
pub(crate) fn mark(key: &str, fingerprint: u8) -> Repeat {
    Repeat { principal: "key".to_owned(), key: key.to_owned(), fingerprint: [fingerprint; 32], after: u64::from(fingerprint) }
}

/// Returns a turn of a session that has no other.
pub(crate) fn turn(session_id: &str) -> NewTurn {
    NewTurn {
        session_id: session_id.to_owned(),
        agent_id: "a".to_owned(),
        agent_name: "A".to_owned(),
        user: "Is it kept?".to_owned(),
        images: Vec::new(),
        assistant: "yes".to_owned(),
        model: "m".to_owned(),
        input_tokens: 1,
        output_tokens: 1,
    }
}

/// Checks that nothing in the database is broken or half written, and returns how many rows each run has. A run that has completed must have
/// a turn in the session of its name.
pub(crate) async fn sound(directory: &Path) -> HashMap<String, u64> {
    let mut database = SqliteConnectOptions::new().filename(directory.join("synapse.db")).connect().await.unwrap();
    let integrity: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut database).await.unwrap();
    assert_eq!(integrity, ["ok"]);
    let strangers = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut database).await.unwrap();
    assert!(strangers.is_empty(), "{} rows belong to nothing", strangers.len());
    let broken: Vec<String> = sqlx::query_scalar(
        "SELECT run_id FROM runs
         WHERE (rows, rows, events) IS NOT (SELECT count(*), max(number), sum(events) FROM run_rows WHERE run = id)
            OR EXISTS (SELECT 1 FROM run_rows AS row WHERE run = id
                       AND first_event <> 1 + (SELECT total(events) FROM run_rows AS old WHERE old.run = id AND old.number < row.number))
            OR (status = 'completed') <> EXISTS (SELECT 1 FROM conversations WHERE conversations.session_id = run_id AND turns = 1)",
    )
    .fetch_all(&mut database)
    .await
    .unwrap();
    assert_eq!(broken, [""; 0]);
    let rows: Vec<(String, i64)> = sqlx::query_as("SELECT run_id, rows FROM runs").fetch_all(&mut database).await.unwrap();
    database.close().await.unwrap();
    rows.into_iter().map(|(run_id, rows)| (run_id, rows.unsigned_abs())).collect()
}
