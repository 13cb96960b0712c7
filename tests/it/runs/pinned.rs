//! Definitions are pinned: a run goes on as it began, whatever becomes of its orchestration.

use rstest::rstest;
use serde_json::{Value, json};

use super::{answer, human, only, orchestration, print, run, step, text};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Setup, eventually};

fn asks_then_prints(printed: &str) -> Value {
    only([human("ask", Some("p")), print("p", printed, None)])
}

#[rstest]
#[case::edited(asks_then_prints("after"))]
#[case::deleted(json!([]))]
#[tokio::test]
async fn a_change_during_a_pause_does_not_matter(
    #[values(Rest, Grpc)] dialect: Dialect,
    #[case] change: Value,
    #[values(true, false)] restart: bool,
) {
    let mut server = Setup::new().orchestrations(asks_then_prints("before")).start();
    let run_id = text(&run(&server.client(dialect), "").await, "run_id").to_owned();
    let mut first = change;
    first.as_array_mut().unwrap().push(orchestration("marker", [print("m", "m", None)]));
    server.write("orchestrations.json", first.to_string());
    if restart {
        server.restart().await;
    } else {
        let client = server.client(dialect);
        let seen = async || client.call("ListOrchestrations", json!({})).await.answer().to_string().contains("marker").then_some(());
        eventually("the new definitions", seen).await;
    }
    assert_eq!(answer(&server.client(dialect), &run_id, None, json!("x")).await.answer()["response"], "before");
}

#[rstest]
#[tokio::test]
async fn nested_orchestrations_and_agents_are_pinned_too(#[values(Rest, Grpc)] dialect: Dialect) {
    let by =
        |id: &str, agent: &str, next: Option<&str>| step(id, "agent", json!({"agent_id": agent, "output_key": id, "next_step_id": next}));
    let orchestrations = json!([
        orchestration("o1", [human("ask", Some("sub")), by("sub", "runner", Some("talk")), by("talk", "talker", None)]),
        orchestration("o2", [print("p", "inner", None)])
    ]);
    let agents = json!([{"id": "runner", "name": "R", "type": "orchestrator", "orchestration_id": "o2"}, {"id": "talker", "name": "T", "tools": [], "system_prompt": "old rules"}]);
    let mut server = Setup::new().script(json!({"text": "{system}"})).agents(agents).orchestrations(orchestrations).start();
    let run_id = text(&run(&server.client(dialect), "").await, "run_id").to_owned();
    server.write("orchestrations.json", "[]");
    server.write("user_agents.json", json!([{"id": "other", "name": "O"}]).to_string());
    server.restart().await;
    let done = answer(&server.client(dialect), &run_id, None, json!("x")).await.answer();
    assert_eq!((&done["status"], &done["shared_state"]["sub"]), (&json!("completed"), &json!("inner")), "{done}");
    assert!(text(&done, "response").starts_with("old rules"), "{done}");
}
