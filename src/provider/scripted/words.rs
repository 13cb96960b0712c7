//! The words in braces that scripts hold, and what stands in their place.

use serde_json::Value;

use crate::provider::{Message, ModelRequest, Role};

/// The words in braces.
const WORDS: [&str; 6] = ["{message}", "{messages}", "{images}", "{system}", "{tools}", "{results}"];

/// Replaces the words in braces in all texts of a value.
pub(super) fn fill_all(value: &Value, request: &ModelRequest) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text, request)),
        Value::Array(items) => items.iter().map(|item| fill_all(item, request)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), fill_all(field, request))).collect(),
        other => other.clone(),
    }
}

/// Replaces the words in braces, in one pass: what they bring in is not read again.
pub(super) fn fill(template: &str, request: &ModelRequest) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        text.push_str(&rest[..start]);
        rest = &rest[start..];
        let known = WORDS.into_iter().find(|word| rest.starts_with(word));
        let word = known.unwrap_or("{");
        match word {
            "{message}" => text.push_str(newest(&request.messages)),
            "{messages}" => text.push_str(&request.messages.len().to_string()),
            "{images}" => text.push_str(&request.messages.iter().map(|message| message.images.len()).sum::<usize>().to_string()),
            "{system}" => text.push_str(&request.system),
            "{tools}" => text.push_str(&request.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>().join(", ")),
            "{results}" => text.push_str(&results(&request.messages)),
            brace => text.push_str(brace),
        }
        rest = &rest[word.len()..];
    }
    text.push_str(rest);
    text
}

fn newest(messages: &[Message]) -> &str {
    asked(messages).map_or("", |position| &messages[position].text)
}

/// Finds the newest user message. One right after results only shows what belongs to them.
pub(super) fn asked(messages: &[Message]) -> Option<usize> {
    let follows_results = |position: usize| position > 0 && messages[position - 1].role == Role::Tool;
    (0..messages.len()).rev().find(|&position| messages[position].role == Role::User && !follows_results(position))
}

fn results(messages: &[Message]) -> String {
    let newest = messages.iter().rev().find(|message| message.role == Role::Tool);
    newest.map(|message| message.results.iter().map(|result| result.text.as_str()).collect::<Vec<_>>().join("\n")).unwrap_or_default()
}
