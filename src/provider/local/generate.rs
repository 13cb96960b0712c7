//! Answers, token by token. The likeliest token is always taken, so the same question gets the same answer.

use super::prompt::conversation;
use super::{Model, Patience};
use crate::provider::{ModelError, ModelRequest, Usage};

/// The longest answer, in tokens.
pub(super) const MAX_ANSWER_TOKENS: usize = 256;

/// How much less likely a token gets when it was just used; without it a small model repeats itself for ever.
const REPETITION_PENALTY: f32 = 1.1;

/// How far back a token counts as just used.
const REPETITION_WINDOW: usize = 64;

/// Answers a conversation and hands each piece of text to `tell`, in whole characters.
pub(super) fn answer(
    model: &Model,
    request: &ModelRequest,
    patience: &Patience<'_>,
    mut tell: impl FnMut(String),
) -> Result<Usage, ModelError> {
    let prompt = conversation(&model.vocabulary, &request.system, &request.messages)?;
    let mut memory = model.network.blank();
    let mut vector = model.read(&mut memory, &prompt, patience)?;
    let (mut answer, mut held) = (Vec::new(), Vec::new());
    while answer.len() < MAX_ANSWER_TOKENS {
        let mut scores = model.network.scores(&vector);
        discourage(&mut scores, &answer[answer.len().saturating_sub(REPETITION_WINDOW)..]);
        let token = likeliest(&scores);
        if model.vocabulary.is_control(token) {
            break;
        }
        answer.push(token);
        held.extend(model.vocabulary.bytes(token));
        let text = take_whole(&mut held);
        if !text.is_empty() {
            tell(text);
        }
        vector = model.read(&mut memory, &[token], patience)?;
    }
    if !held.is_empty() {
        tell(char::REPLACEMENT_CHARACTER.to_string());
    }
    Ok(Usage { input_tokens: prompt.len() as u64, output_tokens: answer.len() as u64, cached_tokens: 0 })
}

fn discourage(scores: &mut [f32], used: &[u32]) {
    for (index, &token) in used.iter().enumerate() {
        if used[..index].contains(&token) {
            continue;
        }
        if let Some(score) = scores.get_mut(token as usize) {
            *score = if *score > 0.0 { *score / REPETITION_PENALTY } else { *score * REPETITION_PENALTY };
        }
    }
}

fn likeliest(scores: &[f32]) -> u32 {
    let best = (0u32..).zip(scores).max_by(|(_, one), (_, other)| one.total_cmp(other));
    best.map_or(0, |(token, _)| token)
}

/// Takes the whole characters out of `held` and leaves the beginning of the one that is still to come.
fn take_whole(held: &mut Vec<u8>) -> String {
    let (mut text, mut rest) = (String::new(), Vec::new());
    let mut chunks = held.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        text.push_str(chunk.valid());
        let may_go_on = std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
        if may_go_on && chunks.peek().is_none() {
            rest = chunk.invalid().to_vec();
        } else if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    *held = rest;
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_held_back_until_it_is_whole() {
        let mut held = Vec::new();
        let pieces: Vec<String> = "aé🙂"
            .bytes()
            .map(|byte| {
                held.push(byte);
                take_whole(&mut held)
            })
            .collect();
        assert_eq!(pieces, ["a", "", "é", "", "", "", "🙂"]);
        assert!(held.is_empty());
    }

    #[test]
    fn bytes_that_cannot_become_a_character_do_not_stop_the_text() {
        let mut held = vec![b'a', 0xFF, b'b', 0xE2, 0x82];
        assert_eq!(take_whole(&mut held), "a\u{FFFD}b");
        assert_eq!(held, [0xE2, 0x82]);
    }

    #[test]
    fn a_token_that_was_just_used_gets_less_likely_once() {
        let mut scores = [2.2, -1.0, 3.0];
        discourage(&mut scores, &[0, 1, 0]);
        assert!((scores[0] - 2.0).abs() < 1e-6 && (scores[1] + 1.1).abs() < 1e-6);
        assert_eq!(likeliest(&scores), 2);
    }
}
