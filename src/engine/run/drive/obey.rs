//! What callers want of a run: answers, an end, another try.

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{Driver, now};
use crate::engine::run::next::{Lead, follow};
use crate::engine::run::outcome::questions;
use crate::engine::run::record::{Outcome, Question, Record, Spent};
use crate::engine::step::{self, FailureKind};
use crate::error::{Error, Reason, Result};
use crate::store::{Repeat, RunStatus};

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

impl Driver {
    /// Obeys a command.
    pub(super) fn command(&mut self, command: Command) {
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
    pub(super) fn answered(&mut self, outcome: Result<u64>, repeat: Option<Repeat>, reply: oneshot::Sender<Result<u64>>) {
        if let Ok(after) = outcome {
            self.batch.repeat = repeat.map(|repeat| Repeat { after, ..repeat });
        }
        self.batch.replies.push((reply, outcome));
    }

    pub(super) fn answer(&mut self, named: Option<&str>, answer: &Value) -> Result<u64> {
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

    pub(super) fn give(&mut self, execution: u32, answer: Value, timeout: bool) {
        let Some((frame, step)) = self.stands(execution) else { return };
        let turnout = follow(&self.graph, &self.state, frame, &step, Lead::Behind);
        self.record(Record::Answered { execution, at: now(), answer, timeout, next: turnout.next, breaks: turnout.breaks });
        self.skipped(frame, turnout.skipped);
    }

    /// Does with an interrupted attempt what a person decided.
    pub(super) fn decided(&mut self, execution: u32, answer: &Value) {
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
    pub(super) fn asked(&self, named: Option<&str>) -> Result<(u32, Question)> {
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

    pub(super) fn cancel(&mut self) -> Result<u64> {
        if self.state.ended.is_some() {
            let (run_id, status) = (&self.log.run_id, self.status().as_str());
            return Err(Error::new(Reason::FailedPrecondition, format!("Run '{run_id}' cannot be cancelled; it is {status} already")));
        }
        let after = self.event;
        self.end(Outcome::Cancelled, None);
        Ok(after)
    }

    pub(super) fn retry(&mut self) -> Result<u64> {
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
}
