//! The database of a data directory, opened once: what it keeps shares the connection that writes and those that read.

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::SqlitePool;

use super::model_calls::ModelCalls;
use super::runs::{RunStore, SqliteRuns};
use super::sessions::Sessions;
use super::sqlite::{open_readers, open_writer};
use super::writer::Writer;
use crate::error::Result;

/// Everything that the database keeps. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) writer: Writer,
    pub(super) readers: SqlitePool,
    runs: Arc<SqliteRuns>,
}

impl Store {
    /// Opens the database of a data directory, which the caller has to itself.
    pub async fn open(data_dir: &Path) -> Result<Self> {
        let mut connection = open_writer(data_dir).await?;
        let owner = SqliteRuns::next_owner(&mut connection).await?;
        let (writer, readers) = (Writer::start(connection), open_readers(data_dir));
        let runs = Arc::new(SqliteRuns::new(writer.clone(), readers.clone(), owner));
        Ok(Self { writer, readers, runs })
    }

    /// Returns the sessions.
    pub fn sessions(&self) -> Sessions {
        Sessions { writer: self.writer.clone(), readers: self.readers.clone() }
    }

    /// Returns the model calls.
    pub fn model_calls(&self) -> ModelCalls {
        ModelCalls { writer: self.writer.clone(), readers: self.readers.clone() }
    }

    /// Returns the runs.
    pub fn runs(&self) -> Arc<dyn RunStore> {
        self.runs.clone()
    }

    /// Fails, with the sentence for callers, where the disk has refused a write and refuses another one.
    pub async fn check(&self) -> Result<()> {
        self.writer.check().await
    }
}
