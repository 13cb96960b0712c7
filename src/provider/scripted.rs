//! The scripted provider: answers that are written down beforehand, for tests and for people who develop against the server.
//!
//! `settings.json` holds scripts by name, and the model `scripted.<name>` plays one; `scripted.echo` is there without settings.
//! Every key may be left out:
//!
//! ```json
//! {"scripted": {"greeting": {
//!     "text": "You said: {message}",
//!     "reasoning": "a greeting",
//!     "delay_ms": 0,
//!     "chunk_delay_ms": 0,
//!     "chunk_chars": 4,
//!     "error": "unavailable",
//!     "error_after_chars": 8,
//!     "usage": {"input_tokens": 3, "output_tokens": 2, "cached_tokens": 0}
//! }}}
//! ```

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{sleep, timeout_at};

use super::retry::{timed_out, within};
use super::{Choice, Chosen, Chunk, Kind, Message, ModelError, ModelRequest, Provider, Role, Usage};
use crate::definition::Settings;

/// A script as `settings.json` has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Script {
    /// The answer. `{message}` is the newest user message, `{messages}` the number of messages that the model got,
    /// `{images}` the number of images over all messages, `{system}` the system prompt.
    text: String,
    /// Reasoning ahead of the answer; the same words in braces stand for the same things.
    reasoning: String,
    /// Milliseconds before anything comes.
    delay_ms: u64,
    /// Milliseconds before each further piece.
    chunk_delay_ms: u64,
    /// Characters in a piece; 0 gives all in one.
    chunk_chars: usize,
    /// The failure that the call ends with.
    error: Option<Failure>,
    /// Characters of the answer that come before the failure.
    error_after_chars: usize,
    /// Tokens that are reported; without it, words are counted.
    usage: Option<Tokens>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            text: "{message}".to_owned(),
            reasoning: String::new(),
            delay_ms: 0,
            chunk_delay_ms: 0,
            chunk_chars: 0,
            error: None,
            error_after_chars: 0,
            usage: None,
        }
    }
}

/// A failure by the name it has in a script.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Failure {
    RateLimited,
    Unavailable,
    Rejected,
    TimedOut,
    Garbled,
}

impl Failure {
    fn error(self) -> ModelError {
        let kind = match self {
            Self::RateLimited => Kind::RateLimited,
            Self::Unavailable => Kind::Unavailable,
            Self::Rejected => Kind::Rejected,
            Self::TimedOut => Kind::TimedOut,
            Self::Garbled => Kind::Garbled,
        };
        ModelError::new(kind, "the script says so")
    }
}

/// Tokens as a script reports them.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tokens {
    #[serde(rename = "input_tokens")]
    input: u64,
    #[serde(rename = "output_tokens")]
    output: u64,
    #[serde(rename = "cached_tokens")]
    cached: u64,
}

/// A provider that plays one script.
#[derive(Debug)]
pub struct Scripted(Arc<Script>);

impl Scripted {
    /// Reads the script `name` from the settings.
    pub fn new(name: &str, settings: &Settings) -> Result<Self, ModelError> {
        let scripts = settings.get("scripted");
        let script = match scripts.and_then(|scripts| scripts.get(name)) {
            Some(script) => read(name, script)?,
            None if name == "echo" => Script::default(),
            None => {
                let detail = format!("there is no script `{name}`: add it under `scripted` in settings.json, or use `scripted.echo`");
                return Err(ModelError::new(Kind::NotConfigured, detail));
            }
        };
        Ok(Self(Arc::new(script)))
    }
}

fn read(name: &str, script: &Value) -> Result<Script, ModelError> {
    serde_path_to_error::deserialize(script).map_err(|error| {
        let detail = format!("script `{name}` under `scripted` in settings.json, at `{}`: {}", error.path(), error.inner());
        ModelError::new(Kind::NotConfigured, detail)
    })
}

impl Provider for Scripted {
    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<Chunk, ModelError>> {
        let answer = stream::iter(play(&self.0, &request));
        let (before, between) = (Duration::from_millis(self.0.delay_ms), Duration::from_millis(self.0.chunk_delay_ms));
        if before.is_zero() && between.is_zero() {
            return answer.boxed();
        }
        let paced = answer.enumerate().then(move |(number, item)| async move {
            sleep(if number == 0 { before } else { between }).await;
            item
        });
        within(request.deadline, paced).boxed()
    }

    fn choose(&self, choice: Choice) -> BoxFuture<'static, Result<Chosen, ModelError>> {
        let script = Arc::clone(&self.0);
        async move {
            let delay = Duration::from_millis(script.delay_ms);
            if !delay.is_zero() {
                timeout_at(choice.deadline, sleep(delay)).await.map_err(|_| timed_out())?;
            }
            match script.error {
                Some(failure) => Err(failure.error()),
                None => pick(&script, choice),
            }
        }
        .boxed()
    }
}

/// Makes all of an answer, in order.
fn play(script: &Script, request: &ModelRequest) -> Vec<Result<Chunk, ModelError>> {
    let text = fill(&script.text, request);
    let reasoning = fill(&script.reasoning, request);
    let usage = script.usage.map_or_else(|| count(request, &[&reasoning, &text]), Usage::from);
    let said = if script.error.is_some() { until(&text, script.error_after_chars) } else { &text };
    let end = script.error.map_or(Ok(Chunk::End(usage)), |failure| Err(failure.error()));
    let reasoning = pieces(&reasoning, script.chunk_chars).map(|piece| Ok(Chunk::Reasoning(piece)));
    let said = pieces(said, script.chunk_chars).map(|piece| Ok(Chunk::Text(piece)));
    reasoning.chain(said).chain([end]).collect()
}

/// Chooses the first option that the message speaks of, or else the first one.
fn pick(script: &Script, choice: Choice) -> Result<Chosen, ModelError> {
    let message = choice.message.to_lowercase();
    let spoken = |words: &str| !words.is_empty() && message.contains(&words.to_lowercase());
    let found = choice.options.iter().position(|option| spoken(&option.id) || spoken(&option.description)).unwrap_or(0);
    let Some(option) = choice.options.into_iter().nth(found) else {
        return Err(ModelError::new(Kind::Rejected, "there is no option to choose"));
    };
    let counted = Usage { input_tokens: words(&choice.message), output_tokens: words(&option.id), cached_tokens: 0 };
    Ok(Chosen { id: option.id, scores: Vec::new(), usage: script.usage.map_or(counted, Usage::from) })
}

/// Replaces the words in braces, in one pass: what they bring in is not read again.
fn fill(template: &str, request: &ModelRequest) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        text.push_str(&rest[..start]);
        rest = &rest[start..];
        let known = ["{message}", "{messages}", "{images}", "{system}"].into_iter().find(|word| rest.starts_with(word));
        let word = known.unwrap_or("{");
        match word {
            "{message}" => text.push_str(newest(&request.messages)),
            "{messages}" => text.push_str(&request.messages.len().to_string()),
            "{images}" => text.push_str(&request.messages.iter().map(|message| message.images.len()).sum::<usize>().to_string()),
            "{system}" => text.push_str(&request.system),
            brace => text.push_str(brace),
        }
        rest = &rest[word.len()..];
    }
    text.push_str(rest);
    text
}

fn newest(messages: &[Message]) -> &str {
    messages.iter().rev().find(|message| message.role == Role::User).map_or("", |message| &message.text)
}

/// Cuts a text into pieces of so many characters; 0 leaves it whole, and nothing gives no piece.
fn pieces(text: &str, characters: usize) -> impl Iterator<Item = String> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let piece = if characters == 0 { rest } else { until(rest, characters) };
        rest = &rest[piece.len()..];
        (!piece.is_empty()).then(|| piece.to_owned())
    })
}

/// Returns the first so many characters.
fn until(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

fn count(request: &ModelRequest, written: &[&str]) -> Usage {
    let read: u64 = request.messages.iter().map(|message| words(&message.text)).sum();
    let written = written.iter().map(|text| words(text)).sum();
    Usage { input_tokens: words(&request.system) + read, output_tokens: written, cached_tokens: 0 }
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        Self { input_tokens: tokens.input, output_tokens: tokens.output, cached_tokens: tokens.cached }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::provider::{DescribedOption, Image};

    fn scripted(script: &Value) -> Scripted {
        named("it", script).unwrap()
    }

    fn named(name: &str, script: &Value) -> Result<Scripted, ModelError> {
        let mut settings = Settings::default();
        settings.set("scripted", json!({ "it": script }));
        Scripted::new(name, &settings)
    }

    fn request(text: &str) -> ModelRequest {
        let image = Image { media_type: "image/png".to_owned(), base64: "AAAA".into() };
        let first = Message { images: vec![image.clone(), image], ..Message::text(Role::User, "first words") };
        ModelRequest {
            model: "it".to_owned(),
            system: "be kind".to_owned(),
            messages: vec![first, Message::text(Role::Assistant, "yes"), Message::text(Role::User, text)],
            tools: Vec::new().into(),
            deadline: Instant::now() + Duration::from_mins(1),
        }
    }

    async fn play_all(script: &Value, text: &str) -> Vec<Result<Chunk, Kind>> {
        scripted(script).stream(request(text)).map(|item| item.map_err(|error| error.kind)).collect().await
    }

    fn text(text: &str) -> Chunk {
        Chunk::Text(text.to_owned())
    }

    #[tokio::test]
    async fn echo_needs_no_settings() {
        let echo = Scripted::new("echo", &Settings::default()).unwrap();
        let answer: Vec<_> = echo.stream(request("hello there")).map(Result::unwrap).collect().await;
        let usage = Usage { input_tokens: 7, output_tokens: 2, cached_tokens: 0 };
        assert_eq!(answer, [Chunk::Text("hello there".to_owned()), Chunk::End(usage)]);
    }

    #[tokio::test]
    async fn words_in_braces_are_replaced_once() {
        let answer = play_all(&json!({"text": "{message}|{messages}|{images}|{system}|{other}{"}), "{system}").await;
        assert_eq!(answer[0], Ok(text("{system}|3|2|be kind|{other}{")));
    }

    #[tokio::test]
    async fn pieces_are_cut_between_characters() {
        let script = json!({"text": "größer", "reasoning": "ähm", "chunk_chars": 3, "usage": {"output_tokens": 9}});
        let end = Ok(Chunk::End(Usage { output_tokens: 9, ..Usage::default() }));
        assert_eq!(play_all(&script, "x").await, [Ok(Chunk::Reasoning("ähm".to_owned())), Ok(text("grö")), Ok(text("ßer")), end]);
    }

    #[tokio::test]
    async fn a_failure_comes_after_so_many_characters() {
        let script = json!({"text": "Hello.", "error": "unavailable", "error_after_chars": 4});
        assert_eq!(play_all(&script, "x").await, [Ok(text("Hell")), Err(Kind::Unavailable)]);
        for (name, kind) in [("rate_limited", Kind::RateLimited), ("rejected", Kind::Rejected), ("timed_out", Kind::TimedOut)] {
            assert_eq!(play_all(&json!({ "error": name }), "x").await, [Err(kind)]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn delays_are_kept_and_end_at_the_deadline() {
        let start = Instant::now();
        let script = json!({"text": "abc", "chunk_chars": 1, "delay_ms": 1000, "chunk_delay_ms": 100});
        assert_eq!(play_all(&script, "x").await.len(), 4);
        assert_eq!(start.elapsed(), Duration::from_millis(1300));
        assert_eq!(play_all(&json!({"delay_ms": 61_000}), "x").await, [Err(Kind::TimedOut)]);
    }

    #[test]
    fn a_wrong_script_is_named_with_its_key() {
        for (script, told) in [
            (json!({"txt": "a"}), "`txt`"),
            (json!({"delay_ms": "soon"}), "`delay_ms`"),
            (json!({"usage": {"input_tokens": -1}}), "`usage.input_tokens`"),
            (json!({"error": "tired"}), "`tired`"),
        ] {
            let error = named("it", &script).unwrap_err();
            assert_eq!(error.kind, Kind::NotConfigured);
            assert!(error.detail.contains(told) && error.detail.contains("`it`"), "{error}");
        }
        assert!(named("other", &json!({})).unwrap_err().detail.contains("`other`"));
    }

    #[tokio::test]
    async fn the_option_that_the_message_speaks_of_is_chosen() {
        let option = |id: &str, description: &str| DescribedOption { id: id.to_owned(), description: description.to_owned() };
        let choose = async |message: &str| {
            let choice = Choice {
                model: "it".to_owned(),
                instruction: String::new(),
                message: message.to_owned(),
                options: vec![option("sales", ""), option("help", "a broken device")],
                deadline: Instant::now() + Duration::from_mins(1),
            };
            scripted(&json!({})).choose(choice).await.unwrap().id
        };
        assert_eq!(choose("I have A Broken Device").await, "help");
        assert_eq!(choose("HELP me").await, "help");
        assert_eq!(choose("who knows").await, "sales");
    }
}
