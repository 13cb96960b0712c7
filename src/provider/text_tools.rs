//! Tools for models without native calling: the tools are told in words, and the calls are read from the answer's text.
//!
//! A model calls a tool with one JSON object that is its whole answer, or with several inside `<tool_call>` each:
//!
//! ```text
//! {"tool": "get_datetime", "arguments": {"timezone": "UTC"}}
//! ```

mod code;
mod marks;
mod parser;
mod words;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};

use super::remembered::Remembered;
use super::{CALLS_PER_ANSWER, Choice, Chosen, Chunk, Kind, ModelError, ModelRequest, Provider, ToolCall};
use crate::clock;
use parser::Parser;
pub(super) use words::calls_behind;

/// How services say that a model takes no tools: Ollama, vLLM, `OpenRouter`, Groq.
const REFUSALS: [&str; 4] = ["does not support tools", "--enable-auto-tool-choice", "support tool use", "tool calling is not supported"];

/// A provider whose model reads and writes of tools in plain text.
#[derive(Clone)]
pub(super) struct TextTools(Arc<dyn Provider>);

impl TextTools {
    /// Wraps a provider that knows nothing of tools.
    pub(super) fn new(provider: Arc<dyn Provider>) -> Self {
        Self(provider)
    }
}

impl Provider for TextTools {
    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<Chunk, ModelError>> {
        if !speaks_of_tools(&request) {
            return self.0.stream(request);
        }
        let calls = !request.tools.is_empty();
        let answer = self.0.stream(words::request(request));
        if !calls {
            return answer;
        }
        let mut parser = Parser::default();
        answer.flat_map(move |item| stream::iter(read(&mut parser, item))).boxed()
    }

    fn choose(&self, choice: Choice) -> BoxFuture<'static, Result<Chosen, ModelError>> {
        self.0.choose(choice)
    }
}

/// A provider whose model is asked natively first, and in text once its service has said that it takes no tools.
pub(super) struct NativeOrText {
    native: Arc<dyn Provider>,
    refusals: Arc<Remembered>,
    /// The model, as the refusals know it.
    model: String,
}

impl NativeOrText {
    /// Wraps a provider; the refusals are shared by all of the process.
    pub(super) fn new(native: Arc<dyn Provider>, refusals: Arc<Remembered>, model: String) -> Self {
        Self { native, refusals, model }
    }
}

impl Provider for NativeOrText {
    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<Chunk, ModelError>> {
        if !speaks_of_tools(&request) {
            return self.native.stream(request);
        }
        let text = TextTools::new(Arc::clone(&self.native));
        if self.refusals.has(&self.model) {
            return text.stream(request);
        }
        let mut answer = self.native.stream(request.clone());
        let (refusals, model) = (Arc::clone(&self.refusals), self.model.clone());
        let begun = async move {
            match answer.next().await {
                Some(Err(error)) if is_refusal(&error) => {
                    tracing::info!(model, "the model takes no tools natively, so it is told of them in words");
                    refusals.add(model);
                    text.stream(request)
                }
                Some(first) => stream::iter([first]).chain(answer).boxed(),
                None => stream::empty().boxed(),
            }
        };
        begun.flatten_stream().boxed()
    }

    fn choose(&self, choice: Choice) -> BoxFuture<'static, Result<Chosen, ModelError>> {
        self.native.choose(choice)
    }
}

/// Returns whether a service refused tools, and nothing else.
fn is_refusal(error: &ModelError) -> bool {
    let words = error.detail.to_lowercase();
    error.kind == Kind::Rejected && REFUSALS.iter().any(|told| words.contains(told))
}

fn speaks_of_tools(request: &ModelRequest) -> bool {
    !request.tools.is_empty() || request.messages.iter().any(|message| !message.calls.is_empty() || !message.results.is_empty())
}

/// Reads a piece of an answer. The calls come once it has ended.
fn read(parser: &mut Parser, item: Result<Chunk, ModelError>) -> Vec<Result<Chunk, ModelError>> {
    let usage = match item {
        Ok(Chunk::Text(text)) => return parser.read(&text).into_iter().map(Ok).collect(),
        Ok(Chunk::End(usage)) => usage,
        other => return vec![other],
    };
    let (mut chunks, calls) = std::mem::take(parser).finish();
    if calls.len() > CALLS_PER_ANSWER {
        return vec![Err(ModelError::new(Kind::Garbled, "the model called too many tools at once"))];
    }
    let id = || format!("call_{}", clock::random_id().simple());
    chunks.extend(calls.into_iter().map(|(name, arguments)| {
        // Nobody wants anything back: the call is text.
        Chunk::Call(Box::new(ToolCall { id: id(), name, arguments, signatures: Vec::new() }))
    }));
    chunks.push(Chunk::End(usage));
    chunks.into_iter().map(Ok).collect()
}
