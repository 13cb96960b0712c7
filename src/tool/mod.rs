//! Tools: one trait, and behind it everything that a model can call.

mod address;
mod answer;
mod builtin;
pub mod datetime;
pub mod fetch_url;
pub mod http;
pub mod large;
mod network;
mod page;
pub mod python;
pub mod sql;
pub mod mcp;
mod toolbox;
mod url_template;
pub mod vault;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::time::Instant;

pub use large::{cut_long, stash};
pub use network::{Lookup, Network, Reach};
pub use toolbox::{Toolbox, Wanted};

use crate::provider::{Image, ToolDescription};

/// Something that a model can call.
pub trait Tool: Send + Sync {
    /// Returns what a model is told of it.
    fn description(&self) -> &Arc<ToolDescription>;

    /// Returns where it comes from.
    fn origin(&self) -> Origin;

    /// Tells whether the calls of one answer wait for each other, in the model's order, with those of other tools that say so:
    /// what one writes the next one reads.
    fn in_order(&self) -> bool {
        false
    }

    /// Does the work. The arguments keep the schema of the description. Dropping the future ends the work at once, with everything that
    /// it started; after the deadline of the call nobody waits any more.
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Output, Failure>>;
}

/// Where a tool comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is part of the server.
    BuiltIn,
    /// A user wrote it into `custom_tools.json`.
    Custom,
    /// A server of `mcp_servers.json` has it.
    Mcp,
    /// It is another agent.
    Agent,
}

/// One call of a tool.
#[derive(Debug, Clone)]
pub struct Call {
    /// The id of the call, as the model and the events name it.
    pub id: String,
    /// The arguments.
    pub arguments: Map<String, Value>,
    /// When the result must be there.
    pub deadline: Instant,
    /// The most bytes of output that are read; a tool with more fails.
    pub output_bytes: usize,
    /// The same for every attempt of this call, so that whoever does the work can tell a repetition.
    pub idempotency_id: String,
}

/// What a tool returned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The text, for a model to read; JSON where the result has a structure.
    pub text: String,
    /// Images that go with it.
    pub images: Vec<Image>,
}

impl Output {
    /// Makes an output of text alone.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), images: Vec::new() }
    }
}

/// Why a tool returned nothing, for the model and the user to read: it tells no secret and nothing of the server's inside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl Failure {
    /// Makes a failure.
    pub fn new(detail: impl Into<String>) -> Self {
        Self(detail.into())
    }
}
