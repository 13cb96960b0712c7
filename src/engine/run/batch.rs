//! What waits to become durable, and everybody who waits for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::audience::Item;
use super::load::Log;
use super::record::Record;
use super::state::State;
use crate::engine::turnstile::Passage;
use crate::error::{Error, Result};
use crate::store::{Append, Appended, Created, NewRun, NewTurn, Repeat, Repeated, RunFacts, RunRow, RunStatus, RunStore};

/// How long it takes until something is written once more that could not be.
const AGAIN: Duration = Duration::from_secs(1);

/// What waits to become durable.
#[derive(Default)]
pub(super) struct Batch {
    /// The records of the next row.
    pub records: Vec<Record>,
    /// How many events they make.
    pub events: u32,
    /// What is told once they are durable.
    pub items: Vec<Item>,
    /// Steps that begin then.
    pub starts: Vec<u32>,
    /// Callers that are answered then, those who are refused because of what is not durable yet among them.
    pub replies: Vec<(oneshot::Sender<Result<u64>>, Result<u64>)>,
    /// Workers that go on then.
    pub kept: Vec<oneshot::Sender<()>>,
    /// The mark of the request that caused them.
    pub repeat: Option<Repeat>,
    /// The turn of a session.
    pub turn: Option<NewTurn>,
    /// Conversations that nobody else may go on with until then.
    pub keeps: Vec<Passage>,
    /// Whether a result is among them.
    pub progress: bool,
}

impl Batch {
    /// Tells whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.items.is_empty() && self.kept.is_empty() && self.replies.is_empty()
    }
}

/// Who waits while something is written.
pub(super) struct Cargo {
    /// What is told.
    pub items: Vec<Item>,
    /// Steps that begin.
    pub starts: Vec<u32>,
    replies: Vec<(oneshot::Sender<Result<u64>>, Result<u64>)>,
    kept: Vec<oneshot::Sender<()>>,
    _keeps: Vec<Passage>,
}

impl Cargo {
    /// Answers the callers and lets the workers go on. Whoever left does not matter.
    pub(super) fn tell_callers(self) {
        self.replies.into_iter().for_each(|(reply, outcome)| drop(reply.send(outcome)));
        for kept in self.kept {
            let _ = kept.send(());
        }
    }
}

/// How writing came out.
pub(super) enum Landed {
    /// It is durable.
    Kept,
    /// It could not be written yet.
    Late(Error),
    /// The run belongs to somebody else, or never began.
    Refused,
}

/// Something that is being written.
pub(super) struct Flight {
    /// How it comes out.
    pub landing: BoxFuture<'static, Landed>,
    /// Who waits.
    pub cargo: Cargo,
    /// What is written; nothing where it is not tried again.
    append: Option<(Arc<dyn RunStore>, Append)>,
}

impl Flight {
    /// Writes once more, a little later.
    pub(super) fn again(mut self) -> Self {
        if let Some((store, append)) = self.append.clone() {
            self.landing = async move {
                sleep(AGAIN).await;
                write(store, append).await
            }
            .boxed();
        }
        self
    }
}

/// Somebody who begins a run, and who wants to hear whether it began, or which run the same request began before.
pub(crate) type Founder = (NewRun, oneshot::Sender<Result<Option<Repeated>>>);

/// By which right a driver writes.
pub(crate) enum Owner {
    /// It begins the run; whoever started it is told whether it began.
    Founder(Option<Box<Founder>>),
    /// It has the run in this epoch.
    Holder(u64),
}

impl Owner {
    /// Sends what waits to the store, as the row of that number whose first event is `first`.
    pub(super) fn send(&mut self, log: &Log, batch: Batch, number: u64, first: u64, facts: RunFacts) -> Flight {
        let Batch { records, events, items, starts, replies, kept, repeat, turn, keeps, progress } = batch;
        let cargo = Cargo { items, starts, replies, kept, _keeps: keeps };
        if records.is_empty() {
            return Flight { landing: std::future::ready(Landed::Kept).boxed(), cargo, append: None };
        }
        let body = serde_json::to_string(&records).unwrap_or_else(|error| {
            tracing::error!(%error, "records cannot be written"); // they hold nothing that JSON cannot
            "[]".to_owned()
        });
        let row = RunRow { number, first_event: first, events, body };
        let store = log.store().clone();
        if let Self::Founder(founder) = self
            && let Some((new, begun)) = founder.take().map(|founder| *founder)
        {
            *self = Self::Holder(crate::store::FIRST_EPOCH);
            let new = NewRun { facts, row, turn, ..new };
            return Flight { landing: begin(store, new, begun).boxed(), cargo, append: None };
        }
        let Self::Holder(epoch) = *self else {
            return Flight { landing: std::future::ready(Landed::Refused).boxed(), cargo, append: None };
        };
        let append = Append { run_id: log.run_id.clone(), epoch, row, facts, progress, repeat, turn };
        Flight { landing: write(store.clone(), append.clone()).boxed(), cargo, append: Some((store, append)) }
    }
}

async fn begin(store: Arc<dyn RunStore>, new: NewRun, begun: oneshot::Sender<Result<Option<Repeated>>>) -> Landed {
    let (told, landed) = match store.create(new).await {
        Ok(Created::New) => (Ok(None), Landed::Kept),
        Ok(Created::Repeated(repeated)) => (Ok(Some(repeated)), Landed::Refused),
        Err(error) => (Err(error), Landed::Refused),
    };
    let _ = begun.send(told); // whoever started it may have left
    landed
}

async fn write(store: Arc<dyn RunStore>, append: Append) -> Landed {
    let run_id = append.run_id.clone();
    match store.append(append).await {
        Ok(Appended::Done) => Landed::Kept,
        Ok(Appended::Repeated(_) | Appended::Fenced) => {
            tracing::warn!(run = run_id, "the run belongs to somebody else by now");
            Landed::Refused
        }
        Err(error) => Landed::Late(error),
    }
}

/// Returns what lists read of a run.
pub(super) fn facts(state: &State, status: RunStatus) -> RunFacts {
    let time = |at| Timestamp::from_millisecond(at).ok();
    let wake_at = (status == RunStatus::Paused).then(|| state.questions().filter_map(|(_, question)| question.expires_at).min()).flatten();
    RunFacts {
        status,
        wake_at: wake_at.and_then(time),
        ended_at: state.ended.as_ref().and_then(|ended| time(ended.at)),
        cost: state.spent.cost,
        input_tokens: state.spent.input_tokens,
        output_tokens: state.spent.output_tokens,
    }
}
