//! How steps begin: what only computes is decided at once, what has effects outside begins once its start is durable.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable};
use tokio::time::Instant;

use super::{Driver, NEVER, Outcomes, now};
use crate::definition::{Step, Work};
use crate::engine::run::next::too_deep;
use crate::engine::run::record::{Nested, Record, Spent};
use crate::engine::run::state::{FrameKind, Holds};
use crate::engine::scope::Scope;
use crate::engine::step::{self, Alone, Attempt, Done, Failure, FailureKind, Place};
use crate::engine::teller;
use crate::error::{Error, Reason, Result};

impl Driver {
    pub(super) fn start(&mut self, frame: u32, id: &str, attempt: u32) {
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

    pub(super) fn decide(&self, scope: u32, step: &Step) -> Option<Result<Done, Failure>> {
        step::decide(step, self.state.flow(&self.graph, scope)?, self.state.scopes.get(&scope)?)
    }

    /// Returns the orchestration that a step runs, if it runs one.
    pub(super) fn nested(&self, frame: u32, scope: u32, step: &Step) -> Result<Option<Nested>> {
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

    pub(super) fn ask(&mut self, execution: u32, scope: u32, step: &Step) {
        let Some(state) = self.state.scopes.get(&scope) else { return };
        let (mut question, seconds) = step::question(step, state);
        question.expires_at = seconds.map(|seconds| now() + i64::from(seconds) * 1000);
        self.record(Record::Asked { execution, question });
    }

    /// Begins the work of a step whose start is durable.
    pub(super) fn begin(&mut self, execution: u32) {
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

    pub(super) fn attempt(&self, execution: u32) -> Option<Attempt> {
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
    pub(super) fn pass_of(&self, frame: u32) -> Option<(u32, u32)> {
        let frame = self.state.frames.get(&frame)?;
        let parent = frame.parent?;
        match (frame.kind, &self.state.open.get(&parent)?.holds, &self.state.step_of(&self.graph, parent)?.work) {
            (FrameKind::Pass, Holds::Passes(passes), Work::Loop { count, .. }) => Some((passes.iteration, *count)),
            (FrameKind::Branch(_), ..) => self.pass_of(self.state.open.get(&parent)?.frame),
            _ => None,
        }
    }

    pub(super) fn time_of(&self, step: &Step) -> Duration {
        step.timeout_seconds.map_or(self.engine.step_time, |seconds| Duration::from_secs(seconds.into()))
    }
}
