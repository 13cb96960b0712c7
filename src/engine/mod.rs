//! What agents do: the shared engine that both protocols speak to.

mod act;
mod ask;
mod assist;
mod chat;
mod context;
mod effects;
mod expression;
mod extract_json;
mod facade;
mod images;
mod intent;
mod prepare;
mod prompt;
mod python_text;
mod recover;
mod run;
mod runs;
mod scope;
mod step;
mod teller;
mod template;
mod tool_set;
mod turn;
mod turnstile;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use chat::ChatEvents;
pub use run::{Live, Logs};
pub use runs::{Caller, RunEvents};
pub use step::{Inspection, StepProblem};

use crate::metrics::Metrics;
use crate::provider::Models;
use crate::python::Python;
use crate::store::{DefinitionFiles, ModelCalls, Sessions, Vault};
use crate::tool::Toolbox;
pub use turnstile::Turnstile;

/// Everything that agents need to do their work.
pub struct Engine {
    /// What users wrote.
    pub definitions: Arc<DefinitionFiles>,
    /// The conversations.
    pub sessions: Sessions,
    /// The logs of runs.
    pub logs: Logs,
    /// The runs that work or are watched.
    pub live: Arc<Live>,
    /// What was asked of models.
    pub model_calls: ModelCalls,
    /// The files that messages may mention and agents may work with.
    pub vault: Vault,
    /// The tools.
    pub toolbox: Toolbox,
    /// What runs people's programs.
    pub python: Python,
    /// The models.
    pub models: Models,
    /// What is counted.
    pub metrics: Metrics,
    /// How long a model may take for an answer, retries included.
    pub model_time: Duration,
    /// How long an attempt at a step may take, where the step does not say.
    pub step_time: Duration,
    /// How long a run may work, where its orchestration does not say.
    pub run_time: Duration,
    /// How long a tool may take for a call, whatever its own limit.
    pub tool_time: Duration,
    /// Cancelled when streams must end because the server stops.
    pub stop: CancellationToken,
    /// What goes on: chats, and turns that are being kept.
    pub tasks: TaskTracker,
    /// One chat at a time in each conversation.
    pub turnstile: Turnstile,
}
