//! Chats are runs: watched, cancelled, in the background, and in front of an orchestration.

use rstest::rstest;
use serde_json::{Value, json};

use super::{answer, get, human, llm, of_type, only, plain, print, text};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{ModelService, Setup, eventually, kinds, refused};

#[rstest]
#[tokio::test]
async fn a_chat_can_be_asked_for_and_watched_afterwards(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().script(json!({"text": "Hello.", "chunk_chars": 2})).start();
    let client = server.client(dialect);
    let streamed = client.stream(json!({"message": "hi"})).await.unwrap().numbered().await;
    let run_id = text(&streamed[0].1, "run_id").to_owned();
    let kept: Vec<_> = streamed.into_iter().filter(|(id, _)| *id > 0).collect();
    assert_eq!(kept.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (1..=kept.len() as u64).collect::<Vec<_>>());
    for after in 0..kept.len() {
        let again = client.open("WatchChat", json!({"run_id": run_id, "after": after})).await.unwrap().numbered().await;
        assert_eq!(again, kept[after..], "after {after}");
    }
    let answer = client.call("GetChat", json!({"run_id": run_id})).await.answer();
    assert_eq!((&answer["response"], &answer["status"], &answer["agent_id"]), (&json!("Hello."), &json!("completed"), &json!("a1")));
    let unknown = refused(404, &format!("Run '{run_id}' not found"));
    assert_eq!(client.call("GetRun", json!({"run_id": run_id})).await, unknown, "a chat is no run of an orchestration");
    let unknown = refused(404, "Run 'nope' not found");
    assert_eq!(client.call("GetChat", json!({"run_id": "nope"})).await, unknown);
    assert_eq!(client.call("CancelChat", json!({"run_id": "nope"})).await, unknown);
    assert_eq!(client.open("WatchChat", json!({"run_id": "nope"})).await.err(), Some(unknown));
    let over = refused(400, &format!("Run '{run_id}' cannot be cancelled; it is completed already"));
    assert_eq!(client.call("CancelChat", json!({"run_id": run_id})).await, over);
}

#[rstest]
#[tokio::test]
async fn a_chat_in_the_background_goes_on_by_itself(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let mut server = Setup::new().model(&service.url()).start();
    let client = server.client(dialect);
    let begun = client.chat(json!({"message": "hi", "session_id": "s", "background": true})).await.answer();
    let run_id = text(&begun, "run_id").to_owned();
    assert_eq!((&begun["status"], &begun["session_id"], &begun["agent_id"]), (&json!("running"), &json!("s"), &json!("a1")));
    let call = service.called().await;
    server.crash();
    call.closed().await;
    let client = server.client(dialect);
    let mut call = service.called().await;
    let standing = client.call("GetChat", json!({"run_id": run_id})).await.answer();
    assert_eq!((&standing["status"], &standing["session_id"], &standing["agent_name"]), (&json!("running"), &json!("s"), &json!("Alpha")));
    call.answer("Hello.").await;
    let events = plain(client.open("WatchChat", json!({"run_id": run_id})).await.unwrap()).await;
    assert_eq!(of_type(&events, "response")[0]["content"], "Hello.");
    let answer = client.call("GetChat", json!({"run_id": run_id})).await.answer();
    assert_eq!((&answer["status"], &answer["response"]), (&json!("completed"), &json!("Hello.")));
    let session = client.call("GetSession", json!({"session_id": "s"})).await.answer();
    assert_eq!(session["turns"].as_array().unwrap().len(), 1, "{session}");
}

#[rstest]
#[tokio::test]
async fn a_chat_is_cancelled_when_its_caller_leaves_or_says_so(
    #[values(Rest, Grpc)] dialect: Dialect,
    #[values(true, false)] leaves: bool,
) {
    let service = ModelService::new().await;
    let server = Setup::new().model(&service.url()).start();
    let client = server.client(dialect);
    let mut events = client.stream(json!({"message": "hi", "session_id": "s"})).await.unwrap();
    let run_id = text(&events.until("session").await, "run_id").to_owned();
    let call = service.called().await;
    if leaves {
        drop(events);
        call.closed().await;
    } else {
        let cancelled = client.call("CancelChat", json!({"run_id": run_id})).await.answer();
        assert_eq!(cancelled["status"], "cancelled");
        call.closed().await;
        assert_eq!(events.until("error").await, json!({"type": "error", "message": "the chat was cancelled", "reason": "CANCELLED"}));
        events.until("done").await;
    }
    let stands =
        async || Some(client.call("GetChat", json!({"run_id": run_id})).await.answer()).filter(|chat| chat["status"] == "cancelled");
    eventually("the end", stands).await;
    let sessions = client.call("ListSessions", json!({})).await.answer();
    assert_eq!(sessions["sessions"], json!([]), "nothing of it is remembered");
}

#[rstest]
#[tokio::test]
async fn a_chat_with_a_key_goes_on_without_its_caller(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let server = Setup::new().model(&service.url()).start();
    let client = server.client(dialect).keyed("k");
    let request = json!({"message": "hi", "session_id": "s"});
    let mut events = client.stream(request.clone()).await.unwrap();
    events.until("session").await;
    drop(events);
    let mut call = service.called().await;
    let again = tokio::spawn(async move { client.chat(request).await.answer() });
    call.answer("Hello.").await;
    assert_eq!(again.await.unwrap()["response"], "Hello.");
}

/// An agent that runs `o1`.
fn orchestrator(setup: Setup) -> Setup {
    setup.agents(json!([{"id": "a1", "name": "Alpha", "type": "orchestrator", "orchestration_id": "o1"}]))
}

#[rstest]
#[tokio::test]
async fn an_agent_runs_its_orchestration(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [print("p", "one {state.user_input}", Some("q")), llm("q", None)];
    let server = orchestrator(Setup::new()).script(json!({"text": "two"})).orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let answer = client.chat(json!({"message": "hi", "session_id": "s"})).await.answer();
    let run_id = text(&answer, "run_id");
    let expected =
        json!({"response": "two", "agent_id": "a1", "agent_name": "Alpha", "session_id": "s", "run_id": run_id, "status": "completed"});
    assert_eq!(answer, expected);
    assert_eq!(get(&client, run_id).await["shared_state"]["p"], "one hi", "it is a run of an orchestration too");
    let events = client.events(json!({"message": "hi", "session_id": "s"})).await;
    let seen: Vec<&str> = kinds(&events).into_iter().filter(|kind| *kind != "text_delta").collect();
    assert_eq!(seen, ["session", "status", "thinking", "response", "done"]);
    let response = of_type(&events, "response")[0];
    assert_eq!(*response, json!({"type": "response", "content": "two", "intent": "orchestration", "session_id": "s"}));
}

#[rstest]
#[tokio::test]
async fn an_orchestration_that_fails_fails_the_chat(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = orchestrator(Setup::new()).script(json!({"error": "rejected"})).orchestrations(only([llm("q", None)])).start();
    let client = server.client(dialect);
    let (status, detail) = client.chat(json!({"message": "hi"})).await.refusal();
    assert_eq!((status, detail.as_str()), (500, "Orchestration failed. Error: An internal error occurred while executing this step."));
    let events = client.events(json!({"message": "hi"})).await;
    assert_eq!(of_type(&events, "error")[0]["reason"], "AGENT_FAILED");
}

#[rstest]
#[tokio::test]
async fn an_agent_without_an_orchestration_is_refused(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = orchestrator(Setup::new()).start();
    let client = server.client(dialect);
    let detail = "agent `a1` runs orchestration `o1`, which does not exist; name one in its `orchestration_id`";
    assert_eq!(client.chat(json!({"message": "hi"})).await, refused(400, detail));
    assert_eq!(client.stream(json!({"message": "hi"})).await.err(), Some(refused(400, detail)));
}

#[rstest]
#[tokio::test]
async fn an_orchestration_that_asks_a_person_says_so_in_the_chat(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [human("ask", Some("again")), human("again", Some("p")), print("p", "{state.ask.response}{state.again.response}", None)];
    let server = orchestrator(Setup::new()).orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let events = plain(client.stream(json!({"message": "hi", "session_id": "s"})).await.unwrap()).await;
    assert_eq!(kinds(&events), ["session", "status", "human_input_required", "done"]);
    let asked = of_type(&events, "human_input_required")[0];
    assert_eq!((text(asked, "step_id"), text(asked, "prompt"), &asked["run_id"]), ("ask", "ask?", &events[0]["run_id"]));
    let paused = client.chat(json!({"message": "hi", "session_id": "s"})).await.answer();
    let run_id = text(&paused, "run_id").to_owned();
    assert_eq!((&paused["status"], text(&paused["human_input_required"], "step_id")), (&json!("paused"), "ask"));
    assert_eq!((&paused["agent_id"], &paused["session_id"]), (&json!("a1"), &json!("s")));
    let asked_for = async || client.call("GetChat", json!({"run_id": run_id})).await.answer();
    assert_eq!(asked_for().await, paused);
    let mut watching = client.open("WatchChat", json!({"run_id": run_id})).await.unwrap();
    watching.until("human_input_required").await;
    answer(&client, &run_id, None, json!("1")).await.answer();
    let second = asked_for().await;
    assert_eq!((&second["status"], text(&second["human_input_required"], "step_id")), (&json!("paused"), "again"), "how it stands now");
    let done = answer(&client, &run_id, None, json!("2")).await.answer();
    assert_eq!(done["response"], "12");
    let ended = asked_for().await;
    assert_eq!((&ended["status"], &ended["response"], ended.get("human_input_required")), (&json!("completed"), &json!("12"), None));
    assert_eq!(watching.until("response").await["content"], "12", "watching a chat goes through its pauses");
    watching.until("done").await;
}

#[rstest]
#[tokio::test]
async fn a_chat_in_front_of_an_orchestration_is_repeated_as_it_was(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = orchestrator(Setup::new()).orchestrations(only([print("p", "{state.user_input}", None)])).start();
    let client = server.client(dialect).keyed("k");
    let first = client.chat(json!({"message": "hi"})).await.answer();
    assert_eq!(client.chat(json!({"message": "hi"})).await.answer(), first, "even the session that nobody named");
    let cancelled = client.call("CancelChat", json!({"run_id": first["run_id"]})).await;
    assert_eq!(cancelled.refusal().0, 400);
}

#[rstest]
#[tokio::test]
async fn a_chat_in_front_of_an_orchestration_is_cancelled(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let server = orchestrator(Setup::new()).model(&service.url()).orchestrations(only([llm("q", None)])).start();
    let client = server.client(dialect);
    let begun = client.chat(json!({"message": "hi", "background": true})).await.answer();
    let call = service.called().await;
    let cancelled = client.call("CancelChat", json!({"run_id": begun["run_id"]})).await.answer();
    assert_eq!((&cancelled["status"], &cancelled["agent_name"]), (&Value::from("cancelled"), &Value::from("Alpha")));
    call.closed().await;
}

#[rstest]
#[tokio::test]
async fn a_chat_whose_server_crashed_is_cancelled(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let mut server = Setup::new().model(&service.url()).start();
    let mut events = server.client(dialect).stream(json!({"message": "hi", "session_id": "s"})).await.unwrap();
    let run_id = text(&events.until("session").await, "run_id").to_owned();
    let call = service.called().await;
    server.crash();
    call.closed().await;
    let client = server.client(dialect);
    let stands =
        async || Some(client.call("GetChat", json!({"run_id": run_id})).await.answer()).filter(|chat| chat["status"] == "cancelled");
    eventually("the end", stands).await;
    let told = plain(client.open("WatchChat", json!({"run_id": run_id})).await.unwrap()).await;
    assert_eq!(kinds(&told), ["session", "status", "thinking", "error", "done"]);
}

#[rstest]
#[tokio::test]
async fn a_chat_in_front_of_a_cancelled_orchestration_says_so(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let server =
        orchestrator(Setup::new()).model(&service.url()).orchestrations(only([print("p", "p", Some("q")), llm("q", None)])).start();
    let client = server.client(dialect);
    let mut events = client.stream(json!({"message": "hi"})).await.unwrap();
    let run_id = text(&events.until("session").await, "run_id").to_owned();
    let call = service.called().await;
    client.call("CancelRun", json!({"run_id": run_id})).await.answer();
    call.closed().await;
    assert_eq!(events.until("error").await, json!({"type": "error", "message": "the chat was cancelled", "reason": "CANCELLED"}));
    events.until("done").await;
}
