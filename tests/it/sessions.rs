//! Kept conversations: listed, read page by page, deleted.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Client, Server, Setup, answered, refused};

async fn with_sessions(dialect: Dialect) -> (Server, Client) {
    let agents = json!([{"id": "a1", "name": "Alpha", "tools": []}, {"id": "a2", "name": "Beta", "tools": []}]);
    let server = Setup::new().agents(agents).start();
    let client = server.client(dialect);
    for (session, agent) in [("one", "a1"), ("two", "a2"), ("three", "a1"), ("one", "a2"), ("one", "a1")] {
        client.say(json!({"message": format!("hello {session}"), "session_id": session, "agent": agent})).await;
    }
    (server, client)
}

/// Returns session and agent of every conversation of a page.
fn ids(page: &Value) -> Vec<String> {
    let id = |session: &Value| format!("{} {}", session["session_id"].as_str().unwrap(), session["agent_id"].as_str().unwrap());
    page["sessions"].as_array().unwrap().iter().map(id).collect()
}

#[rstest]
#[tokio::test]
async fn sessions_are_listed_newest_first(#[values(Rest, Grpc)] dialect: Dialect) {
    let (_server, client) = with_sessions(dialect).await;
    let all = client.call("ListSessions", json!({})).await.answer();
    assert_eq!(ids(&all), ["one a1", "one a2", "three a1", "two a2"]);
    assert_eq!(all["next_page_token"], "");
    let newest = &all["sessions"][0];
    assert_eq!((&newest["turn_count"], &newest["agent_name"]), (&json!(2), &json!("Alpha")));
    let [created, updated] = ["created_at", "updated_at"].map(|time| {
        let text = newest[time].as_str().unwrap();
        assert!(text.ends_with('Z'), "{text}");
        text.parse::<jiff::Timestamp>().unwrap()
    });
    assert!(created <= updated, "{created} {updated}");
    assert_eq!(ids(&client.call("ListSessions", json!({"agent_id": "a2"})).await.answer()), ["one a2", "two a2"]);
    assert_eq!(ids(&client.call("ListSessions", json!({"agent_id": "nobody"})).await.answer()), [""; 0]);
}

#[rstest]
#[tokio::test]
async fn pages_follow_each_other_without_gap_or_overlap(#[values(Rest, Grpc)] dialect: Dialect) {
    let (_server, client) = with_sessions(dialect).await;
    let (mut token, mut seen) = (String::new(), Vec::new());
    for _ in 0..4 {
        let page = client.call("ListSessions", json!({"page_size": 1, "page_token": token})).await.answer();
        seen.extend(ids(&page));
        token = page["next_page_token"].as_str().unwrap().to_owned();
        // What comes in between does not shift the pages that follow.
        client.say(json!({"message": "hi", "session_id": format!("late {}", seen.len())})).await;
    }
    assert_eq!(seen, ["one a1", "one a2", "three a1", "two a2"]);
    assert_eq!(token, "");
}

#[rstest]
#[tokio::test]
async fn a_session_is_read_in_pages(#[values(Rest, Grpc)] dialect: Dialect) {
    let (_server, client) = with_sessions(dialect).await;
    let first = client.call("GetSession", json!({"session_id": "one", "agent_id": "a1", "page_size": 1})).await.answer();
    assert_eq!((&first["agent_id"], &first["turn_count"]), (&json!("a1"), &json!(2)));
    let turn = &first["turns"][0];
    assert_eq!((&turn["user"], &turn["assistant"]), (&json!("hello one"), &json!("hello one")));
    assert_eq!((&turn["model"], &turn["images"]), (&json!("scripted.echo"), &json!([])));
    assert_eq!(turn["usage"], json!({"input_tokens": 2, "output_tokens": 2, "cached_tokens": 0}));
    let token = &first["next_page_token"];
    let second =
        client.call("GetSession", json!({"session_id": "one", "agent_id": "a1", "page_size": 1, "page_token": token})).await.answer();
    assert_eq!((second["turns"].as_array().unwrap().len(), &second["next_page_token"]), (1, &json!("")));
    let newest = client.call("GetSession", json!({"session_id": "one"})).await.answer();
    assert_eq!((&newest["agent_id"], newest["turns"].as_array().unwrap().len()), (&json!("a1"), 2));
}

#[rstest]
#[tokio::test]
async fn a_deleted_session_is_forgotten(#[values(Rest, Grpc)] dialect: Dialect) {
    let (_server, client) = with_sessions(dialect).await;
    let unknown = refused(404, "Session 'one' not found");
    let of_one = json!({"session_id": "one", "agent_id": "a1"});
    assert_eq!(client.call("DeleteSession", of_one.clone()).await, answered(json!({"status": "deleted", "session_id": "one"})));
    assert_eq!(client.call("GetSession", of_one.clone()).await, unknown);
    assert_eq!(client.call("DeleteSession", of_one).await, unknown);
    assert_eq!(client.call("GetSession", json!({"session_id": "one"})).await.answer()["agent_id"], "a2");
    client.call("DeleteSession", json!({"session_id": "one"})).await.answer();
    assert_eq!(client.call("GetSession", json!({"session_id": "one"})).await, unknown);
    assert_eq!(ids(&client.call("ListSessions", json!({})).await.answer()), ["three a1", "two a2"]);
}

#[rstest]
#[tokio::test]
async fn what_no_page_has_is_refused(#[values(Rest, Grpc)] dialect: Dialect) {
    let (_server, client) = with_sessions(dialect).await;
    let too_many = refused(400, "`page_size` must be at most 200, not 201");
    assert_eq!(client.call("ListSessions", json!({"page_size": 201})).await, too_many);
    assert_eq!(client.call("GetSession", json!({"session_id": "one", "page_size": 201})).await, too_many);
    for request in [("ListSessions", json!({"page_token": "nonsense"})), ("GetSession", json!({"session_id": "one", "page_token": "x"}))] {
        let (status, detail) = client.call(request.0, request.1).await.refusal();
        assert!(status == 400 && detail.contains("`page_token`"), "{status}: {detail}");
    }
}

#[rstest]
#[tokio::test]
async fn any_text_is_a_session(
    #[values(Rest, Grpc)] dialect: Dialect,
    #[values("a/b?c#d%2F é", "../../etc", "\u{1}\u{0}x", "'; drop table turns; --", " ", "%", "😀\u{2028}")] id: &str,
) {
    let server = Setup::new().start();
    let client = server.client(dialect);
    client.say(json!({"message": "hi", "session_id": id})).await;
    let events = client.events(json!({"message": "hi", "session_id": id})).await;
    assert_eq!(events[0]["session_id"], id);
    let session = client.call("GetSession", json!({"session_id": id})).await.answer();
    assert_eq!((&session["session_id"], &session["turn_count"]), (&json!(id), &json!(2)));
    assert_eq!(client.call("DeleteSession", json!({"session_id": id})).await.answer()["session_id"], id);
}
