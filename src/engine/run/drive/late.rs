//! What happens when time is up.

use std::time::Duration;

use tokio::time::Instant;

use super::{Driver, now};
use crate::definition::{HumanTimeout, Work};
use crate::engine::run::next::{Lead, follow};
use crate::engine::run::record::{Finished, Millis, Outcome, Record, Spent};
use crate::engine::run::state::{Execution, Holds, Place};
use crate::engine::step::FailureKind;
use crate::error::{Error, Reason};

impl Driver {
    /// Deals with everything whose time is up.
    pub(super) fn late(&mut self) {
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
        if !late.is_empty() {
            self.wake();
        }
        for execution in late {
            let Some((_, step)) = self.stands(execution) else { continue };
            let detail = format!("Step '{}' timed out after {}s", step.name, self.time_of(&step).as_secs());
            self.fail(execution, FailureKind::Timeout, &Error::new(Reason::AgentFailed, detail), Spent::default());
        }
    }

    /// Does what a question wants when nobody answers in time.
    pub(super) fn expire(&mut self, execution: u32) {
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
    pub(super) fn wake(&mut self) {
        if self.state.rests() {
            self.record(Record::Woken { at: now() });
        }
    }

    /// Returns the next moment at which something is late or ready again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let at = now();
        let retries = self.state.frames.values().filter_map(|frame| match frame.place {
            Place::Before { at, .. } => at,
            _ => None,
        });
        let run = self.run_time().map(|limit| at + (limit - self.state.worked(at)).max(0));
        let questions = self.state.questions().filter_map(|(_, question)| question.expires_at);
        let first = retries.chain(run).chain(questions).chain(self.containers().map(|(_, end)| end)).min()?;
        Some(Instant::now() + Duration::from_millis(u64::try_from(first - at).unwrap_or_default()))
    }

    /// Returns the steps with others inside, and when their time is up.
    pub(super) fn containers(&self) -> impl Iterator<Item = (u32, Millis)> {
        let at = now();
        self.state.open.iter().filter_map(move |(number, open)| self.end_of(*number, open, at))
    }

    pub(super) fn end_of(&self, number: u32, open: &Execution, at: Millis) -> Option<(u32, Millis)> {
        if matches!(open.holds, Holds::Work | Holds::Question(_)) || open.failed.is_some() {
            return None;
        }
        let time = self.time_of(self.state.step_of(&self.graph, number)?);
        let left = i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2) - self.state.worked_at(open, at);
        Some((number, at + left.max(0)))
    }

    /// Returns how long the run may work; a chat has no such limit.
    pub(super) fn run_time(&self) -> Option<Millis> {
        if self.state.began.chat.is_some() {
            return None;
        }
        let minutes = self.graph.flow(self.graph.root())?.orchestration.timeout_minutes;
        Some(minutes.map_or(i64::try_from(self.engine.run_time.as_millis()).unwrap_or(i64::MAX / 2), |minutes| i64::from(minutes) * 60_000))
    }
}
