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
//!     "usage": {"input_tokens": 3, "output_tokens": 2, "cached_tokens": 0},
//!     "calls": [{"tool": "get_datetime", "arguments": {"timezone": "{message}"}}],
//!     "answers": [],
//!     "native": true,
//!     "sees": true
//! }}}
//! ```
//!
//! `answers` holds scripts of the same keys, one for each answer to a user message: the second one plays when the tools that the
//! first one called have returned, and so on; the last one repeats. `native` and `sees` count in the outermost script only.
//!
//! Where a model is to choose, it chooses the first option that the message speaks of, or else the first one, and gives its `reasoning`.

mod script;
mod words;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, timeout_at};

use super::retry::{timed_out, within};
use super::text_tools::{TextTools, calls_behind};
use super::{Choice, Chosen, Chunk, Kind, Message, ModelError, ModelRequest, Provider, Role, ToolCall, Usage};
use crate::definition::Settings;
use script::{Called, Script, read};
use words::{asked, fill, fill_all};

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

    /// Returns whether the model takes images.
    pub(super) fn sees(&self) -> bool {
        self.0.sees
    }
}

impl Provider for Scripted {
    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<Chunk, ModelError>> {
        let script = answer(&self.0, &request.messages);
        if self.0.native {
            return paced(&script, request.deadline, play(&script, &request, false));
        }
        TextTools::new(Arc::new(InWords { script, asked: request.clone() })).stream(request)
    }

    fn choose(&self, choice: Choice) -> BoxFuture<'static, Result<Chosen, ModelError>> {
        choose(Arc::clone(&self.0), choice).boxed()
    }
}

/// A model without native calling. What its script speaks of is the request as it was before it became words.
struct InWords {
    script: Arc<Script>,
    asked: ModelRequest,
}

impl Provider for InWords {
    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<Chunk, ModelError>> {
        let request = ModelRequest { system: request.system, ..self.asked.clone() };
        paced(&self.script, request.deadline, play(&self.script, &request, true))
    }

    fn choose(&self, choice: Choice) -> BoxFuture<'static, Result<Chosen, ModelError>> {
        choose(Arc::clone(&self.script), choice).boxed()
    }
}

/// Finds what is played: the answer whose number is that of the model's answers since it was asked.
fn answer(script: &Arc<Script>, messages: &[Message]) -> Arc<Script> {
    let since = messages.iter().skip(asked(messages).unwrap_or(0));
    let given = since.filter(|message| message.role == Role::Assistant).count();
    let answer = script.answers.get(given).or_else(|| script.answers.last());
    Arc::clone(answer.unwrap_or(script))
}

/// Gives an answer the script's delays.
fn paced(script: &Script, deadline: Instant, answer: Vec<Result<Chunk, ModelError>>) -> BoxStream<'static, Result<Chunk, ModelError>> {
    let answer = stream::iter(answer);
    let (before, between) = (Duration::from_millis(script.delay_ms), Duration::from_millis(script.chunk_delay_ms));
    if before.is_zero() && between.is_zero() {
        return answer.boxed();
    }
    let paced = answer.enumerate().then(move |(number, item)| async move {
        sleep(if number == 0 { before } else { between }).await;
        item
    });
    within(deadline, paced).boxed()
}

/// Makes all of an answer, in order; its calls as text where the model knows no others.
fn play(script: &Script, request: &ModelRequest, in_words: bool) -> Vec<Result<Chunk, ModelError>> {
    let usual = if script.calls.is_empty() { "{message}" } else { "" };
    let mut text = fill(script.text.as_deref().unwrap_or(usual), request);
    let mut calls = calls(script, request);
    if in_words {
        text.push_str(&calls_behind(&text, &calls));
        calls.clear();
    }
    let reasoning = fill(&script.reasoning, request);
    let usage = script.usage.map_or_else(|| count(request, &[&reasoning, &text]), Usage::from);
    let reasoning = pieces(&reasoning, script.chunk_chars).map(|piece| Ok(Chunk::Reasoning(piece)));
    if let Some(failure) = script.error {
        let said = pieces(until(&text, script.error_after_chars), script.chunk_chars).map(|piece| Ok(Chunk::Text(piece)));
        return reasoning.chain(said).chain([Err(failure.error())]).collect();
    }
    let said = pieces(&text, script.chunk_chars).map(|piece| Ok(Chunk::Text(piece)));
    reasoning.chain(said).chain(calls.into_iter().map(|call| Ok(Chunk::Call(Box::new(call))))).chain([Ok(Chunk::End(usage))]).collect()
}

/// Makes the calls of an answer, numbered through the conversation.
fn calls(script: &Script, request: &ModelRequest) -> Vec<ToolCall> {
    let before: usize = request.messages.iter().map(|message| message.calls.len()).sum();
    let call = |(number, call): (usize, &Called)| ToolCall {
        id: format!("call_{number}"),
        name: call.tool.clone(),
        arguments: if call.arguments.is_null() { Value::Object(Map::new()) } else { fill_all(&call.arguments, request) },
        signatures: Vec::new(),
    };
    (before + 1..).zip(&script.calls).map(call).collect()
}

async fn choose(script: Arc<Script>, choice: Choice) -> Result<Chosen, ModelError> {
    let delay = Duration::from_millis(script.delay_ms);
    if !delay.is_zero() {
        timeout_at(choice.deadline, sleep(delay)).await.map_err(|_| timed_out())?;
    }
    match script.error {
        Some(failure) => Err(failure.error()),
        None => pick(&script, choice),
    }
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
    Ok(Chosen { id: option.id, reasoning: script.reasoning.clone(), scores: Vec::new(), usage: script.usage.map_or(counted, Usage::from) })
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
    let results = |message: &Message| message.results.iter().map(|result| words(&result.text)).sum::<u64>();
    let read: u64 = request.messages.iter().map(|message| words(&message.text) + results(message)).sum();
    let written = written.iter().map(|text| words(text)).sum();
    Usage { input_tokens: words(&request.system) + read, output_tokens: written, cached_tokens: 0 }
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{DescribedOption, Image, ToolDescription, ToolResult};
    use serde_json::json;

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

    fn call(number: u32, tool: &str, arguments: Value) -> ToolCall {
        ToolCall { id: format!("call_{number}"), name: tool.to_owned(), arguments, signatures: Vec::new() }
    }

    /// Asks until the model calls nothing more, each call returning its id, and tells each answer's text and calls.
    async fn play_turns(script: &Value) -> Vec<(String, Vec<ToolCall>)> {
        let tool = |name: &str| Arc::new(ToolDescription { name: name.to_owned(), description: String::new(), schema: json!({}) });
        let mut request = ModelRequest { tools: vec![tool("look"), tool("listen")].into(), ..request("hello") };
        let mut answers = Vec::new();
        loop {
            let (mut text, mut calls) = (String::new(), Vec::new());
            for chunk in scripted(script).stream(request.clone()).map(Result::unwrap).collect::<Vec<_>>().await {
                match chunk {
                    Chunk::Text(more) => text.push_str(&more),
                    Chunk::Call(call) => calls.push(*call),
                    Chunk::Reasoning(_) | Chunk::End(_) => {}
                }
            }
            answers.push((text.clone(), calls.clone()));
            if calls.is_empty() {
                return answers;
            }
            let result =
                |call: &ToolCall| ToolResult { call_id: call.id.clone(), name: call.name.clone(), text: format!("of {}", call.name) };
            let results = calls.iter().map(result).collect();
            request.messages.extend([Message::calls(text, calls), Message::results(results)]);
        }
    }

    fn turns() -> Value {
        json!({"chunk_chars": 3, "answers": [
            {"text": "Let me see.", "calls": [{"tool": "look", "arguments": {"at": ["{message}", 1]}}, {"tool": "listen"}], "chunk_chars": 3},
            {"calls": [{"tool": "look"}]},
            {"text": "{tools}: {results}"}
        ]})
    }

    #[tokio::test]
    async fn a_script_calls_tools_answer_by_answer() {
        assert_eq!(
            play_turns(&turns()).await,
            [
                ("Let me see.".to_owned(), vec![call(1, "look", json!({"at": ["hello", 1]})), call(2, "listen", json!({}))]),
                (String::new(), vec![call(3, "look", json!({}))]),
                ("look, listen: of look".to_owned(), Vec::new()),
            ]
        );
    }

    #[tokio::test]
    async fn a_script_without_native_calls_says_the_same_in_words() {
        let mut script = turns();
        script["native"] = json!(false);
        let plain = |answers: Vec<(String, Vec<ToolCall>)>| -> Vec<_> {
            let calls = |calls: Vec<ToolCall>| calls.into_iter().map(|call| (call.name, call.arguments)).collect::<Vec<_>>();
            answers.into_iter().map(|(text, made)| (text, calls(made))).collect()
        };
        assert_eq!(plain(play_turns(&script).await), plain(play_turns(&turns()).await));
    }

    #[tokio::test]
    async fn a_model_that_is_told_in_words_gets_them_in_its_system_prompt() {
        let script = json!({"native": false, "text": "{system}"});
        let answers = play_turns(&script).await;
        assert!(answers[0].0.starts_with("be kind\n\nYou can call tools."), "{}", answers[0].0);
    }

    #[tokio::test]
    async fn what_only_shows_images_of_results_is_no_new_question() {
        let mut request = request("hello");
        let results = vec![ToolResult { call_id: "call_1".to_owned(), name: "look".to_owned(), text: "fine".to_owned() }];
        let made = Message::calls("", vec![call(1, "look", json!({}))]);
        request.messages.extend([made, Message::results(results), Message::text(Role::User, "These are images.")]);
        let script = json!({"answers": [{"text": "first"}, {"text": "{message}: {results}"}]});
        let answer: Vec<_> = scripted(&script).stream(request).map(Result::unwrap).collect().await;
        assert_eq!(answer[0], text("hello: fine"));
    }
}
