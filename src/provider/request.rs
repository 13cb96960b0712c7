//! What is asked of a model and what it answers, in our words.

use std::sync::Arc;

use tokio::time::Instant;

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
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
}

impl Message {
    /// Makes a message without images.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, text: text.into(), images: Vec::new() }
    }
}

/// A conversation to be answered.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    /// The model's own name, without the prefix that chose the provider.
    pub model: String,
    /// The system prompt; empty for none.
    pub system: String,
    /// The conversation, oldest first; the last message is the user's.
    pub messages: Vec<Message>,
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
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The id of the option.
    pub id: String,
    /// A score for each option in order, higher is likelier; empty where the provider gives none.
    pub scores: Vec<f64>,
    /// Tokens that it took.
    pub usage: Usage,
}
