//! Models behind a network: genai speaks their protocols, and this says what it is asked and what its answers mean.

mod choice;
mod client;
mod failure;
mod service;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryFutureExt, stream};
use genai::adapter::AdapterKind;
use genai::chat::{
    ChatMessage, ChatOptions, ChatRequest, ChatResponseFormat, ChatStream, ChatStreamEvent, ContentPart, ReasoningEffort, StopReason,
    StreamEnd,
};
use genai::resolver::{AuthData, Endpoint};
use genai::{ModelIden, ServiceTarget};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::{Choice, Chosen, Chunk, Kind, Message, ModelError, ModelRequest, Provider, Role, Usage};
pub(super) use client::Clients;
use failure::Other;
pub(super) use service::*;

/// The most bytes of text and reasoning that one answer may have.
const ANSWER_BYTES: usize = 4 << 20;

/// A service with its address and key.
#[derive(Clone)]
pub(super) struct Remote {
    clients: Arc<Clients>,
    service: &'static Service,
    base: Url,
    key: Option<SecretString>,
}

impl Remote {
    /// Takes what a call needs. Nothing is opened before the first call.
    pub(super) const fn new(clients: Arc<Clients>, service: &'static Service, base: Url, key: Option<SecretString>) -> Self {
        Self { clients, service, base, key }
    }

    fn other(&self) -> Other<'_> {
        Other { title: self.service.title, key: self.key.as_ref() }
    }

    /// Makes the call and returns its answer as it arrives.
    async fn ask(self, request: ModelRequest, format: Option<ChatResponseFormat>) -> Result<Answer, ModelError> {
        let client = self.clients.get(&self.base)?;
        let target = self.target(&request.model);
        let adapter = target.model.adapter_kind;
        let options = options(&request.model, adapter, format);
        let started = client.exec_chat_stream(target, chat(request), Some(&options)).await;
        let events = started.map_err(|error| self.other().explain(&error))?.stream;
        Ok(Answer { events, adapter, remote: self, text: 0, reasoning: 0 })
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
    events: ChatStream,
    adapter: AdapterKind,
    remote: Remote,
    /// Bytes of text so far.
    text: usize,
    /// Bytes of reasoning so far.
    reasoning: usize,
}

impl Answer {
    async fn next(&mut self) -> Result<Chunk, ModelError> {
        loop {
            match self.events.next().await {
                Some(Ok(ChatStreamEvent::Chunk(piece))) if !piece.content.is_empty() => {
                    self.text += piece.content.len();
                    return self.bounded(Chunk::Text(piece.content));
                }
                Some(Ok(ChatStreamEvent::ReasoningChunk(piece))) if !piece.content.is_empty() => {
                    self.reasoning += piece.content.len();
                    return self.bounded(Chunk::Reasoning(piece.content));
                }
                Some(Ok(ChatStreamEvent::End(end))) => return self.end(end),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.remote.other().explain(&error)),
                None => return Err(self.unfinished()),
            }
        }
    }

    fn bounded(&self, chunk: Chunk) -> Result<Chunk, ModelError> {
        if self.text + self.reasoning > ANSWER_BYTES {
            return Err(self.remote.other().garbled(&format!("sent an answer of more than {ANSWER_BYTES} bytes")));
        }
        Ok(chunk)
    }

    fn unfinished(&self) -> ModelError {
        self.remote.other().garbled("ended its answer unfinished")
    }

    /// Tells an end from a stream that merely stopped, and an answer from none.
    fn end(&self, end: StreamEnd) -> Result<Chunk, ModelError> {
        let other = self.remote.other();
        match &end.captured_stop_reason {
            None if !self.ends_without_reason(&end) => Err(self.unfinished()),
            Some(StopReason::ContentFilter(reason)) => {
                Err(ModelError::new(Kind::Rejected, format!("{} withheld the answer (`{reason}`)", other.title)))
            }
            Some(StopReason::Other(reason)) if matches!(reason.to_ascii_lowercase().as_str(), "error" | "failed" | "cancelled") => {
                Err(other.garbled("gave up on its answer"))
            }
            // With a reason to stop, a model just had nothing to say.
            None if self.text == 0 => Err(other.garbled("ended its answer without a word")),
            _ => Ok(Chunk::End(usage(end))),
        }
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

fn options(model: &str, adapter: AdapterKind, format: Option<ChatResponseFormat>) -> ChatOptions {
    let mut options = ChatOptions::default().with_capture_usage(true);
    options.response_format = format;
    // genai takes `-max`, `-high` and the like off a name, yet `gpt-5.1-codex-max` and `qwen3-max` are called so. With a
    // budget, which these protocols do not send, it leaves the name alone.
    if matches!(adapter, AdapterKind::OpenAI | AdapterKind::OpenAIResp | AdapterKind::Omlx | AdapterKind::Xai) {
        options.reasoning_effort = Some(ReasoningEffort::Budget(0));
    }
    // Google sends its thoughts on demand only, and refuses the demand for models that have none.
    let thinks = model.strip_prefix("gemini-").is_some_and(|version| !version.starts_with('1') && !version.starts_with("2.0"));
    if adapter == AdapterKind::Gemini && thinks {
        options.capture_reasoning_content = Some(true);
    }
    options
}

fn chat(request: ModelRequest) -> ChatRequest {
    let chat = ChatRequest::from_messages(request.messages.into_iter().map(chat_message).collect());
    if request.system.is_empty() { chat } else { chat.with_system(request.system) }
}

fn chat_message(message: Message) -> ChatMessage {
    let text = (!message.text.is_empty() || message.images.is_empty()).then(|| ContentPart::Text(message.text));
    let images = message.images.into_iter().map(|image| ContentPart::from_binary_base64(image.media_type, image.base64, None));
    let parts: Vec<ContentPart> = text.into_iter().chain(images).collect();
    match message.role {
        Role::User | Role::Tool => ChatMessage::user(parts),
        Role::Assistant => ChatMessage::assistant(parts),
    }
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
