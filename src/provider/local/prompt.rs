//! Conversations as the model was trained to read them (ChatML), cut to what it can hold.

use super::generate::MAX_ANSWER_TOKENS;
use super::vocabulary::Vocabulary;
use crate::provider::{Kind, Message, ModelError, Role};

/// The most tokens that question and answer take together.
pub(super) const CONTEXT_TOKENS: usize = 4096;

/// Text of this many bytes or more never fits, so it is not even split into tokens.
const MAX_TEXT_BYTES: usize = 32 * CONTEXT_TOKENS;

/// What the model is told when nobody tells it anything; with the words it was trained on it answers small questions worse.
pub(super) const DEFAULT_SYSTEM: &str = "You are a helpful assistant.";

/// Makes a conversation into tokens: the system prompt, the newest messages that fit, and the beginning of the answer.
pub(super) fn conversation(vocabulary: &Vocabulary, system: &str, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
    if messages.iter().any(|message| !message.images.is_empty()) {
        return Err(ModelError::new(Kind::Rejected, "the local model does not see images"));
    }
    let too_long = |what| {
        let detail = format!(
            "the {what} is longer than the {CONTEXT_TOKENS} tokens that the local model can hold; shorten it or set another `model`"
        );
        ModelError::new(Kind::Rejected, detail)
    };
    let system = if system.trim().is_empty() { DEFAULT_SYSTEM } else { system };
    let answer = open(vocabulary, "assistant", "")?;
    let mut room = CONTEXT_TOKENS - MAX_ANSWER_TOKENS - answer.len();
    let mut prompt = fitting(vocabulary, "system", system, &mut room)?.ok_or_else(|| too_long("system prompt"))?;
    let mut kept = Vec::new();
    for message in messages.iter().rev() {
        match fitting(vocabulary, name(message.role), &message.text, &mut room)? {
            Some(tokens) => kept.push(tokens),
            None if kept.is_empty() => return Err(too_long("message")),
            None => break,
        }
    }
    prompt.extend(kept.into_iter().rev().flatten());
    prompt.extend(answer);
    Ok(prompt)
}

/// Makes a whole message into tokens if it fits, and takes its room.
fn fitting(vocabulary: &Vocabulary, role: &str, text: &str, room: &mut usize) -> Result<Option<Vec<u32>>, ModelError> {
    if text.len() >= MAX_TEXT_BYTES {
        return Ok(None);
    }
    let tokens = closed(vocabulary, role, text)?;
    Ok(room.checked_sub(tokens.len()).map(|rest| {
        *room = rest;
        tokens
    }))
}

/// Makes a message into tokens.
pub(super) fn closed(vocabulary: &Vocabulary, role: &str, text: &str) -> Result<Vec<u32>, ModelError> {
    let mut tokens = open(vocabulary, role, text)?;
    close(vocabulary, &mut tokens)?;
    Ok(tokens)
}

/// Makes a message that goes on into tokens.
pub(super) fn open(vocabulary: &Vocabulary, role: &str, text: &str) -> Result<Vec<u32>, ModelError> {
    let mut tokens = vec![vocabulary.start];
    tokens.extend(vocabulary.encode(&format!("{role}\n{text}"))?);
    Ok(tokens)
}

/// Ends the message that `tokens` end with.
pub(super) fn close(vocabulary: &Vocabulary, tokens: &mut Vec<u32>) -> Result<(), ModelError> {
    tokens.push(vocabulary.end);
    tokens.extend(vocabulary.encode("\n")?);
    Ok(())
}

const fn name(role: Role) -> &'static str {
    match role {
        // Results of tools never come here: this model is told of tools in words.
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    }
}
