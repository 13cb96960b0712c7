//! The form of scripts in `settings.json`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::provider::{Kind, ModelError, Usage};

/// A script as `settings.json` has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Script {
    /// The answer. `{message}` is the newest user message, `{messages}` the number of messages that the model got,
    /// `{images}` the number of images over all messages, `{system}` the system prompt, `{tools}` the names of the tools,
    /// `{results}` what the newest calls returned, a line each. Without a text, the message, or nothing next to calls.
    pub(super) text: Option<String>,
    /// Reasoning ahead of the answer; the same words in braces stand for the same things.
    pub(super) reasoning: String,
    /// Milliseconds before anything comes.
    pub(super) delay_ms: u64,
    /// Milliseconds before each further piece.
    pub(super) chunk_delay_ms: u64,
    /// Characters in a piece; 0 gives all in one.
    pub(super) chunk_chars: usize,
    /// The failure that the call ends with.
    pub(super) error: Option<Failure>,
    /// Characters of the answer that come before the failure.
    pub(super) error_after_chars: usize,
    /// Tokens that are reported; without it, words are counted.
    pub(super) usage: Option<Tokens>,
    /// The tools that are called after the text.
    pub(super) calls: Vec<Called>,
    /// What is played instead of this script, answer by answer.
    pub(super) answers: Vec<Arc<Script>>,
    /// Whether calls are native; otherwise they are text, as models without native calling write them.
    pub(super) native: bool,
    /// Whether the model takes images.
    pub(super) sees: bool,
}

/// A call as a script has it; texts in its arguments may hold the same words in braces.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Called {
    pub(super) tool: String,
    #[serde(default)]
    pub(super) arguments: Value,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            text: None,
            reasoning: String::new(),
            delay_ms: 0,
            chunk_delay_ms: 0,
            chunk_chars: 0,
            error: None,
            error_after_chars: 0,
            usage: None,
            calls: Vec::new(),
            answers: Vec::new(),
            native: true,
            sees: true,
        }
    }
}

/// A failure by the name it has in a script.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Failure {
    RateLimited,
    Unavailable,
    Rejected,
    TimedOut,
    Garbled,
}

impl Failure {
    /// Makes the error.
    pub(super) fn error(self) -> ModelError {
        let kind = match self {
            Self::RateLimited => Kind::RateLimited,
            Self::Unavailable => Kind::Unavailable,
            Self::Rejected => Kind::Rejected,
            Self::TimedOut => Kind::TimedOut,
            Self::Garbled => Kind::Garbled,
        };
        ModelError::new(kind, "the script says so")
    }
}

/// Tokens as a script reports them.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tokens {
    #[serde(rename = "input_tokens")]
    input: u64,
    #[serde(rename = "output_tokens")]
    output: u64,
    #[serde(rename = "cached_tokens")]
    cached: u64,
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        Self { input_tokens: tokens.input, output_tokens: tokens.output, cached_tokens: tokens.cached }
    }
}

/// Reads a script, and names what is wrong with it.
pub(super) fn read(name: &str, script: &Value) -> Result<Script, ModelError> {
    serde_path_to_error::deserialize(script).map_err(|error| {
        let detail = format!("script `{name}` under `scripted` in settings.json, at `{}`: {}", error.path(), error.inner());
        ModelError::new(Kind::NotConfigured, detail)
    })
}
