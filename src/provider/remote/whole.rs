//! Answers in one piece, for models and servers that give no others.

use futures_util::stream::{self, BoxStream, StreamExt};
use genai::Error;
use genai::chat::{ChatResponse, ChatResponseFormat, ChatStreamEvent, MessageContent, StopReason, StreamChunk, StreamEnd};
use serde_json::Value;

use super::calls::is_openai;
use super::{Remote, conversation};
use crate::provider::{Kind, ModelError, ModelRequest};

/// How services say that they do not stream, at all or where tools are called: Bedrock, llama.cpp, gateways.
const REFUSALS: [&str; 4] = ["streaming mode", "tools with stream", "streaming is not supported", "does not support streaming"];

/// What genai tells of an answer.
pub(super) type Events = BoxStream<'static, genai::Result<ChatStreamEvent>>;

/// Returns whether a service refused to stream, and nothing else.
pub(super) fn is_refusal(error: &ModelError) -> bool {
    let words = error.detail.to_lowercase();
    error.kind == Kind::Rejected && REFUSALS.iter().any(|told| words.contains(told))
}

/// Asks for an answer in one piece and tells it as if it had been streamed. In OpenAI's protocol it comes as it is, too: genai
/// refuses calls with arguments that are no JSON.
pub(super) async fn ask(
    remote: &Remote,
    request: ModelRequest,
    format: Option<ChatResponseFormat>,
) -> Result<(Events, Option<Value>), ModelError> {
    let target = remote.target(&request.model);
    let adapter = target.model.adapter_kind;
    let options = conversation::options(&request, adapter, format).with_capture_raw_body(is_openai(adapter));
    let client = remote.clients.get(&remote.base)?;
    let body = match client.exec_chat(target, conversation::chat(request, adapter), Some(&options)).await {
        Ok(ChatResponse { captured_raw_body: Some(body), .. }) => body,
        Err(Error::ChatResponseGeneration { response_body, .. }) if is_openai(adapter) => *response_body,
        Ok(answer) => return Ok((other(answer), None)),
        Err(error) => return Err(remote.other().explain(&error)),
    };
    if body.pointer("/choices/0/message").is_none() {
        return Err(remote.other().garbled("sent something that is no answer"));
    }
    Ok((openai(&body), Some(body)))
}

fn openai(body: &Value) -> Events {
    let text = |place| body.pointer(place).and_then(Value::as_str).map(str::to_owned);
    let reasoning = text("/choices/0/message/reasoning_content").or_else(|| text("/choices/0/message/reasoning"));
    let end = StreamEnd {
        captured_usage: serde_json::from_value(body["usage"].clone()).ok(),
        captured_stop_reason: text("/choices/0/finish_reason").map(StopReason::from),
        captured_reasoning_content: reasoning.clone(),
        ..StreamEnd::default()
    };
    events(reasoning, text("/choices/0/message/content"), end)
}

fn other(answer: ChatResponse) -> Events {
    let text = answer.content.texts().concat();
    let parts = answer.content.into_parts().into_iter().filter(|part| !part.is_text()).collect::<Vec<_>>();
    let end = StreamEnd {
        captured_usage: Some(answer.usage),
        captured_stop_reason: answer.stop_reason,
        captured_content: Some(MessageContent::from_parts(parts)),
        ..StreamEnd::default()
    };
    events(answer.reasoning_content, Some(text), end)
}

fn events(reasoning: Option<String>, text: Option<String>, end: StreamEnd) -> Events {
    let reasoning = reasoning.map(|content| ChatStreamEvent::ReasoningChunk(StreamChunk { content }));
    let text = text.map(|content| ChatStreamEvent::Chunk(StreamChunk { content }));
    stream::iter(reasoning.into_iter().chain(text).chain([ChatStreamEvent::End(end)]).map(Ok)).boxed()
}
