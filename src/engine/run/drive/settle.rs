//! How steps come out, and what follows.

use std::sync::Arc;

use serde_json::Value;

use super::{Driver, Outcomes, now};
use crate::definition::{OnError, Step, Work};
use crate::engine::expression;
use crate::engine::run::audience::Item;
use crate::engine::run::next::{Lead, follow};
use crate::engine::run::outcome::final_response;
use crate::engine::run::record::{Finished, Note, Outcome, Record, Spent, Told};
use crate::engine::run::state::Holds;
use crate::engine::step::{Done, Failure, FailureKind};
use crate::error::Error;

impl Driver {
    /// Takes in how an attempt ended.
    pub(super) fn came(&mut self, outcomes: Outcomes) {
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
    pub(super) fn done(&mut self, execution: u32, done: Done, spent: Spent) {
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

    pub(super) fn skipped(&mut self, frame: u32, skipped: Vec<(String, u32, u32)>) {
        for (step, iterations, max_iterations) in skipped {
            self.record(Record::Skipped { frame, step, iterations, max_iterations });
        }
    }

    /// Records that an attempt failed, and what follows: another attempt, the next step, or the end of what is around.
    pub(super) fn fail(&mut self, execution: u32, kind: FailureKind, error: &Error, spent: Spent) {
        let Some((frame, step)) = self.stands(execution) else { return };
        let (attempt, failures) = self.state.open.get(&execution).map_or((1, 0), |open| (open.attempt, open.failures));
        let detail = error.detail().to_owned();
        tracing::warn!(run = self.log.run_id, step = step.id, attempt, cause = error.chain(), "a step failed");
        let again = failures + 1 < step.retry.max_attempts && self.may_retry(&step, kind);
        if again {
            let wait = u64::from(step.retry.backoff_seconds).saturating_mul(1 << failures.min(20));
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

    pub(super) fn may_retry(&self, step: &Step, kind: FailureKind) -> bool {
        let wanted = step.retry.on.is_empty() || step.retry.on.iter().any(|name| name == kind.name());
        wanted && kind != FailureKind::Definition && self.budget.exceeded().is_none()
    }

    /// Ends the work of executions that are no longer there.
    pub(super) fn drop_closed(&mut self) {
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
    pub(super) fn pass(&mut self, execution: u32) {
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
    pub(super) fn complete(&mut self, execution: u32) {
        let output = match self.state.open.get(&execution).map(|open| &open.holds) {
            Some(Holds::Nested(scope)) => self.state.scopes.get(scope).map(|scope| final_response(scope, Outcome::Completed, None)),
            _ => None,
        };
        self.done(execution, Done { output: output.map(Value::from), ..Done::default() }, Spent::default());
    }

    /// Ends the run.
    pub(super) fn end(&mut self, outcome: Outcome, error: Option<String>) {
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

    pub(super) fn stands(&self, execution: u32) -> Option<(u32, Arc<Step>)> {
        Some((self.state.open.get(&execution)?.frame, self.state.step_of(&self.graph, execution)?.clone()))
    }
}
