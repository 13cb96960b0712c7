//! Runs in SQLite: what is read. [`changes`](super::changes) has what is written.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnection, SqliteExecutor, SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite};

use super::changes::{Claim, Owned, Purge, Release, Take};
use super::{
    Append, Appended, Created, NewRun, ROW_BYTES, Repeated, RunFacts, RunFilter, RunKind, RunPage, RunRow, RunStatus, RunStore, RunSummary,
};
use crate::error::{Error, Reason, Result};
use crate::store::page::{Cursor, fill};
use crate::store::sqlite::{count, failed, number, time};
use crate::store::writer::Writer;

/// The most rows of logs that are deleted at once, unless a single run has more, so that nobody waits long for it.
const PURGED_ROWS: u64 = 2000;

/// The runs of a database.
#[derive(Debug)]
pub(in crate::store) struct SqliteRuns {
    writer: Writer,
    readers: SqlitePool,
    owner: i64,
}

impl SqliteRuns {
    /// Makes a handle to the runs for one start of the server.
    pub(in crate::store) const fn new(writer: Writer, readers: SqlitePool, owner: i64) -> Self {
        Self { writer, readers, owner }
    }

    /// Chooses a number for this start of the server that no running run knows as its owner.
    pub(in crate::store) async fn next_owner(connection: &mut SqliteConnection) -> Result<i64> {
        let newest = sqlx::query_scalar("SELECT coalesce(max(owner), 0) + 1 FROM runs WHERE status = 'running'");
        newest.fetch_one(connection).await.map_err(failed)
    }

    const fn owned<T>(&self, change: T) -> Owned<T> {
        Owned { owner: self.owner, change }
    }

    /// Returns the place, from the oldest end, up to which runs are too old or too many.
    async fn doomed(&self, before: Timestamp, keep: u64) -> Result<Cursor> {
        let too_many =
            sqlx::query_as("SELECT ended_at, id FROM runs WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, id DESC LIMIT 1 OFFSET ?");
        let too_many: Option<(i64, i64)> = too_many.bind(number(keep)).fetch_optional(&self.readers).await.map_err(failed)?;
        let too_old = (before.as_millisecond().saturating_sub(1), i64::MAX);
        let (time, id) = too_many.map_or(too_old, |too_many| too_many.max(too_old));
        Ok(Cursor { time, id })
    }
}

#[tonic::async_trait]
impl RunStore for SqliteRuns {
    async fn create(&self, run: NewRun) -> Result<Created> {
        fits(&run.row)?;
        self.writer.write(self.owned(run)).await?
    }

    async fn append(&self, append: Append) -> Result<Appended> {
        fits(&append.row)?;
        self.writer.write(self.owned(append)).await?
    }

    async fn get(&self, run_id: &str) -> Result<Option<RunSummary>> {
        let row = sqlx::query("SELECT * FROM runs WHERE run_id = ?").bind(run_id).fetch_optional(&self.readers).await;
        row.and_then(|row| row.as_ref().map(summary).transpose()).map_err(failed)
    }

    async fn rows(&self, run_id: &str, after: u64, limit: u32) -> Result<Vec<RunRow>> {
        let rows =
            sqlx::query("SELECT * FROM run_rows WHERE run = (SELECT id FROM runs WHERE run_id = ?) AND number > ? ORDER BY number LIMIT ?");
        fill(rows.bind(run_id).bind(number(after)).bind(limit).fetch(&self.readers), run_row, |row| row.body.len()).await
    }

    async fn definition(&self, hash: &[u8; 32]) -> Result<Option<Arc<str>>> {
        let body = sqlx::query_scalar("SELECT body FROM definitions WHERE hash = ?").bind(&hash[..]);
        let body: Option<String> = body.fetch_optional(&self.readers).await.map_err(failed)?;
        Ok(body.map(Arc::from))
    }

    async fn repeated(&self, principal: &str, key: &str, fingerprint: &[u8; 32]) -> Result<Option<Repeated>> {
        repeated(&self.readers, principal, key, fingerprint).await.map_err(failed)?.transpose()
    }

    async fn list(&self, filter: RunFilter<'_>, after: Option<Cursor>, limit: u32) -> Result<RunPage> {
        let mut query = filter.query("SELECT * FROM runs", after, limit);
        let rows = query.build().fetch_all(&self.readers).await.map_err(failed)?;
        let (more, rows) = (rows.len() > limit as usize, &rows[..rows.len().min(limit as usize)]);
        let next = rows.last().filter(|_| more).map(cursor).transpose().map_err(failed)?;
        Ok(RunPage { runs: rows.iter().map(summary).collect::<Result<_, _>>().map_err(failed)?, next })
    }

    async fn claim(&self, limit: u32) -> Result<Vec<RunSummary>> {
        self.writer.write(self.owned(Claim { limit })).await
    }

    async fn take(&self, run_id: &str) -> Result<Option<RunSummary>> {
        self.writer.write(self.owned(Take { run_id: run_id.to_owned() })).await
    }

    async fn release_all(&self) -> Result<()> {
        self.writer.write(Release).await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<String>> {
        let due = sqlx::query_scalar("SELECT run_id FROM runs WHERE status = 'paused' AND wake_at <= ? ORDER BY wake_at LIMIT ?");
        due.bind(now.as_millisecond()).bind(limit).fetch_all(&self.readers).await.map_err(failed)
    }

    async fn next_wake(&self) -> Result<Option<Timestamp>> {
        let next = sqlx::query("SELECT min(wake_at) AS wake_at FROM runs WHERE status = 'paused' AND wake_at IS NOT NULL");
        next.fetch_one(&self.readers).await.and_then(|row| optional_time(&row, "wake_at")).map_err(failed)
    }

    async fn purge(&self, before: Timestamp, keep: u64, most: u32) -> Result<u64> {
        let end = self.doomed(before, keep).await?;
        let oldest = sqlx::query_as(
            "SELECT id, rows FROM runs WHERE ended_at IS NOT NULL AND (ended_at, id) <= (?, ?) ORDER BY ended_at, id LIMIT ?",
        );
        let oldest: Vec<(i64, i64)> = oldest.bind(end.time).bind(end.id).bind(most).fetch_all(&self.readers).await.map_err(failed)?;
        let mut rows = 0;
        let few = oldest.iter().take_while(|(_, more)| (rows == 0, rows += more.unsigned_abs()).0 || rows <= PURGED_ROWS);
        let runs: Vec<_> = few.map(|(run, _)| *run).collect();
        if runs.is_empty() { Ok(0) } else { self.writer.write(Purge { runs, ended_by: end.time }).await }
    }
}

impl RunFilter<'_> {
    /// Asks for one run more than a page holds, which tells whether there is a next page.
    fn query(self, select: &'static str, after: Option<Cursor>, limit: u32) -> QueryBuilder<Sqlite> {
        let mut query = QueryBuilder::new(select);
        self.choose(query.push(" WHERE TRUE"));
        if let Some(after) = after {
            query.push(" AND (created_at, id) < (").push_bind(after.time).push(", ").push_bind(after.id).push(")");
        }
        query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(i64::from(limit) + 1);
        query
    }

    /// Adds the conditions that are asked for, and no others, so that the index of each is used.
    fn choose(self, query: &mut QueryBuilder<Sqlite>) {
        if let Some(orchestration) = self.orchestration_id {
            query.push(" AND orchestration_id = ").push_bind(orchestration.to_owned());
        }
        if let Some(agent) = self.agent_id {
            query.push(" AND agent_id = ").push_bind(agent.to_owned());
        }
        if let Some(status) = self.status {
            query.push(" AND status = ").push_bind(status.as_str());
        }
        match self.kind {
            Some(RunKind::Chat) => drop(query.push(" AND orchestration_id IS NULL")),
            Some(RunKind::Orchestration) => drop(query.push(" AND orchestration_id IS NOT NULL")),
            None => {}
        }
        if let Some(time) = self.created_after {
            query.push(" AND created_at >= ").push_bind(time.as_millisecond());
        }
        if let Some(time) = self.created_before {
            query.push(" AND created_at < ").push_bind(time.as_millisecond());
        }
    }
}

/// Looks for the answer to an earlier request with the same key; one that belongs to another request is a conflict.
pub(super) async fn repeated(
    database: impl SqliteExecutor<'_>,
    principal: &str,
    key: &str,
    fingerprint: &[u8; 32],
) -> Result<Option<Result<Repeated>>, sqlx::Error> {
    let earlier = sqlx::query_as(
        "SELECT fingerprint, run_id, after_event FROM repeats JOIN runs ON run = id WHERE repeats.principal = ? AND key = ?",
    );
    let earlier: Option<(Vec<u8>, String, i64)> = earlier.bind(principal).bind(key).fetch_optional(database).await?;
    Ok(earlier.map(|(same, run_id, after)| {
        if same != fingerprint {
            let detail = format!("the idempotency key `{key}` belongs to another request; choose a new one");
            return Err(Error::new(Reason::Conflict, detail));
        }
        Ok(Repeated { run_id, after: after.unsigned_abs() })
    }))
}

/// Reads a run.
pub(super) fn summary(row: &SqliteRow) -> Result<RunSummary, sqlx::Error> {
    let definition: Option<&[u8]> = row.try_get("definition")?;
    Ok(RunSummary {
        run_id: row.try_get("run_id")?,
        orchestration_id: row.try_get("orchestration_id")?,
        agent_id: row.try_get("agent_id")?,
        session_id: row.try_get("session_id")?,
        name: row.try_get("name")?,
        definition: definition.map(TryInto::try_into).transpose().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        principal: row.try_get("principal")?,
        created_at: time(row, "created_at")?,
        background: row.try_get("background")?,
        facts: facts(row)?,
        epoch: count(row, "epoch")?,
        crashes: row.try_get("crashes")?,
        rows: count(row, "rows")?,
        events: count(row, "events")?,
    })
}

fn facts(row: &SqliteRow) -> Result<RunFacts, sqlx::Error> {
    let status: &str = row.try_get("status")?;
    Ok(RunFacts {
        status: RunStatus::named(status).ok_or_else(|| sqlx::Error::Decode(format!("`{status}` is no status of a run").into()))?,
        wake_at: optional_time(row, "wake_at")?,
        ended_at: optional_time(row, "ended_at")?,
        cost: row.try_get("cost")?,
        input_tokens: count(row, "input_tokens")?,
        output_tokens: count(row, "output_tokens")?,
    })
}

fn run_row(row: &SqliteRow) -> Result<RunRow, sqlx::Error> {
    Ok(RunRow {
        number: count(row, "number")?,
        first_event: count(row, "first_event")?,
        events: row.try_get("events")?,
        body: row.try_get("body")?,
    })
}

/// Returns the place after a run in the list.
fn cursor(row: &SqliteRow) -> Result<Cursor, sqlx::Error> {
    Ok(Cursor { time: row.try_get("created_at")?, id: row.try_get("id")? })
}

fn optional_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    row.try_get::<Option<i64>, _>(column)?.map(|_| time(row, column)).transpose()
}

/// Refuses a row that is too large before it is in a group with others.
fn fits(row: &RunRow) -> Result<()> {
    if row.body.len() <= ROW_BYTES {
        return Ok(());
    }
    let detail = format!("a step has {} bytes to keep, and {ROW_BYTES} are the most; let it put out less", row.body.len());
    Err(Error::new(Reason::TooLarge, detail))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::store::sqlite::open_writer;

    #[rstest]
    #[case::all(RunFilter::default(), "runs_by_time")]
    #[case::orchestration(RunFilter { orchestration_id: Some("x"), ..RunFilter::default() }, "runs_of_orchestration_by_time")]
    #[case::chats(RunFilter { kind: Some(RunKind::Chat), ..RunFilter::default() }, "runs_of_orchestration_by_time")]
    #[case::orchestrations(RunFilter { kind: Some(RunKind::Orchestration), ..RunFilter::default() }, "runs_of_orchestrations_by_time")]
    #[case::agent(RunFilter { agent_id: Some("a"), ..RunFilter::default() }, "runs_of_agent_by_time")]
    #[case::status(RunFilter { status: Some(RunStatus::Failed), ..RunFilter::default() }, "runs_of_status_by_time")]
    #[case::time(RunFilter { created_before: Some(Timestamp::UNIX_EPOCH), ..RunFilter::default() }, "runs_by_time")]
    #[tokio::test]
    async fn every_list_is_read_from_an_index_in_its_order(#[case] filter: RunFilter<'_>, #[case] index: &str) {
        let directory = tempfile::tempdir().unwrap();
        let mut database = open_writer(directory.path()).await.unwrap();
        for after in [None, Some(Cursor { time: 1, id: 1 })] {
            let plan = filter.query("EXPLAIN QUERY PLAN SELECT * FROM runs", after, 10).build().fetch_all(&mut database).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            assert!(plan.len() == 1 && plan[0].contains(&format!("INDEX {index}")), "{plan:?}");
        }
    }
}
