//! How a run goes on that a crash of the server interrupted.

use serde_json::Map;

use super::Driver;
use crate::definition::{OnInterrupt, Step};
use crate::engine::run::record::{Outcome, Question, Record, Spent};
use crate::engine::step::FailureKind;
use crate::error::{Error, Reason};

/// How often in a row a run may crash the server.
const CRASHES: u32 = 5;

impl Driver {
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
        let interrupted: Vec<u32> = self.state.working().collect();
        for execution in interrupted {
            self.interrupted(execution);
        }
        self
    }

    pub(super) fn interrupted(&mut self, execution: u32) {
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
