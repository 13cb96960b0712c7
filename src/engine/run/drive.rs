//! Drives a run: does what is to be done, records it, and tells it once the record is durable. One task for each run that has work; a run that
//! waits for people alone has none, only its log.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::audience::{Audience, Item};
use super::batch::{Batch, Flight, Landed, Owner};
use super::graph::Graph;
use super::load::Log;
use super::next::{Action, Lead, follow, next, too_deep};
use super::outcome::{final_response, questions};
use super::record::{Finished, Millis, Nested, Note, Outcome, Question, Record, Spent, Told};
use super::state::{self, Execution, FrameKind, Holds, State};
use super::tell::{Public, tell};
use crate::clock;
use crate::definition::{HumanTimeout, OnError, OnInterrupt, Step, Work};
use crate::engine::scope::{Budget, Scope};
use crate::engine::step::{self, Alone, Attempt, Done, Failure, FailureKind, Place};
use crate::engine::teller::{self, Mouth, Said};
use crate::engine::{Engine, expression};
use crate::error::{Error, Reason, Result};
use crate::metrics::Present;
use crate::store::{Repeat, RunStatus};

/// The most records of one row.
const RECORDS: usize = 256;

/// As good as never.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// Where a run is told what somebody wants. In boxes, because a channel keeps room for many in every run that works.
pub(crate) type Commander = mpsc::Sender<Box<Command>>;

/// Something that somebody wants of a run.
#[derive(Debug)]
pub(crate) enum Command {
    /// An answer to a question.
    Answer {
        /// The question; nothing for the only open one.
        question: Option<String>,
        /// The answer.
        answer: Value,
        /// The mark of the request.
        repeat: Option<Repeat>,
        /// Told the event after which the answer begins, once it is durable.
        reply: oneshot::Sender<Result<u64>>,
    },
    /// The run is to end.
    Cancel {
        /// Told the event after which the end begins, once it is durable.
        reply: oneshot::Sender<Result<u64>>,
    },
    /// A run that has ended is to go on.
    Retry {
        /// The mark of the request.
        repeat: Option<Repeat>,
        /// Told the event after which it goes on, once it is durable.
        reply: oneshot::Sender<Result<u64>>,
    },
    /// A question's time may be up.
    Look,
}

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
        if let Some(mut flight) = self.flight.take() {
            if matches!((&mut flight.landing).await, Landed::Kept) {
                self.audience.tell(&flight.cargo.items);
                flight.cargo.tell_callers();
            }
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
        for action in next(&self.graph, &self.state) {
            moved |= self.act(action);
        }
        if !moved && self.is_idle() {
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

    /// Tells whether only people can go on.
    fn is_idle(&self) -> bool {
        let works = self.state.open.values().any(|open| matches!(open.holds, Holds::Work));
        let ready = self.state.frames.values().any(|frame| matches!(frame.place, state::Place::Before { .. }));
        !works && !ready
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

    fn start(&mut self, frame: u32, id: &str, attempt: u32) {
        let Some(scope) = self.state.frames.get(&frame).map(|frame| frame.scope) else { return };
        let Some(step) = self.state.step(&self.graph, scope, id).cloned() else { return };
        let execution = self.state.executions + 1;
        let nested = self.nested(frame, scope, &step);
        let nests = matches!(nested, Ok(Some(_)));
        let (nested, refused) = match nested {
            Ok(nested) => (nested, None),
            Err(error) => (None, Some(error)),
        };
        let decided = self.decide(scope, &step);
        self.record(Record::Started { execution, frame, step: id.to_owned(), attempt, at: now(), nested });
        if let Some(error) = refused {
            return self.fail(execution, FailureKind::Definition, &error, Spent::default());
        }
        match (&step.work, decided) {
            (_, Some(Ok(done))) => self.done(execution, done, Spent::default()),
            (_, Some(Err(Failure { kind, error }))) => self.fail(execution, kind, &error, Spent::default()),
            (Work::Human { .. }, _) => self.ask(execution, scope, &step),
            (Work::Loop { body, .. }, _) if body.is_empty() => self.done(execution, Done::default(), Spent::default()),
            (Work::Parallel { .. } | Work::Loop { .. }, _) => {}
            _ if nests => {}
            _ => self.batch.starts.push(execution),
        }
    }

    fn decide(&self, scope: u32, step: &Step) -> Option<Result<Done, Failure>> {
        step::decide(step, self.state.flow(&self.graph, scope)?, self.state.scopes.get(&scope)?)
    }

    /// Returns the orchestration that a step runs, if it runs one.
    fn nested(&self, frame: u32, scope: u32, step: &Step) -> Result<Option<Nested>> {
        let agent = step.agent_id.as_deref().filter(|_| matches!(step.work, Work::Agent { .. })).and_then(|id| self.graph.agent(id));
        let Some(agent) = agent.filter(|agent| agent.kind == "orchestrator") else { return Ok(None) };
        let refuse = |detail: String| Err(Error::new(Reason::FailedPrecondition, detail));
        if let Some(deep) = too_deep(&self.state, scope) {
            return refuse(deep);
        }
        let id = agent.orchestration_id.clone().unwrap_or_default();
        if self.graph.flow(&id).is_none() {
            return refuse(format!(
                "agent `{}` runs orchestration `{id}`, which does not exist; name one in its `orchestration_id`",
                agent.id
            ));
        }
        let Some(state) = self.state.scopes.get(&scope) else { return Ok(None) };
        let place = Place { step, graph: &self.graph, state, pass: self.pass_of(frame) };
        let message = step::nested_message(&place).map_err(|failure| failure.error)?;
        Ok(Some(Nested { orchestration_id: id, message }))
    }

    fn ask(&mut self, execution: u32, scope: u32, step: &Step) {
        let Some(state) = self.state.scopes.get(&scope) else { return };
        let (mut question, seconds) = step::question(step, state);
        question.expires_at = seconds.map(|seconds| now() + i64::from(seconds) * 1000);
        self.record(Record::Asked { execution, question });
    }

    /// Begins the work of a step whose start is durable.
    fn begin(&mut self, execution: u32) {
        let Some(attempt) = self.attempt(execution) else { return };
        let (name, deadline, alone) = (attempt.step.name.clone(), attempt.deadline, attempt.alone.clone());
        let seconds = self.time_of(&attempt.step).as_secs();
        let chat = self.state.began.chat.is_some();
        let used = attempt.scope.clone();
        let (engine, began) = (self.engine.clone(), self.state.began.clone());
        // In a box of its own, because every future around it would keep room for all of it once more.
        let work = if chat { async move { engine.chat_turn(&began, attempt).await }.boxed() } else { step::perform(attempt).boxed() };
        let work = AssertUnwindSafe(work).catch_unwind();
        let work = async move {
            // Every model call and every tool of a chat has a limit of its own.
            let caught = if chat { Ok(work.await) } else { tokio::time::timeout_at(deadline, work).await };
            let result = match caught {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(Failure { kind: FailureKind::Definition, error: Error::internal("the step panicked") }),
                Err(_) => {
                    let detail = format!("Step '{name}' timed out after {seconds}s");
                    Err(Failure { kind: FailureKind::Timeout, error: Error::new(Reason::AgentFailed, detail) })
                }
            };
            Outcomes { execution, result, spent: used.spent() }
        };
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.insert(execution, (handle, alone));
        self.works.push(Abortable::new(work, registration).map(Result::ok).boxed());
    }

    fn attempt(&self, execution: u32) -> Option<Attempt> {
        let open = self.state.open.get(&execution)?;
        let frame = self.state.frames.get(&open.frame)?;
        let step = self.state.step_of(&self.graph, execution)?.clone();
        let began = &self.state.began;
        let times = frame.entered.get(&open.step).copied().unwrap_or_default();
        let effect_id = format!("{}/{}/{}/{times}", began.run_id, open.frame, open.step);
        let scope = Scope::new(self.engine.definitions.current(), began.session_id.clone(), self.engine.model_time)
            .until(self.patience)
            .with_budget(self.budget.clone());
        let deadline = match began.chat {
            Some(_) => Instant::now() + NEVER,
            None => Instant::now() + self.time_of(&step),
        };
        Some(Attempt {
            engine: self.engine.clone(),
            graph: self.graph.clone(),
            state: Arc::new(self.state.scopes.get(&frame.scope)?.clone()),
            pass: self.pass_of(open.frame),
            effect_id,
            scope: Arc::new(scope),
            teller: teller::Teller::new(self.mouth.clone(), execution),
            alone: Alone::default(),
            deadline,
            step,
        })
    }

    /// Returns the pass of the innermost loop around a frame.
    fn pass_of(&self, frame: u32) -> Option<(u32, u32)> {
        let frame = self.state.frames.get(&frame)?;
        let parent = frame.parent?;
        match (frame.kind, &self.state.open.get(&parent)?.holds, &self.state.step_of(&self.graph, parent)?.work) {
            (FrameKind::Pass, Holds::Passes(passes), Work::Loop { count, .. }) => Some((passes.iteration, *count)),
            (FrameKind::Branch(_), ..) => self.pass_of(self.state.open.get(&parent)?.frame),
            _ => None,
        }
    }

    fn time_of(&self, step: &Step) -> Duration {
        step.timeout_seconds.map_or(self.engine.step_time, |seconds| Duration::from_secs(seconds.into()))
    }

    /// Takes in how an attempt ended.
    fn came(&mut self, outcomes: Outcomes) {
        let Outcomes { execution, result, spent } = outcomes;
        let alone = self.handles.remove(&execution).and_then(|(_, alone)| alone.take());
        self.batch.keeps.extend(alone);
        if self.state.ended.is_some() || !self.state.open.contains_key(&execution) {
            return;
        }
        match result {
            Ok(done) => self.done(execution, done, spent),
            Err(Failure { kind, error }) => self.fail(execution, kind, &error, spent),
        }
        if let Some(limit) = self.budget.exceeded() {
            self.end(Outcome::Failed, Some(format!("Cost limit (${limit}) exceeded")));
        }
    }

    /// Records that a step is done.
    fn done(&mut self, execution: u32, done: Done, spent: Spent) {
        let Some((frame, step)) = self.stands(execution) else { return };
        let turnout = follow(&self.graph, &self.state, frame, &step, done.lead);
        for message in done.warnings {
            self.record(Record::Noted { execution, note: Note::Warning { message } });
        }
        self.record(Record::Finished(Box::new(Finished {
            execution,
            at: now(),
            output: done.output,
            told: done.told,
            error: done.error,
            next: turnout.next,
            breaks: turnout.breaks,
            spent,
        })));
        self.skipped(frame, turnout.skipped);
        self.batch.progress = true;
        self.batch.turn = done.turn.or(self.batch.turn.take());
    }

    fn skipped(&mut self, frame: u32, skipped: Vec<(String, u32, u32)>) {
        for (step, iterations, max_iterations) in skipped {
            self.record(Record::Skipped { frame, step, iterations, max_iterations });
        }
    }

    /// Records that an attempt failed, and what follows: another attempt, the next step, or the end of what is around.
    fn fail(&mut self, execution: u32, kind: FailureKind, error: &Error, spent: Spent) {
        let Some((frame, step)) = self.stands(execution) else { return };
        let attempt = self.state.open.get(&execution).map_or(1, |open| open.attempt);
        let detail = error.detail().to_owned();
        tracing::warn!(run = self.log.run_id, step = step.id, attempt, cause = error.chain(), "a step failed");
        let again = attempt < step.retry.max_attempts && self.may_retry(&step, kind);
        if again {
            let wait = u64::from(step.retry.backoff_seconds).saturating_mul(1 << (attempt - 1).min(20));
            let wait = wait.min(step.retry.max_backoff_seconds.into());
            let retry_at = Some(now() + i64::try_from(wait * 1000).unwrap_or(i64::MAX / 2));
            self.record(Record::Failed { execution, at: now(), error: detail, retry_at, spent });
        } else if step.on_error == OnError::Continue && self.budget.exceeded().is_none() {
            let turnout = follow(&self.graph, &self.state, frame, &step, Lead::Behind);
            let told = if matches!(step.work, Work::Transform { .. }) { Told::Transform(None) } else { Told::Nothing };
            let finished = Finished {
                execution,
                at: now(),
                told,
                error: Some(detail),
                next: turnout.next,
                breaks: turnout.breaks,
                spent,
                ..Finished::default()
            };
            self.record(Record::Finished(Box::new(finished)));
            self.skipped(frame, turnout.skipped);
        } else {
            self.failed = Some((error.reason().name(), detail.clone()));
            self.record(Record::Failed { execution, at: now(), error: detail, retry_at: None, spent });
        }
        self.batch.progress = true;
        self.drop_closed();
    }

    fn may_retry(&self, step: &Step, kind: FailureKind) -> bool {
        let wanted = step.retry.on.is_empty() || step.retry.on.iter().any(|name| name == kind.name());
        wanted && kind != FailureKind::Definition && self.budget.exceeded().is_none()
    }

    /// Ends the work of executions that are no longer there.
    fn drop_closed(&mut self) {
        let open = &self.state.open;
        self.handles.retain(|execution, (handle, _)| {
            let stays = open.contains_key(execution);
            if !stays {
                handle.abort();
            }
            stays
        });
    }

    /// Decides about a loop whose pass is over.
    fn pass(&mut self, execution: u32) {
        let Some((frame, step)) = self.stands(execution) else { return };
        let (Work::Loop { count, until, .. }, Some(Holds::Passes(passes))) =
            (&step.work, self.state.open.get(&execution).map(|open| &open.holds))
        else {
            return;
        };
        let mut over = passes.broken || passes.iteration >= *count;
        if let (false, Some(until)) = (over, until) {
            let scope = self.state.frames.get(&frame).and_then(|frame| self.state.scopes.get(&frame.scope));
            match scope.map(|scope| expression::holds(until, &scope.values)) {
                Some(Ok(holds)) => over = holds,
                Some(Err(fault)) => {
                    let message = format!("`loop_until` cannot be evaluated: {fault}");
                    self.record(Record::Noted { execution, note: Note::Warning { message } });
                }
                None => {}
            }
        }
        if over {
            self.done(execution, Done::default(), Spent::default());
        } else {
            self.record(Record::Passed { execution, at: now() });
        }
    }

    /// Records that everything inside a step is done.
    fn complete(&mut self, execution: u32) {
        let output = match self.state.open.get(&execution).map(|open| &open.holds) {
            Some(Holds::Nested(scope)) => self.state.scopes.get(scope).map(|scope| final_response(scope, Outcome::Completed, None)),
            _ => None,
        };
        self.done(execution, Done { output: output.map(Value::from), ..Done::default() }, Spent::default());
    }

    /// Ends the run.
    fn end(&mut self, outcome: Outcome, error: Option<String>) {
        let (reason, error) = match (&self.state.began.chat, self.failed.take()) {
            (Some(_), Some((reason, detail))) if outcome == Outcome::Failed => (Some(reason.to_owned()), Some(detail)),
            _ => (None, error),
        };
        self.record(Record::Ended { at: now(), outcome, error, reason });
        self.batch.items.push(Item::End);
        self.batch.progress = true;
        let kind = if self.state.began.chat.is_some() { "chat" } else { "orchestration" };
        self.engine.metrics.run_ended(kind, outcome.name());
        self.works.clear();
        self.handles.clear();
    }

    fn stands(&self, execution: u32) -> Option<(u32, Arc<Step>)> {
        Some((self.state.open.get(&execution)?.frame, self.state.step_of(&self.graph, execution)?.clone()))
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

    /// Obeys a command.
    fn command(&mut self, command: Command) {
        match command {
            Command::Answer { question, answer, repeat, reply } => {
                let answered = self.answer(question.as_deref(), &answer);
                self.answered(answered, repeat, reply);
            }
            Command::Cancel { reply } => {
                let cancelled = self.cancel();
                self.answered(cancelled, None, reply);
            }
            Command::Retry { repeat, reply } => {
                let retried = self.retry();
                self.answered(retried, repeat, reply);
            }
            Command::Look => self.late(),
        }
    }

    /// Answers a caller once everything is durable. That holds for a refusal too, because what it stands on may not be durable yet.
    fn answered(&mut self, outcome: Result<u64>, repeat: Option<Repeat>, reply: oneshot::Sender<Result<u64>>) {
        if let Ok(after) = outcome {
            self.batch.repeat = repeat.map(|repeat| Repeat { after, ..repeat });
        }
        self.batch.replies.push((reply, outcome));
    }

    fn answer(&mut self, named: Option<&str>, answer: &Value) -> Result<u64> {
        let (execution, question) = self.asked(named)?;
        let answer = step::check(&question, answer).map_err(|wrong| Error::invalid(format!("`response`: {wrong}")))?;
        let after = self.event;
        if question.interrupted {
            self.decided(execution, &answer);
        } else {
            self.give(execution, answer, false);
        }
        self.batch.progress = true;
        Ok(after)
    }

    fn give(&mut self, execution: u32, answer: Value, timeout: bool) {
        let Some((frame, step)) = self.stands(execution) else { return };
        let turnout = follow(&self.graph, &self.state, frame, &step, Lead::Behind);
        self.record(Record::Answered { execution, at: now(), answer, timeout, next: turnout.next, breaks: turnout.breaks });
        self.skipped(frame, turnout.skipped);
    }

    /// Does with an interrupted attempt what a person decided.
    fn decided(&mut self, execution: u32, answer: &Value) {
        let again = answer.get("decision").or_else(|| answer.get("response")).and_then(Value::as_str) == Some("retry");
        self.wake();
        if again {
            self.record(Record::Interrupted { execution });
        } else {
            let error = Error::new(Reason::AgentFailed, "the step was interrupted, and a person decided not to repeat it");
            self.fail(execution, FailureKind::Definition, &error, Spent::default());
        }
    }

    /// Finds the question that an answer is for.
    fn asked(&self, named: Option<&str>) -> Result<(u32, Question)> {
        let open: Vec<(u32, Question)> = self.state.questions().map(|(execution, question)| (execution, question.clone())).collect();
        let run_id = &self.log.run_id;
        if open.is_empty() || self.state.ended.is_some() {
            let status = self.status().as_str();
            let detail = format!("Run '{run_id}' is not waiting for an answer; it is {status}");
            return Err(Error::new(Reason::FailedPrecondition, detail));
        }
        let told = questions(&self.graph, &self.state);
        let list = || {
            told.iter().map(|question| format!("`{}` (step `{}`)", question.question_id, question.step_id)).collect::<Vec<_>>().join(", ")
        };
        let fits = |execution: &u32| match named {
            None => true,
            Some(name) => {
                let outer = told.iter().any(|question| question.question_id == execution.to_string() && question.step_id == name);
                let inner = self.state.open.get(execution).is_some_and(|open| open.step == name);
                execution.to_string() == name || outer || inner
            }
        };
        let mut fitting = open.into_iter().filter(|(execution, _)| fits(execution));
        match (fitting.next(), fitting.next()) {
            (Some(question), None) => Ok(question),
            (None, _) => {
                Err(Error::invalid(format!("`step_id`: no question `{}` is open; open are {}", named.unwrap_or_default(), list())))
            }
            (Some(_), Some(_)) => Err(Error::invalid(format!("`step_id`: several questions are open; name one of {}", list()))),
        }
    }

    fn cancel(&mut self) -> Result<u64> {
        if self.state.ended.is_some() {
            let (run_id, status) = (&self.log.run_id, self.status().as_str());
            return Err(Error::new(Reason::FailedPrecondition, format!("Run '{run_id}' cannot be cancelled; it is {status} already")));
        }
        let after = self.event;
        self.end(Outcome::Cancelled, None);
        Ok(after)
    }

    fn retry(&mut self) -> Result<u64> {
        if !matches!(self.status(), RunStatus::Failed | RunStatus::Cancelled) {
            let (run_id, status) = (&self.log.run_id, self.status().as_str());
            let detail = format!("Run '{run_id}' cannot be retried; it is {status}, and only failed and cancelled runs can");
            return Err(Error::new(Reason::FailedPrecondition, detail));
        }
        let after = self.event;
        self.record(Record::Retried { at: now() });
        self.batch.progress = true;
        Ok(after)
    }

    /// Deals with everything whose time is up.
    fn late(&mut self) {
        if self.state.ended.is_some() {
            return;
        }
        let at = now();
        let limit = self.run_time();
        let worked = self.state.worked(at);
        if limit.is_some_and(|limit| worked >= limit) && !self.state.rests() {
            let (minutes, limit) = (worked as f64 / 60_000.0, limit.unwrap_or_default() / 60_000);
            return self.end(Outcome::Failed, Some(format!("Global timeout ({limit} min) exceeded after {minutes:.1} min")));
        }
        let expired: Vec<u32> = self
            .state
            .questions()
            .filter(|(_, question)| question.expires_at.is_some_and(|end| end <= at))
            .map(|(number, _)| number)
            .collect();
        for execution in expired {
            self.expire(execution);
        }
        let late: Vec<u32> = self.containers().filter(|(_, end)| *end <= at).map(|(number, _)| number).collect();
        for execution in late {
            let Some((_, step)) = self.stands(execution) else { continue };
            let detail = format!("Step '{}' timed out after {}s", step.name, self.time_of(&step).as_secs());
            self.fail(execution, FailureKind::Timeout, &Error::new(Reason::AgentFailed, detail), Spent::default());
        }
    }

    /// Does what a question wants when nobody answers in time.
    fn expire(&mut self, execution: u32) {
        let Some((frame, step)) = self.stands(execution) else { return };
        let Work::Human { timeout, .. } = &step.work else { return };
        self.wake();
        match timeout {
            HumanTimeout::Wait => {}
            HumanTimeout::Answer { answer, .. } => self.give(execution, answer.clone().into(), true),
            HumanTimeout::Fail { seconds } => {
                let error = Error::new(Reason::AgentFailed, format!("nobody answered within {seconds} s"));
                self.fail(execution, FailureKind::Timeout, &error, Spent::default());
            }
            HumanTimeout::Branch { step_id, .. } => {
                let turnout = follow(&self.graph, &self.state, frame, &step, Lead::To(step_id.clone()));
                let finished = Finished { execution, at: now(), next: turnout.next, breaks: turnout.breaks, ..Finished::default() };
                self.record(Record::Finished(Box::new(finished)));
                self.skipped(frame, turnout.skipped);
            }
        }
        self.batch.progress = true;
    }

    /// Ends a rest that something other than an answer ends.
    fn wake(&mut self) {
        if self.state.rests() {
            self.record(Record::Woken { at: now() });
        }
    }

    /// Returns the next moment at which something is late or ready again.
    fn deadline(&self) -> Option<Instant> {
        let at = now();
        let retries = self.state.frames.values().filter_map(|frame| match frame.place {
            state::Place::Before { at, .. } => at,
            _ => None,
        });
        let run = self.run_time().map(|limit| at + (limit - self.state.worked(at)).max(0));
        let questions = self.state.questions().filter_map(|(_, question)| question.expires_at);
        let first = retries.chain(run).chain(questions).chain(self.containers().map(|(_, end)| end)).min()?;
        Some(Instant::now() + Duration::from_millis(u64::try_from(first - at).unwrap_or_default()))
    }

    /// Returns the steps with others inside, and when their time is up.
    fn containers(&self) -> impl Iterator<Item = (u32, Millis)> {
        let at = now();
        self.state.open.iter().filter_map(move |(number, open)| self.end_of(*number, open, at))
    }

    fn end_of(&self, number: u32, open: &Execution, at: Millis) -> Option<(u32, Millis)> {
        if matches!(open.holds, Holds::Work | Holds::Question(_)) || open.failed.is_some() {
            return None;
        }
        let time = self.time_of(self.state.step_of(&self.graph, number)?);
        let left = i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2) - self.state.worked_at(open, at);
        Some((number, at + left.max(0)))
    }

    /// Returns how long the run may work; a chat has no such limit.
    fn run_time(&self) -> Option<Millis> {
        if self.state.began.chat.is_some() {
            return None;
        }
        let minutes = self.graph.flow(self.graph.root())?.orchestration.timeout_minutes;
        Some(minutes.map_or(i64::try_from(self.engine.run_time.as_millis()).unwrap_or(i64::MAX / 2), |minutes| i64::from(minutes) * 60_000))
    }

    /// Goes on with what a crash of the server interrupted. `crashes` counts how often it did so in a row.
    #[must_use]
    pub(crate) fn recovered(mut self, crashes: u32) -> Self {
        if crashes >= CRASHES {
            let error =
                format!("crash loop: the server crashed {crashes} times in a row while this run worked; retry it once that is mended");
            self.end(Outcome::Failed, Some(error));
            return self;
        }
        if self.state.began.chat.as_ref().is_some_and(|chat| !chat.background) {
            self.end(Outcome::Cancelled, None);
            return self;
        }
        let interrupted: Vec<u32> =
            self.state.open.iter().filter(|(_, open)| matches!(open.holds, Holds::Work)).map(|(number, _)| *number).collect();
        for execution in interrupted {
            self.interrupted(execution);
        }
        self
    }

    fn interrupted(&mut self, execution: u32) {
        let Some((_, step)) = self.stands(execution) else { return };
        match step.on_interrupt {
            OnInterrupt::Retry => self.record(Record::Interrupted { execution }),
            OnInterrupt::Fail => {
                let error = Error::new(Reason::AgentFailed, "the step was interrupted by a restart of the server");
                self.fail(execution, FailureKind::Definition, &error, Spent::default());
            }
            OnInterrupt::Ask => self.record(Record::Asked { execution, question: interruption(&step) }),
        }
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

/// How often in a row a run may crash the server.
const CRASHES: u32 = 5;

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

/// Asks what to do about an interrupted attempt.
fn interruption(step: &Step) -> Question {
    let mut field = Map::new();
    field.insert("name".to_owned(), "decision".into());
    field.insert("type".to_owned(), "select".into());
    field.insert("options".to_owned(), vec!["retry", "fail"].into());
    field.insert("required".to_owned(), true.into());
    let prompt =
        format!("Step '{}' was interrupted by a restart of the server; it may or may not have had its effect. Repeat it?", step.name);
    Question { prompt, fields: vec![field], interrupted: true, ..Question::default() }
}

/// Returns the present moment.
fn now() -> Millis {
    clock::now().as_millisecond()
}
