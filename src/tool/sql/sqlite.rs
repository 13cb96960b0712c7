//! Questions to a SQLite file, which is opened for reading only.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::table::{Table, bytes_cell, number_cell, text_cell};
use super::{Question, quoted};
use crate::tool::Failure;

/// After how many steps of its machine SQLite asks whether it shall go on.
const STEPS: i32 = 10_000;

/// How long SQLite waits for a lock of another program.
const LOCK_TIME: Duration = Duration::from_secs(5);

/// What one statement may take. Nothing stops SQLite within a step, and a step takes as long as its values are;
/// the values that a statement holds at a time are as many as it has columns and calls.
const LIMITS: [(Limit, i32); 4] = [
    (Limit::SQLITE_LIMIT_LENGTH, 1 << 20),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 10_000),
    (Limit::SQLITE_LIMIT_COLUMN, 256),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
];

/// Asks a file. The thread that runs the statement keeps the turn until it is over, whether somebody waits or not.
pub(super) async fn ask(
    path: PathBuf,
    question: &Question,
    deadline: Instant,
    mut table: Table,
    turn: OwnedSemaphorePermit,
) -> Result<Table, Failure> {
    let sql = sql(question);
    let waiting = Arc::new(());
    let waits = Arc::downgrade(&waiting);
    let is_over = move || waits.strong_count() == 0 || Instant::now() >= deadline;
    let asking = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        open(&path, is_over).and_then(|connection| answer(&connection, &sql, &mut table)).map_err(|error| failed(&error))?;
        Ok(table)
    });
    let answer = asking.await;
    drop(waiting);
    answer.unwrap_or_else(|_| Err(Failure::new("the file cannot be read")))
}

fn open(path: &Path, is_over: impl FnMut() -> bool + Send + 'static) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(LOCK_TIME)?;
    connection.progress_handler(STEPS, Some(is_over))?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // Reads the schema: the limits are for statements, not for the tables that there are.
    connection.prepare("SELECT 1 FROM sqlite_schema")?;
    for (limit, value) in LIMITS {
        connection.set_limit(limit, value)?;
    }
    Ok(connection)
}

fn answer(connection: &Connection, sql: &str, table: &mut Table) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    table.columns = statement.column_names().into_iter().map(str::to_owned).collect();
    let width = table.columns.len();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let cells: rusqlite::Result<_> = (0..width).map(|position| cell(row, position)).collect();
        if !table.push(cells?) {
            break;
        }
    }
    Ok(())
}

fn sql(question: &Question) -> String {
    match question {
        Question::Query(statement) => statement.clone(),
        Question::Tables => "SELECT name, type FROM sqlite_schema \
             WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
            .to_owned(),
        Question::Columns(table) => format!(
            "SELECT name, type, \"notnull\" = 0 AS nullable, dflt_value AS \"default\", pk > 0 AS primary_key FROM pragma_table_xinfo({})",
            quoted(table)
        ),
    }
}

fn cell(row: &Row, position: usize) -> rusqlite::Result<Value> {
    Ok(match row.get_ref(position)? {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number_cell(number),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).map_or_else(|_| "(no UTF-8)".into(), text_cell),
        ValueRef::Blob(bytes) => bytes_cell(bytes.len()),
    })
}

/// Tells what a model can act on.
fn failed(error: &rusqlite::Error) -> Failure {
    use ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, OperationInterrupted, OutOfMemory, TooBig};
    Failure::new(match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked) => "another program holds the file; try again".to_owned(),
        Some(OutOfMemory | TooBig) => "the statement or a value is too large; ask for less".to_owned(),
        Some(OperationInterrupted) => "the statement takes too long; ask for less".to_owned(),
        Some(CannotOpen) => "the file does not exist or cannot be opened; correct its path in `db_configs.json`".to_owned(),
        Some(_) => error.to_string(),
        None => "the file cannot be read".to_owned(),
    })
}
