//! The one task that writes to the database. It takes all that waits at once and commits it together, because the
//! wait for the disk is what costs: one wait serves everybody.

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use super::sessions::NewTurn;
use super::sqlite::failed;
use crate::clock;
use crate::error::{Error, Reason, Result};

/// Commands that may wait; more callers wait for room.
const QUEUE: usize = 1024;

/// The most commands in one transaction.
const GROUP: usize = 256;

/// What can be written.
pub(super) enum Change {
    /// Adds a turn to its conversation.
    Append(NewTurn),
    /// Deletes the conversations of a session, or only that with one agent.
    Delete { session_id: String, agent_id: Option<String> },
}

struct Command {
    change: Change,
    answer: oneshot::Sender<Result<u64>>,
}

/// Hands changes to the task that writes. When the last clone is dropped, the task commits what waits and ends.
#[derive(Debug, Clone)]
pub(super) struct Writer(mpsc::Sender<Command>);

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
        Self(sender)
    }

    /// Makes a change and returns, once it is durable, how many conversations it concerned.
    pub(super) async fn write(&self, change: Change) -> Result<u64> {
        let (answer, answered) = oneshot::channel();
        let stopped = || Error::new(Reason::Unavailable, "the server is stopping; try again later");
        self.0.send(Command { change, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

async fn run(mut connection: SqliteConnection, mut commands: mpsc::Receiver<Command>) {
    let mut group = Vec::with_capacity(GROUP);
    while commands.recv_many(&mut group, GROUP).await > 0 {
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
    let mut written = Vec::with_capacity(group.len());
    for command in group {
        written.push(match &command.change {
            Change::Append(turn) => append(&mut transaction, turn).await?,
            Change::Delete { session_id, agent_id } => delete(&mut transaction, session_id, agent_id.as_deref()).await?,
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

async fn append(connection: &mut SqliteConnection, turn: &NewTurn) -> Result<u64, sqlx::Error> {
    let now = clock::now().as_millisecond();
    let (conversation, number): (i64, i64) = sqlx::query_as(
        "INSERT INTO conversations (session_id, agent_id, agent_name, turns, created_at, updated_at) VALUES (?1, ?2, ?3, 1, ?4, ?4)
         ON CONFLICT (session_id, agent_id) DO UPDATE SET agent_name = ?3, turns = turns + 1, updated_at = max(updated_at, ?4)
         RETURNING id, turns",
    )
    .bind(&turn.session_id)
    .bind(&turn.agent_id)
    .bind(&turn.agent_name)
    .bind(now)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(conversation)
        .bind(number)
        .bind(now)
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

async fn delete(connection: &mut SqliteConnection, session_id: &str, agent_id: Option<&str>) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM conversations WHERE session_id = ?1 AND (?2 IS NULL OR agent_id = ?2)");
    Ok(deleted.bind(session_id).bind(agent_id).execute(connection).await?.rows_affected())
}
