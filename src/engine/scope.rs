//! What holds for a chat as a whole, the work of its sub-agents included.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Reason, Result};
use crate::provider::{Message, Model, ModelRequest, ToolDescription, Usage};
use crate::store::Definitions;

/// The most model calls for one message, those of sub-agents included.
const MODEL_CALLS: u32 = 200;

/// What holds for a chat as a whole.
pub(super) struct Scope {
    /// The definitions as they were when the chat began.
    pub definitions: Arc<Definitions>,
    /// The conversation.
    pub session_id: String,
    /// How long a model may take for one answer.
    model_time: Duration,
    /// When the caller stops waiting, if it said so.
    deadline: Option<Instant>,
    model_calls: AtomicU32,
    usage: Mutex<Usage>,
}

impl Scope {
    /// Begins a chat.
    pub(super) fn new(definitions: Arc<Definitions>, session_id: String, model_time: Duration, patience: Option<Duration>) -> Self {
        Self {
            definitions,
            session_id,
            model_time,
            deadline: patience.and_then(|patience| Instant::now().checked_add(patience)),
            model_calls: AtomicU32::new(0),
            usage: Mutex::default(),
        }
    }

    /// Returns when something that begins now and may take so long has to end.
    pub(super) fn end(&self, time: Duration) -> Instant {
        let end = Instant::now() + time;
        self.deadline.map_or(end, |deadline| deadline.min(end))
    }

    /// Makes the request of a model call that begins now.
    pub(super) fn request(
        &self,
        model: &Model,
        system: String,
        messages: Vec<Message>,
        tools: Arc<[Arc<ToolDescription>]>,
    ) -> ModelRequest {
        ModelRequest { model: model.name.clone(), system, messages, tools, deadline: self.end(self.model_time) }
    }

    /// Counts a model call, and refuses one too many.
    pub(super) fn count(&self) -> Result<()> {
        if self.model_calls.fetch_add(1, Ordering::Relaxed) < MODEL_CALLS {
            return Ok(());
        }
        Err(Error::new(Reason::AgentFailed, format!("the chat used all of its {MODEL_CALLS} model calls; ask for less at once")))
    }

    /// Adds the tokens of a model call.
    pub(super) fn add(&self, usage: Usage) {
        let mut total = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        total.input_tokens += usage.input_tokens;
        total.output_tokens += usage.output_tokens;
        total.cached_tokens += usage.cached_tokens;
    }

    /// Returns the tokens of all model calls so far.
    pub(super) fn usage(&self) -> Usage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
