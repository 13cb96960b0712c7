//! What agents do: the shared engine that both protocols speak to.

mod act;
mod ask;
mod assist;
mod chat;
mod context;
#[cfg_attr(not(test), expect(dead_code, reason = "used by the steps of runs"))]
mod expression;
#[cfg_attr(not(test), expect(dead_code, reason = "used by the steps of runs"))]
mod extract_json;
mod images;
mod intent;
mod prepare;
mod prompt;
mod python_text;
mod scope;
mod teller;
#[cfg_attr(not(test), expect(dead_code, reason = "used by the steps of runs"))]
mod template;
mod tool_set;
mod turn;
mod turnstile;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use chat::answer;
pub use teller::ChatEvents;

use crate::metrics::Metrics;
use crate::provider::Models;
use crate::store::{DefinitionFiles, ModelCalls, Sessions, Vault};
use crate::tool::Toolbox;
pub use turnstile::Turnstile;

/// Everything that agents need to do their work.
pub struct Engine {
    /// What users wrote.
    pub definitions: Arc<DefinitionFiles>,
    /// The conversations.
    pub sessions: Sessions,
    /// What was asked of models.
    pub model_calls: ModelCalls,
    /// The files that messages may mention and agents may work with.
    pub vault: Vault,
    /// The tools.
    pub toolbox: Toolbox,
    /// The models.
    pub models: Models,
    /// What is counted.
    pub metrics: Metrics,
    /// How long a model may take for an answer, retries included.
    pub model_time: Duration,
    /// How long a tool may take for a call, whatever its own limit.
    pub tool_time: Duration,
    /// Cancelled when streams must end because the server stops.
    pub stop: CancellationToken,
    /// What goes on: chats, and turns that are being kept.
    pub tasks: TaskTracker,
    /// One chat at a time in each conversation.
    pub turnstile: Turnstile,
}
