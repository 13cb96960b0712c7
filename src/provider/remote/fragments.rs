//! Calls as OpenAI's protocol streams them: in fragments, which servers number and name as they like.

use serde_json::Value;

use super::ANSWER_BYTES;
use super::calls::arguments;
use crate::provider::ToolCall;

/// The calls of an answer, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    calls: Vec<Fragment>,
    bytes: usize,
    /// Whether a frame had something in it.
    framed: bool,
    /// Whether something came that is no frame.
    unframed: bool,
}

/// What came of one call.
#[derive(Debug, Default)]
struct Fragment {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

impl Fragments {
    /// Reads the calls in a frame, if there are any.
    pub(super) fn read(&mut self, frame: &str) {
        self.framed |= !frame.is_empty();
        self.unframed |= frame.is_empty();
        if frame.contains("\"tool_calls\"") {
            self.read_value(&serde_json::from_str(frame).unwrap_or_default());
        }
    }

    /// Reads the calls in an answer in one piece, or in a frame.
    pub(super) fn read_value(&mut self, frame: &Value) {
        // Servers that answer at once put the whole message into one frame.
        for place in ["/choices/0/delta/tool_calls", "/choices/0/message/tool_calls"] {
            for call in frame.pointer(place).and_then(Value::as_array).into_iter().flatten() {
                self.add(call);
            }
        }
    }

    /// Returns the bytes of arguments.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether all that came was no stream.
    pub(super) const fn is_unframed(&self) -> bool {
        self.unframed && !self.framed
    }

    /// Returns whether there is no call.
    pub(super) const fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Returns the calls, their arguments read.
    pub(super) fn take(&mut self) -> Vec<ToolCall> {
        let whole =
            |call: Fragment| ToolCall { arguments: arguments(&call.arguments), id: call.id, name: call.name, signatures: Vec::new() };
        std::mem::take(&mut self.calls).into_iter().map(whole).collect()
    }

    fn add(&mut self, call: &Value) {
        let text = |place| call.pointer(place).and_then(Value::as_str).unwrap_or_default();
        let more = match call.pointer("/function/arguments") {
            Some(Value::String(more)) => more.clone(),
            None | Some(Value::Null) => String::new(),
            Some(whole) => whole.to_string(),
        };
        self.bytes += more.len() + size_of::<Fragment>();
        if self.bytes > ANSWER_BYTES {
            return;
        }
        let (index, id, name) = (call["index"].as_u64(), text("/id"), text("/function/name"));
        let position = self.position(index, id, name).unwrap_or_else(|| {
            self.calls.push(Fragment { index, ..Fragment::default() });
            self.calls.len() - 1
        });
        let known = &mut self.calls[position];
        known.arguments.push_str(&more);
        for (known, told) in [(&mut known.id, id), (&mut known.name, name)] {
            if known.is_empty() {
                told.clone_into(known);
            }
        }
    }

    /// Finds the call that a fragment goes on with; none for a new one.
    fn position(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let same_id = |call: &Fragment| !id.is_empty() && call.id == id;
        if let Some(position) = self.calls.iter().position(same_id) {
            return Some(position);
        }
        let position = self.calls.iter().rposition(|call| index.is_none() || call.index == index)?;
        let before = &self.calls[position];
        // Some servers give every call the same number, and some a new id to every fragment.
        let another = !name.is_empty() && !before.name.is_empty() && (before.is_complete() || (!id.is_empty() && !before.id.is_empty()));
        (!another).then_some(position)
    }
}

impl Fragment {
    fn is_complete(&self) -> bool {
        self.arguments.ends_with('}') && serde_json::from_str::<Value>(&self.arguments).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Reads fragments, one a frame, and tells of each call the id, the name and the arguments.
    fn read(fragments: &[Value]) -> Vec<(String, String, Value)> {
        let mut calls = Fragments::default();
        for fragment in fragments {
            calls.read(&json!({"choices": [{"delta": {"tool_calls": [fragment]}}]}).to_string());
        }
        calls.take().into_iter().map(|call| (call.id, call.name, call.arguments)).collect()
    }

    fn call(id: &str, name: &str, arguments: Value) -> (String, String, Value) {
        (id.to_owned(), name.to_owned(), arguments)
    }

    #[test]
    fn fragments_of_several_calls_may_come_in_turns() {
        let calls = read(&[
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}),
            json!({"index": 1, "id": "b", "function": {"name": "g", "arguments": "{\"y\""}}),
            json!({"index": 0, "function": {"arguments": "{\"x\":1}"}}),
            json!({"index": 1, "function": {"arguments": ":2}"}}),
        ]);
        assert_eq!(calls, [call("a", "f", json!({"x": 1})), call("b", "g", json!({"y": 2}))]);
    }

    #[test]
    fn calls_with_the_same_number_or_none_are_still_several() {
        for index in [json!(0), Value::Null] {
            let calls = read(&[
                json!({"index": index, "id": "a", "function": {"name": "f", "arguments": "{}"}}),
                json!({"index": index, "id": "b", "function": {"name": "f", "arguments": "{\"x\":"}}),
                json!({"index": index, "function": {"arguments": "1}"}}),
            ]);
            assert_eq!(calls, [call("a", "f", json!({})), call("b", "f", json!({"x": 1}))], "{index}");
            let calls = read(&[
                json!({"index": index, "function": {"name": "f", "arguments": "{}"}}),
                json!({"index": index, "function": {"name": "f", "arguments": "{}"}}),
            ]);
            assert_eq!(calls.len(), 2, "{index}");
        }
    }

    #[test]
    fn a_number_that_skips_makes_no_calls_up() {
        let calls = read(&[json!({"index": 4_000_000_000_u64, "id": "a", "function": {"name": "f", "arguments": "{}"}})]);
        assert_eq!(calls, [call("a", "f", json!({}))]);
    }

    #[test]
    fn id_and_name_may_come_apart_and_again() {
        let calls = read(&[
            json!({"index": 0, "id": "a"}),
            json!({"index": 0, "function": {"name": "f"}}),
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\":"}}),
            json!({"index": 0, "id": "", "function": {"name": null, "arguments": "1}"}}),
            json!({"index": 0, "id": "new-for-every-fragment", "function": {"arguments": " "}}),
        ]);
        assert_eq!(calls, [call("a", "f", json!({"x": 1}))]);
    }

    #[test]
    fn arguments_are_read_whatever_form_they_have() {
        for (told, read_as) in [
            (json!(""), json!({})),
            (Value::Null, json!({})),
            (json!("null"), json!({})),
            (json!({"x": 1}), json!({"x": 1})),
            (json!("[1]"), json!([1])),
            (json!("{\"x\": oh"), json!("{\"x\": oh")),
        ] {
            let calls = read(&[json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": told}})]);
            assert_eq!(calls[0].2, read_as);
        }
        assert_eq!(read(&[json!({"index": 0, "id": "a", "function": {"name": "f"}})])[0].2, json!({}));
    }

    #[test]
    fn a_message_in_one_frame_is_read_too() {
        let mut calls = Fragments::default();
        calls.read(r#"{"choices":[{"message":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}"#);
        assert_eq!(calls.take().len(), 1);
        calls.read(r#"{"choices":[{"delta":{"content":"\"tool_calls\""}}]}"#);
        assert!(calls.is_empty());
    }
}
