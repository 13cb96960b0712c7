//! The database of a data directory, opened once: what it keeps shares the connection that writes and those that read.

use std::path::Path;

use sqlx::sqlite::SqlitePool;

use super::model_calls::ModelCalls;
use super::sessions::Sessions;
use super::sqlite::{open_readers, open_writer};
use super::writer::Writer;
use crate::error::Result;

/// Everything that the database keeps. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Writer,
    readers: SqlitePool,
}

impl Store {
    /// Opens the database of a data directory, which the caller has to itself.
    pub async fn open(data_dir: &Path) -> Result<Self> {
        let writer = Writer::start(open_writer(data_dir).await?);
        Ok(Self { writer, readers: open_readers(data_dir) })
    }

    /// Returns the sessions.
    pub fn sessions(&self) -> Sessions {
        Sessions { writer: self.writer.clone(), readers: self.readers.clone() }
    }

    /// Returns the model calls.
    pub fn model_calls(&self) -> ModelCalls {
        ModelCalls { writer: self.writer.clone(), readers: self.readers.clone() }
    }
}
