//! The conversations of agents in runs.

use rstest::rstest;
use serde_json::{Value, json};

use super::{only, run, step};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{ModelService, Setup};

fn talk(id: &str, next: Option<&str>) -> Value {
    step(id, "agent", json!({"agent_id": "a1", "output_key": id, "next_step_id": next}))
}

#[rstest]
#[tokio::test]
async fn the_agents_of_a_run_share_a_conversation(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [talk("first", Some("second")), talk("second", None)];
    let server = Setup::new().script(json!({"text": "{messages}"})).orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let said = |answer: &Value| (answer["shared_state"]["first"].clone(), answer["shared_state"]["second"].clone());
    assert_eq!(said(&run(&client, "hi").await), (json!("1"), json!("3")));
    assert_eq!(said(&run(&client, "hi").await), (json!("1"), json!("3")), "another run has another conversation");
    let named = json!({"orchestration_id": "o1", "message": "hi", "session_id": "s"});
    assert_eq!(said(&client.call("Run", named.clone()).await.answer()), (json!("1"), json!("3")));
    assert_eq!(said(&client.call("Run", named).await.answer()), (json!("5"), json!("7")), "one with a name goes on");
    assert_eq!(client.say(json!({"message": "hi", "session_id": "s"})).await, "9", "in chats too");
}

#[rstest]
#[tokio::test]
async fn an_agent_in_several_branches_is_heard_by_whoever_comes_behind(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let parallel = step("p", "parallel", json!({"parallel_branches": [["left"], ["right"]], "next_step_id": "z"}));
    let steps = [parallel, talk("left", Some("z")), talk("right", Some("z")), talk("z", None)];
    let server = Setup::new().model(&service.url()).orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let running = tokio::spawn(async move { run(&client, "hi").await });
    let (mut one, mut other) = (service.called().await, service.called().await);
    assert!(!other.asked.contains("first words"), "branches work at the same time and do not hear each other");
    one.answer("first words").await;
    other.answer("second words").await;
    let mut last = service.called().await;
    assert!(last.asked.contains("first words") && last.asked.contains("second words"), "{}", last.asked);
    last.answer("all of it").await;
    assert_eq!(running.await.unwrap()["response"], "all of it");
}

#[rstest]
#[tokio::test]
async fn a_failed_attempt_leaves_nothing_in_the_conversation(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut broken = talk("broken", Some("fine"));
    (broken["on_error"], broken["model"]) = ("continue".into(), "scripted.broken".into());
    let scripts = json!({"it": {"text": "{messages}"}, "broken": {"text": "half", "error": "unavailable", "error_after_chars": 2}});
    let setup = Setup::new().setting("model", "scripted.it").setting("scripted", scripts);
    let server = setup.orchestrations(only([broken, talk("fine", None)])).start();
    assert_eq!(run(&server.client(dialect), "hi").await["response"], "1");
}
