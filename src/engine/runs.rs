//! Runs, as callers know them: they are started, watched, answered, cancelled and retried here.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use prost::Message;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use super::Engine;
use super::run::{
    Began, Close, Command, Driver, Graph, Holds, Loaded, Log, Owner, Public, Record, State, Until, Watch, question_list, shared_state,
    step_history, time,
};
use crate::clock;
use crate::definition::Orchestration;
use crate::error::{Error, Reason, Result};
use crate::store::{Definitions, NewRun, Repeat, RunFacts, RunFilter, RunKind, RunRow, RunStatus, RunSummary};
use crate::wire::v1::run_event::{Done, Event, Final};
use crate::wire::v1::{
    CancelRunRequest, ListRunsRequest, ListRunsResponse, ResumeRequest, RetryRunRequest, RunDetails, RunEvent, RunRequest, RunResponse,
    Usage, WatchRunRequest, run_details,
};
use crate::wire::{self, v1};

/// How long a caller waits for a run that a restart has not taken up yet.
const TAKEN_UP: Duration = Duration::from_secs(10);

/// How often something is said to a run whose driver leaves at that very moment.
const TRIES: usize = 10;

/// The runs of a page where the caller names no number.
const PAGE: u32 = 20;

/// Who calls, and what a call says beside its message.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The id of the key.
    pub principal: Arc<str>,
    /// The key that makes the same request start the same run.
    pub idempotency_key: Option<String>,
    /// How long the caller waits, if it said so.
    pub patience: Option<Duration>,
}

impl Caller {
    /// Makes the mark of a request.
    pub(super) fn mark(&self, method: &str, request: &impl Message) -> Option<Repeat> {
        let key = self.idempotency_key.clone()?;
        let mut digest = Sha256::new_with_prefix(method);
        digest.update([0]);
        digest.update(request.encode_to_vec());
        Some(Repeat { principal: self.principal.to_string(), key, fingerprint: digest.finalize().into(), after: 0 })
    }
}

/// The events of a run, from where a call began to where it ends.
pub struct RunEvents {
    watch: Watch,
    /// Whether `done` was told.
    over: bool,
}

impl RunEvents {
    const fn new(watch: Watch) -> Self {
        Self { watch, over: false }
    }

    /// Returns the run.
    pub fn run_id(&self) -> &str {
        self.watch.run_id()
    }

    /// Returns the next event; `done` is the last.
    async fn next(&mut self) -> Result<Option<RunEvent>> {
        if self.over {
            return Ok(None);
        }
        while let Some(event) = self.watch.next().await? {
            if let Public::Run(event) = event {
                return Ok(Some(*event));
            }
        }
        self.over = true;
        // `done` ends the stream, not the run: it repeats the number of the event before, from where watching goes on.
        Ok(Some(RunEvent { event: Some(Event::Done(Done {})), id: self.watch.last(), ..RunEvent::default() }))
    }

    /// Returns the events as a stream. One that breaks off has an error for its last item.
    pub fn into_stream(self) -> impl Stream<Item = Result<RunEvent>> + Send + 'static {
        stream::unfold(Some(self), |events| async {
            let mut events = events?;
            match events.next().await {
                Ok(Some(event)) => Some((Ok(event), Some(events))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// Folds the events into the answer of a call that waits: the outcome of the very stream.
    pub async fn outcome(mut self) -> Result<RunResponse> {
        let mut answer = RunResponse { run_id: self.run_id().to_owned(), ..RunResponse::default() };
        while let Some(event) = self.next().await? {
            if let RunEvent { event: Some(Event::Final(Final { response, data: Some(data), .. })), orch_step_id: None, .. } = event {
                answer.status = data.status;
                answer.response = Some(response);
                (answer.shared_state, answer.step_history) = (data.shared_state, data.step_history);
            }
        }
        if let Some(Close::Rest(questions)) = self.watch.close() {
            answer = RunResponse { run_id: answer.run_id, status: v1::RunStatus::Paused.into(), ..RunResponse::default() };
            answer.human_input_required = questions.first().cloned();
            answer.pending = questions.to_vec();
        }
        Ok(answer)
    }

    /// Returns the answer of a call that does not wait.
    pub fn begun(self) -> RunResponse {
        RunResponse { run_id: self.run_id().to_owned(), status: v1::RunStatus::Running.into(), ..RunResponse::default() }
    }
}

impl Engine {
    /// Starts a run. What can be refused is refused here, before anything happens; when it returns, the run survives a crash.
    pub async fn run(self: &Arc<Self>, request: RunRequest, caller: Caller) -> Result<RunEvents> {
        let mark = caller.mark("run", &request);
        if let Some(watch) = self.repeated(mark.as_ref(), Until::Rest).await? {
            return Ok(RunEvents::new(watch));
        }
        let definitions = self.definitions.current();
        let id = &request.orchestration_id;
        let found = definitions.orchestrations.iter().find(|orchestration| orchestration.id == *id);
        let orchestration = found.ok_or_else(|| Error::not_found(format!("Orchestration '{id}' not found")))?.clone();
        let session_id = request.session_id.filter(|id| !id.is_empty());
        let start = Start { orchestration: &orchestration, message: request.message, session_id, agent_id: None };
        let watch = self.orchestrate(&definitions, start, caller.principal.to_string(), mark).await?;
        Ok(RunEvents::new(watch))
    }

    /// Starts a run of an orchestration and sits down in front of it.
    pub(super) async fn orchestrate(
        self: &Arc<Self>,
        definitions: &Arc<Definitions>,
        start: Start<'_>,
        principal: String,
        mark: Option<Repeat>,
    ) -> Result<Watch> {
        let Start { orchestration, message, session_id, agent_id } = start;
        let (definition, graph) = self.logs.pin(definitions, orchestration)?;
        let run_id = clock::run_id();
        let session_id = session_id.unwrap_or_else(|| format!("orch_{run_id}"));
        let began =
            Began { run_id: run_id.clone(), at: clock::now().as_millisecond(), message, session_id: session_id.clone(), chat: None };
        let new = NewRun {
            orchestration_id: Some(orchestration.id.clone()),
            agent_id,
            session_id: Some(session_id),
            name: orchestration.name.clone(),
            definition: Some(definition),
            background: true,
            ..new_run(run_id, principal, mark)
        };
        self.begin(new, graph, began, None).await
    }

    /// Begins a run and sits down in front of it, or in front of the one that the same request began before.
    pub(super) async fn begin(self: &Arc<Self>, new: NewRun, graph: Arc<Graph>, began: Began, patience: Option<Duration>) -> Result<Watch> {
        let until = if began.chat.is_some() { Until::End } else { Until::Rest };
        let run_id = new.run_id.clone();
        let watch = self.watch(&run_id, 0, until, true);
        let (told, outcome) = oneshot::channel();
        let owner = Owner::Founder(Some(Box::new((new, told))));
        let driver = Driver::new(self, graph, self.logs.of(&run_id), owner, State::default(), 0, 0);
        self.set_off(driver.with_patience(patience).with(Record::Began(began)));
        match outcome.await.map_err(Error::internal)?? {
            None => Ok(watch),
            Some(repeated) => Ok(self.watch(&repeated.run_id, repeated.after, until, false)),
        }
    }

    fn set_off(&self, driver: Driver) {
        self.tasks.spawn(driver.drive().in_current_span());
    }

    pub(super) fn watch(&self, run_id: &str, after: u64, until: Until, fresh: bool) -> Watch {
        Watch::new(&self.live, self.logs.of(run_id), after, until, fresh, self.stop.clone())
    }

    /// Answers a question of a run.
    pub async fn resume(self: &Arc<Self>, request: ResumeRequest, caller: Caller) -> Result<RunEvents> {
        let mark = caller.mark("resume", &request);
        let answer = request.response.map_or_else(|| json!({}), |value| value.0);
        let question = request.step_id.filter(|id| !id.is_empty());
        if !(answer.is_object() || answer.is_string()) {
            return Err(Error::invalid("`response` must be an object with the fields that were asked for, or a text"));
        }
        let command = |reply, repeat| Command::Answer { question: question.clone(), answer: answer.clone(), repeat, reply };
        self.obeyed(&request.run_id, mark, command).await
    }

    /// Lets a run that failed or was cancelled go on.
    pub async fn retry(self: &Arc<Self>, request: RetryRunRequest, caller: Caller) -> Result<RunEvents> {
        let mark = caller.mark("retry", &request);
        self.obeyed(&request.run_id, mark, |reply, repeat| Command::Retry { repeat, reply }).await
    }

    /// Cancels a run and returns how it stands then.
    pub async fn cancel(self: &Arc<Self>, request: CancelRunRequest) -> Result<RunResponse> {
        self.obeyed(&request.run_id, None, |reply, _| Command::Cancel { reply }).await?.outcome().await
    }

    /// Lets a run obey, and returns what follows.
    async fn obeyed(
        self: &Arc<Self>,
        run_id: &str,
        mark: Option<Repeat>,
        command: impl Fn(oneshot::Sender<Result<u64>>, Option<Repeat>) -> Command,
    ) -> Result<RunEvents> {
        self.known(run_id, RunKind::Orchestration).await?;
        let watch = self.command(run_id, mark, Until::Rest, command).await?;
        Ok(RunEvents::new(watch))
    }

    /// Gives a run a command, and sits down in front of what follows. The same request is obeyed once.
    pub(super) async fn command(
        self: &Arc<Self>,
        run_id: &str,
        mark: Option<Repeat>,
        until: Until,
        command: impl Fn(oneshot::Sender<Result<u64>>, Option<Repeat>) -> Command,
    ) -> Result<Watch> {
        if let Some(watch) = self.repeated(mark.as_ref(), until).await? {
            return Ok(watch);
        }
        let watch = self.watch(run_id, 0, until, true);
        match self.heard(run_id, || command_of(&command, mark.as_ref())).await {
            Ok(after) => Ok(watch.from(after)),
            // Of two equal requests at once, the second is refused by the run, because the first was obeyed.
            Err(error) => self.repeated(mark.as_ref(), until).await?.ok_or(error),
        }
    }

    /// Says something to a run until it is heard: a driver that has just left hears nothing any more, and has done nothing of it.
    async fn heard(self: &Arc<Self>, run_id: &str, command: impl Fn() -> (Command, oneshot::Receiver<Result<u64>>)) -> Result<u64> {
        for _ in 0..TRIES {
            let (command, replied) = command();
            self.deliver(run_id, command).await?;
            match replied.await {
                Ok(reply) => return reply,
                Err(_) if self.stop.is_cancelled() => break,
                Err(_) => {}
            }
        }
        Err(Error::new(Reason::Unavailable, "the server is stopping; try again in a moment"))
    }

    /// Sits down in front of what the same request caused before.
    pub(super) async fn repeated(&self, mark: Option<&Repeat>, until: Until) -> Result<Option<Watch>> {
        let Some(Repeat { principal, key, fingerprint, .. }) = mark else { return Ok(None) };
        let repeated = self.logs.store.repeated(principal, key, fingerprint).await?;
        Ok(repeated.map(|repeated| self.watch(&repeated.run_id, repeated.after, until, false)))
    }

    /// Brings a command to the driver of a run; one that only waits for people gets a driver.
    pub(super) async fn deliver(self: &Arc<Self>, run_id: &str, command: Command) -> Result<()> {
        let mut command = Some(command);
        let patience = Instant::now() + TAKEN_UP;
        while let Some(undelivered) = command.take() {
            if let Some(driver) = self.live.driver(run_id) {
                command = driver.send(Box::new(undelivered)).await.err().map(|error| *error.0);
                continue;
            }
            let _alone = self.turnstile.enter(format!("\0{run_id}")).await;
            if self.live.driver(run_id).is_some() {
                command = Some(undelivered);
                continue;
            }
            let log = self.logs.of(run_id);
            let Loaded { summary, graph } = log.open().await?;
            refused(&summary, &undelivered)?;
            match self.logs.store.take(run_id).await? {
                Some(taken) => {
                    let driver = self.woken(log, graph, taken.epoch).await?;
                    self.set_off(driver.told(undelivered));
                }
                None if Instant::now() < patience => {
                    sleep(Duration::from_millis(20)).await; // a start takes its runs up one after the other
                    command = Some(undelivered);
                }
                None => {
                    return Err(Error::new(Reason::Unavailable, format!("run '{run_id}' is still being recovered; try again in a moment")));
                }
            }
        }
        Ok(())
    }

    /// Makes the driver of a run that is kept.
    pub(super) async fn woken(self: &Arc<Self>, log: Log, graph: Arc<Graph>, epoch: u64) -> Result<Driver> {
        let (state, row, event) = log.fold(&graph).await?;
        Ok(Driver::new(self, graph, log, Owner::Holder(epoch), state, row, event))
    }

    /// Watches a run.
    pub async fn watch_run(&self, request: WatchRunRequest, last_event_id: Option<u64>) -> Result<RunEvents> {
        let after = request.after.filter(|after| *after > 0).or(last_event_id).unwrap_or_default();
        let summary = self.known(&request.run_id, RunKind::Orchestration).await?;
        if after > summary.events {
            let detail = format!("`after`: run '{}' has {} events only; watch from one of them, or from 0", request.run_id, summary.events);
            return Err(Error::invalid(detail));
        }
        Ok(RunEvents::new(self.watch(&request.run_id, after, Until::End, false)))
    }

    /// Returns a run of a kind.
    pub(super) async fn known(&self, run_id: &str, kind: RunKind) -> Result<RunSummary> {
        let summary = self.logs.store.get(run_id).await?.filter(|summary| summary.kind() == kind);
        summary.ok_or_else(|| Error::not_found(format!("Run '{run_id}' not found")))
    }

    /// Describes a run.
    pub async fn get_run(&self, run_id: &str) -> Result<RunDetails> {
        self.known(run_id, RunKind::Orchestration).await?;
        let log = self.logs.of(run_id);
        let Loaded { summary, graph } = log.open().await?;
        let (state, _, event) = log.fold(&graph).await?;
        let root = state.root();
        Ok(RunDetails {
            run_id: summary.run_id,
            orchestration_id: summary.orchestration_id.unwrap_or_default(),
            orchestration_name: summary.name,
            status: status(summary.facts.status).into(),
            started_at: Some(summary.created_at.into()),
            ended_at: summary.facts.ended_at.map(Into::into),
            current_steps: current_steps(&graph, &state),
            pending: if state.ended.is_none() { question_list(&graph, &state).to_vec() } else { Vec::new() },
            shared_state: root.map(shared_state),
            step_history: root.map(step_history).unwrap_or_default(),
            total_cost_usd: state.spent.cost,
            usage: Some(Usage {
                input_tokens: state.spent.input_tokens,
                output_tokens: state.spent.output_tokens,
                cached_tokens: state.spent.cached_tokens,
            }),
            error: state.ended.as_ref().and_then(|ended| {
                let of_step = || root?.history.iter().rev().find_map(|past| past.error.clone().filter(|_| !past.completed));
                ended.error.clone().or_else(of_step).filter(|_| summary.facts.status == RunStatus::Failed)
            }),
            last_event_id: event,
        })
    }

    /// Lists runs of orchestrations.
    pub async fn list_runs(&self, request: ListRunsRequest) -> Result<ListRunsResponse> {
        let after = request.page_token.as_deref().filter(|token| !token.is_empty()).map(crate::store::Cursor::decode).transpose()?;
        let status = stored_status(request.status());
        let filter = RunFilter {
            orchestration_id: request.orchestration_id.as_deref().filter(|id| !id.is_empty()),
            status,
            kind: Some(RunKind::Orchestration),
            created_after: request.started_after.map(|time| time.0),
            created_before: request.started_before.map(|time| time.0),
            ..RunFilter::default()
        };
        let page = self.logs.store.list(filter, after, request.limit.unwrap_or(PAGE)).await?;
        let next_page_token = page.next.map(crate::store::Cursor::encode).unwrap_or_default();
        Ok(ListRunsResponse { runs: page.runs.into_iter().map(summary).collect(), next_page_token })
    }
}

/// What an orchestration starts with.
pub(super) struct Start<'a> {
    /// The orchestration.
    pub orchestration: &'a Orchestration,
    /// The message.
    pub message: String,
    /// The conversation; nothing for one of its own.
    pub session_id: Option<String>,
    /// The agent that runs it, where one was asked.
    pub agent_id: Option<String>,
}

/// Makes a run of nothing yet; its driver writes the row and the facts.
pub(super) fn new_run(run_id: String, principal: String, repeat: Option<Repeat>) -> NewRun {
    NewRun {
        run_id,
        orchestration_id: None,
        agent_id: None,
        session_id: None,
        name: String::new(),
        definition: None,
        principal,
        created_at: clock::now(),
        background: false,
        facts: RunFacts { status: RunStatus::Running, wake_at: None, ended_at: None, cost: 0.0, input_tokens: 0, output_tokens: 0 },
        row: RunRow { number: 1, first_event: 1, events: 0, body: String::new() },
        repeat,
        turn: None,
    }
}

/// Makes a command, and the end at which its reply comes.
fn command_of(
    command: &impl Fn(oneshot::Sender<Result<u64>>, Option<Repeat>) -> Command,
    mark: Option<&Repeat>,
) -> (Command, oneshot::Receiver<Result<u64>>) {
    let (reply, replied) = oneshot::channel();
    (command(reply, mark.cloned()), replied)
}

/// Refuses what a run that has no driver would refuse, without waking it.
fn refused(summary: &RunSummary, command: &Command) -> Result<()> {
    let (run_id, status) = (&summary.run_id, summary.facts.status);
    let refuse = |detail: String| Err(Error::new(Reason::FailedPrecondition, detail));
    match command {
        Command::Answer { .. } if status.has_ended() => {
            refuse(format!("Run '{run_id}' is not waiting for an answer; it is {}", status.as_str()))
        }
        Command::Cancel { .. } if status.has_ended() => {
            refuse(format!("Run '{run_id}' cannot be cancelled; it is {} already", status.as_str()))
        }
        Command::Retry { .. } if !matches!(status, RunStatus::Failed | RunStatus::Cancelled) => {
            refuse(format!("Run '{run_id}' cannot be retried; it is {}, and only failed and cancelled runs can", status.as_str()))
        }
        _ => Ok(()),
    }
}

fn current_steps(graph: &Graph, state: &State) -> Vec<run_details::CurrentStep> {
    let at_work = |(number, open): (&u32, &super::run::Execution)| {
        if !matches!(open.holds, Holds::Work | Holds::Question(_)) || state.ended.is_some() {
            return None;
        }
        let step = state.step_of(graph, *number)?;
        let scope = state.frames.get(&open.frame)?.scope;
        Some(run_details::CurrentStep {
            step_id: step.id.clone(),
            step_name: step.name.clone(),
            step_type: step.kind.clone(),
            attempt: open.attempt,
            started_at: time(open.started_at),
            nested_run_id: (scope != 0).then(|| state.scopes.get(&scope).map(|scope| scope.run_id.clone())).flatten(),
        })
    };
    state.open.iter().filter_map(at_work).collect()
}

fn summary(summary: RunSummary) -> v1::RunSummary {
    v1::RunSummary {
        run_id: summary.run_id,
        orchestration_id: summary.orchestration_id.unwrap_or_default(),
        orchestration_name: summary.name,
        status: status(summary.facts.status).into(),
        started_at: Some(wire::Time::from(summary.created_at)),
        ended_at: summary.facts.ended_at.map(Into::into),
        total_cost_usd: summary.facts.cost,
        usage: Some(Usage { input_tokens: summary.facts.input_tokens, output_tokens: summary.facts.output_tokens, cached_tokens: 0 }),
    }
}

/// Returns a status as clients read it.
pub(super) const fn status(status: RunStatus) -> v1::RunStatus {
    match status {
        RunStatus::Running => v1::RunStatus::Running,
        RunStatus::Paused => v1::RunStatus::Paused,
        RunStatus::Completed => v1::RunStatus::Completed,
        RunStatus::Failed => v1::RunStatus::Failed,
        RunStatus::Cancelled => v1::RunStatus::Cancelled,
    }
}

fn stored_status(status: v1::RunStatus) -> Option<RunStatus> {
    Some(match status {
        v1::RunStatus::Unspecified => return None,
        v1::RunStatus::Running => RunStatus::Running,
        v1::RunStatus::Paused => RunStatus::Paused,
        v1::RunStatus::Completed => RunStatus::Completed,
        v1::RunStatus::Failed => RunStatus::Failed,
        v1::RunStatus::Cancelled => RunStatus::Cancelled,
    })
}
