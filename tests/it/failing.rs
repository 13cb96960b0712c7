//! Chats whose model fails: a clear end, nothing leaked, nothing kept.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{ModelService, Server, Setup, joined, kinds, refusal, refused};

const FAILED: &str = "The agent encountered an error processing your request.";

async fn assert_nothing_kept(server: &Server, dialect: Dialect) {
    let sessions = server.client(dialect).call("ListSessions", json!({})).await.answer();
    assert_eq!(sessions["sessions"], json!([]), "a failed turn is not kept");
}

fn assert_failed(events: &[Value], text: &str) {
    let error = &events[events.len() - 2];
    assert_eq!(*error, json!({"type": "error", "message": FAILED, "reason": "AGENT_FAILED"}));
    assert_eq!(joined(events, "text_delta"), text);
    assert!(!kinds(events).contains(&"response"));
}

#[rstest]
#[tokio::test]
async fn a_failure_is_told_in_a_constant(
    #[values(Rest, Grpc)] dialect: Dialect,
    #[values("rate_limited", "unavailable", "rejected", "timed_out", "garbled")] error: &str,
) {
    let server = Setup::new().script(json!({"text": "Hello there", "error": error})).start();
    let request = json!({"message": "hi", "session_id": "s"});
    assert_eq!(server.client(dialect).chat(request.clone()).await, refused(500, FAILED));
    assert_failed(&server.client(dialect).events(request).await, "");
    assert_nothing_kept(&server, dialect).await;
    server.logged("the script says so").await;
}

#[rstest]
#[tokio::test]
async fn a_failure_after_some_text_is_an_error_then_done(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().script(json!({"text": "Hello there", "error": "unavailable", "error_after_chars": 5})).start();
    let request = json!({"message": "hi", "session_id": "s"});
    assert_eq!(server.client(dialect).chat(request.clone()).await, refused(500, FAILED));
    assert_failed(&server.client(dialect).events(request).await, "Hello");
    assert_nothing_kept(&server, dialect).await;
}

#[rstest]
#[tokio::test]
async fn a_provider_that_is_down_is_a_failure(#[values(Rest, Grpc)] dialect: Dialect) {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Setup::new().model(&format!("http://{closed}/v1")).environment("SYNAPSE_LLM_TIMEOUT", 1).start();
    let client = server.client(dialect);
    assert_eq!(client.chat(json!({"message": "hi"})).await, refused(500, FAILED));
    assert_failed(&client.events(json!({"message": "hi"})).await, "");
    assert_nothing_kept(&server, dialect).await;
}

#[rstest]
#[case::refusing("401 Unauthorized", r#"{"error": {"message": "bad key sk-provider-0123456789 at 10.1.2.3"}}"#)]
#[case::limiting("429 Too Many Requests", r#"{"error": {"message": "slow down, sk-provider-0123456789"}}"#)]
#[case::asking_for_ages(
    "429 Too Many Requests",
    r#"{"error": {"message": "sk-provider-0123456789", "details": [{"retryDelay": "1e19s"}]}}"#
)]
#[case::garbage("200 OK", "sk-provider-0123456789 \u{1} garbage")]
#[tokio::test]
async fn what_a_provider_says_does_not_leak(
    #[values(Rest, Grpc)] dialect: Dialect,
    #[case] status: &'static str,
    #[case] body: &'static str,
) {
    let service = ModelService::new().await;
    let server = Setup::new()
        .model(&service.url())
        .setting("local_compatible_key", "sk-provider-0123456789")
        .secret("sk-provider-0123456789")
        .environment("SYNAPSE_LLM_TIMEOUT", 3)
        .start();
    let serving = tokio::spawn(async move {
        loop {
            service.called().await.respond(status, "content-type: application/json\r\nretry-after: 10000000000000000000\r\n", body).await;
        }
    });
    let client = server.client(dialect);
    assert_eq!(client.chat(json!({"message": "hi"})).await, refused(500, FAILED));
    assert_failed(&client.events(json!({"message": "hi"})).await, "");
    assert_nothing_kept(&server, dialect).await;
    serving.abort();
}

#[rstest]
#[tokio::test]
async fn a_provider_that_breaks_off_is_a_failure(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let server = Setup::new().model(&service.url()).start();
    let mut events = server.client(dialect).stream(json!({"message": "hi", "session_id": "s"})).await.unwrap();
    let mut call = service.called().await;
    call.begin().await;
    call.say("Half a").await;
    assert_eq!(events.until("text_delta").await["text"], "Half a");
    drop(call);
    assert_eq!(events.until("error").await["message"], FAILED);
    assert_eq!(events.rest_of().await.len(), 1);
    assert_nothing_kept(&server, dialect).await;
}

#[rstest]
#[case::no_key("gpt-4o", "no key for OpenAI: set `openai_key` in settings.json or `OPENAI_API_KEY`")]
#[case::no_script("scripted.none", "there is no script `none`: add it under `scripted` in settings.json, or use `scripted.echo`")]
#[tokio::test]
async fn a_model_that_is_not_configured_says_the_way_out(
    #[values(Rest, Grpc)] dialect: Dialect,
    #[case] model: &str,
    #[case] detail: &str,
) {
    let server = Setup::new().setting("model", model).start();
    assert_eq!(server.client(dialect).chat(json!({"message": "hi"})).await, refused(500, detail));
    assert_eq!(server.client(dialect).stream(json!({"message": "hi"})).await.err(), Some(refused(500, detail)));
}

#[rstest]
#[tokio::test]
async fn a_local_model_without_weights_says_the_way_out(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().setting("model", "local").start();
    let detail = "the local model is not here: run `synapse model fetch`, or set another `model` in settings.json";
    assert_eq!(server.client(dialect).chat(json!({"message": "hi"})).await, refused(500, detail));
    let events = server.client(dialect).events(json!({"message": "hi"})).await;
    assert_eq!(events[events.len() - 2], json!({"type": "error", "message": detail, "reason": "MODEL_NOT_CONFIGURED"}));
}

/// REST takes gRPC's header too: both protocols bring it to the same place.
#[tokio::test]
async fn a_caller_may_wait_less_than_the_server_would() {
    let server = Setup::new().script(json!({"text": "late", "delay_ms": 60_000})).start();
    let request = server.request("POST", "/api/v1/chat").header("grpc-timeout", "200m").json(&json!({"message": "hi"}));
    assert_eq!(refusal(request.send().await.unwrap()).await, refused(500, FAILED));
    server.logged("did not answer in time").await;
}
