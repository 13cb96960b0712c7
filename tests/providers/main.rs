//! The remote providers against services of our own: what they are asked, and what their answers and failures become.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod fake;

use std::time::Duration;

use fake::{Fake, Reply};
use futures_util::StreamExt;
use serde_json::{Value, json};
use synapse::config::Config;
use synapse::definition::Settings;
use synapse::provider::{
    Choice, Chosen, Chunk, DescribedOption, Image, Kind, Message, Model, ModelError, ModelRequest, Models, Role, Usage,
};
use tokio::time::{Instant, timeout};

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
async fn a_key_that_cannot_be_sent_is_a_matter_of_configuration() {
    let fake = Fake::start([]).await;
    let mut settings = Settings::default();
    settings.set("openai_key", "two\nlines".into());
    settings.set("openai_base_url", fake.url.as_str().into());
    let model = Models::new(&Config::read(|_| None).unwrap(), None).resolve("gpt-4o", &settings).unwrap();
    let error = model.provider.stream(request(&model)).next().await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.detail.contains("lines")), (Kind::NotConfigured, false), "{error}");
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
async fn a_busy_service_is_asked_again_when_it_said() {
    let busy = Reply::new("429 Too Many Requests", "retry-after: 1\r\n", r#"{"error":{"message":"slow down"}}"#);
    let fake = Fake::start([busy, Reply::events(&DONE)]).await;
    let start = Instant::now();
    let answer = ask("gpt-4o", &fake).await;
    assert_eq!((answer.text.as_str(), answer.end.is_ok()), ("Yes.", true));
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_told_at_once() {
    let answer = ask_one("claude-x", Reply::new("429 Too Many Requests", "retry-after: 3600\r\n", "")).await;
    let error = answer.end.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (Kind::RateLimited, Some(Duration::from_hours(1))));
}

#[tokio::test]
async fn a_service_that_fails_five_times_is_unavailable() {
    let broken = || Reply::new("500 Internal Server Error", "retry-after-ms: 1\r\n", "oh");
    let fake = Fake::start((0..6).map(|_| broken())).await;
    let answer = ask("gpt-4o", &fake).await;
    assert_eq!(answer.end.unwrap_err().kind, Kind::Unavailable);
    assert_eq!((answer.text.as_str(), fake.asked().len()), ("", 5));
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable() {
    let fake = Fake::start([]).await;
    let model = model("mistral", &fake);
    // The listener is dropped with its task, as there is no reply to give.
    // Shorter than the first wait, so that one attempt is all there is.
    let request = ModelRequest { deadline: Instant::now() + Duration::from_millis(480), ..request(&model) };
    let error = model.provider.stream(request).next().await.unwrap().unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    assert!(error.detail.starts_with("Ollama ") && !error.detail.contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn the_key_is_never_told() {
    let echo = format!(r#"{{"error":{{"message":"bad key {KEY} for model"}}}}"#);
    for (status, kind) in [("400 Bad Request", Kind::Rejected), ("401 Unauthorized", Kind::Rejected), ("404 Not Found", Kind::Rejected)] {
        for name in ["gpt-4o", "claude-x", "gemini-2.5-pro", "grok-4", "deepseek-chat", "bedrock.m", "oaic.m"] {
            let error = ask_one(name, Reply::new(status, "", &echo)).await.end.unwrap_err();
            assert_eq!(error.kind, kind, "{name}: {error}");
            assert!(!format!("{error:?}").contains("secret"), "{name}: {error:?}");
            assert!(error.detail.contains(&status[..3]), "{name}: {error}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Fake::start([Reply::events(&DONE)]).await;
    let redirect = Reply::new("307 Temporary Redirect", &format!("location: {}/v1/chat/completions\r\n", other.url), "");
    assert_eq!(ask_one("gpt-4o", redirect).await.end.unwrap_err().kind, Kind::Rejected);
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn garbage_is_no_answer() {
    let ok = |body: &str| Reply::new("200 OK", "content-type: text/event-stream\r\n", body);
    for name in ["gpt-4o", "gpt-5-codex", "claude-x", "gemini-2.5-flash", "mistral", "bedrock.m"] {
        for body in ["", "<html>it works</html>", "data: {\"a\":\n\n", "data: 7\n\n", "{\"error\":\"no\"}\n", "[]\n\n", "data: [DONE]\n\n"]
        {
            let answer = ask_one(name, ok(body)).await;
            let error = answer.end.expect_err(&format!("{name}: {body}"));
            assert_eq!((error.kind, answer.text.as_str()), (Kind::Garbled, ""), "{name}: {body}: {error}");
        }
    }
    let bytes = Reply::raw(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ndata: \xff\xfe\n\n");
    assert_eq!(ask_one("gpt-4o", bytes).await.end.unwrap_err().kind, Kind::Garbled);
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_is_an_error() {
    let half = r#"{"choices":[{"index":0,"delta":{"content":"Half"}}]}"#;
    let gemini = r#"{"candidates":[{"content":{"parts":[{"text":"Half"}]}}],"usageMetadata":{"promptTokenCount":9}}"#;
    let anthropic = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Half"}}"#;
    for (name, reply, kind) in [
        ("gpt-4o", Reply::events(&[half]), Kind::Garbled),
        ("gpt-4o", Reply::cut(&[half]), Kind::Unavailable),
        ("gemini-2.5-flash", Reply::events(&[gemini]), Kind::Garbled),
        ("claude-x", Reply::named_events(&[anthropic]), Kind::Garbled),
        ("mistral", Reply::lines(&[r#"{"message":{"content":"Half"},"done":false}"#]), Kind::Garbled),
    ] {
        let answer = ask_one(name, reply).await;
        assert_eq!(answer.text, "Half", "{name}");
        assert_eq!(answer.end.unwrap_err().kind, kind, "{name}");
    }
}

#[tokio::test]
async fn an_error_inside_a_stream_is_an_error() {
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let text = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Half"}}"#;
    let error = ask_one("claude-x", Reply::named_events(&[text, overloaded])).await.end.unwrap_err();
    assert_eq!((error.kind, error.detail.contains("Overloaded")), (Kind::Unavailable, true), "{error}");
    let withheld = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}"#;
    assert_eq!(ask_one("gpt-4o", Reply::events(&[withheld, "[DONE]"])).await.end.unwrap_err().kind, Kind::Rejected);
}

#[tokio::test]
async fn an_endless_answer_is_ended() {
    let piece = format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{}"}}}}]}}"#, "x".repeat(64 << 10));
    let answer = ask_one("gpt-4o", Reply::events(&vec![piece.as_str(); 80])).await;
    assert_eq!((answer.end.unwrap_err().kind, answer.text.len()), (Kind::Garbled, 4 << 20));
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_ends_at_once() {
    let (reply, gone) = Reply::events(&[r#"{"choices":[{"index":0,"delta":{"content":"Half"}}]}"#]).then_wait();
    let fake = Fake::start([reply]).await;
    let model = model("gpt-4o", &fake);
    let mut stream = model.provider.stream(request(&model));
    assert_eq!(stream.next().await.unwrap().unwrap(), Chunk::Text("Half".to_owned()));
    drop(stream);
    timeout(Duration::from_secs(1), gone).await.expect("the connection is closed").unwrap();
}

#[tokio::test]
async fn a_silent_service_is_left_at_the_deadline() {
    let (reply, _gone) = Reply::raw(b"").then_wait();
    let model = model("gpt-4o", &Fake::start([reply]).await);
    let request = ModelRequest { deadline: Instant::now() + Duration::from_millis(200), ..request(&model) };
    assert_eq!(model.provider.stream(request).next().await.unwrap().unwrap_err().kind, Kind::TimedOut);
}

async fn choose(name: &str, fake: &Fake) -> Result<Chosen, ModelError> {
    let model = model(name, fake);
    let option = |id: &str, description: &str| DescribedOption { id: id.to_owned(), description: description.to_owned() };
    let choice = Choice {
        model: model.name,
        instruction: "Route the ticket.".to_owned(),
        message: "My screen is black.".to_owned(),
        options: vec![option("sales", "buying"), option("help", "a broken device")],
        deadline: Instant::now() + Duration::from_secs(20),
    };
    model.provider.choose(choice).await
}

fn says(text: &str) -> Reply {
    let delta = json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}).to_string();
    Reply::events(&[&delta, "[DONE]"])
}

#[tokio::test]
async fn a_model_chooses_one_of_the_options() {
    let fake = Fake::start([says(r#"{"choice":"help"}"#)]).await;
    assert_eq!(choose("gpt-4o", &fake).await.unwrap().id, "help");
    let body = &fake.asked()[0].body;
    let schema = &body["response_format"]["json_schema"]["schema"];
    assert_eq!(schema["properties"]["choice"]["enum"], json!(["sales", "help"]));
    for part in ["Route the ticket.", "a broken device", "My screen is black."] {
        assert!(body["messages"].to_string().contains(part), "{body}");
    }
}

#[tokio::test]
async fn a_service_without_schemas_chooses_by_words() {
    let fake = Fake::start([Reply::new("400 Bad Request", "", r#"{"error":"response_format"}"#), says("help")]).await;
    assert_eq!(choose("oaic.m", &fake).await.unwrap().id, "help");
    assert!(fake.asked()[1].body.get("response_format").is_none());
}

#[tokio::test]
async fn a_choice_of_something_else_is_no_choice() {
    let fake = Fake::start([says(r#"{"choice":"lunch"}"#)]).await;
    assert_eq!(choose("gpt-4o", &fake).await.unwrap_err().kind, Kind::Garbled);
}
