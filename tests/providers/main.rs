//! The remote providers against services of our own: what they are asked, and what their answers and failures become.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod calling;
mod choosing;
mod failing;
mod fake;
mod whole;
mod words;

use std::time::Duration;

use fake::{Fake, Reply};
use futures_util::StreamExt;
use serde_json::{Value, json};
use synapse::config::Config;
use synapse::definition::Settings;
use synapse::provider::{Chunk, Image, Message, Model, ModelError, ModelRequest, Models, Role, Usage};
use tokio::time::Instant;

const KEY: &str = "sk-secret-of-the-test";

const DONE: [&str; 3] =
    [r#"{"choices":[{"index":0,"delta":{"content":"Yes."}}]}"#, r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#, "[DONE]"];

/// Finds a model whose service is the fake one, whatever the service.
fn model(name: &str, fake: &Fake) -> Model {
    let mut settings = Settings::default();
    for service in ["openai", "anthropic", "gemini", "grok", "deepseek", "openai_compatible"] {
        settings.set(&format!("{service}_key"), KEY.into());
        settings.set(&format!("{service}_base_url"), fake.url.as_str().into());
    }
    settings.set("bedrock_api_key", KEY.into());
    settings.set("bedrock_base_url", fake.url.as_str().into());
    settings.set("ollama_base_url", fake.url.as_str().into());
    Models::new(&Config::read(|_| None).unwrap(), None).resolve(name, &settings).unwrap()
}

fn request(model: &Model) -> ModelRequest {
    let image = Image { media_type: "image/png".to_owned(), base64: "iVBORw0KGgo=".into() };
    let newest = Message { images: vec![image], ..Message::text(Role::User, "What is this?") };
    ModelRequest {
        model: model.name.clone(),
        system: "Be brief.".to_owned(),
        messages: vec![Message::text(Role::User, "Hi."), Message::text(Role::Assistant, "Hello."), newest],
        tools: Vec::new().into(),
        deadline: Instant::now() + Duration::from_secs(20),
    }
}

/// What came of a call.
struct Answer {
    text: String,
    reasoning: String,
    end: Result<Usage, ModelError>,
}

async fn ask(name: &str, fake: &Fake) -> Answer {
    let model = model(name, fake);
    let mut stream = model.provider.stream(request(&model));
    let (mut text, mut reasoning) = (String::new(), String::new());
    let end = loop {
        match stream.next().await.expect("an end or an error") {
            Ok(Chunk::Text(piece)) => text.push_str(&piece),
            Ok(Chunk::Reasoning(piece)) => reasoning.push_str(&piece),
            Ok(Chunk::Call(call)) => panic!("no tool was offered, but {call:?} was called"),
            Ok(Chunk::End(usage)) => break Ok(usage),
            Err(error) => break Err(error),
        }
    };
    assert!(stream.next().await.is_none(), "nothing follows the end");
    Answer { text, reasoning, end }
}

async fn ask_one(name: &str, reply: Reply) -> Answer {
    ask(name, &Fake::start([reply]).await).await
}

/// Asserts that all of the conversation is somewhere in a body.
fn assert_carries_conversation(body: &Value) {
    let body = body.to_string();
    for part in ["Be brief.", "Hi.", "Hello.", "What is this?", "iVBORw0KGgo="] {
        assert!(body.contains(part), "`{part}` is not in {body}");
    }
}

fn usage(input_tokens: u64, output_tokens: u64, cached_tokens: u64) -> Usage {
    Usage { input_tokens, output_tokens, cached_tokens }
}

#[tokio::test]
async fn openai_answers_in_pieces() {
    let fake = Fake::start([Reply::events(&[
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"reasoning_content":"A picture."}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"A "}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"cat."}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}}"#,
        "[DONE]",
    ])])
    .await;
    let answer = ask("gpt-4o", &fake).await;
    assert_eq!((answer.text.as_str(), answer.reasoning.as_str()), ("A cat.", "A picture."));
    assert_eq!(answer.end.unwrap(), usage(12, 5, 4));
    let asked = &fake.asked()[0];
    assert_eq!(asked.path, "/v1/chat/completions");
    assert!(asked.head.contains(&format!("authorization: Bearer {KEY}\n")), "{}", asked.head);
    assert_eq!(asked.body["model"], "gpt-4o");
    assert_eq!(asked.body["messages"][0], json!({"role": "system", "content": "Be brief."}));
    assert_eq!(asked.body["messages"][3]["content"][1]["image_url"]["url"], "data:image/png;base64,iVBORw0KGgo=");
    assert_carries_conversation(&asked.body);
}

#[tokio::test]
async fn anthropic_answers_in_pieces() {
    let fake = Fake::start([Reply::named_events(&[
        r#"{"type":"message_start","message":{"usage":{"input_tokens":10,"cache_read_input_tokens":3,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"A picture."}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"A cat."}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}"#,
        r#"{"type":"message_stop"}"#,
    ])])
    .await;
    let answer = ask("claude-sonnet-4-5", &fake).await;
    assert_eq!((answer.text.as_str(), answer.reasoning.as_str()), ("A cat.", "A picture."));
    let end = answer.end.unwrap();
    assert_eq!((end.input_tokens, end.cached_tokens), (13, 3));
    assert_eq!(end.output_tokens, 7);
    let asked = &fake.asked()[0];
    assert_eq!(asked.path, "/v1/messages");
    assert!(asked.head.contains(&format!("x-api-key: {KEY}\n")), "{}", asked.head);
    assert_eq!(asked.body["system"], "Be brief.");
    assert_carries_conversation(&asked.body);
}

#[tokio::test]
async fn gemini_answers_in_pieces() {
    let fake = Fake::start([Reply::events(&[
        r#"{"candidates":[{"content":{"parts":[{"text":"A picture.","thought":true}]}}],"usageMetadata":{"promptTokenCount":9}}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"A "}]}}],"usageMetadata":{"promptTokenCount":9}}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"cat."}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":4,"thoughtsTokenCount":2,"totalTokenCount":15}}"#,
    ])])
    .await;
    let answer = ask("gemini-2.5-flash", &fake).await;
    assert_eq!((answer.text.as_str(), answer.reasoning.as_str()), ("A cat.", "A picture."));
    assert_eq!(answer.end.unwrap(), usage(9, 6, 0));
    let asked = &fake.asked()[0];
    assert!(asked.path.starts_with("/v1beta/models/gemini-2.5-flash:streamGenerateContent"), "{}", asked.path);
    assert!(asked.head.contains(&format!("x-goog-api-key: {KEY}\n")), "{}", asked.head);
    assert_eq!(asked.body["generationConfig"]["thinkingConfig"]["includeThoughts"], true);
    assert_carries_conversation(&asked.body);
}

#[tokio::test]
async fn ollama_answers_in_pieces() {
    let fake = Fake::start([Reply::lines(&[
        r#"{"message":{"role":"assistant","content":"","thinking":"A picture."},"done":false}"#,
        r#"{"message":{"role":"assistant","content":"A cat."},"done":false}"#,
        r#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":8,"eval_count":3}"#,
    ])])
    .await;
    let answer = ask("llava:7b", &fake).await;
    assert_eq!((answer.text.as_str(), answer.reasoning.as_str()), ("A cat.", "A picture."));
    assert_eq!(answer.end.unwrap(), usage(8, 3, 0));
    let asked = &fake.asked()[0];
    assert_eq!((asked.path.as_str(), &asked.body["model"]), ("/api/chat", &json!("llava:7b")));
    assert_eq!(asked.body["messages"][3]["images"], json!(["iVBORw0KGgo="]));
    assert_carries_conversation(&asked.body);
}

#[tokio::test]
async fn openai_models_of_the_newer_protocol_are_asked_in_it() {
    let fake = Fake::start([Reply::events(&[
        r#"{"type":"response.created","response":{}}"#,
        r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"A cat."}"#,
        r#"{"type":"response.completed","response":{"id":"r","status":"completed","model":"m","usage":{"input_tokens":6,"output_tokens":3,"total_tokens":9}}}"#,
    ])])
    .await;
    let answer = ask("gpt-5.1-codex-max", &fake).await;
    assert_eq!((answer.text.as_str(), answer.end.unwrap()), ("A cat.", usage(6, 3, 0)));
    let asked = &fake.asked()[0];
    assert_eq!((asked.path.as_str(), &asked.body["model"]), ("/v1/responses", &json!("gpt-5.1-codex-max")));
    assert_carries_conversation(&asked.body);
    let failed =
        r#"{"type":"response.failed","response":{"id":"r","status":"failed","model":"m","error":{"code":"server_error","message":"oh"}}}"#;
    assert!(ask_one("gpt-5-pro", Reply::events(&[failed])).await.end.is_err());
}

#[tokio::test]
async fn other_services_of_the_same_protocol_answer_too() {
    for (name, sent) in
        [("grok-4", "grok-4"), ("deepseek-chat", "deepseek-chat"), ("oaic.qwen3-max", "qwen3-max"), ("gpt-x-max", "gpt-x-max")]
    {
        let fake = Fake::start([Reply::events(&DONE)]).await;
        let answer = ask(name, &fake).await;
        assert!(answer.end.is_ok(), "{name}: {:?}", answer.end);
        let asked = &fake.asked()[0];
        assert_eq!((asked.path.as_str(), asked.body["model"].as_str().unwrap()), ("/v1/chat/completions", sent));
        assert!(asked.body.get("reasoning_effort").is_none(), "{}", asked.body);
    }
}

#[tokio::test]
async fn a_local_compatible_model_is_asked_where_its_setting_says_and_needs_no_key() {
    let (fake, other) = (Fake::start([Reply::events(&DONE)]).await, Fake::start([]).await);
    let mut settings = Settings::default();
    settings.set("local_compatible_base_url", fake.url.as_str().into());
    settings.set("ollama_base_url", other.url.as_str().into());
    let model = Models::new(&Config::read(|_| None).unwrap(), None).resolve("locv1.Qwen/Qwen3", &settings).unwrap();
    let chunks: Vec<_> = model.provider.stream(request(&model)).map(Result::unwrap).collect().await;
    assert_eq!(chunks[0], Chunk::Text("Yes.".to_owned()));
    let asked = &fake.asked()[0];
    assert_eq!((asked.path.as_str(), &asked.body["model"]), ("/v1/chat/completions", &json!("Qwen/Qwen3")));
    assert!(!asked.head.contains("authorization"), "{}", asked.head);
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn bedrock_answers_in_pieces() {
    let fake = Fake::start([Reply::frames(&[
        ("messageStart", r#"{"role":"assistant"}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"A "}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"cat."}}"#),
        ("messageStop", r#"{"stopReason":"end_turn"}"#),
        ("metadata", r#"{"usage":{"inputTokens":7,"outputTokens":2,"totalTokens":9}}"#),
    ])])
    .await;
    let answer = ask("bedrock.amazon.nova-lite-v1:0", &fake).await;
    assert_eq!((answer.text.as_str(), answer.end.unwrap()), ("A cat.", usage(7, 2, 0)));
    let asked = &fake.asked()[0];
    assert_eq!(asked.path, "/model/amazon.nova-lite-v1%3A0/converse-stream");
    assert!(asked.head.contains(&format!("authorization: Bearer {KEY}\n")), "{}", asked.head);
    assert_carries_conversation(&asked.body);
}
