//! A conversation in genai's words, with what each protocol wants differently where tools are called.

use std::collections::BTreeSet;

use genai::adapter::AdapterKind;
use genai::chat::{
    ChatMessage, ChatOptions, ChatRequest, ChatResponseFormat, ContentPart, ReasoningEffort, Tool, ToolChoice, ToolResponse,
};
use serde_json::{Map, Value, json};

use super::calls::MADE_ID;
use crate::provider::{Message, ModelRequest, Role, ToolCall, ToolDescription, ToolResult};

/// What a tool returned that returned nothing: some services refuse an empty text.
const NO_OUTPUT: &str = "(no output)";

/// The most characters of a tool's name.
const NAME_CHARACTERS: usize = 64;

/// Says what genai is to ask and to tell.
pub(super) fn options(request: &ModelRequest, adapter: AdapterKind, format: Option<ChatResponseFormat>) -> ChatOptions {
    let mut options = ChatOptions::default().with_capture_usage(true);
    options.response_format = format;
    // genai takes `-max`, `-high` and the like off a name, yet `gpt-5.1-codex-max` and `qwen3-max` are called so. With a
    // budget, which these protocols do not send, it leaves the name alone.
    if matches!(adapter, AdapterKind::OpenAI | AdapterKind::OpenAIResp | AdapterKind::Omlx | AdapterKind::Xai) {
        options.reasoning_effort = Some(ReasoningEffort::Budget(0));
    }
    // Google sends its thoughts on demand only, and refuses the demand for models that have none.
    let thinks = request.model.strip_prefix("gemini-").is_some_and(|version| !version.starts_with('1') && !version.starts_with("2.0"));
    // The others refuse to go on after a call whose thoughts are not given back.
    let replays = matches!(adapter, AdapterKind::Anthropic | AdapterKind::DeepSeek) && !request.tools.is_empty();
    if (adapter == AdapterKind::Gemini && thinks) || replays {
        options.capture_reasoning_content = Some(true);
    }
    if request.tools.is_empty() && wants_tools_of_the_past(request, adapter) {
        options.tool_choice = Some(ToolChoice::None);
    }
    options
}

/// Brings a conversation into genai's words.
pub(super) fn chat(request: ModelRequest, adapter: AdapterKind) -> ChatRequest {
    let mut tools: Vec<Tool> = request.tools.iter().map(|tool| described(tool, adapter)).collect();
    if tools.is_empty() && wants_tools_of_the_past(&request, adapter) {
        let names: BTreeSet<&str> = request.messages.iter().flat_map(|message| &message.calls).map(|call| call.name.as_str()).collect();
        tools.extend(names.into_iter().map(|name| Tool::new(sent_name(adapter, name)).with_schema(whole_schema(&Value::Null))));
    }
    let messages = request.messages.into_iter().flat_map(|message| chat_messages(message, adapter)).collect();
    let mut chat = ChatRequest::from_messages(messages);
    if !tools.is_empty() {
        chat = chat.with_tools(tools);
    }
    if request.system.is_empty() { chat } else { chat.with_system(request.system) }
}

/// Anthropic and Bedrock refuse a conversation with calls of tools that are not described.
fn wants_tools_of_the_past(request: &ModelRequest, adapter: AdapterKind) -> bool {
    matches!(adapter, AdapterKind::Anthropic | AdapterKind::BedrockApi) && request.messages.iter().any(|message| !message.calls.is_empty())
}

fn described(tool: &ToolDescription, adapter: AdapterKind) -> Tool {
    Tool::new(sent_name(adapter, &tool.name)).with_description(tool.description.clone()).with_schema(whole_schema(&tool.schema))
}

/// Adds what services demand of a schema, though JSON Schema does not.
fn whole_schema(schema: &Value) -> Value {
    let mut schema = schema.as_object().cloned().unwrap_or_default();
    schema.remove("$schema");
    schema.entry("type").or_insert_with(|| json!("object"));
    schema.entry("properties").or_insert_with(|| json!({}));
    Value::Object(schema)
}

fn chat_messages(message: Message, adapter: AdapterKind) -> Vec<ChatMessage> {
    match message.role {
        Role::User => vec![ChatMessage::user(said(message.text, message.images))],
        Role::Assistant => vec![ChatMessage::assistant(answered(message, adapter))],
        Role::Tool => returned(message.results, adapter),
    }
}

fn said(text: String, images: Vec<crate::provider::Image>) -> Vec<ContentPart> {
    let text = (!text.is_empty() || images.is_empty()).then_some(ContentPart::Text(text));
    let images = images.into_iter().map(|image| ContentPart::from_binary_base64(image.media_type, image.base64, None));
    text.into_iter().chain(images).collect()
}

fn answered(message: Message, adapter: AdapterKind) -> Vec<ContentPart> {
    if message.calls.is_empty() {
        return said(message.text, message.images);
    }
    // Anthropic refuses a text that is empty.
    let text = (!message.text.trim().is_empty()).then_some(ContentPart::Text(message.text));
    text.into_iter().chain(message.calls.into_iter().flat_map(|call| called(call, adapter))).collect()
}

fn called(call: ToolCall, adapter: AdapterKind) -> Vec<ContentPart> {
    let mut parts: Vec<ContentPart> = call.signatures.iter().filter_map(|signature| signed(adapter, signature)).collect();
    parts.push(ContentPart::ToolCall(genai::chat::ToolCall {
        call_id: sent_id(adapter, &call.id, &call.name),
        fn_name: sent_name(adapter, &call.name),
        // All services demand an object, whatever the model wrote.
        fn_arguments: if call.arguments.is_object() { call.arguments } else { Value::Object(Map::new()) },
        thought_signatures: None,
    }));
    parts
}

/// Brings the results of an answer's calls into one message, which genai cuts where a protocol wants one for each.
fn returned(results: Vec<ToolResult>, adapter: AdapterKind) -> Vec<ChatMessage> {
    let several = results.len() > 1;
    let responses = results.into_iter().map(|result| {
        let text = if result.text.trim().is_empty() { NO_OUTPUT.to_owned() } else { result.text };
        // genai sends Ollama neither the id nor the name.
        let text = if several && adapter == AdapterKind::Ollama { format!("Result of `{}`:\n{text}", result.name) } else { text };
        ToolResponse::new(sent_id(adapter, &result.call_id, &result.name), text).with_fn_name(sent_name(adapter, &result.name))
    });
    if adapter == AdapterKind::Ollama {
        // Of several results in one message genai keeps the last.
        return responses.map(ChatMessage::from).collect();
    }
    vec![ChatMessage::from(responses.collect::<Vec<_>>())]
}

/// Returns the id by which a service knows a call.
fn sent_id(adapter: AdapterKind, id: &str, name: &str) -> String {
    let usual = |character: char| if character.is_ascii_alphanumeric() || "_-".contains(character) { character } else { '_' };
    match adapter {
        // In this form genai leaves it out: Google gave none.
        AdapterKind::Gemini if id.starts_with(MADE_ID) => format!("call#{}#0", sent_name(adapter, name)),
        // They refuse others, which may come from the time before the agent's model was changed.
        AdapterKind::Anthropic | AdapterKind::BedrockApi => id.chars().map(usual).collect(),
        _ => id.to_owned(),
    }
}

/// Names under which genai asks for something that the service runs itself.
const fn reserved(adapter: AdapterKind) -> &'static [&'static str] {
    match adapter {
        AdapterKind::Anthropic | AdapterKind::OpenAIResp => &["web_search"],
        AdapterKind::Gemini => &["googleSearch", "googleSearchRetrieval", "codeExecution", "urlContext"],
        _ => &[],
    }
}

/// Returns the name by which a service knows a tool. A model may have called one that has no possible name.
fn sent_name(adapter: AdapterKind, name: &str) -> String {
    if reserved(adapter).contains(&name) {
        return format!("{name}_");
    }
    let usual = |character: char| if character.is_ascii_alphanumeric() || "_-".contains(character) { character } else { '_' };
    name.chars().map(usual).take(NAME_CHARACTERS).collect()
}

/// Returns our name of a tool.
pub(super) fn own_name(adapter: AdapterKind, name: &str) -> &str {
    name.strip_suffix('_').filter(|name| reserved(adapter).contains(name)).unwrap_or(name)
}

/// Writes down what a service wants back, so that only the same protocol reads it again.
pub(super) fn sign(adapter: AdapterKind, part: &ContentPart) -> Option<String> {
    Some(format!("{} {}", adapter.as_lower_str(), serde_json::to_string(part).ok()?))
}

fn signed(adapter: AdapterKind, signature: &str) -> Option<ContentPart> {
    serde_json::from_str(signature.strip_prefix(adapter.as_lower_str())?).ok()
}
