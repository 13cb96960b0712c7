//! Orchestrations inside orchestrations.

use rstest::rstest;
use serde_json::{Value, json};

use super::{answer, get, human, of_type, orchestration, print, run, step, text, watched};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{ModelService, Setup};

/// An agent that runs an orchestration.
fn runs(id: &str, orchestration_id: &str) -> Value {
    json!({"id": id, "name": id.to_uppercase(), "type": "orchestrator", "orchestration_id": orchestration_id})
}

/// A step of an agent.
fn by(id: &str, agent: &str, next: Option<&str>) -> Value {
    step(id, "agent", json!({"agent_id": agent, "output_key": id, "next_step_id": next}))
}

#[rstest]
#[tokio::test]
async fn people_are_asked_at_every_depth(#[values(Rest, Grpc)] dialect: Dialect) {
    let orchestrations = json!([
        orchestration("o1", [by("outer", "middle", Some("z")), print("z", "got {state.outer}", None)]),
        orchestration(
            "o2",
            [
                human("before", Some("deep")),
                by("deep", "inner", Some("after")),
                human("after", Some("m")),
                print("m", "{state.deep}+{state.after.response}", None)
            ]
        ),
        orchestration(
            "o3",
            [human("first", Some("second")), human("second", Some("i")), print("i", "{state.first.response}{state.second.response}", None)]
        ),
    ]);
    let mut server = Setup::new().agents(json!([runs("middle", "o2"), runs("inner", "o3")])).orchestrations(orchestrations).start();
    let client = server.client(dialect);
    let mut paused = run(&client, "hi").await;
    let run_id = text(&paused, "run_id").to_owned();
    for (step, response) in [("before", "1"), ("first", "2"), ("second", "3")] {
        assert_eq!(
            (&paused["status"], text(&paused["human_input_required"], "step_id")),
            (&json!("paused"), "outer"),
            "existing clients know the outer step"
        );
        assert_eq!(paused["human_input_required"]["prompt"], format!("{step}?"));
        let current = get(&client, &run_id).await["current_steps"][0].clone();
        let nested = if step == "before" { format!("{run_id}__outer_d1") } else { format!("{run_id}__outer_d1__deep_d2") };
        assert_eq!((&current["step_id"], &current["nested_run_id"]), (&json!(step), &json!(nested)));
        paused = answer(&client, &run_id, Some(step), json!(response)).await.answer();
    }
    server.restart().await;
    let client = server.client(dialect);
    let done = answer(&client, &run_id, None, json!("4")).await.answer();
    assert_eq!((&done["status"], &done["response"]), (&json!("completed"), &json!("got 23+4")), "{done}");
    assert_eq!(super::history(&done), ["outer", "z"]);
    let events: Vec<Value> = watched(&client, &run_id).await.into_iter().map(|(_, event)| event).collect();
    let asked = of_type(&events, "human_input_required");
    let places: Vec<_> =
        asked.iter().map(|event| (text(event, "orch_step_id"), text(event, "nested_step_id"), event["nested_depth"].clone())).collect();
    assert_eq!(
        places,
        [("outer", "before", json!(1)), ("outer", "first", json!(1)), ("outer", "second", json!(1)), ("outer", "after", json!(1))]
    );
    assert!(asked.iter().all(|event| event["run_id"] == run_id && event["nested_run_id"] == format!("{run_id}__outer_d1")), "{asked:?}");
    let finals: Vec<&Value> = of_type(&events, "final").into_iter().filter(|event| event["data"].is_object()).collect();
    assert_eq!(finals.len(), 3, "one for each orchestration");
    assert_eq!(finals[2]["data"]["run_id"], run_id);
    assert_eq!((of_type(&events, "orchestration_start").len(), of_type(&events, "orchestration_complete").len()), (1, 1));
}

#[rstest]
#[tokio::test]
async fn orchestrations_do_not_nest_for_ever(#[values(Rest, Grpc)] dialect: Dialect) {
    let orchestrations = json!([orchestration("o1", [by("again", "again", None)])]);
    let server = Setup::new().agents(json!([runs("again", "o1")])).orchestrations(orchestrations).start();
    let answer = run(&server.client(dialect), "").await;
    assert_eq!(answer["status"], "failed");
    assert_eq!(answer["response"], "Orchestration failed. Error: orchestrations are nested deeper than 3");
}

#[rstest]
#[tokio::test]
async fn a_nested_failure_is_a_failure(#[values(Rest, Grpc)] dialect: Dialect) {
    let orchestrations = json!([
        orchestration("o1", [by("outer", "inner", Some("z")), print("z", "never", None)]),
        orchestration("o2", [step("t", "transform", json!({"transform_code": "result = 1 / 0", "on_error": "fail"}))]),
    ]);
    let server = Setup::new().agents(json!([runs("inner", "o2")])).orchestrations(orchestrations).start();
    let answer = run(&server.client(dialect), "").await;
    let error = "Transform error: ZeroDivisionError: division by zero (line 1)";
    assert_eq!((&answer["status"], &answer["response"]), (&json!("failed"), &json!(format!("Orchestration failed. Error: {error}"))));
    assert_eq!(super::history(&answer), ["outer"]);
}

#[rstest]
#[tokio::test]
async fn a_nested_orchestration_is_tried_again_as_a_whole(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let mut outer = by("outer", "inner", None);
    outer["retry"] = json!({"max_attempts": 2, "backoff_seconds": 0, "on": ["orchestration"]});
    let orchestrations =
        json!([orchestration("o1", [outer]), orchestration("o2", [print("first", "f", Some("ask")), super::llm("ask", None)])]);
    let server = Setup::new().model(&service.url()).agents(json!([runs("inner", "o2")])).orchestrations(orchestrations).start();
    let client = server.client(dialect);
    let running = tokio::spawn(async move { super::events(&client, "").await });
    service.called().await.respond("400 Bad Request", "", "{}").await;
    service.called().await.answer("fine").await;
    let events = running.await.unwrap();
    let last = of_type(&events, "final").last().copied().unwrap().clone();
    assert_eq!((&last["response"], &last["data"]["status"]), (&json!("fine"), &json!("completed")), "{last}");
    let inner: Vec<&str> = of_type(&events, "step_start").iter().filter_map(|event| event["nested_step_id"].as_str()).collect();
    assert_eq!(inner, ["first", "ask", "first", "ask"]);
    let attempts: Vec<_> =
        last["data"]["step_history"].as_array().unwrap().iter().map(|step| (step["attempt"].clone(), step["status"].clone())).collect();
    assert_eq!(attempts, [(json!(1), json!("failed")), (json!(2), json!("completed"))]);
}
