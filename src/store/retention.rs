//! What is kept for some time only: model calls and finished runs go when the settings want them no longer, and the disk gets their room.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::SqliteConnection;
use tokio_util::sync::CancellationToken;

use super::Store;
use super::definitions::DefinitionFiles;
use super::sqlite::failed;
use super::writer::Change;
use crate::clock;
use crate::definition::Settings;
use crate::error::Result;

/// How many days model calls are kept, unless `usage_retention_days` says otherwise.
const USAGE_DAYS: u64 = 400;

/// How many days finished runs are kept, unless `run_retention_days` says otherwise.
const RUN_DAYS: u64 = 30;

/// How many finished runs are kept, unless `run_retention_count` says otherwise.
const RUN_COUNT: u64 = 100_000;

/// How often it is looked for what is too old.
const EVERY: Duration = Duration::from_hours(1);

/// The most runs that are deleted at once, so that nobody waits long for it.
const RUNS: u32 = 200;

/// Of so many pages one may be free: new rows will want it, and moving pages has its price.
const SPARE: i64 = 10;

/// Gives some free pages (1 MiB) back to the disk.
struct Vacuum;

impl Store {
    /// Deletes, now and every hour, what is older than the settings want or more than they want, and gives its room back.
    pub async fn keep_recent(self, definitions: Arc<DefinitionFiles>, stop: CancellationToken) {
        let mut hours = tokio::time::interval(EVERY);
        while stop.run_until_cancelled(hours.tick()).await.is_some() {
            let settings = definitions.current().settings.clone();
            if let Some(Err(error)) = stop.run_until_cancelled(self.purge(&settings)).await {
                tracing::error!(cause = error.chain(), "what is too old could not be deleted: {error}");
            }
        }
    }

    async fn purge(&self, settings: &Settings) -> Result<()> {
        self.model_calls().purge(days_ago(settings.count("usage_retention_days", USAGE_DAYS))).await?;
        let before = days_ago(settings.count("run_retention_days", RUN_DAYS));
        let keep = settings.count("run_retention_count", RUN_COUNT);
        while self.runs().purge(before, keep, RUNS).await? > 0 {}
        self.vacuum().await
    }

    /// Gives free pages back, a few at a time. A database that was created before this was possible has none to give; it uses them again.
    async fn vacuum(&self) -> Result<()> {
        let (mut pages, mut free) = self.pages().await?;
        while free > pages / SPARE {
            self.writer.write(Vacuum).await?;
            let before = std::mem::replace(&mut pages, 0);
            (pages, free) = self.pages().await?;
            if pages == before {
                break;
            }
        }
        Ok(())
    }

    /// Returns how many pages the database has, and how many of them are free.
    async fn pages(&self) -> Result<(i64, i64)> {
        let pages = sqlx::query_as("SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count");
        pages.fetch_one(&self.readers).await.map_err(failed)
    }
}

impl Change for Vacuum {
    type Answer = ();

    async fn make(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("PRAGMA incremental_vacuum(256)").execute(connection).await.map(drop)
    }
}

/// Returns the beginning of time where there were not so many days.
fn days_ago(days: u64) -> Timestamp {
    let hours = i64::try_from(days.saturating_mul(24)).unwrap_or(i64::MAX).min(i64::MAX / 3600);
    clock::now().checked_sub(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MIN)
}
