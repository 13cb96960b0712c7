//! The calls in an answer: gathered while it arrives, and mended where a service or genai gets them wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use genai::adapter::AdapterKind;
use genai::chat::{ChatOptions, ContentPart, StreamEnd};
use serde_json::{Map, Value};

use super::conversation::{own_name, sign};
use super::fragments::Fragments;
use crate::clock;
use crate::provider::{CALLS_PER_ANSWER, ModelRequest, ToolCall};

/// The beginning of an id that we made because the service gave none, or one that the conversation has already.
pub(super) const MADE_ID: &str = "syn_";

/// The beginning of an id that genai made for a call of Gemini's; it comes again with the next answer.
const STAND_IN_ID: &str = "call#";

/// The calls of one answer.
pub(super) struct Calls {
    adapter: AdapterKind,
    /// The ids that the conversation has already.
    ids: BTreeSet<String>,
    /// What came so far in OpenAI's protocol, where genai drops or mixes up calls.
    fragments: Arc<Mutex<Fragments>>,
    /// What came so far in the other protocols: the arguments as the model wrote them, by id.
    written: BTreeMap<String, String>,
    /// Bytes of arguments in the other protocols.
    bytes: usize,
    begun: bool,
}

impl Calls {
    /// Makes a place for the calls of the answer to a request.
    pub(super) fn new(adapter: AdapterKind, request: &ModelRequest) -> Self {
        let ids = request.messages.iter().flat_map(|message| &message.calls).map(|call| call.id.clone()).collect();
        Self { adapter, ids, fragments: Arc::default(), written: BTreeMap::new(), bytes: 0, begun: false }
    }

    /// Makes genai tell of the calls.
    pub(super) fn listen(&self, options: ChatOptions) -> ChatOptions {
        if !is_openai(self.adapter) {
            return options.with_capture_tool_calls(true);
        }
        let fragments = Arc::clone(&self.fragments);
        options.with_raw_frame_fn(move |_, frame| lock(&fragments).read(frame.data))
    }

    /// Takes what genai tells of a call while it arrives.
    pub(super) fn note(&mut self, call: genai::chat::ToolCall) {
        self.begun = true;
        if let (false, Value::String(arguments)) = (is_openai(self.adapter), call.fn_arguments) {
            let more = arguments.len();
            let before = self.written.insert(call.call_id, arguments).map_or(0, |before| before.len());
            self.bytes += more.saturating_sub(before);
        }
    }

    /// Reads the calls of an answer in OpenAI's protocol that came in one piece.
    pub(super) fn read(&self, answer: &Value) {
        lock(&self.fragments).read_value(answer);
    }

    /// Returns whether something came that is no stream.
    pub(super) fn is_unframed(&self) -> bool {
        lock(&self.fragments).is_unframed()
    }

    /// Returns the bytes of arguments so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + lock(&self.fragments).bytes()
    }

    /// Returns whether the model has begun a call.
    pub(super) fn begun(&self) -> bool {
        self.begun || !lock(&self.fragments).is_empty()
    }

    /// Returns all calls of the answer in the model's order, or says what is wrong with them.
    pub(super) fn finish(&mut self, end: &mut StreamEnd) -> Result<Vec<ToolCall>, &'static str> {
        let mut calls = lock(&self.fragments).take();
        let mut signed = Vec::new();
        for part in end.captured_content.take().into_iter().flatten() {
            match part {
                ContentPart::ToolCall(call) => calls.push(self.captured(call)),
                ContentPart::ThoughtSignature(_) | ContentPart::ReasoningContent(_) | ContentPart::Custom(_) => signed.push(part),
                _ => {}
            }
        }
        // Only DeepSeek wants its reasoning back as it was said; elsewhere it comes with a signature or not at all.
        let reasoning = end.captured_reasoning_content.take().filter(|_| self.adapter == AdapterKind::DeepSeek);
        signed.extend(reasoning.map(ContentPart::ReasoningContent));
        if let (Some(first), false) = (calls.first_mut(), self.adapter == AdapterKind::Gemini) {
            first.signatures = signed.iter().filter_map(|part| sign(self.adapter, part)).collect();
        }
        self.check(calls)
    }

    fn captured(&self, call: genai::chat::ToolCall) -> ToolCall {
        let arguments = match (self.written.get(&call.call_id), call.fn_arguments) {
            // Where genai cannot read them it puts none in their place.
            (Some(written), _) if self.adapter == AdapterKind::BedrockApi => arguments(written),
            (_, Value::String(written)) => arguments(&written),
            (_, read) => or_empty(read),
        };
        let signatures = call.thought_signatures.into_iter().flatten().map(ContentPart::ThoughtSignature);
        ToolCall {
            signatures: signatures.filter_map(|part| sign(self.adapter, &part)).collect(),
            id: call.call_id,
            name: call.fn_name,
            arguments,
        }
    }

    fn check(&mut self, mut calls: Vec<ToolCall>) -> Result<Vec<ToolCall>, &'static str> {
        if calls.len() > CALLS_PER_ANSWER {
            return Err("called too many tools at once");
        }
        for call in &mut calls {
            if call.name.trim().is_empty() {
                return Err("called a tool without a name");
            }
            call.name = own_name(self.adapter, &call.name).to_owned();
            if call.id.is_empty() || call.id.starts_with(STAND_IN_ID) || self.ids.contains(&call.id) {
                call.id = made_id();
            }
            self.ids.insert(call.id.clone());
        }
        Ok(calls)
    }
}

/// Makes an id for a call.
fn made_id() -> String {
    format!("{MADE_ID}{}", clock::random_id().simple())
}

/// Reads arguments as a model wrote them; those that are no JSON stay as they are.
pub(super) fn arguments(written: &str) -> Value {
    if written.trim().is_empty() {
        return Value::Object(Map::new());
    }
    serde_json::from_str(written).map_or_else(|_| Value::String(written.to_owned()), or_empty)
}

fn or_empty(arguments: Value) -> Value {
    if arguments.is_null() { Value::Object(Map::new()) } else { arguments }
}

/// Returns whether a protocol is OpenAI's older one.
pub(super) const fn is_openai(adapter: AdapterKind) -> bool {
    matches!(adapter, AdapterKind::OpenAI | AdapterKind::Omlx | AdapterKind::Xai | AdapterKind::DeepSeek)
}

fn lock(fragments: &Mutex<Fragments>) -> MutexGuard<'_, Fragments> {
    fragments.lock().unwrap_or_else(PoisonError::into_inner)
}
