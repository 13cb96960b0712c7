//! Models: one trait, and behind it everything that can answer.

mod abilities;
mod error;
#[cfg(feature = "local")]
pub mod local;
mod models;
mod remembered;
mod remote;
mod request;
mod retry;
mod scripted;
mod text_tools;
pub mod weights;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

pub use error::{Kind, ModelError};
pub use models::{Model, Models};
pub use request::{
    CALLS_PER_ANSWER, Choice, Chosen, Chunk, DescribedOption, Image, Message, ModelRequest, Role, ToolCall, ToolDescription, ToolResult,
    Usage,
};
pub use retry::Retrying;
pub use scripted::Scripted;

/// A source of answers. The stream ends with [`Chunk::End`]; one that ends without it has failed.
pub trait Provider: Send + Sync {
    /// Answers a conversation, piece by piece. Dropping the stream ends the model call at once.
    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<Chunk, ModelError>>;

    /// Chooses one of the described options for a message.
    fn choose(&self, choice: Choice) -> BoxFuture<'static, Result<Chosen, ModelError>>;
}
