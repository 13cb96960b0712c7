//! What holds for a chat as a whole, the work of its sub-agents included.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::run::Spent;
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
    used: Mutex<Spent>,
    budget: Arc<Budget>,
}

impl Scope {
    /// Begins a chat.
    pub(super) fn new(definitions: Arc<Definitions>, session_id: String, model_time: Duration) -> Self {
        Self {
            definitions,
            session_id,
            model_time,
            deadline: None,
            model_calls: AtomicU32::new(0),
            used: Mutex::default(),
            budget: Arc::default(),
        }
    }

    /// Ends everything when the caller stops waiting.
    #[must_use]
    pub(super) fn until(self, deadline: Option<Instant>) -> Self {
        Self { deadline, ..self }
    }

    /// Counts against a budget.
    #[must_use]
    pub(super) fn with_budget(self, budget: Arc<Budget>) -> Self {
        Self { budget, ..self }
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
        if let Some(limit) = self.budget.exceeded() {
            return Err(Error::new(Reason::AgentFailed, format!("Cost limit (${limit}) exceeded")));
        }
        if self.model_calls.fetch_add(1, Ordering::Relaxed) < MODEL_CALLS {
            return Ok(());
        }
        Err(Error::new(Reason::AgentFailed, format!("the chat used all of its {MODEL_CALLS} model calls; ask for less at once")))
    }

    /// Adds what a model call took, in tokens and US dollars.
    pub(super) fn add(&self, usage: Usage, cost: f64) {
        let Usage { input_tokens, output_tokens, cached_tokens } = usage;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).add(&Spent { input_tokens, output_tokens, cached_tokens, cost });
        self.budget.spend(cost);
    }

    /// Returns the tokens of all model calls so far.
    pub(super) fn usage(&self) -> Usage {
        let Spent { input_tokens, output_tokens, cached_tokens, .. } = self.spent();
        Usage { input_tokens, output_tokens, cached_tokens }
    }

    /// Returns what all model calls so far took.
    pub(super) fn spent(&self) -> Spent {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a run may spend, and what it has spent so far: all of its attempts count against it at once.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// US dollars; nothing for no limit.
    limit: Option<f64>,
    spent: Mutex<f64>,
}

impl Budget {
    /// Makes the budget of a run that has spent something before.
    pub(super) fn new(limit: Option<f64>, spent: f64) -> Self {
        Self { limit, spent: Mutex::new(spent) }
    }

    fn spend(&self, cost: f64) {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner) += cost;
    }

    /// Returns the limit, once it is reached.
    pub(super) fn exceeded(&self) -> Option<f64> {
        self.limit.filter(|limit| *self.spent.lock().unwrap_or_else(PoisonError::into_inner) >= *limit)
    }
}
