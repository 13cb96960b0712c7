//! Sessions: whole conversations, kept until they are deleted. Each agent of a session has a conversation of its own.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};

use super::Store;
use super::page::{Cursor, SessionPage, fill};
use super::sqlite::{count, failed, number, time};
use super::writer::{Change, Nothing, Writer};
use crate::clock;
use crate::error::Result;

/// Characters of text that count as one token.
const CHARACTERS_PER_TOKEN: usize = 4;

/// Tokens that an image counts as.
const TOKENS_PER_IMAGE: usize = 1000;

/// Bytes of an image's base64 that count as one token more, so that a budget bounds the memory too.
const IMAGE_BYTES_PER_TOKEN: usize = 4096;

/// An image of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The media type, for example `image/png`.
    pub media_type: String,
    /// The bytes in standard base64.
    pub base64: Arc<str>,
}

/// A turn to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTurn {
    /// The session.
    pub session_id: String,
    /// The agent that answered.
    pub agent_id: String,
    /// Its name at that time.
    pub agent_name: String,
    /// The question.
    pub user: String,
    /// The images of the question.
    pub images: Vec<Image>,
    /// The answer.
    pub assistant: String,
    /// The model that answered.
    pub model: String,
    /// Tokens that the model read.
    pub input_tokens: u64,
    /// Tokens that the model wrote.
    pub output_tokens: u64,
}

impl NewTurn {
    /// Estimates the tokens that the turn takes when it is told to a model again.
    fn weight(&self) -> i64 {
        let characters = self.user.chars().count() + self.assistant.chars().count();
        let images: usize = self.images.iter().map(|image| TOKENS_PER_IMAGE + image.base64.len() / IMAGE_BYTES_PER_TOKEN).sum();
        i64::try_from(characters.div_ceil(CHARACTERS_PER_TOKEN) + images).unwrap_or(i64::MAX)
    }

    /// Writes the images as they are kept.
    fn images_json(&self) -> Option<String> {
        if self.images.is_empty() { None } else { serde_json::to_string(&self.images).ok() }
    }
}

/// A turn that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Its place in the conversation, from 1.
    pub number: u64,
    /// When it was kept.
    pub created_at: Timestamp,
    /// The question.
    pub user: String,
    /// The images of the question.
    pub images: Vec<Image>,
    /// The answer.
    pub assistant: String,
    /// The model that answered.
    pub model: String,
    /// Tokens that the model read.
    pub input_tokens: u64,
    /// Tokens that the model wrote.
    pub output_tokens: u64,
}

impl Turn {
    /// Returns about how many bytes the turn takes in an answer.
    fn bytes(&self) -> usize {
        let images: usize = self.images.iter().map(|image| image.base64.len()).sum();
        self.user.len() + self.assistant.len() + images
    }
}

/// A conversation without its turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSummary {
    conversation: i64,
    /// The session.
    pub session_id: String,
    /// The agent.
    pub agent_id: String,
    /// The agent's name at the newest turn.
    pub agent_name: String,
    /// How many turns there are.
    pub turns: u64,
    /// When the first turn was kept.
    pub created_at: Timestamp,
    /// When the newest turn was kept.
    pub updated_at: Timestamp,
}

/// Deletes the conversations of a session, or only that with one agent.
struct Deletion {
    session_id: String,
    agent_id: Option<String>,
}

/// All sessions. Clones share them.
#[derive(Debug, Clone)]
pub struct Sessions {
    pub(super) writer: Writer,
    pub(super) readers: SqlitePool,
}

impl Sessions {
    /// Opens the sessions of a data directory, which the caller has to itself.
    pub async fn open(data_dir: &Path) -> Result<Self> {
        Ok(Store::open(data_dir).await?.sessions())
    }

    /// Adds a turn. When it returns, the turn survives a power loss. It is kept even if the caller leaves meanwhile.
    pub async fn append(&self, turn: NewTurn) -> Result<()> {
        self.writer.write(turn).await
    }

    /// Returns the newest turns that fit into the budget together, oldest first. It reads no others.
    pub async fn recent(&self, session_id: &str, agent_id: &str, budget_tokens: u64) -> Result<Vec<Turn>> {
        let rows = sqlx::query(
            "WITH RECURSIVE fitting (conversation, number, total) AS (
                 SELECT conversation, number, weight FROM conversations JOIN turns ON conversation = id AND number = turns
                 WHERE session_id = ?1 AND agent_id = ?2 AND weight <= ?3
                 UNION ALL
                 SELECT older.conversation, older.number, total + older.weight
                 FROM fitting JOIN turns AS older ON older.conversation = fitting.conversation AND older.number = fitting.number - 1
                 WHERE total + older.weight <= ?3)
             SELECT turns.* FROM fitting JOIN turns USING (conversation, number) ORDER BY number",
        )
        .bind(session_id)
        .bind(agent_id)
        .bind(number(budget_tokens))
        .fetch_all(&self.readers)
        .await;
        rows.and_then(|rows| rows.iter().map(turn).collect()).map_err(failed)
    }

    /// Lists conversations, the one with the newest turn first: at most `limit` of those after `after`.
    pub async fn list(&self, agent_id: Option<&str>, after: Option<Cursor>, limit: u32) -> Result<SessionPage> {
        let after = after.unwrap_or(Cursor { time: i64::MAX, id: i64::MAX });
        let list = match agent_id {
            None => {
                "SELECT * FROM conversations WHERE ?1 IS NULL AND (updated_at, id) < (?2, ?3)
                 ORDER BY updated_at DESC, id DESC LIMIT ?4"
            }
            Some(_) => {
                "SELECT * FROM conversations WHERE agent_id = ?1 AND (updated_at, id) < (?2, ?3)
                 ORDER BY updated_at DESC, id DESC LIMIT ?4"
            }
        };
        let one_more = i64::from(limit) + 1; // tells whether there is a next page
        let rows = sqlx::query(list).bind(agent_id).bind(after.time).bind(after.id).bind(one_more);
        let rows = rows.fetch_all(&self.readers).await.map_err(failed)?;
        let more = rows.len() > limit as usize;
        let sessions: Vec<_> = rows.iter().take(limit as usize).map(summary).collect::<Result<_, _>>().map_err(failed)?;
        let next = sessions.last().filter(|_| more).map(SessionSummary::cursor);
        Ok(SessionPage { sessions, next })
    }

    /// Returns the conversation of a session with an agent, or with the agent that answered last.
    pub async fn get(&self, session_id: &str, agent_id: Option<&str>) -> Result<Option<SessionSummary>> {
        let row = sqlx::query(
            "SELECT * FROM conversations WHERE session_id = ?1 AND (?2 IS NULL OR agent_id = ?2)
             ORDER BY updated_at DESC, id DESC LIMIT 1",
        )
        .bind(session_id)
        .bind(agent_id)
        .fetch_optional(&self.readers)
        .await;
        row.and_then(|row| row.as_ref().map(summary).transpose()).map_err(failed)
    }

    /// Returns at most `limit` turns of a conversation, beginning with the one after number `after`, oldest first. A page ends early once it holds
    /// [`PAGE_BYTES`](super::PAGE_BYTES), and has one turn at least.
    pub async fn turns(&self, session: &SessionSummary, after: u64, limit: u32) -> Result<Vec<Turn>> {
        let rows = sqlx::query("SELECT * FROM turns WHERE conversation = ? AND number > ? ORDER BY number LIMIT ?")
            .bind(session.conversation)
            .bind(number(after))
            .bind(limit)
            .fetch(&self.readers);
        fill(rows, turn, Turn::bytes).await
    }

    /// Deletes the conversations of a session, or only that with one agent, and tells whether there was any.
    pub async fn delete(&self, session_id: &str, agent_id: Option<&str>) -> Result<bool> {
        let deletion = Deletion { session_id: session_id.to_owned(), agent_id: agent_id.map(str::to_owned) };
        Ok(self.writer.write(deletion).await? > 0)
    }

    /// Waits until everything is durable that was handed over before, that of callers who left included.
    pub async fn flush(&self) -> Result<()> {
        self.writer.write(Nothing).await
    }
}

impl Change for NewTurn {
    type Answer = ();

    async fn make(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO conversations (session_id, agent_id, agent_name, turns, created_at, updated_at) VALUES (?1, ?2, ?3, 1, ?4, ?4)
             ON CONFLICT (session_id, agent_id) DO UPDATE SET agent_name = ?3, turns = turns + 1, updated_at = max(updated_at, ?4);
             INSERT INTO turns (conversation, number, created_at, weight, model, input_tokens, output_tokens, question, answer, images)
             SELECT id, turns, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 FROM conversations WHERE session_id = ?1 AND agent_id = ?2",
        )
        .bind(&self.session_id)
        .bind(&self.agent_id)
        .bind(&self.agent_name)
        .bind(clock::now().as_millisecond())
        .bind(self.weight())
        .bind(&self.model)
        .bind(number(self.input_tokens))
        .bind(number(self.output_tokens))
        .bind(&self.user)
        .bind(&self.assistant)
        .bind(self.images_json())
        .execute(connection)
        .await
        .map(drop)
    }
}

impl Change for Deletion {
    /// How many there were.
    type Answer = u64;

    async fn make(&self, connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        let deleted = sqlx::query("DELETE FROM conversations WHERE session_id = ?1 AND (?2 IS NULL OR agent_id = ?2)");
        Ok(deleted.bind(&self.session_id).bind(&self.agent_id).execute(connection).await?.rows_affected())
    }
}

impl SessionSummary {
    /// Returns the place after this conversation in the list.
    fn cursor(&self) -> Cursor {
        Cursor { time: self.updated_at.as_millisecond(), id: self.conversation }
    }
}

fn summary(row: &SqliteRow) -> Result<SessionSummary, sqlx::Error> {
    Ok(SessionSummary {
        conversation: row.try_get("id")?,
        session_id: row.try_get("session_id")?,
        agent_id: row.try_get("agent_id")?,
        agent_name: row.try_get("agent_name")?,
        turns: count(row, "turns")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

fn turn(row: &SqliteRow) -> Result<Turn, sqlx::Error> {
    let images: Option<&str> = row.try_get("images")?;
    let images = images.map_or_else(|| Ok(Vec::new()), serde_json::from_str);
    Ok(Turn {
        number: count(row, "number")?,
        created_at: time(row, "created_at")?,
        user: row.try_get("question")?,
        images: images.map_err(|error| sqlx::Error::Decode(error.into()))?,
        assistant: row.try_get("answer")?,
        model: row.try_get("model")?,
        input_tokens: count(row, "input_tokens")?,
        output_tokens: count(row, "output_tokens")?,
    })
}
