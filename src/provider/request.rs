//! What is asked of a model and what it answers, in our words.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

/// The most tools that one answer may call.
pub const CALLS_PER_ANSWER: usize = 128;

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
    /// The tools that the model called: the message carries their results.
    Tool,
}

/// An image that goes with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The media type, for example `image/png`.
    pub media_type: String,
    /// The bytes in standard base64.
    pub base64: Arc<str>,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// The text.
    pub text: String,
    /// The images, in order.
    pub images: Vec<Image>,
    /// The tools that the model calls, in its order; only in messages of the model.
    pub calls: Vec<ToolCall>,
    /// The results of the calls of the message before, in their order; only in messages of tools.
    pub results: Vec<ToolResult>,
}

impl Message {
    /// Makes a message of text alone.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, text: text.into(), images: Vec::new(), calls: Vec::new(), results: Vec::new() }
    }

    /// Makes the model's message that calls tools.
    pub fn calls(text: impl Into<String>, calls: Vec<ToolCall>) -> Self {
        Self { calls, ..Self::text(Role::Assistant, text) }
    }

    /// Makes the message that answers all calls of the message before.
    pub fn results(results: Vec<ToolResult>) -> Self {
        Self { results, ..Self::text(Role::Tool, "") }
    }
}

/// A tool as a model is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolDescription {
    /// The name that the model calls it by: 1 to 64 letters, digits, `_` and `-`.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// The JSON Schema of its arguments, an object.
    pub schema: Value,
}

/// A model's wish that a tool be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Tells the call from the others of the conversation; its result names it.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments as the model wrote them: an object, or anything else where it made a mistake.
    pub arguments: Value,
    /// What the provider wants back with the call, unread by us.
    pub signatures: Vec<String>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolResult {
    /// The id of the call.
    pub call_id: String,
    /// The name of the tool.
    pub name: String,
    /// The result, or why there is none.
    pub text: String,
}

/// A conversation to be answered.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    /// The model's own name, without the prefix that chose the provider.
    pub model: String,
    /// The system prompt; empty for none.
    pub system: String,
    /// The conversation, oldest first; the last message is the user's, or holds the results of tools.
    pub messages: Vec<Message>,
    /// The tools that the model may call.
    pub tools: Arc<[Arc<ToolDescription>]>,
    /// When the answer must be complete, retries included.
    pub deadline: Instant,
}

/// Tokens that a call took, as far as the provider told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Tokens written, reasoning included.
    pub output_tokens: u64,
    /// Of the tokens read, those that came from the provider's cache.
    pub cached_tokens: u64,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// More of the answer's text.
    Text(String),
    /// More of the model's reasoning, which is no part of the answer.
    Reasoning(String),
    /// A tool is to be called; whole, and after all text. In a box, because pieces of text are many and calls are few.
    Call(Box<ToolCall>),
    /// The answer is complete.
    End(Usage),
}

/// An option that a model may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedOption {
    /// What is returned when it is chosen.
    pub id: String,
    /// What it stands for, in a few words; empty falls back to the id.
    pub description: String,
}

/// A question with a closed set of answers.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The model's own name.
    pub model: String,
    /// What is to be decided; empty for plain classification of the message.
    pub instruction: String,
    /// The message to decide about.
    pub message: String,
    /// The options, at least one.
    pub options: Vec<DescribedOption>,
    /// When the choice must have been made.
    pub deadline: Instant,
}

/// The chosen option.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chosen {
    /// The id of the option.
    pub id: String,
    /// Why, in the model's words; empty where it gave none.
    pub reasoning: String,
    /// A score for each option in order, higher is likelier; empty where the provider gives none.
    pub scores: Vec<f64>,
    /// Tokens that it took.
    pub usage: Usage,
}
