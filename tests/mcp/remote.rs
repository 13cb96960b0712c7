//! Servers over streamable HTTP.

use std::time::Duration;

use serde_json::json;

use crate::fake::Fake;
use crate::setup::{House, call, eventually, told};

#[tokio::test]
async fn a_remote_tool_is_called_with_the_token_of_its_record() {
    let fake = Fake::guarded(&["s3cret"]).await;
    let house = House::new(&json!([fake.record("/mcp", Some("s3cret"))]));
    assert_eq!(house.call("far__echo", json!({"text": "hello"})).await, Ok("hello".to_owned()));
    let (headers, message) = fake.seen("tools/call").pop().unwrap();
    assert_eq!((headers["authorization"].as_bytes(), headers["mcp-session-id"].as_bytes()), (&b"Bearer s3cret"[..], &b"session-1"[..]));
    assert_eq!(message["params"]["_meta"]["synapse/idempotency-id"], "call-1");
}

#[tokio::test]
async fn answers_may_be_streamed() {
    let fake = Fake::start().await;
    let house = House::new(&json!([fake.record("/mcp", None)]));
    assert_eq!(house.call("far__sse", json!({})).await, Ok("streamed".to_owned()));
    let output = house.tool("far__image").await.call(call(json!({}))).await.unwrap();
    assert_eq!(output.images[0].media_type, "image/webp");
}

#[tokio::test]
async fn programs_need_a_permission_and_remote_servers_do_not() {
    let fake = Fake::start().await;
    let mut house = House::new(&json!([fake.record("/mcp", None)]));
    house.settings = synapse::definition::Settings::default();
    assert_eq!(house.names(&["far__echo"]).await, ["far__echo"]);
}

#[tokio::test]
async fn a_redirect_does_not_get_the_token() {
    let fake = Fake::start().await;
    let house = House::new(&json!([fake.record("/moved", Some("s3cret"))]));
    assert_eq!(house.names(&["all"]).await, [""; 0]);
    assert_eq!(fake.seen("initialize").len(), 0);
}

#[tokio::test]
async fn a_wrong_token_makes_the_tools_absent() {
    let fake = Fake::guarded(&["s3cret"]).await;
    let house = House::new(&json!([fake.record("/mcp", Some("wrong"))]));
    assert_eq!(house.names(&["all"]).await, [""; 0]);
}

#[tokio::test]
async fn answers_without_an_end_are_not_read() {
    let fake = Fake::start().await;
    let house = House::new(&json!([fake.record("/mcp", None)]));
    for (tool, reason) in [("far__large", "exceeded the maximum size of 16777216 bytes"), ("far__large_event", "16777216")] {
        let failure = house.call(tool, json!({})).await.unwrap_err();
        assert!(failure.contains(reason), "{failure}");
        assert_eq!(house.call("far__echo", json!({"text": "next"})).await, Ok("next".to_owned()));
    }
}

#[tokio::test]
async fn an_answer_that_is_no_message_is_told() {
    let fake = Fake::start().await;
    let house = House::new(&json!([fake.record("/mcp", None)]));
    let failure = house.call("far__broken", json!({})).await.unwrap_err();
    assert!(failure.starts_with("tool server `far` failed during the call: "), "{failure}");
    assert_eq!(house.call("far__echo", json!({"text": "next"})).await, Ok("next".to_owned()));
}

#[tokio::test]
async fn an_error_that_names_no_request_is_told() {
    let fake = Fake::start().await;
    let house = House::new(&json!([fake.record("/mcp", None)]));
    let failure = house.call("far__nameless", json!({})).await.unwrap_err();
    assert!(failure.contains("something is wrong"), "{failure}");
}

#[tokio::test]
async fn a_call_without_an_answer_is_cancelled_in_time() {
    let fake = Fake::start().await;
    let house = House::with(&json!([fake.record("/mcp", None)]), |limits| limits.mcp_call_time = Duration::from_secs(1));
    let expected = Err("tool server `far` gave no result within 1 seconds".to_owned());
    assert_eq!(house.call("far__never", json!({})).await, expected);
    let id = fake.seen("tools/call")[0].1["id"].clone();
    let cancelled = eventually("the cancellation", async || fake.seen("notifications/cancelled").pop()).await;
    assert_eq!(cancelled.1["params"]["requestId"], id);
}

#[tokio::test]
async fn a_list_that_changes_is_read_again() {
    let fake = Fake::start().await;
    let house = House::new(&json!([fake.record("/mcp", None)]));
    assert!(!house.names(&["all"]).await.contains(&"far__added".to_owned()));
    eventually("a listener", async || fake.change().then_some(())).await;
    eventually("the new tool", async || house.names(&["all"]).await.contains(&"far__added".to_owned()).then_some(())).await;
}

#[tokio::test]
async fn a_server_that_forgot_its_sessions_is_met_anew() {
    let fake = Fake::start().await;
    let house = House::new(&json!([fake.record("/mcp", None)]));
    let echo = house.tool("far__echo").await;
    let fake = fake.restart().await;
    assert_eq!(told(echo.call(call(json!({"text": "again"}))).await), Ok("again".to_owned()));
    // Some say it with a 400 and an error that names no request.
    fake.forget();
    assert_eq!(told(echo.call(call(json!({"text": "once more"}))).await), Ok("once more".to_owned()));
    assert!(fake.seen("initialize").len() >= 2);
}

#[tokio::test]
async fn a_server_killed_in_the_middle_of_a_call_is_told_and_found_again() {
    for tool in ["far__never", "far__resumable"] {
        let fake = Fake::start().await;
        let house = House::new(&json!([fake.record("/mcp?key=s3cret", None)]));
        let (echo, never) = (house.tool("far__echo").await, house.tool(tool).await);
        let waiting = tokio::spawn(never.call(call(json!({}))));
        eventually("the call", async || fake.seen("tools/call").pop()).await;
        let address = fake.stop().await;
        let failure = told(waiting.await.unwrap()).unwrap_err();
        assert!(failure.starts_with("tool server `far` failed during the call: ") && !failure.contains("s3cret"), "{tool}: {failure}");
        let failure = told(echo.call(call(json!({"text": "anybody?"}))).await).unwrap_err();
        assert!(failure.starts_with("tool server `far` cannot be used: ") && !failure.contains("s3cret"), "{tool}: {failure}");
        let _fake = Fake::start_at(&address).await;
        assert_eq!(told(echo.call(call(json!({"text": "back"}))).await), Ok("back".to_owned()), "{tool}");
    }
}

#[tokio::test]
async fn a_call_that_cannot_be_sent_is_not_one_whose_outcome_is_unknown() {
    let fake = Fake::start().await;
    let house = House::new(&json!([fake.record("/mcp?key=s3cret", None)]));
    let echo = house.tool("far__echo").await;
    let address = fake.stop().await;
    let failure = told(echo.call(call(json!({"text": "anybody?"}))).await).unwrap_err();
    assert!(failure.starts_with("tool server `far` cannot be used: Connection refused"), "{failure}");
    let _fake = Fake::start_at(&address).await;
    assert_eq!(told(echo.call(call(json!({"text": "back"}))).await), Ok("back".to_owned()));
}
