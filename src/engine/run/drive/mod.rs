//! Drives a run: does what is to be done, records it, and tells it once the record is durable. One task for each run that has work; a run that
//! waits for people alone has none, only its log.

mod interrupted;
mod late;
mod obey;
mod settle;
mod start;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, BoxFuture};
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::audience::{Audience, Item};
use super::batch::{Batch, Flight, Landed, Owner};
use super::graph::Graph;
use super::load::Log;
use super::next::{Action, is_idle, next};
use super::outcome::questions;
use super::record::{Millis, Outcome, Record, Spent};
use super::state::State;
use super::tell::{Public, tell};
use crate::clock;
use crate::engine::Engine;
use crate::engine::scope::Budget;
use crate::engine::step::{Alone, Done, Failure, FailureKind};
use crate::engine::teller::{self, Mouth, Said};
use crate::error::{Error, Reason, Result};
use crate::metrics::Present;
use crate::store::RunStatus;

pub(crate) use obey::{Command, Commander};

/// The most records of one row.
const RECORDS: usize = 256;

/// As good as never.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// What an attempt came to.
struct Outcomes {
    execution: u32,
    result: Result<Done, Failure>,
    spent: Spent,
}

/// Drives one run.
pub(crate) struct Driver {
    engine: Arc<Engine>,
    graph: Arc<Graph>,
    log: Log,
    owner: Owner,
    state: State,
    audience: Arc<Audience>,
    commands: mpsc::Receiver<Box<Command>>,
    /// For those who do the work of steps.
    mouth: Mouth,
    said: mpsc::Receiver<Box<Said>>,
    batch: Batch,
    flight: Option<Box<Flight>>,
    /// The server stops.
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    row: u64,
    event: u64,
    works: FuturesUnordered<BoxFuture<'static, Option<Outcomes>>>,
    handles: HashMap<u32, (AbortHandle, Alone)>,
    budget: Arc<Budget>,
    /// How long the caller of a chat waits, if it said so.
    patience: Option<Instant>,
    /// Why the last step failed, for the end of a chat.
    failed: Option<(&'static str, String)>,
    /// Nothing is to be done any more, whatever the state says.
    lost: bool,
    _working: Present,
}

impl Driver {
    /// Makes the driver of a run whose log was folded up to a row and an event.
    pub(crate) fn new(engine: &Arc<Engine>, graph: Arc<Graph>, log: Log, owner: Owner, state: State, row: u64, event: u64) -> Self {
        let (sender, commands) = mpsc::channel(16);
        let audience = engine.live.enter(&log.run_id, sender);
        let (mouth, said) = teller::mailbox();
        let limit = graph.flow(graph.root()).and_then(|flow| flow.orchestration.max_total_cost_usd);
        let budget = Arc::new(Budget::new(limit, state.spent.cost));
        Self {
            engine: engine.clone(),
            graph,
            log,
            owner,
            state,
            audience,
            commands,
            mouth,
            said,
            batch: Batch::default(),
            flight: None,
            stop: Box::pin(engine.stop.clone().cancelled_owned()),
            row,
            event,
            works: FuturesUnordered::new(),
            handles: HashMap::new(),
            budget,
            patience: None,
            failed: None,
            lost: false,
            _working: engine.metrics.run(),
        }
    }

    /// Says how long the caller waits.
    #[must_use]
    pub(crate) fn with_patience(self, patience: Option<Duration>) -> Self {
        Self { patience: patience.and_then(|patience| Instant::now().checked_add(patience)), ..self }
    }

    /// Records something that happened before anything is driven.
    #[must_use]
    pub(crate) fn with(mut self, record: Record) -> Self {
        self.record(record);
        self
    }

    /// Obeys a command before anything is driven.
    #[must_use]
    pub(crate) fn told(mut self, command: Command) -> Self {
        self.command(command);
        self
    }

    /// Works until the run ends, waits for people alone, or the server stops.
    pub(crate) async fn drive(mut self) {
        loop {
            self.advance();
            if self.flight.is_none() && !self.batch.is_empty() {
                self.take_off();
            }
            let quiet = self.flight.is_none() && (self.lost || self.state.ended.is_some() || self.state.rests());
            if quiet {
                match self.engine.live.leave(&self.log.run_id, &mut self.commands) {
                    Some(_) if self.lost => return,
                    Some(command) => self.command(*command),
                    None => return,
                }
                continue;
            }
            if self.wait().await.is_break() {
                return self.let_go().await;
            }
        }
    }

    /// Waits until something happens; where the server stops, the run has to be let go.
    async fn wait(&mut self) -> ControlFlow<()> {
        let room = self.batch.records.len() < RECORDS;
        let deadline = if self.state.rests() { None } else { self.deadline() };
        tokio::select! {
            landed = landing(&mut self.flight) => self.landed(landed),
            Some(said) = self.said.recv(), if room => self.hear(*said),
            Some(outcomes) = self.works.next(), if room && !self.works.is_empty() => {
                // What an attempt has said comes before how it ended.
                while let Ok(said) = self.said.try_recv() {
                    self.hear(*said);
                }
                if let Some(outcomes) = outcomes {
                    self.came(outcomes);
                }
            }
            Some(command) = self.commands.recv(), if self.batch.repeat.is_none() => self.command(*command),
            () = at(deadline), if deadline.is_some() => self.late(),
            () = self.stop.as_mut() => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Stops without an end: the next process goes on.
    async fn let_go(&mut self) {
        self.works.clear();
        if let Some(mut flight) = self.flight.take()
            && matches!((&mut flight.landing).await, Landed::Kept)
        {
            self.audience.tell(&flight.cargo.items);
            flight.cargo.tell_callers();
        }
        self.commands.close();
        let _ = self.engine.live.leave(&self.log.run_id, &mut self.commands);
    }

    /// Does everything that needs no waiting.
    fn advance(&mut self) {
        while !self.lost && self.batch.records.len() < RECORDS && self.step_forward() {}
    }

    /// Does what is ready, and tells whether there was anything.
    fn step_forward(&mut self) -> bool {
        if self.state.ended.is_some() || self.state.rests() {
            return false;
        }
        let mut moved = false;
        let actions = next(&self.graph, &self.state);
        let is_idle = is_idle(&self.state, &actions);
        for action in actions {
            moved |= self.act(action);
        }
        if is_idle {
            if self.state.questions().next().is_none() {
                let error = Some("nothing is left to do, and nothing is over".to_owned());
                self.end(Outcome::Failed, error);
                return true;
            }
            self.record(Record::Rested { at: now() });
            let open = questions(&self.graph, &self.state);
            self.batch.items.push(Item::Rest(open));
        }
        moved
    }

    fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Start { at: Some(at), .. } if at > now() => return false,
            Action::Start { frame, step, attempt, .. } => self.start(frame, &step, attempt),
            Action::Pass(execution) => self.pass(execution),
            Action::Complete(execution) => self.complete(execution),
            Action::Fail { execution, error } => {
                let reason = if error.starts_with("Global") { Reason::FailedPrecondition } else { Reason::AgentFailed };
                self.fail(execution, FailureKind::Orchestration, &Error::new(reason, error), Spent::default());
            }
            Action::End { outcome, error } => self.end(outcome, error),
        }
        true
    }

    /// Takes a record in and gets its events ready.
    fn record(&mut self, record: Record) {
        for mut event in tell(&self.graph, &self.state, &record) {
            self.event += 1;
            event.number(self.event);
            self.batch.items.push(Item::Event(Arc::new(event)));
            self.batch.events += 1;
        }
        self.state.apply(&self.graph, &record);
        self.batch.records.push(record);
    }

    /// Takes in what somebody said who does the work of a step.
    fn hear(&mut self, said: Said) {
        if self.state.ended.is_some() || !self.state.open.contains_key(&said.execution) {
            return;
        }
        match said.what {
            teller::What::Note(note) => self.record(Record::Noted { execution: said.execution, note }),
            teller::What::Hint(hint) => {
                let Some(event) = self.hint(said.execution, &hint) else { return };
                if self.batch.is_empty() && self.flight.is_none() {
                    self.audience.tell(&[Item::Hint(event)]);
                } else {
                    self.batch.items.push(Item::Hint(event));
                }
            }
            teller::What::Kept(kept) => self.batch.kept.push(kept),
        }
    }

    fn hint(&self, execution: u32, hint: &teller::Hint) -> Option<Public> {
        super::tell::hint(&self.graph, &self.state, execution, hint)
    }

    /// Returns how the run stands.
    pub(crate) fn status(&self) -> RunStatus {
        match &self.state.ended {
            Some(ended) => match ended.outcome {
                Outcome::Completed => RunStatus::Completed,
                Outcome::Failed => RunStatus::Failed,
                Outcome::Cancelled => RunStatus::Cancelled,
            },
            None if self.state.rests() => RunStatus::Paused,
            None => RunStatus::Running,
        }
    }

    /// Sends what waits to the store.
    fn take_off(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.row += u64::from(!batch.records.is_empty());
        let first = self.event + 1 - u64::from(batch.events);
        let facts = super::batch::facts(&self.state, self.status());
        self.flight = Some(Box::new(self.owner.send(&self.log, batch, self.row, first, facts)));
    }

    /// Goes on after what was sent is durable, or is not.
    fn landed(&mut self, landed: Landed) {
        let Some(flight) = self.flight.take() else { return };
        match landed {
            Landed::Kept => {
                self.audience.tell(&flight.cargo.items);
                for execution in &flight.cargo.starts {
                    if self.state.ended.is_none() && self.state.open.contains_key(execution) {
                        self.begin(*execution);
                    }
                }
                flight.cargo.tell_callers();
            }
            Landed::Late(error) => {
                tracing::error!(run = self.log.run_id, cause = error.chain(), "the run cannot be kept; it is tried again every second");
                self.flight = Some(Box::new(flight.again()));
            }
            Landed::Refused => self.lost = true,
        }
    }
}

async fn landing(flight: &mut Option<Box<Flight>>) -> Landed {
    match flight {
        Some(flight) => (&mut flight.landing).await,
        None => std::future::pending().await,
    }
}

/// Waits for a moment, if there is one.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Returns the present moment.
fn now() -> Millis {
    clock::now().as_millisecond()
}
