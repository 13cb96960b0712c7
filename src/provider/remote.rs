//! Models behind a network: genai speaks their protocols, and this says what it is asked and what its answers mean.

mod calls;
mod choice;
mod client;
mod conversation;
mod failure;
mod fragments;
mod service;
mod whole;

use std::sync::Arc;
use std::vec;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryFutureExt, stream};
use genai::adapter::AdapterKind;
use genai::chat::{ChatResponseFormat, ChatStreamEvent, StopReason, StreamEnd};
use genai::resolver::{AuthData, Endpoint};
use genai::{ModelIden, ServiceTarget};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::{Choice, Chosen, Chunk, Kind, ModelError, ModelRequest, Provider, ToolCall, Usage};
use calls::Calls;
pub(super) use client::Clients;
use failure::Other;
pub(super) use service::*;
use whole::Events;

/// The most bytes of text, reasoning and arguments of calls that one answer may have.
const ANSWER_BYTES: usize = 4 << 20;

/// A service with its address and key.
#[derive(Clone)]
pub(super) struct Remote {
    clients: Arc<Clients>,
    service: &'static Service,
    base: Url,
    key: Option<SecretString>,
    streams: bool,
}

impl Remote {
    /// Takes what a call needs. Nothing is opened before the first call.
    pub(super) const fn new(clients: Arc<Clients>, service: &'static Service, base: Url, key: Option<SecretString>, streams: bool) -> Self {
        Self { clients, service, base, key, streams }
    }

    fn other(&self) -> Other<'_> {
        Other { title: self.service.title, key: self.key.as_ref() }
    }

    /// Makes the call and returns its answer as it arrives.
    async fn ask(self, request: ModelRequest, format: Option<ChatResponseFormat>) -> Result<Answer, ModelError> {
        let adapter = self.service.adapter(&request.model, self.key.is_some());
        let calls = Calls::new(adapter, &request);
        let mut answer =
            Answer { events: stream::empty().boxed(), adapter, remote: self, text: 0, reasoning: 0, calls, again: None, ended: None };
        if !answer.remote.streams || answer.remote.clients.in_one_piece.has(&answer.remote.known_as(&request)) {
            answer.ask_whole(request, format).await?;
        } else {
            answer.ask_streamed(request, format).await?;
        }
        Ok(answer)
    }

    /// Names a model among all that are asked.
    fn known_as(&self, request: &ModelRequest) -> String {
        format!("{} at {}", request.model, self.base)
    }

    /// Makes the call and returns its answer as a stream.
    fn answer(&self, request: ModelRequest, format: Option<ChatResponseFormat>) -> BoxStream<'static, Result<Chunk, ModelError>> {
        let chunks = |answer| {
            stream::try_unfold(Some(answer), |answer: Option<Answer>| async {
                let Some(mut answer) = answer else { return Ok(None) };
                let chunk = answer.next().await?;
                let rest = (!matches!(chunk, Chunk::End(_))).then_some(answer);
                Ok(Some((chunk, rest)))
            })
        };
        self.clone().ask(request, format).map_ok(chunks).try_flatten_stream().boxed()
    }

    fn target(&self, model: &str) -> ServiceTarget {
        let adapter = self.service.adapter(model, self.key.is_some());
        let key = self.key.as_ref().map(|key| key.expose_secret().to_owned());
        ServiceTarget {
            endpoint: Endpoint::from_owned(self.base.as_str()),
            auth: key.map_or(AuthData::None, AuthData::Key),
            model: ModelIden::new(adapter, model),
        }
    }
}

impl Provider for Remote {
    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<Chunk, ModelError>> {
        self.answer(request, None)
    }

    fn choose(&self, choice: Choice) -> BoxFuture<'static, Result<Chosen, ModelError>> {
        choice::choose(self.clone(), choice).boxed()
    }
}

/// An answer while it arrives.
struct Answer {
    events: Events,
    adapter: AdapterKind,
    remote: Remote,
    /// Bytes of text so far.
    text: usize,
    /// Bytes of reasoning so far.
    reasoning: usize,
    calls: Calls,
    /// What can be asked again in one piece, as long as nothing came.
    again: Option<(ModelRequest, Option<ChatResponseFormat>)>,
    /// What is still to be told of an answer that has ended.
    ended: Option<(vec::IntoIter<ToolCall>, Usage)>,
}

impl Answer {
    async fn ask_streamed(&mut self, request: ModelRequest, format: Option<ChatResponseFormat>) -> Result<(), ModelError> {
        let client = self.remote.clients.get(&self.remote.base)?;
        let options = self.calls.listen(conversation::options(&request, self.adapter, format.clone()));
        self.again = Some((request.clone(), format));
        let target = self.remote.target(&request.model);
        let started = client.exec_chat_stream(target, conversation::chat(request, self.adapter), Some(&options)).await;
        self.events = started.map_err(|error| self.remote.other().explain(&error))?.stream.boxed();
        Ok(())
    }

    async fn ask_whole(&mut self, request: ModelRequest, format: Option<ChatResponseFormat>) -> Result<(), ModelError> {
        let (events, answer) = whole::ask(&self.remote, request, format).await?;
        self.events = events;
        if let Some(answer) = answer {
            self.calls.read(&answer);
        }
        Ok(())
    }

    /// Asks again in one piece where the failure was that there is no stream.
    async fn failed(&mut self, error: ModelError) -> Result<(), ModelError> {
        let refused = whole::is_refusal(&error);
        let Some((request, format)) = self.again.take().filter(|_| refused || self.calls.is_unframed()) else { return Err(error) };
        let model = self.remote.known_as(&request);
        match self.ask_whole(request, format).await {
            // What came was no answer in one piece either.
            Err(_) if !refused => return Err(error),
            answered => answered?,
        }
        tracing::info!(model, "the model does not stream, so it is asked for its answer in one piece");
        self.remote.clients.in_one_piece.add(model);
        Ok(())
    }

    async fn next(&mut self) -> Result<Chunk, ModelError> {
        while self.ended.is_none() {
            match self.events.next().await {
                Some(Ok(ChatStreamEvent::Chunk(piece))) if !piece.content.is_empty() => {
                    self.again = None;
                    self.text += piece.content.len();
                    return self.bounded(Chunk::Text(piece.content));
                }
                Some(Ok(ChatStreamEvent::ReasoningChunk(piece))) if !piece.content.is_empty() => {
                    self.again = None;
                    self.reasoning += piece.content.len();
                    return self.bounded(Chunk::Reasoning(piece.content));
                }
                Some(Ok(ChatStreamEvent::ToolCallChunk(piece))) => {
                    self.calls.note(piece.tool_call);
                    self.check_size()?;
                }
                Some(Ok(ChatStreamEvent::End(end))) => self.end(end)?,
                Some(Ok(_)) => {}
                Some(Err(error)) => self.failed(self.remote.other().explain(&error)).await?,
                None => self.failed(self.unfinished()).await?,
            }
        }
        Ok(self.rest())
    }

    /// Returns the next call of an answer that has ended, or its end.
    fn rest(&mut self) -> Chunk {
        let (calls, usage) = self.ended.get_or_insert_default();
        calls.next().map_or(Chunk::End(*usage), |call| Chunk::Call(Box::new(call)))
    }

    fn bounded(&self, chunk: Chunk) -> Result<Chunk, ModelError> {
        self.check_size().map(|()| chunk)
    }

    fn check_size(&self) -> Result<(), ModelError> {
        if self.text + self.reasoning + self.calls.bytes() > ANSWER_BYTES {
            return Err(self.remote.other().garbled(&format!("sent an answer of more than {ANSWER_BYTES} bytes")));
        }
        Ok(())
    }

    fn unfinished(&self) -> ModelError {
        self.remote.other().garbled("ended its answer unfinished")
    }

    /// Tells an end from a stream that merely stopped, and an answer from none.
    fn end(&mut self, mut end: StreamEnd) -> Result<(), ModelError> {
        let other = self.remote.other();
        match &end.captured_stop_reason {
            None if !self.ends_without_reason(&end) => return Err(self.unfinished()),
            Some(StopReason::ContentFilter(reason)) => {
                return Err(ModelError::new(Kind::Rejected, format!("{} withheld the answer (`{reason}`)", other.title)));
            }
            Some(StopReason::Other(reason)) if matches!(reason.to_ascii_lowercase().as_str(), "error" | "failed" | "cancelled") => {
                return Err(other.garbled("gave up on its answer"));
            }
            Some(StopReason::Other(reason)) if is_garbled_call(reason) => return Err(other.garbled("wrote a call that cannot be read")),
            Some(StopReason::MaxTokens(_)) if self.calls.begun() => return Err(other.garbled("was cut off while it called a tool")),
            // With a reason to stop, a model just had nothing to say.
            None if self.text == 0 && !self.calls.begun() => return Err(other.garbled("ended its answer without a word")),
            _ => {}
        }
        self.check_size()?;
        let calls = self.calls.finish(&mut end).map_err(|what| other.garbled(what))?;
        self.ended = Some((calls.into_iter(), usage(end)));
        Ok(())
    }

    /// For most protocols genai makes up an end where the stream merely stops; only a reason shows a real one. An end in
    /// OpenAI's protocol is its `[DONE]`, and older Ollamas give token counts but no reason.
    fn ends_without_reason(&self, end: &StreamEnd) -> bool {
        match self.adapter {
            AdapterKind::OpenAI | AdapterKind::Omlx | AdapterKind::Xai | AdapterKind::DeepSeek => true,
            AdapterKind::Ollama => end.captured_usage.is_some(),
            _ => false,
        }
    }
}

/// Reads Google's and Bedrock's reasons to stop at a call, such as `MALFORMED_FUNCTION_CALL`, `UNEXPECTED_TOOL_CALL`,
/// `TOO_MANY_TOOL_CALLS` and `malformed_tool_use`.
fn is_garbled_call(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    ["malformed_", "unexpected_", "too_many_"].iter().any(|begin| reason.starts_with(begin))
}

fn usage(end: StreamEnd) -> Usage {
    let told = end.captured_usage.unwrap_or_default();
    let count = |tokens: Option<i32>| tokens.and_then(|tokens| u64::try_from(tokens).ok()).unwrap_or(0);
    Usage {
        input_tokens: count(told.prompt_tokens),
        output_tokens: count(told.completion_tokens),
        cached_tokens: count(told.prompt_tokens_details.and_then(|details| details.cached_tokens)),
    }
}
