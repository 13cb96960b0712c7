//! What steps do: one file for each kind. Those that only compute are decided at once; those with effects outside are performed.

mod agent;
mod evaluator;
mod extract_json;
#[cfg(test)]
mod fixture;
mod human;
mod if_else;
mod llm;
mod merge;
#[cfg(test)]
mod performing;
mod print;
mod prompt;
mod switch;
mod tool;
mod transform;
mod validate;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Engine;
use super::ask::Asker;
use super::chat::AGENT_FAILED;
use super::prepare::NamedModel;
use super::run::{Flow, Graph, Lead, ScopeState, Told};
use super::scope::Scope;
use super::teller::{Gone, Teller};
use super::template::TooLarge;
use super::turnstile::Passage;
use crate::definition::{Agent, Step, Work};
use crate::error::{Error, Reason};
use crate::store::NewTurn;

pub(super) use human::{check, question};
pub(super) use prompt::{Place, nested_message};
pub use validate::{Inspection, StepProblem};

/// What a caller reads when a step failed through no fault of its definition; why stands in the log.
const STEP_FAILED: &str = "An internal error occurred while executing this step.";

/// The most bytes of what a step writes, in JSON.
const OUTPUT_BYTES: usize = 2 << 20;

/// Everything that a step with effects outside may know.
pub(super) struct Attempt {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The definitions of the run.
    pub graph: Arc<Graph>,
    /// The step.
    pub step: Arc<Step>,
    /// The orchestration that the step stands in, with its state and history, as they are when the step begins.
    pub state: Arc<ScopeState>,
    /// The pass of the loop around, from 1, and how many there will be; nothing outside of loops.
    pub pass: Option<(u32, u32)>,
    /// The same for every attempt of this execution, for tools that can tell a repetition.
    pub effect_id: String,
    /// What holds for all model calls of the attempt: session, definitions in use, budget.
    pub scope: Arc<Scope>,
    /// Tells what happens.
    pub teller: Teller,
    /// Holds the conversation that nobody else may go on with until the attempt is kept.
    pub alone: Alone,
    /// When the attempt has to be over.
    pub deadline: Instant,
}

/// The right to be alone in a conversation, until what was done there is kept.
#[derive(Clone, Default)]
pub(super) struct Alone(Arc<Mutex<Option<Passage>>>);

impl Alone {
    /// Takes the right out.
    pub(super) fn take(&self) -> Option<Passage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Attempt {
    /// Keeps others out of a conversation until the attempt is kept.
    pub(super) fn hold(&self, passage: Passage) {
        *self.alone.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(passage);
    }

    /// Returns what the prompt of the step is made of.
    fn place(&self) -> Place<'_> {
        Place { step: &self.step, graph: &self.graph, state: &self.state, pass: self.pass }
    }

    /// Returns who asks a model for the step.
    fn asker<'a>(&'a self, model: &'a NamedModel) -> Asker<'a> {
        let agent_id = self.step.agent_id.as_deref().unwrap_or_default();
        Asker { scope: &self.scope, agent_id, model: &model.model, model_name: &model.name }
    }

    /// Finds the model of a step that has no agent.
    fn model(&self) -> Result<NamedModel, Failure> {
        self.engine.model_named(self.step.model.as_deref(), &self.scope.definitions.settings).map_err(Failure::model)
    }

    /// Finds the agent that the step names, as it was when the run began.
    fn agent(&self) -> Result<&Arc<Agent>, Failure> {
        let id = self.step.agent_id.as_deref().unwrap_or_default();
        self.graph.agent(id).ok_or_else(|| Failure::definition(no_agent(&self.step, id)))
    }
}

fn no_agent(step: &Step, id: &str) -> String {
    match id {
        "" => format!("step `{}` names no agent; set its `agent_id`", step.id),
        _ => format!("agent `{id}` of step `{}` does not exist; name another, or create it, and run again", step.id),
    }
}

/// What a step came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Done {
    /// What is written under the output key; nothing where nothing is.
    pub output: Option<Value>,
    /// What is told of it.
    pub told: Told,
    /// Which way it leads.
    pub lead: Lead,
    /// What is not as it should be.
    pub warnings: Vec<String>,
    /// Why it failed, where the step counts as done all the same.
    pub error: Option<String>,
    /// The turn that its conversation is to keep.
    pub turn: Option<NewTurn>,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(super) struct Failure {
    /// What kind of failure it is, as `retry.on` names it.
    pub kind: FailureKind,
    /// What callers read, and what the log reads.
    pub error: Error,
}

impl Failure {
    /// Makes a failure with the sentence that callers read.
    pub(super) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, error: Error::new(Reason::AgentFailed, detail) }
    }

    /// Makes a failure of a definition that cannot be carried out.
    fn definition(detail: impl Into<String>) -> Self {
        Self { kind: FailureKind::Definition, error: Error::new(Reason::FailedPrecondition, detail) }
    }

    /// Tells a failure that is none of the caller's business in the words of runs; those of chats speak of an agent.
    fn of_step(self) -> Self {
        if self.error.detail() != AGENT_FAILED {
            return self;
        }
        Self { error: Error::new(self.error.reason(), STEP_FAILED).because(self.error), ..self }
    }

    /// Makes a failure of what a model was asked for.
    const fn model(error: Error) -> Self {
        Self { kind: FailureKind::Model, error }
    }
}

impl From<TooLarge> for Failure {
    fn from(fault: TooLarge) -> Self {
        Self::definition(fault.to_string())
    }
}

impl From<Gone> for Failure {
    fn from(_: Gone) -> Self {
        Self::model(Error::new(Reason::Cancelled, "nobody follows the run any more"))
    }
}

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The time was up.
    Timeout,
    /// A model failed.
    Model,
    /// A tool failed.
    Tool,
    /// A program failed.
    Transform,
    /// A nested orchestration failed.
    Orchestration,
    /// The definition makes no sense; trying again does not help.
    Definition,
}

impl FailureKind {
    /// Returns the word for it in `retry.on`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Model => "model",
            Self::Tool => "tool",
            Self::Transform => "transform",
            Self::Orchestration => "orchestration",
            Self::Definition => "definition",
        }
    }

    /// Returns the kind of what fails in the work of a step.
    const fn of(work: &Work) -> Self {
        match work {
            Work::Agent { .. } | Work::Llm | Work::Evaluator { .. } => Self::Model,
            Work::Tool { .. } => Self::Tool,
            Work::Transform { .. } => Self::Transform,
            _ => Self::Definition,
        }
    }
}

/// Decides a step that only computes; nothing for every other.
pub(super) fn decide(step: &Step, flow: &Flow, state: &ScopeState) -> Option<Result<Done, Failure>> {
    let values = &state.values;
    let done = match &step.work {
        Work::Merge { strategy } => Ok(merge::decide(step, strategy, flow, values)),
        Work::IfElse { condition, if_true, if_false } => Ok(if_else::decide(condition, if_true.as_ref(), if_false.as_ref(), values)),
        Work::Switch { expression, cases, default } => Ok(switch::decide(expression, cases, default.as_ref(), values)),
        Work::Print { content } => print::decide(content, values),
        Work::ExtractJson => Ok(extract_json::decide(step, values)),
        Work::End => Ok(Done { lead: Lead::End, ..Done::default() }),
        Work::Unknown => Err(Failure::definition(format!("step `{}` has the type `{}`, which does not exist", step.id, step.kind))),
        _ => return None,
    };
    Some(done.and_then(|done| bounded(step, done)))
}

/// Does the work of a step that has effects outside.
pub(super) async fn perform(mut attempt: Attempt) -> Result<Done, Failure> {
    let step = attempt.step.clone();
    let done = match &step.work {
        Work::Agent { allowed_tools, .. } => Box::pin(agent::perform(&mut attempt, allowed_tools.as_deref())).await,
        Work::Llm => llm::perform(&mut attempt).await,
        Work::Tool { forced_tool } => Box::pin(tool::perform(&mut attempt, forced_tool.as_deref())).await,
        Work::Evaluator { prompt, routes } => evaluator::perform(&attempt, prompt, routes).await,
        Work::Transform { code } => transform::perform(&attempt, code).await,
        _ => Err(Failure::definition(format!("step `{}` of the type `{}` does no work of its own", step.id, step.kind))),
    };
    done.map_err(Failure::of_step).and_then(|done| bounded(&step, done))
}

/// Refuses an output that is too large to be kept.
fn bounded(step: &Step, done: Done) -> Result<Done, Failure> {
    let bytes = done.output.as_ref().map_or(0, size);
    if bytes <= OUTPUT_BYTES {
        return Ok(done);
    }
    let most = OUTPUT_BYTES >> 20;
    Err(Failure::new(
        FailureKind::of(&step.work),
        format!("the result of step `{}` has {bytes} bytes, and at most {most} MB are kept", step.id),
    ))
}

/// Counts the bytes of a value in JSON.
fn size(value: &Value) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Writing to a count cannot fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// Returns the values that a step reads and that are there, in its order.
fn inputs<'a>(step: &'a Step, values: &'a Map<String, Value>) -> impl Iterator<Item = (&'a String, &'a Value)> {
    step.input_keys.iter().filter_map(|key| Some((key, values.get(key)?)))
}

/// Writes a value as a model reads it: text as it is, everything else in JSON.
fn readable(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::fixture::{decided, orchestration, state};
    use super::*;

    #[test]
    fn what_decides_nothing_is_left_to_others_and_what_is_no_step_fails() {
        let flow = orchestration(&json!([
            {"id": "a", "type": "agent"}, {"id": "h", "type": "human"}, {"id": "l", "type": "loop"}, {"id": "e", "type": "end"}, {"id": "j", "type": "jump"},
        ]));
        let decide = |id: &str| decide(flow.step(id).unwrap(), &flow, &state(json!({})));
        assert!(["a", "h", "l"].iter().all(|id| decide(id).is_none()));
        assert_eq!(decided(&flow, "e", json!({})).lead, Lead::End);
        let failure = decide("j").unwrap().unwrap_err();
        assert_eq!((failure.kind, failure.error.detail()), (FailureKind::Definition, "step `j` has the type `jump`, which does not exist"));
    }

    #[test]
    fn a_result_that_is_too_large_is_refused() {
        let flow = orchestration(&json!([{"id": "p", "type": "print", "print_content": "{state.a}{state.b}"}]));
        let printed = |bytes: usize| decide(flow.step("p").unwrap(), &flow, &state(json!({"a": "x".repeat(bytes), "b": "y"}))).unwrap();
        assert!(printed(OUTPUT_BYTES - 3).is_ok(), "two quotes belong to it");
        assert!(printed(OUTPUT_BYTES).unwrap_err().error.detail().starts_with("the result of step `p` has 2097155 bytes"));
    }

    #[test]
    fn work_can_be_given_to_another_thread() {
        fn is_send<T: Send>(_: fn(Attempt) -> T) {}
        is_send(perform);
    }
}
