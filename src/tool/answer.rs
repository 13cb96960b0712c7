//! What a host answered, and how it becomes text.

use encoding_rs::{Encoding, UTF_8};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{StatusCode, Url};

use super::Failure;

/// How many characters of an answer that is no success are told.
const ERROR_CHARS: usize = 2_000;

/// How many bytes of a page are searched for the name of its encoding, as browsers do.
const ENCODING_SEARCH: usize = 1_024;

/// A whole answer.
pub(super) struct Answer {
    /// Where it came from, after all redirects.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Returns the media type in lower case without its parameters; empty where none is told.
    pub(super) fn media_type(&self) -> String {
        self.content_type().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Returns the body as text, in the encoding that the header names or in UTF-8.
    pub(super) fn text(&self) -> Result<String, Failure> {
        self.decode(self.charset().unwrap_or(UTF_8))
    }

    /// Returns the body as text, in the encoding that the header or the page itself names, or in UTF-8.
    pub(super) fn page(&self) -> Result<String, Failure> {
        let beginning = &self.body[..self.body.len().min(ENCODING_SEARCH)];
        let named = || encoding_after_charset(&String::from_utf8_lossy(beginning));
        self.decode(self.charset().or_else(named).unwrap_or(UTF_8))
    }

    /// Takes a success, and makes a failure with the beginning of the body of everything else.
    pub(super) fn succeeded(self) -> Result<Self, Failure> {
        if self.status.is_success() {
            return Ok(self);
        }
        if self.body.is_empty() {
            return Err(Failure::new(self.empty()));
        }
        let mut told = match std::str::from_utf8(&self.body) {
            // The end of a body that was cut may be half a character.
            Err(error) if error.error_len().is_some() => self.not_text().0,
            _ => String::from_utf8_lossy(&self.body).into_owned(),
        };
        if let Some((end, _)) = told.char_indices().nth(ERROR_CHARS) {
            told.truncate(end);
            told.push('…');
        }
        Err(Failure::new(format!("the answer is {}: {told}", self.status)))
    }

    /// Returns what stands for an answer without a body.
    pub(super) fn empty(&self) -> String {
        format!(r#"{{"error":"Empty response (Status: {})"}}"#, self.status.as_u16())
    }

    /// Says that nobody can read the body.
    pub(super) fn not_text(&self) -> Failure {
        let media_type = self.media_type();
        let told = if media_type.is_empty() { "of an unknown type" } else { &format!("`{media_type}`") };
        Failure::new(format!("the answer is no text that can be read: it is {told} and has {} bytes", self.body.len()))
    }

    fn content_type(&self) -> &str {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn charset(&self) -> Option<&'static Encoding> {
        encoding_after_charset(self.content_type())
    }

    fn decode(&self, encoding: &'static Encoding) -> Result<String, Failure> {
        let (text, _, malformed) = encoding.decode(&self.body);
        if malformed || text.contains('\0') {
            return Err(self.not_text());
        }
        Ok(text.into_owned())
    }
}

/// Finds the encoding that a text names after `charset=`.
fn encoding_after_charset(text: &str) -> Option<&'static Encoding> {
    let lower = text.to_ascii_lowercase();
    let (_, after) = lower.split_once("charset=")?;
    let label = after.trim_start_matches(['"', '\'', ' ']);
    let end = label.find(['"', '\'', ';', ' ', '/', '>']).unwrap_or(label.len());
    Encoding::for_label(&label.as_bytes()[..end])
}
