//! Runs: a log of records, the state that it folds to, what is to be done next, and how it is told.

mod graph;
mod next;
mod record;
mod state;

#[cfg(test)]
pub(super) use graph::Pinned;
pub(super) use graph::{DEPTH, Flow, Graph};
pub(super) use next::Lead;
pub(super) use record::{Question, Told};
pub(super) use state::{Past, Scope as ScopeState};
