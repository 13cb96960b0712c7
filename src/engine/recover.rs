//! Goes on with runs that nobody asked about: those that a restart interrupted, and those whose time is up.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::run::{Command, Loaded};
use crate::clock;
use crate::error::Result;
use crate::store::RunSummary;

/// Runs that are taken up at once.
const AT_ONCE: u32 = 200;

/// The longest that passes between two looks at the questions whose time may be up.
const LOOK: Duration = Duration::from_secs(1);

/// How long it takes until runs are claimed once more that could not be.
const AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Takes up every run that was at work when the last process ended, as soon as the disk lets it.
    pub async fn recover(self: &Arc<Self>) {
        while let Err(error) = self.take_up_all().await {
            tracing::error!(cause = error.chain(), "runs of the last process cannot be taken up; it is tried again every second");
            sleep(AGAIN).await;
        }
    }

    async fn take_up_all(self: &Arc<Self>) -> Result<()> {
        let mut runs = 0_u64;
        loop {
            let claimed = self.logs.store.claim(AT_ONCE).await?;
            if claimed.is_empty() {
                break;
            }
            for summary in claimed {
                runs += 1;
                let run_id = summary.run_id.clone();
                if let Err(error) = self.take_up(summary).await {
                    tracing::error!(run = run_id, cause = error.chain(), "the run cannot be taken up; it stays as it is");
                }
            }
        }
        if runs > 0 {
            tracing::info!(runs, "runs of the last process go on");
        }
        Ok(())
    }

    async fn take_up(self: &Arc<Self>, claimed: RunSummary) -> Result<()> {
        let log = self.logs.of(&claimed.run_id);
        let Loaded { graph, .. } = log.loaded(claimed.clone()).await?;
        let driver = self.woken(log, graph, claimed.epoch).await?;
        self.tasks.spawn(driver.recovered(claimed.crashes).drive());
        Ok(())
    }

    /// Looks at paused runs whose questions are due, until `stop`.
    pub async fn watch_the_clock(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(LOOK)).await.is_some() {
            if let Err(error) = self.look(clock::now()).await {
                tracing::error!(cause = error.chain(), "questions that are due could not be looked at");
            }
        }
    }

    async fn look(self: &Arc<Self>, now: Timestamp) -> Result<()> {
        for run_id in self.logs.store.due(now, AT_ONCE).await? {
            self.deliver(&run_id, Command::Look).await?;
        }
        Ok(())
    }
}
