//! What steps do: one file for each kind. Those that only compute are decided at once; those with effects outside are performed.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Engine;
use super::run::{Flow, Graph, Lead, Question, ScopeState, Told};
use super::scope::Scope;
use super::teller::Teller;
use crate::definition::{Step, Work};
use crate::error::Error;
use crate::store::NewTurn;

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
    /// The run.
    pub run_id: String,
    /// Which attempt it is, from 1.
    pub number: u32,
    /// The pass of the loop around, from 1, and how many there will be; nothing outside of loops.
    pub pass: Option<(u32, u32)>,
    /// The same for every attempt of this execution, for tools that can tell a repetition.
    pub effect_id: String,
    /// What holds for all model calls of the attempt: session, definitions in use, budget.
    pub scope: Arc<Scope>,
    /// Tells what happens.
    pub teller: Teller,
    /// When the attempt has to be over.
    pub deadline: Instant,
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
#[derive(Debug)]
pub(super) struct Failure {
    /// What kind of failure it is, as `retry.on` names it.
    pub kind: FailureKind,
    /// What callers read, and what the log reads.
    pub error: Error,
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
}
