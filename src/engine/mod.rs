//! What agents do: the shared engine that both protocols speak to.

mod chat;
mod images;
mod teller;
mod turn;
mod turnstile;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use chat::answer;
pub use teller::ChatEvents;

use crate::metrics::Metrics;
use crate::provider::Models;
use crate::store::{DefinitionFiles, Sessions, Vault};
pub use turnstile::Turnstile;

/// Everything that agents need to do their work.
pub struct Engine {
    /// What users wrote.
    pub definitions: Arc<DefinitionFiles>,
    /// The conversations.
    pub sessions: Sessions,
    /// The files that messages may mention.
    pub vault: Vault,
    /// The models.
    pub models: Models,
    /// What is counted.
    pub metrics: Metrics,
    /// How long a model may take for an answer, retries included.
    pub model_time: Duration,
    /// Cancelled when streams must end because the server stops.
    pub stop: CancellationToken,
    /// One chat at a time in each conversation.
    pub turnstile: Turnstile,
}
