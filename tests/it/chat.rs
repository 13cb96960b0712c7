//! Chats: answers, streams, memory, and which agent answers.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{ModelService, Setup, Told, joined, kinds, refused};

#[rstest]
#[tokio::test]
async fn an_agent_answers(#[values(Rest, Grpc)] dialect: Dialect) {
    let server =
        Setup::new().script(json!({"text": "Hello.", "usage": {"input_tokens": 3, "output_tokens": 2, "cached_tokens": 1}})).start();
    let answer = server.client(dialect).chat(json!({"message": "hi", "session_id": "s/1 é"})).await.answer();
    let run_id = answer["run_id"].as_str().unwrap();
    assert!(run_id.starts_with("run_") && run_id.len() == 36, "{run_id}");
    let usage = json!({"input_tokens": 3, "output_tokens": 2, "cached_tokens": 1});
    let expected = json!({"response": "Hello.", "agent_id": "a1", "agent_name": "Alpha", "session_id": "s/1 é", "usage": usage,
        "run_id": run_id, "status": "completed"});
    assert_eq!(answer, expected);
}

#[rstest]
#[tokio::test]
async fn a_stream_tells_the_answer_as_it_is_generated(#[values(Rest, Grpc)] dialect: Dialect) {
    let script = json!({"text": "größer \u{2028} als 😀", "reasoning": "hm, well", "chunk_chars": 3});
    let server = Setup::new().script(script).start();
    let events = server.client(dialect).events(json!({"message": "hi", "session_id": "s"})).await;
    assert_eq!(kinds(&events), ["session", "status", "thinking", "reasoning_delta", "text_delta", "llm_thought", "response", "done"]);
    let response = &events[events.len() - 2];
    assert_eq!(joined(&events, "text_delta"), "größer \u{2028} als 😀");
    assert_eq!(joined(&events, "reasoning_delta"), "hm, well");
    let run_id = &events[0]["run_id"];
    assert_eq!(events[0], json!({"type": "session", "session_id": "s", "agent_id": "a1", "agent_name": "Alpha", "run_id": run_id}));
    assert_eq!(events[1], json!({"type": "status", "message": "Processing your request..."}));
    assert_eq!(events[2], json!({"type": "thinking", "message": "Analyzing your request..."}));
    assert_eq!(events[events.len() - 3], json!({"type": "llm_thought", "thought": "größer \u{2028} als 😀", "turn": 1}));
    assert_eq!(response["content"], "größer \u{2028} als 😀");
    assert_eq!((&response["intent"], &response["session_id"]), (&json!("chat"), &json!("s")));
    assert_eq!(response["usage"]["input_tokens"], 1);
}

#[rstest]
#[tokio::test]
async fn an_empty_answer_is_said_in_words(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().script(json!({"text": " ", "reasoning": "only thoughts"})).start();
    let client = server.client(dialect);
    assert_eq!(client.say(json!({"message": ""})).await, "I completed the requested actions.");
    assert!(!kinds(&client.events(json!({"message": ""})).await).contains(&"llm_thought"));
}

#[rstest]
#[tokio::test]
async fn a_session_is_remembered_over_turns_and_restarts(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut server = Setup::new().script(json!({"text": "{messages}"})).start();
    let message = json!({"message": "hi", "session_id": "s"});
    assert_eq!(server.client(dialect).say(message.clone()).await, "1");
    assert_eq!(server.client(dialect).events(message.clone()).await.len(), 7);
    assert_eq!(server.client(dialect).say(json!({"message": "hi", "session_id": "other"})).await, "1");
    server.restart().await;
    assert_eq!(server.client(dialect).say(message).await, "5");
}

#[rstest]
#[tokio::test]
async fn a_session_without_an_id_gets_one(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    let client = server.client(dialect);
    for request in [json!({"message": "hi"}), json!({"message": "hi", "session_id": ""}), json!({"message": "hi", "session_id": null})] {
        let id = client.chat(request.clone()).await.answer()["session_id"].as_str().unwrap().to_owned();
        let digits = id.strip_prefix("api_").unwrap();
        assert!(digits.len() == 12 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id}");
        let events = client.events(request).await;
        assert_eq!(events[0]["session_id"], events[events.len() - 2]["session_id"]);
        assert_ne!(events[0]["session_id"], json!(id));
    }
}

#[rstest]
#[tokio::test]
async fn two_agents_do_not_share_a_session(#[values(Rest, Grpc)] dialect: Dialect) {
    let agents = json!([{"id": "a1", "name": "Alpha"}, {"id": "a2", "name": "Beta"}]);
    let server = Setup::new().agents(agents).script(json!({"text": "{messages}"})).start();
    let client = server.client(dialect);
    for (agent, messages) in [("a1", "1"), ("a2", "1"), ("a1", "3"), ("a2", "3")] {
        assert_eq!(client.say(json!({"message": "hi", "session_id": "s", "agent": agent})).await, messages);
    }
}

#[rstest]
#[tokio::test]
async fn chats_of_one_session_wait_for_each_other(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let server = Setup::new().model(&service.url()).start();
    let client = server.client(dialect);
    let message = |session: &str| json!({"message": "hi", "session_id": session});
    let mut first = client.stream(message("s")).await.unwrap();
    let mut call = service.called().await;
    let mut second = client.stream(message("s")).await.unwrap();
    assert_eq!(second.next().await.and_then(event_type).unwrap(), "session");
    let other = client.stream(message("other")).await.unwrap();
    let mut other_call = service.called().await; // not the second's, which waits
    assert!(!other_call.asked.contains("one"), "{}", other_call.asked);
    other_call.answer("free").await;
    assert_eq!(joined(&other.whole().await, "text_delta"), "free");
    call.answer("one").await;
    first.until("done").await;
    let mut call = service.called().await;
    assert!(call.asked.contains("one"), "the second gets the first's answer: {}", call.asked);
    call.answer("two").await;
    assert_eq!(second.until("response").await["content"], "two");
}

fn event_type(told: Told) -> Option<String> {
    let Told::Event(event) = told else { return None };
    event["type"].as_str().map(str::to_owned)
}

#[rstest]
#[tokio::test]
async fn the_model_gets_the_newest_turns_that_fit(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().setting("history_tokens", 40).script(json!({"text": "{messages}"})).start();
    let client = server.client(dialect);
    let long = "word ".repeat(400);
    for (message, messages) in [("hi", "1"), ("hi", "3"), (long.as_str(), "5"), ("hi", "1"), ("hi", "3")] {
        assert_eq!(client.say(json!({"message": message, "session_id": "s"})).await, messages, "after the long one nothing older is sent");
    }
}

#[rstest]
#[tokio::test]
async fn agents_are_found_as_documented(#[values(Rest, Grpc)] dialect: Dialect, #[values(false, true)] strict: bool) {
    let agents = json!([{"id": "a1", "name": "Alpha Writer"}, {"id": "a2", "name": "beta"}, {"id": "A1", "name": "Alpha"}]);
    let server = Setup::new().agents(agents).setting("strict_agents", strict).start();
    let client = server.client(dialect);
    for (asked, found) in [("", "a1"), ("alpha", "A1"), ("A1", "A1"), ("a1", "a1"), ("wri", "a1"), ("BETA", "a2"), (" ", "a1")] {
        let answer = client.chat(json!({"message": "hi", "agent": asked})).await.answer();
        assert_eq!(answer["agent_id"], found, "`{asked}`");
    }
    for asked in ["zzz", " alpha ", "beta "] {
        let request = json!({"message": "hi", "agent": asked});
        let (chat, stream) = (client.chat(request.clone()).await, client.stream(request).await);
        if strict {
            let expected = refused(404, &format!("Agent '{asked}' not found"));
            assert_eq!((chat, stream.err()), (expected.clone(), Some(expected)));
        } else {
            assert_eq!(chat.answer()["agent_id"], "a1");
            assert_eq!(stream.unwrap().whole().await[0]["agent_id"], "a1");
        }
    }
}

#[rstest]
#[tokio::test]
async fn without_agents_nobody_answers(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().agents(json!([])).start();
    let expected = refused(400, "No agents configured");
    assert_eq!(server.client(dialect).chat(json!({"message": "hi"})).await, expected);
    assert_eq!(server.client(dialect).stream(json!({"message": "hi"})).await.err(), Some(expected));
}

#[rstest]
#[tokio::test]
async fn a_message_is_required_and_bounded(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    let client = server.client(dialect);
    for (request, detail) in [
        (json!({}), "`message` is required"),
        (json!({"message": null}), "`message` is required"),
        (json!({"message": "x".repeat(1_000_001)}), "`message` must have at most 1000000 characters, not 1000001"),
        (json!({"message": "x", "session_id": "x".repeat(513)}), "`session_id` must have at most 512 characters, not 513"),
        (json!({"message": "x", "agent": "x".repeat(1001)}), "`agent` must have at most 1000 characters, not 1001"),
    ] {
        assert_eq!(client.chat(request.clone()).await, refused(400, detail));
        assert_eq!(client.stream(request).await.err(), Some(refused(400, detail)));
    }
    assert_eq!(client.say(json!({"message": "é".repeat(1000)})).await, "é".repeat(1000));
}

#[rstest]
#[tokio::test]
async fn files_of_the_vault_are_mentioned_and_none_outside(#[values(Rest, Grpc)] dialect: Dialect) {
    let setup = Setup::new().file("vault/notes/today.md", "Buy milk.\n").file("outside.txt", "top secret");
    std::os::unix::fs::symlink(setup.data_dir().join("outside.txt"), setup.data_dir().join("vault/link.txt")).unwrap();
    let server = setup.start();
    let client = server.client(dialect);
    let said = client.say(json!({"message": "Read @[notes/today.md] now", "session_id": "s"})).await;
    assert_eq!(said, "Read @[notes/today.md]\n```\nBuy milk.\n```\n now");
    let absolute = server.data_dir().join("outside.txt");
    for path in ["../outside.txt", "notes/../../outside.txt", absolute.to_str().unwrap(), "link.txt", "missing.md"] {
        let message = format!("Read @[{path}] now");
        assert_eq!(client.say(json!({"message": message})).await, message);
    }
}

#[rstest]
#[tokio::test]
async fn silence_is_filled_with_heartbeats(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().script(json!({"text": "late", "delay_ms": 700})).environment("SYNAPSE_HEARTBEAT", 0.2).start();
    let told = server.client(dialect).stream(json!({"message": "hi"})).await.unwrap().rest_of().await;
    let pings = told.iter().filter(|told| **told == Told::Ping).count();
    let after = told.iter().rposition(|told| *told == Told::Ping).map(|last| &told[last + 1]);
    match dialect {
        Rest => {
            assert!((1..=3).contains(&pings), "{pings} heartbeats in 0.7 s");
            assert!(matches!(after, Some(Told::Event(event)) if event["type"] == "text_delta"), "{after:?}");
        }
        Grpc => assert_eq!(pings, 0, "gRPC has pings of its own"),
    }
}

#[rstest]
#[case::the_stream(true)]
#[case::the_whole_answer(false)]
#[tokio::test]
async fn a_client_that_leaves_ends_the_model_call(#[values(Rest, Grpc)] dialect: Dialect, #[case] stream: bool) {
    let service = ModelService::new().await;
    let server = Setup::new().model(&service.url()).start();
    let client = server.client(dialect);
    let request = json!({"message": "hi", "session_id": "s"});
    let asking = tokio::spawn(async move {
        if stream {
            let mut events = client.stream(request).await.unwrap();
            events.until("text_delta").await;
        } else {
            client.chat(request).await;
        }
    });
    let mut call = service.called().await;
    call.begin().await;
    call.say("I begin").await;
    if stream {
        asking.await.unwrap();
    } else {
        asking.abort();
    }
    let left = Instant::now();
    timeout(Duration::from_secs(1), call.closed()).await.unwrap();
    assert!(left.elapsed() < Duration::from_secs(1));
    let sessions = server.client(dialect).call("ListSessions", json!({})).await.answer();
    assert_eq!(sessions["sessions"], json!([]), "a cancelled turn is not kept");
}

#[rstest]
#[tokio::test]
async fn many_chat_at_once(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().script(json!({"text": "{message}", "chunk_chars": 5})).start();
    let client = server.client(dialect);
    let chats = (0..50).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            let message = format!("this is number {number}");
            let events: Vec<Value> = client.events(json!({"message": message})).await;
            assert_eq!(joined(&events, "text_delta"), message);
        })
    });
    for chat in chats.collect::<Vec<_>>() {
        chat.await.unwrap();
    }
    let sessions = client.call("ListSessions", json!({"page_size": 200})).await.answer();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 50);
}

#[rstest]
#[tokio::test]
async fn what_is_said_is_not_in_the_log(#[values(Rest, Grpc)] dialect: Dialect) {
    let setup = Setup::new().secret("between us").secret("the vault's words").secret("a private thought");
    let setup = setup.file("vault/note.txt", "the vault's words").script(json!({"text": "{message}", "reasoning": "a private thought"}));
    let server = setup.start();
    let request = json!({"message": "between us @[note.txt]", "session_id": "s"});
    assert!(server.client(dialect).say(request.clone()).await.contains("the vault's words"));
    server.client(dialect).events(request).await;
    server.logged("the model was asked").await;
}
