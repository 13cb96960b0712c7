//! The tokens of the model: text into numbers, numbers back into bytes.

use candle_core::Error;
use candle_core::quantized::gguf_file::{Content, Value};
use serde_json::json;
use tokenizers::Tokenizer;

use super::network::metadata;
use crate::provider::{Kind, ModelError};

/// Tokens that steer the model. Text never becomes one of them, whatever a user types.
const CONTROL: i64 = 3;

/// The vocabulary of a model.
pub(super) struct Vocabulary {
    tokenizer: Tokenizer,
    control: Vec<bool>,
    /// Begins a message.
    pub(super) start: u32,
    /// Ends a message.
    pub(super) end: u32,
}

impl Vocabulary {
    /// Reads the vocabulary of a file.
    pub(super) fn read(content: &Content) -> candle_core::Result<Self> {
        let tokens = texts(content, "tokenizer.ggml.tokens")?;
        let merges = texts(content, "tokenizer.ggml.merges")?;
        let kinds = metadata(content, "tokenizer.ggml.token_type")?.to_vec()?;
        let description = json!({
            "version": "1.0",
            "added_tokens": [],
            // candle's own reading of this file puts a space before the first word, which the model was not trained with.
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": true},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
            ]},
            "model": {
                "type": "BPE",
                "vocab": tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), id.into())).collect::<serde_json::Map<_, _>>(),
                "merges": merges,
            },
        });
        let tokenizer = Tokenizer::from_bytes(description.to_string()).map_err(|error| Error::Msg(error.to_string()))?;
        Ok(Self {
            tokenizer,
            control: kinds.iter().map(|kind| Ok(i64::from(kind.to_i32()?) == CONTROL)).collect::<candle_core::Result<_>>()?,
            start: metadata(content, "tokenizer.ggml.bos_token_id")?.to_u32()?,
            end: metadata(content, "tokenizer.ggml.eos_token_id")?.to_u32()?,
        })
    }

    /// Makes text into tokens, none of which is a control token.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoding = self.tokenizer.encode_fast(text, false);
        let encoding =
            encoding.map_err(|error| ModelError::new(Kind::Rejected, format!("the text cannot be made into tokens: {error}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Tells whether a token steers the model instead of being text.
    pub(super) fn is_control(&self, token: u32) -> bool {
        self.control.get(token as usize).copied().unwrap_or(true)
    }

    /// Returns the bytes of a token, which need not be whole characters.
    pub(super) fn bytes(&self, token: u32) -> Vec<u8> {
        self.tokenizer.id_to_token(token).unwrap_or_default().chars().filter_map(byte).collect()
    }
}

fn texts<'a>(content: &'a Content, key: &str) -> candle_core::Result<Vec<&'a str>> {
    metadata(content, key)?.to_vec()?.iter().map(|value: &Value| Ok(value.to_string()?.as_str())).collect()
}

/// Returns the byte that a character of a token stands for. The vocabulary writes printable bytes as themselves and moves the other 68 to U+0100 and up.
fn byte(character: char) -> Option<u8> {
    let moved = || (0..=u8::MAX).filter(|byte| !matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF));
    match u32::from(character) {
        code @ 0..=0xFF => u8::try_from(code).ok(),
        code => moved().nth(code as usize - 0x100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_characters_of_tokens_stand_for_every_byte_once() {
        let mut bytes: Vec<u8> = ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ').chain('\u{100}'..='\u{143}').filter_map(byte).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!((byte('Ġ'), byte('Ċ'), byte('\u{144}')), (Some(b' '), Some(b'\n'), None));
    }
}
