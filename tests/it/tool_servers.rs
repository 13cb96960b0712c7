//! Tool servers in a chat: whatever they do, the agent goes on.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Setup, refused};

/// An agent whose model plays these answers, with the tools of a server that does what it is told.
fn setup(answers: &Value) -> Setup {
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/server.py");
    let records = json!([
        {"name": "fake", "server_type": "stdio", "command": "python3", "args": [server]},
        {"name": "dead", "server_type": "stdio", "command": "python3", "args": ["-c", "raise SystemExit(1)"]},
    ]);
    Setup::new()
        .all_tools()
        .script(json!({ "answers": answers }))
        .setting("allow_stdio_mcp", true)
        .setting("mcp_command_allowlist", json!(["python3"]))
        .environment("SYNAPSE_MCP_TOOL_CALL_TIMEOUT", 2)
        .file("mcp_servers.json", records.to_string())
}

fn call(tool: &str, arguments: &Value) -> Value {
    json!({"tool": format!("fake__{tool}"), "arguments": arguments})
}

#[rstest]
#[case::crashing("crash", json!({}), "it ended")]
#[case::of_50_megabytes("large", json!({"bytes": 50_000_000}), "bytes")]
#[case::never_returning("never", json!({}), "2 s")]
#[case::of_invalid_text("binary", json!({}), "fake")]
#[case::of_garbage("garbage", json!({}), "fake")]
#[tokio::test]
async fn a_tool_that_misbehaves_is_a_result_and_the_agent_goes_on(
    #[values(Rest, Grpc)] dialect: Dialect,
    #[case] tool: &str,
    #[case] arguments: Value,
    #[case] told: &str,
) {
    let echo = call("echo", &json!({"text": "here again"}));
    let answers = json!([{"text": "", "calls": [call(tool, &arguments)]}, {"text": "", "calls": [echo]}, {"text": "{results}"}]);
    let server = setup(&answers).start();
    let events = server.client(dialect).events(json!({"message": "hi"})).await;
    let results: Vec<&Value> = events.iter().filter(|event| event["type"] == "tool_result").collect();
    let failure = results[0]["preview"].as_str().unwrap();
    assert!(failure.starts_with("Error: ") && failure.contains(told), "{failure}");
    assert_eq!(results[1]["preview"], "here again");
    assert_eq!(events[events.len() - 2]["content"], "here again");
}

#[rstest]
#[tokio::test]
async fn a_tool_that_wants_a_login_ends_the_chat_and_nothing_is_kept(#[values(Rest, Grpc)] dialect: Dialect) {
    let login = call("echo", &json!({"text": r#"{"error": "auth_required", "url": "https://login.example"}"#}));
    let server = setup(&json!([{"text": "", "calls": [login]}, {"text": "never"}])).start();
    let client = server.client(dialect);
    let events = client.events(json!({"message": "hi", "session_id": "s"})).await;
    let response = &events[events.len() - 2];
    assert_eq!((&response["content"], &response["intent"]), (&json!("Authentication required."), &json!("request_auth")));
    assert!(!events.iter().any(|event| event["type"] == "tool_result"), "{events:?}");
    assert_eq!(client.call("GetSession", json!({"session_id": "s"})).await, refused(404, "Session 's' not found"));
}

#[rstest]
#[tokio::test]
async fn programs_do_not_run_unless_the_operator_allows_them(#[values(Rest, Grpc)] dialect: Dialect) {
    let answers = json!([{"text": "", "calls": [call("echo", &json!({"text": "x"}))]}, {"text": "{tools}"}]);
    for (setting, value) in [("allow_stdio_mcp", json!(false)), ("mcp_command_allowlist", json!(["node"]))] {
        let server = setup(&answers).setting(setting, value).start();
        let told = server.client(dialect).say(json!({"message": "hi"})).await;
        assert!(told.contains("get_datetime") && !told.contains("fake__"), "{told}");
        server.logged(setting).await;
    }
}
