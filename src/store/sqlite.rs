//! The SQLite database of the data directory: how it is opened, brought up to date, and how it fails.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row};

use super::files::{open_private, refused};
use crate::error::{Error, Reason, Result};

/// The file of the database, inside the data directory.
const DATABASE_FILE: &str = "synapse.db";

/// Connections that read beside the one that writes.
const READERS: u32 = 2;

/// What each schema version adds to the one before; each ends by writing its number into `user_version`.
const MIGRATIONS: [&str; 3] =
    [include_str!("schema/1_sessions.sql"), include_str!("schema/2_model_calls.sql"), include_str!("schema/3_runs.sql")];

/// Opens the connection that writes. Creates the database, or brings it up to date.
pub(super) async fn open_writer(data_dir: &Path) -> Result<SqliteConnection> {
    let path = path(data_dir);
    // SQLite would let everybody read; its other files get the permissions of this one.
    open_private(&path, OpenOptions::new().create(true).truncate(false)).map_err(|error| refused(&path, error))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .auto_vacuum(SqliteAutoVacuum::Incremental) // of a new file; an older one stays as it is
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full) // what was acknowledged survives a power loss
        .pragma("wal_autocheckpoint", "4000") // pages: a batch of turns is bigger than the default expects
        .pragma("journal_size_limit", "67108864"); // bytes that the write-ahead log keeps on disk
    let mut connection = options.connect().await.map_err(failed)?;
    migrate(&mut connection).await?;
    Ok(connection)
}

/// Opens connections that only read; each connects when it is needed.
pub(super) fn open_readers(data_dir: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(path(data_dir)).read_only(true);
    // A connection to a file does not go stale, so none is tested before its use.
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options)
}

/// Tells the caller that the disk refuses, or that something is wrong here, and the log what.
pub(super) fn failed(error: sqlx::Error) -> Error {
    let detail = match code(&error) {
        Some(13) => "the disk of the data directory is full; make room and try again",
        Some(8) => "the data directory is read-only; make it writable and try again",
        Some(5 | 6) => "another program holds the database; close it and try again",
        Some(10 | 14) => "the disk of the data directory fails; look at the system's log and try again",
        _ => return Error::internal(error),
    };
    Error::new(Reason::Unavailable, detail).because(error)
}

/// Tells whether the database or its disk fails, so that every other write would fail as well.
pub(super) fn fails_all(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(5 | 6 | 8 | 10 | 11 | 14 | 26)) // busy, locked, read-only, input or output, corrupt, cannot open, no database
}

fn code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff) // the rest says more than is asked
}

/// Reads a number that is never negative.
pub(super) fn count(row: &SqliteRow, column: &str) -> Result<u64, sqlx::Error> {
    row.try_get::<i64, _>(column).map(i64::unsigned_abs)
}

/// Makes of a count what the database keeps; what is larger is cut.
pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Reads a time, which is kept in milliseconds since 1970.
pub(super) fn time(row: &SqliteRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    Timestamp::from_millisecond(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(DATABASE_FILE)
}

async fn migrate(connection: &mut SqliteConnection) -> Result<()> {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await.map_err(failed)?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    let Some(missing) = MIGRATIONS.get(done..) else {
        let detail =
            format!("`{DATABASE_FILE}` has schema version {version}, this synapse knows {}; start a newer synapse", MIGRATIONS.len());
        return Err(Error::new(Reason::FailedPrecondition, detail));
    };
    for migration in missing {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        sqlx::raw_sql(*migration).execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = open_writer(directory.path()).await.unwrap();
        sqlx::raw_sql("PRAGMA user_version = 99").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let error = open_writer(directory.path()).await.unwrap_err();
        assert_eq!((error.reason(), error.detail().contains("newer synapse")), (Reason::FailedPrecondition, true));
    }

    #[tokio::test]
    async fn opening_again_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        open_writer(directory.path()).await.unwrap().close().await.unwrap();
        let mut connection = open_writer(directory.path()).await.unwrap();
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await.unwrap();
        assert_eq!(usize::try_from(version).unwrap(), MIGRATIONS.len());
    }
}
