//! Watching a run: what is in the log first, then what happens, without a gap between the two.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::audience::{Item, Live, News, Seat};
use super::graph::Graph;
use super::load::{Loaded, Log};
use super::record::Record;
use super::state::State;
use super::tell::{Public, tell};
use crate::error::{Error, Reason, Result};
use crate::wire::v1::Question;

/// Where watching ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Where the run waits for people, or ends.
    Rest,
    /// Where the run ends.
    End,
}

/// How watching ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Close {
    /// The run waits for answers to these questions.
    Rest(Arc<[Question]>),
    /// The run has ended.
    End,
}

/// Somebody who watches a run.
pub(crate) struct Watch {
    live: Arc<Live>,
    log: Log,
    seat: Arc<Seat>,
    until: Until,
    /// The server stops.
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The newest event that was told.
    last: u64,
    /// Whether anything was told: where a run rested before, watching does not end.
    told: bool,
    /// What is read of the log, until it is at its end.
    replay: Option<Box<Replay>>,
    close: Option<Close>,
}

/// A log that is being read.
#[derive(Default)]
struct Replay {
    graph: Arc<Graph>,
    state: State,
    row: u64,
    event: u64,
    ready: VecDeque<Item>,
}

impl Watch {
    /// Sits down in front of a run whose log is known up to event `after`. `fresh` says that nothing of it was told yet, so that
    /// the log need not be read.
    pub(crate) fn new(live: &Arc<Live>, log: Log, after: u64, until: Until, fresh: bool, stop: CancellationToken) -> Self {
        let seat = live.sit(&log.run_id);
        let replay = (!fresh).then(Box::default);
        let stop = Box::pin(stop.cancelled_owned());
        Self { live: live.clone(), log, seat, until, stop, last: after, told: false, replay, close: None }
    }

    /// Begins behind an event instead.
    #[must_use]
    pub(crate) fn from(mut self, after: u64) -> Self {
        self.last = after;
        self
    }

    /// Returns the run.
    pub(crate) fn run_id(&self) -> &str {
        &self.log.run_id
    }

    /// Returns the newest event that was told.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// Returns how watching ended, once it has.
    pub(crate) const fn close(&self) -> Option<&Close> {
        self.close.as_ref()
    }

    /// Returns the next event; nothing once watching ends.
    pub(crate) async fn next(&mut self) -> Result<Option<Public>> {
        while self.close.is_none() {
            let item = if self.replay.is_some() { self.replayed().await? } else { self.heard().await? };
            if let Some(event) = item.and_then(|item| self.take(item)) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Returns what is told right now; nothing where too much was, so that the log has to be read.
    async fn heard(&mut self) -> Result<Option<Item>> {
        let news = tokio::select! {
            biased;
            news = self.seat.next() => news,
            () = self.stop.as_mut() => return Err(Error::new(Reason::Unavailable, "the server is stopping; try again in a moment")),
        };
        match news {
            News::Item(item) => Ok(Some(item)),
            News::Behind => {
                self.replay = Some(Box::default());
                Ok(None)
            }
        }
    }

    /// Tells an item, unless it was told before.
    fn take(&mut self, item: Item) -> Option<Public> {
        match item {
            Item::Event(event) => {
                let id = event.id();
                if id <= self.last {
                    return None;
                }
                if id > self.last + 1 {
                    self.replay = Some(Box::default());
                    return None;
                }
                (self.last, self.told) = (id, true);
                Some(Arc::try_unwrap(event).unwrap_or_else(|event| (*event).clone()))
            }
            Item::Hint(event) => Some(event),
            Item::Rest(questions) => {
                if self.told && self.until == Until::Rest {
                    self.close = Some(Close::Rest(questions));
                }
                None
            }
            Item::End => {
                if self.told || self.until == Until::End {
                    self.close = Some(Close::End);
                }
                None
            }
        }
    }

    /// Returns the next item of the log; nothing at its end, from where on the seat tells.
    async fn replayed(&mut self) -> Result<Option<Item>> {
        let Some(mut replay) = self.replay.take() else { return Ok(None) };
        if replay.ready.is_empty() {
            if replay.row == 0 {
                self.seat.catch_up(); // before the log is read: what comes now is at the seat or in the log
                let Loaded { graph, .. } = self.log.open().await?;
                replay.graph = graph;
            }
            let rows = self.log.rows(replay.row).await?;
            if rows.is_empty() {
                if replay.state.ended.is_some() {
                    self.close = Some(Close::End);
                }
                return Ok(None);
            }
            for row in rows {
                replay.row = row.number;
                for record in Log::records(&row)? {
                    replay.read(&record, self.last, self.until);
                }
            }
        }
        let item = replay.ready.pop_front();
        self.replay = Some(replay);
        Ok(item)
    }
}

impl Replay {
    /// Takes a record in and tells it, as far as it is not known.
    fn read(&mut self, record: &Record, known: u64, until: Until) {
        for mut event in tell(&self.graph, &self.state, record) {
            self.event += 1;
            if self.event > known {
                event.number(self.event);
                self.ready.push_back(Item::Event(Arc::new(event)));
            }
        }
        self.state.apply(&self.graph, record);
        match record {
            Record::Rested { .. } => self.ready.push_back(Item::Rest(super::outcome::questions(&self.graph, &self.state))),
            // Whoever watches to the end goes on where a run was retried.
            Record::Ended { .. } if self.event > known && until == Until::Rest => self.ready.push_back(Item::End),
            _ => {}
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.live.rise(&self.log.run_id, &self.seat);
    }
}
