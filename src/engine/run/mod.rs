//! Runs: a log of records, the state that it folds to, what is to be done next, and how it is told.

mod audience;
mod batch;
mod drive;
mod graph;
mod load;
mod next;
mod outcome;
mod record;
mod state;
mod tell;
mod tell_chat;
#[cfg(test)]
mod tests;
mod watch;

pub use audience::Live;
pub(super) use batch::Owner;
pub(super) use drive::{Command, Driver};
#[cfg(test)]
pub(super) use graph::Pinned;
pub(super) use graph::{DEPTH, Flow, Graph};
pub use load::Logs;
pub(super) use load::{Loaded, Log};
pub(super) use next::Lead;
pub(super) use outcome::{questions as question_list, shared_state, step_history};
pub(super) use record::{Began, Chat, Delegate, Note, Question, Record, Spent, Told};
pub(super) use state::{Execution, Holds, Past, Scope as ScopeState, State};
pub(super) use tell::{Public, time};
pub(super) use watch::{Close, Until, Watch};
