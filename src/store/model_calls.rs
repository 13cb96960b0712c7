//! Model calls: what each took, kept for limits and reports until it is too old.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite};

use super::sqlite::{count, failed, time};
use super::writer::{Change, Writer};
use crate::error::Result;

/// The most calls that are deleted at once, so that no turn waits long for it.
const PURGE: u32 = 500;

/// The most tokens or milliseconds that are recorded of a call, so that nonsense of one provider spoils no total.
const MOST: u64 = 1 << 40;

/// A call of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelCall {
    /// When it ended, to the millisecond.
    #[serde(serialize_with = "jiff::fmt::serde::timestamp::millisecond::required::serialize")]
    pub created_at: Timestamp,
    /// The agent that asked.
    pub agent_id: String,
    /// The session in which it asked.
    pub session_id: String,
    /// The model, as the agent names it.
    pub model: String,
    /// The family of the model's provider.
    pub provider: String,
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Of the tokens read, those that came from the provider's cache.
    pub cached_tokens: u64,
    /// The price in US dollars; nothing where the model has none.
    pub cost: Option<f64>,
    /// How long it took, in milliseconds.
    pub latency: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a model call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The model answered.
    Answered,
    /// The model or its provider failed.
    Failed,
    /// The answer was not there in time.
    TimedOut,
    /// Nobody waited for the answer any more.
    Cancelled,
}

/// Which model calls somebody asks for: those to which all of this applies.
#[derive(Debug, Clone, Copy, Default)]
pub struct Calls<'a> {
    /// Those of this agent.
    pub agent_id: Option<&'a str>,
    /// Those of this session.
    pub session_id: Option<&'a str>,
    /// Those that ended at this time or later.
    pub since: Option<Timestamp>,
}

/// What model calls took together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// How many there were.
    pub calls: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Tokens read from the provider's cache.
    pub cached_tokens: u64,
    /// US dollars, of the calls that have a price.
    pub cost: f64,
    /// How many calls have no price.
    pub unpriced: u64,
}

/// Deletes the oldest of the calls that ended before a time.
struct Purge {
    before: Timestamp,
}

/// All model calls. Clones share them.
#[derive(Debug, Clone)]
pub struct ModelCalls {
    pub(super) writer: Writer,
    pub(super) readers: SqlitePool,
}

impl ModelCalls {
    /// Records a call without waiting. It is durable before any turn that is appended later, unless more waits to be written than the
    /// queue holds: then it follows as soon as there is room.
    pub fn record(&self, mut call: ModelCall) {
        for count in [&mut call.input_tokens, &mut call.output_tokens, &mut call.cached_tokens, &mut call.latency] {
            *count = (*count).min(MOST);
        }
        self.writer.hand_over(call);
    }

    /// Adds up calls.
    pub async fn total(&self, calls: Calls<'_>) -> Result<Totals> {
        let mut query = QueryBuilder::new(
            "SELECT count(*) AS calls, coalesce(sum(input_tokens), 0) AS input_tokens, coalesce(sum(output_tokens), 0) AS output_tokens,
             coalesce(sum(cached_tokens), 0) AS cached_tokens, total(cost) AS cost, count(*) - count(cost) AS unpriced FROM model_calls",
        );
        calls.choose(&mut query);
        let row = query.build().fetch_one(&self.readers).await;
        row.and_then(|row| totals(&row)).map_err(failed)
    }

    /// Lists at most `limit` calls, the newest first.
    pub async fn list(&self, calls: Calls<'_>, limit: u32) -> Result<Vec<ModelCall>> {
        let mut query = QueryBuilder::new("SELECT * FROM model_calls");
        calls.choose(&mut query);
        query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(limit);
        let rows = query.build().fetch_all(&self.readers).await;
        rows.and_then(|rows| rows.iter().map(model_call).collect()).map_err(failed)
    }

    /// Deletes the calls that ended before a time, a few at a time, and returns how many there were.
    pub async fn purge(&self, before: Timestamp) -> Result<u64> {
        let mut purged = 0;
        loop {
            let deleted = self.writer.write(Purge { before }).await?;
            purged += deleted;
            if deleted < u64::from(PURGE) {
                return Ok(purged);
            }
        }
    }
}

impl Change for Purge {
    /// How many there were.
    type Answer = u64;

    async fn make(&self, connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        let deleted = sqlx::query(
            "DELETE FROM model_calls WHERE id IN (SELECT id FROM model_calls WHERE created_at < ? ORDER BY created_at LIMIT ?)",
        );
        Ok(deleted.bind(self.before.as_millisecond()).bind(PURGE).execute(connection).await?.rows_affected())
    }
}

impl Calls<'_> {
    /// Adds the conditions that are asked for, and no others, so that the index of each is used.
    fn choose(self, query: &mut QueryBuilder<Sqlite>) {
        query.push(" WHERE TRUE");
        if let Some(agent) = self.agent_id {
            query.push(" AND agent_id = ").push_bind(agent.to_owned());
        }
        if let Some(session) = self.session_id {
            query.push(" AND session_id = ").push_bind(session.to_owned());
        }
        if let Some(since) = self.since {
            query.push(" AND created_at >= ").push_bind(since.as_millisecond());
        }
    }
}

/// Adds calls in one statement, because what costs is the message to the database's thread.
pub(super) async fn record(connection: &mut SqliteConnection, calls: &[&ModelCall]) -> Result<(), sqlx::Error> {
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

fn totals(row: &SqliteRow) -> Result<Totals, sqlx::Error> {
    Ok(Totals {
        calls: count(row, "calls")?,
        input_tokens: count(row, "input_tokens")?,
        output_tokens: count(row, "output_tokens")?,
        cached_tokens: count(row, "cached_tokens")?,
        cost: row.try_get("cost")?,
        unpriced: count(row, "unpriced")?,
    })
}

fn model_call(row: &SqliteRow) -> Result<ModelCall, sqlx::Error> {
    let outcome: String = row.try_get("outcome")?;
    Ok(ModelCall {
        created_at: time(row, "created_at")?,
        agent_id: row.try_get("agent_id")?,
        session_id: row.try_get("session_id")?,
        model: row.try_get("model")?,
        provider: row.try_get("provider")?,
        input_tokens: count(row, "input_tokens")?,
        output_tokens: count(row, "output_tokens")?,
        cached_tokens: count(row, "cached_tokens")?,
        cost: row.try_get("cost")?,
        latency: count(row, "latency")?,
        outcome: serde_json::from_value(outcome.into()).map_err(|error| sqlx::Error::Decode(error.into()))?,
    })
}
