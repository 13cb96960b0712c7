//! What goes wrong between the server and a model's service, and what it becomes.

use std::time::Duration;

use futures_util::StreamExt;
use synapse::config::Config;
use synapse::definition::Settings;
use synapse::provider::{Chunk, Kind, ModelRequest, Models};
use tokio::time::{Instant, timeout};

use super::fake::{Fake, Reply};
use super::{DONE, KEY, ask, ask_one, model, request};

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
