//! How a model call fails.

use std::time::Duration;

/// What kind of failure it was, which decides whether another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No key, no address, no weights: the operator has something to do.
    NotConfigured,
    /// The provider refuses this request; the same one will be refused again.
    Rejected,
    /// The provider asks to wait.
    RateLimited,
    /// The provider cannot be reached or failed.
    Unavailable,
    /// The time for the call ran out.
    TimedOut,
    /// The provider answered with something that is no answer.
    Garbled,
}

/// A failed model call. The text is for the log, except that of [`Kind::NotConfigured`], which the caller may read.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct ModelError {
    /// What kind of failure.
    pub kind: Kind,
    /// What happened, without any secret.
    pub detail: String,
    /// How long the provider asked to wait.
    pub retry_after: Option<Duration>,
}

impl ModelError {
    /// Makes an error.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None }
    }
}
