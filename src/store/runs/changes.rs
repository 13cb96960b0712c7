//! Runs in SQLite: what is written. Each change is made within the transaction of the writer's group.

use std::collections::BTreeSet;

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Sqlite, query::Query};

use super::sqlite::{repeated, summary};
use super::{Append, Appended, Created, FIRST_EPOCH, NewRun, Repeat, Repeated, RunFacts, RunSummary};
use crate::error::Result;
use crate::store::sessions::NewTurn;
use crate::store::sqlite::number;
use crate::store::writer::Change;

/// A change that one start of the server makes to what belongs to it.
pub(super) struct Owned<T> {
    pub(super) owner: i64,
    pub(super) change: T,
}

/// Takes over runs that were going on when an earlier start ended.
pub(super) struct Claim {
    pub(super) limit: u32,
}

/// Takes a run that is not going on.
pub(super) struct Take {
    pub(super) run_id: String,
}

/// Gives back all runs that are going on.
pub(super) struct Release;

/// Deletes runs, unless somebody took them up again meanwhile.
pub(super) struct Purge {
    pub(super) runs: Vec<i64>,
    /// Milliseconds since 1970.
    pub(super) ended_by: i64,
}

impl Change for Owned<NewRun> {
    type Answer = Result<Created>;

    async fn make(&self, connection: &mut SqliteConnection) -> Result<Result<Created>, sqlx::Error> {
        let run = &self.change;
        if let Some(earlier) = earlier(connection, run.repeat.as_ref()).await? {
            return Ok(earlier.map(Created::Repeated));
        }
        self.insert(connection).await?;
        follow(connection, &run.run_id, run.repeat.as_ref(), run.turn.as_ref()).await?;
        Ok(Ok(Created::New))
    }
}

impl Owned<NewRun> {
    async fn insert(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let run = &self.change;
        let insert = sqlx::query(
            "INSERT INTO definitions (hash, body)
             SELECT ?11, ?12 WHERE ?11 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM definitions WHERE hash = ?11);
             INSERT INTO runs (run_id, orchestration_id, agent_id, session_id, name, definition, principal, created_at, background,
                               status, wake_at, ended_at, cost, input_tokens, output_tokens, epoch, owner, crashes, rows, events)
             VALUES (?13, ?14, ?15, ?16, ?17, ?11, ?18, ?19, ?20, ?1, ?2, ?3, ?4, ?5, ?6, ?21, ?22, 0, ?7, ?9);
             INSERT INTO run_rows (run, number, first_event, events, body) VALUES (last_insert_rowid(), ?7, ?8, ?9, ?10)",
        );
        let definition = run.definition.as_deref();
        bind(insert, &run.facts, &run.row)
            .bind(definition.map(|definition| definition.hash.to_vec()))
            .bind(definition.map(|definition| definition.body.clone()))
            .bind(&run.run_id)
            .bind(&run.orchestration_id)
            .bind(&run.agent_id)
            .bind(&run.session_id)
            .bind(&run.name)
            .bind(&run.principal)
            .bind(run.created_at.as_millisecond())
            .bind(run.background)
            .bind(number(FIRST_EPOCH))
            .bind(self.owner)
            .execute(connection)
            .await
            .map(drop)
    }
}

impl Change for Owned<Append> {
    type Answer = Result<Appended>;

    async fn make(&self, connection: &mut SqliteConnection) -> Result<Result<Appended>, sqlx::Error> {
        let append = &self.change;
        if let Some(earlier) = earlier(connection, append.repeat.as_ref()).await? {
            return Ok(earlier.map(Appended::Repeated));
        }
        if !self.insert(connection).await? {
            return Ok(Ok(Appended::Fenced));
        }
        follow(connection, &append.run_id, append.repeat.as_ref(), append.turn.as_ref()).await?;
        Ok(Ok(Appended::Done))
    }
}

impl Owned<Append> {
    /// Tells whether the run belongs to the caller and the row continues its log.
    async fn insert(&self, connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let append = &self.change;
        let insert = sqlx::query(
            "INSERT INTO run_rows (run, number, first_event, events, body) SELECT id, ?7, ?8, ?9, ?10 FROM runs
             WHERE run_id = ?11 AND epoch = ?12 AND owner = ?13 AND rows = ?7 - 1 AND events = ?8 - 1;
             UPDATE runs SET status = ?1, wake_at = ?2, ended_at = ?3, cost = ?4, input_tokens = ?5, output_tokens = ?6,
                             rows = ?7, events = events + ?9, crashes = iif(?14, 0, crashes)
             WHERE run_id = ?11 AND changes() = 1",
        );
        let inserted = bind(insert, &append.facts, &append.row)
            .bind(&append.run_id)
            .bind(number(append.epoch))
            .bind(self.owner)
            .bind(append.progress)
            .execute(connection)
            .await?;
        Ok(inserted.rows_affected() > 0)
    }
}

impl Change for Owned<Claim> {
    type Answer = Vec<RunSummary>;

    async fn make(&self, connection: &mut SqliteConnection) -> Result<Vec<RunSummary>, sqlx::Error> {
        let claim = sqlx::query(
            "UPDATE runs SET epoch = epoch + 1, crashes = crashes + (owner > 0), owner = ?1
             WHERE id IN (SELECT id FROM runs WHERE status = 'running' AND owner < ?1 LIMIT ?2) RETURNING *",
        );
        claim.bind(self.owner).bind(self.change.limit).fetch_all(connection).await?.iter().map(summary).collect()
    }
}

impl Change for Owned<Take> {
    type Answer = Option<RunSummary>;

    async fn make(&self, connection: &mut SqliteConnection) -> Result<Option<RunSummary>, sqlx::Error> {
        let take = sqlx::query("UPDATE runs SET epoch = epoch + 1, owner = ? WHERE run_id = ? AND status <> 'running' RETURNING *");
        take.bind(self.owner).bind(&self.change.run_id).fetch_optional(connection).await?.as_ref().map(summary).transpose()
    }
}

impl Change for Release {
    type Answer = ();

    async fn make(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE runs SET owner = 0 WHERE status = 'running' AND owner > 0").execute(connection).await.map(drop)
    }
}

impl Change for Purge {
    /// How many were deleted.
    type Answer = u64;

    async fn make(&self, connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        let runs = serde_json::to_string(&self.runs).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let delete =
            sqlx::query_scalar("DELETE FROM runs WHERE id IN (SELECT value FROM json_each(?)) AND ended_at <= ? RETURNING definition");
        let deleted: Vec<Option<Vec<u8>>> = delete.bind(runs).bind(self.ended_by).fetch_all(&mut *connection).await?;
        for definition in deleted.iter().flatten().collect::<BTreeSet<_>>() {
            let unused = sqlx::query("DELETE FROM definitions WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM runs WHERE definition = ?1)");
            unused.bind(definition).execute(&mut *connection).await?;
        }
        Ok(deleted.len() as u64)
    }
}

/// Binds what every new row brings: parameters 1 to 10.
fn bind<'a>(query: Query<'a, Sqlite, SqliteArguments>, facts: &RunFacts, row: &super::RunRow) -> Query<'a, Sqlite, SqliteArguments> {
    query
        .bind(facts.status.as_str())
        .bind(facts.wake_at.map(jiff::Timestamp::as_millisecond))
        .bind(facts.ended_at.map(jiff::Timestamp::as_millisecond))
        .bind(facts.cost.max(0.0)) // also where it is not a number
        .bind(number(facts.input_tokens))
        .bind(number(facts.output_tokens))
        .bind(number(row.number))
        .bind(number(row.first_event))
        .bind(row.events)
        .bind(row.body.clone())
}

/// Returns what the same request got before, if it may be repeated at all.
async fn earlier(connection: &mut SqliteConnection, repeat: Option<&Repeat>) -> Result<Option<Result<Repeated>>, sqlx::Error> {
    let Some(repeat) = repeat else { return Ok(None) };
    repeated(connection, &repeat.principal, &repeat.key, &repeat.fingerprint).await
}

/// Writes what becomes durable together with a row.
async fn follow(
    connection: &mut SqliteConnection,
    run_id: &str,
    repeat: Option<&Repeat>,
    turn: Option<&NewTurn>,
) -> Result<(), sqlx::Error> {
    if let Some(repeat) = repeat {
        let insert = sqlx::query(
            "INSERT INTO repeats (principal, key, fingerprint, after_event, run) SELECT ?, ?, ?, ?, id FROM runs WHERE run_id = ?",
        );
        let insert = insert.bind(&repeat.principal).bind(&repeat.key).bind(&repeat.fingerprint[..]).bind(number(repeat.after));
        insert.bind(run_id).execute(&mut *connection).await?;
    }
    if let Some(turn) = turn {
        turn.make(connection).await?;
    }
    Ok(())
}
