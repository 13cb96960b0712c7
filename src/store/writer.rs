//! The one task that writes to the database. It takes all that waits at once and commits it together, because the
//! wait for the disk is what costs: one wait serves everybody.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::model_calls::ModelCall;
use super::sessions::NewTurn;
use super::sqlite::failed;
use crate::clock;
use crate::error::{Error, Reason, Result};

/// Commands that may wait; more callers wait for room.
const QUEUE: usize = 1024;

/// The most commands in one transaction.
const GROUP: usize = 256;

/// The most changes that nobody waits for and that wait for room in the queue; more are dropped, and the log says so.
const OVERFLOW: usize = 8192;

/// How long changes that nobody waits for may wait for one that somebody waits for.
const LINGER: Duration = Duration::from_millis(50);

/// What can be written.
pub(super) enum Change {
    /// Adds a turn to its conversation.
    Append(NewTurn),
    /// Deletes the conversations of a session, or only that with one agent.
    Delete { session_id: String, agent_id: Option<String> },
    /// Adds a model call.
    Record(ModelCall),
    /// Deletes the oldest of the model calls that ended before a time.
    Purge { before: Timestamp, most: u32 },
    /// Nothing; its answer says that everything before it is durable.
    Nothing,
}

struct Command {
    change: Change,
    answer: oneshot::Sender<Result<u64>>,
}

/// Hands changes to the task that writes. When the last clone is dropped, the task commits what waits and ends.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    commands: mpsc::Sender<Command>,
    overflow: Arc<Semaphore>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Command")
    }
}

impl Writer {
    /// Starts the task.
    pub(super) fn start(connection: SqliteConnection) -> Self {
        let (sender, commands) = mpsc::channel(QUEUE);
        tokio::spawn(run(connection, commands));
        Self { commands: sender, overflow: Arc::new(Semaphore::new(OVERFLOW)) }
    }

    /// Makes a change and returns, once it is durable, how many conversations or model calls it concerned.
    pub(super) async fn write(&self, change: Change) -> Result<u64> {
        let (answer, answered) = oneshot::channel();
        let stopped = || Error::new(Reason::Unavailable, "the server is stopping; try again later");
        self.commands.send(Command { change, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Makes a change that nobody waits for. Where the queue is full, a task waits for room.
    pub(super) fn hand_over(&self, change: Change) {
        let (answer, _) = oneshot::channel();
        let Err(TrySendError::Full(command)) = self.commands.try_send(Command { change, answer }) else { return };
        let Ok(place) = self.overflow.clone().try_acquire_owned() else {
            tracing::error!("a model call is not recorded: the disk is too slow for what waits to be written");
            return;
        };
        let commands = self.commands.clone();
        tokio::spawn(async move {
            let _place = place;
            let _ = commands.send(command).await; // the server is stopping
        });
    }
}

async fn run(mut connection: SqliteConnection, mut commands: mpsc::Receiver<Command>) {
    let mut group = Vec::with_capacity(GROUP);
    while commands.recv_many(&mut group, GROUP).await > 0 {
        if group.iter().all(|command| matches!(command.change, Change::Record(_))) {
            // The turn of these model calls follows soon, and would wait for the disk twice.
            let room = GROUP - group.len();
            let _ = timeout(LINGER, commands.recv_many(&mut group, room)).await;
        }
        let written = commit(&mut connection, &group).await;
        answer(group.drain(..), written);
    }
    if let Err(error) = connection.close().await {
        tracing::error!(%error, "closing the database failed; the next start repairs it");
    }
}

/// Makes all changes of a group durable, or none.
async fn commit(connection: &mut SqliteConnection, group: &[Command]) -> Result<Vec<u64>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let calls: Vec<_> =
        group.iter().filter_map(|command| if let Change::Record(call) = &command.change { Some(call) } else { None }).collect();
    if !calls.is_empty() {
        record(&mut transaction, &calls).await?;
    }
    let mut written = Vec::with_capacity(group.len());
    for command in group {
        written.push(match &command.change {
            Change::Append(turn) => append(&mut transaction, turn).await?,
            Change::Delete { session_id, agent_id } => delete(&mut transaction, session_id, agent_id.as_deref()).await?,
            Change::Purge { before, most } => purge(&mut transaction, *before, *most).await?,
            Change::Record(_) | Change::Nothing => 0,
        });
    }
    transaction.commit().await?;
    Ok(written)
}

/// Tells every caller of a group what became of it. A caller that left does not matter.
fn answer(group: impl Iterator<Item = Command>, written: Result<Vec<u64>, sqlx::Error>) {
    match written {
        Ok(written) => group.zip(written).for_each(|(command, count)| drop(command.answer.send(Ok(count)))),
        Err(error) => {
            let error = failed(error);
            tracing::error!(cause = ?std::error::Error::source(&error), "writing to the database failed: {error}");
            group.for_each(|command| drop(command.answer.send(Err(Error::new(error.reason(), error.detail())))));
        }
    }
}

/// Two statements in one message to the database's thread, which costs half of two.
async fn append(connection: &mut SqliteConnection, turn: &NewTurn) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "INSERT INTO conversations (session_id, agent_id, agent_name, turns, created_at, updated_at) VALUES (?1, ?2, ?3, 1, ?4, ?4)
         ON CONFLICT (session_id, agent_id) DO UPDATE SET agent_name = ?3, turns = turns + 1, updated_at = max(updated_at, ?4);
         INSERT INTO turns (conversation, number, created_at, weight, model, input_tokens, output_tokens, question, answer, images)
         SELECT id, turns, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 FROM conversations WHERE session_id = ?1 AND agent_id = ?2",
    )
    .bind(&turn.session_id)
    .bind(&turn.agent_id)
    .bind(&turn.agent_name)
    .bind(clock::now().as_millisecond())
    .bind(turn.weight())
    .bind(&turn.model)
    .bind(i64::try_from(turn.input_tokens).unwrap_or(i64::MAX))
    .bind(i64::try_from(turn.output_tokens).unwrap_or(i64::MAX))
    .bind(&turn.user)
    .bind(&turn.assistant)
    .bind(turn.images_json())
    .execute(connection)
    .await?;
    Ok(1)
}

/// All model calls of a group in one statement, because what costs is the message to the database's thread.
async fn record(connection: &mut SqliteConnection, calls: &[&ModelCall]) -> Result<(), sqlx::Error> {
    let calls = serde_json::to_string(calls).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let insert = sqlx::query(
        "INSERT INTO model_calls (created_at, agent_id, session_id, model, provider, input_tokens, output_tokens, cached_tokens, cost,
                                  latency, outcome)
         SELECT value ->> 'created_at', value ->> 'agent_id', value ->> 'session_id', value ->> 'model', value ->> 'provider',
                value ->> 'input_tokens', value ->> 'output_tokens', value ->> 'cached_tokens', value ->> 'cost',
                value ->> 'latency', value ->> 'outcome' FROM json_each(?)",
    );
    insert.bind(calls).execute(connection).await.map(drop)
}

async fn purge(connection: &mut SqliteConnection, before: Timestamp, most: u32) -> Result<u64, sqlx::Error> {
    let deleted =
        sqlx::query("DELETE FROM model_calls WHERE id IN (SELECT id FROM model_calls WHERE created_at < ? ORDER BY created_at LIMIT ?)");
    Ok(deleted.bind(before.as_millisecond()).bind(most).execute(connection).await?.rows_affected())
}

async fn delete(connection: &mut SqliteConnection, session_id: &str, agent_id: Option<&str>) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM conversations WHERE session_id = ?1 AND (?2 IS NULL OR agent_id = ?2)");
    Ok(deleted.bind(session_id).bind(agent_id).execute(connection).await?.rows_affected())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::sqlite::{open_readers, open_writer};

    fn turn(user: &str) -> Change {
        Change::Append(NewTurn {
            session_id: "s".to_owned(),
            agent_id: "a".to_owned(),
            agent_name: String::new(),
            user: user.to_owned(),
            images: Vec::new(),
            assistant: String::new(),
            model: String::new(),
            input_tokens: u64::MAX,
            output_tokens: 0,
        })
    }

    async fn kept(data_dir: &Path) -> Vec<String> {
        let readers = open_readers(data_dir);
        sqlx::query_scalar("SELECT question FROM turns ORDER BY number").fetch_all(&readers).await.unwrap()
    }

    #[tokio::test]
    async fn a_full_disk_refuses_a_turn_and_takes_the_next_that_fits() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = open_writer(directory.path()).await.unwrap();
        sqlx::raw_sql("PRAGMA max_page_count = 30").execute(&mut connection).await.unwrap();
        let writer = Writer::start(connection);
        writer.write(turn("one")).await.unwrap();
        let error = writer.write(turn(&"x".repeat(1 << 20))).await.unwrap_err();
        assert_eq!(
            (error.reason(), error.detail()),
            (Reason::Unavailable, "the disk of the data directory is full; make room and try again")
        );
        writer.write(turn("two")).await.unwrap();
        assert_eq!(kept(directory.path()).await, ["one", "two"]);
    }

    #[tokio::test]
    async fn what_waits_is_committed_together_in_order_and_before_the_task_ends() {
        let directory = tempfile::tempdir().unwrap();
        let (sender, commands) = mpsc::channel(QUEUE);
        let mut answers = Vec::new();
        for question in ["1", "2", "3"] {
            let (answer, answered) = oneshot::channel();
            sender.send(Command { change: turn(question), answer }).await.unwrap();
            answers.push(answered);
        }
        drop(answers.pop()); // a caller that leaves
        drop(sender);
        run(open_writer(directory.path()).await.unwrap(), commands).await;
        for answered in answers {
            assert_eq!(answered.await.unwrap().unwrap(), 1);
        }
        assert_eq!(kept(directory.path()).await, ["1", "2", "3"]);
    }

    #[tokio::test]
    async fn a_group_that_fails_is_kept_by_nobody_and_told_to_everybody() {
        let directory = tempfile::tempdir().unwrap();
        let (sender, commands) = mpsc::channel(QUEUE);
        let mut answers = Vec::new();
        for question in ["1".to_owned(), "x".repeat(1 << 20)] {
            let (answer, answered) = oneshot::channel();
            sender.send(Command { change: turn(&question), answer }).await.unwrap();
            answers.push(answered);
        }
        drop(sender);
        let mut connection = open_writer(directory.path()).await.unwrap();
        sqlx::raw_sql("PRAGMA max_page_count = 30").execute(&mut connection).await.unwrap();
        run(connection, commands).await;
        for answered in answers {
            assert_eq!(answered.await.unwrap().unwrap_err().reason(), Reason::Unavailable);
        }
        assert_eq!(kept(directory.path()).await, [""; 0]);
    }
}
