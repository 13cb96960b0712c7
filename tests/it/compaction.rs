//! Conversations that become too long for a model.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::Setup;

/// An agent that reads a long file of the vault twice and then tells how many messages it sees.
fn setup(threshold: u64) -> Setup {
    let read = json!([{"tool": "vault_read", "arguments": {"path": "long.txt"}}]);
    let answers = json!([{"text": "", "calls": read}, {"text": "", "calls": read}, {"text": "{messages} messages"}]);
    Setup::new()
        .all_tools()
        .script(json!({"answers": answers}))
        .setting("auto_compact_threshold", threshold)
        .file("vault/long.txt", format!("begin{}end", "x".repeat(5000)))
}

fn compactions(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["type"] == "context_compact").collect()
}

#[rstest]
#[tokio::test]
async fn old_results_are_shortened_first_and_kept_in_the_vault(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = setup(8000).start();
    let events = server.client(dialect).events(json!({"message": "hi"})).await;
    let told = compactions(&events);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["stage"], "trim");
    let (before, after) = (told[0]["chars_before"].as_u64().unwrap(), told[0]["chars_after"].as_u64().unwrap());
    assert!(before > 10_000 && after < 7_000, "{before} {after}");
    assert!(told[0]["reduction_pct"].as_f64().unwrap() > 30.0);
    let archive = server.read(format!("vault/{}", told[0]["archive_path"].as_str().unwrap()));
    assert_eq!(archive.matches("begin").count(), 2, "nothing is lost");
    assert_eq!(events[events.len() - 2]["content"], "5 messages");
}

#[rstest]
#[tokio::test]
async fn a_long_conversation_is_summarised(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().script(json!({"text": "{messages} {message}"})).setting("auto_compact_threshold", 3000).start();
    let client = server.client(dialect);
    let long = client.events(json!({"message": "x".repeat(4000), "session_id": "s"})).await;
    assert!(compactions(&long).is_empty(), "a question alone is never shortened");
    let events = client.events(json!({"message": "and now?", "session_id": "s"})).await;
    let told = compactions(&events);
    assert_eq!((told.len(), &told[0]["stage"]), (1, &json!("llm_summary")));
    let content = events[events.len() - 2]["content"].as_str().unwrap();
    assert!(content.starts_with("1 and now?\n\n[What happened so far, summarised:]\n1 User: xxx"), "{content}");
    let archive = server.read(format!("vault/{}", told[0]["archive_path"].as_str().unwrap()));
    assert!(archive.contains(&"x".repeat(4000)), "nothing is lost");
    let session = client.call("GetSession", json!({"session_id": "s"})).await.answer();
    assert_eq!(session["turns"][1]["user"], "and now?", "the question is kept as it was asked");
}

#[rstest]
#[tokio::test]
async fn compaction_can_be_turned_off(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = setup(10).setting("auto_compact_enabled", false).start();
    let events = server.client(dialect).events(json!({"message": "hi"})).await;
    assert!(compactions(&events).is_empty());
    assert_eq!(events[events.len() - 2]["content"], "5 messages");
}
