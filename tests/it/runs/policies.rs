//! Policies of steps and limits of runs: other attempts, time, turns and money.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};

use super::{events, history, llm, of_type, only, only_with, print, run, step, with};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{ModelService, Setup};

fn failing(fields: Value) -> Value {
    with(step("t", "transform", json!({"transform_code": "result = 1 / 0", "on_error": "fail", "next_step_id": "z"})), fields)
}

#[rstest]
#[tokio::test]
async fn a_step_is_tried_again(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let steps =
        [with(llm("ask", None), json!({"retry": {"max_attempts": 3, "backoff_seconds": 1, "max_backoff_seconds": 1, "on": ["model"]}}))];
    let server = Setup::new().model(&service.url()).orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let running = tokio::spawn(async move { events(&client, "").await });
    service.called().await.respond("400 Bad Request", "", "{}").await;
    let failed = Instant::now();
    service.called().await.respond("400 Bad Request", "", "{}").await;
    assert!(failed.elapsed() > Duration::from_millis(900), "it waits in between: {:?}", failed.elapsed());
    service.called().await.answer("fine").await;
    let events = running.await.unwrap();
    let attempts: Vec<&Value> = of_type(&events, "step_start").iter().map(|event| &event["attempt"]).collect();
    assert_eq!(attempts, [&json!(1), &json!(2), &json!(3)]);
    assert!(of_type(&events, "step_error").iter().all(|event| event["retry_at"].is_string()));
    let last = of_type(&events, "final").last().copied().unwrap();
    assert_eq!((&last["response"], &last["data"]["step_history"][2]["attempt"]), (&json!("fine"), &json!(3)));
}

#[rstest]
#[case::every_failure(json!({"retry": {"max_attempts": 3, "backoff_seconds": 0}}), 3)]
#[case::this_failure(json!({"retry": {"max_attempts": 2, "backoff_seconds": 0, "on": ["transform"]}}), 2)]
#[case::another_failure(json!({"retry": {"max_attempts": 3, "backoff_seconds": 0, "on": ["timeout", "model"]}}), 1)]
#[case::none(json!({}), 1)]
#[tokio::test]
async fn attempts_are_as_many_as_the_step_says(#[values(Rest, Grpc)] dialect: Dialect, #[case] fields: Value, #[case] attempts: usize) {
    let server = Setup::new().orchestrations(only([failing(fields), print("z", "z", None)])).start();
    let answer = run(&server.client(dialect), "").await;
    assert_eq!((&answer["status"], history(&answer)), (&json!("failed"), vec!["t"; attempts]), "{answer}");
}

#[rstest]
#[tokio::test]
async fn a_run_may_go_on_after_a_failure(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [with(llm("ask", Some("z")), json!({"on_error": "continue"})), print("z", "on with {state.ask}", None)];
    let server = Setup::new().script(json!({"error": "rejected"})).orchestrations(only(steps)).start();
    let events = events(&server.client(dialect), "").await;
    assert_eq!(of_type(&events, "step_error").len(), 1);
    let last = of_type(&events, "final").last().copied().unwrap();
    assert_eq!((&last["data"]["status"], &last["response"]), (&json!("completed"), &json!("on with {state.ask}")));
}

#[rstest]
#[case::of_a_step(with(llm("s", None), json!({"timeout_seconds": 1})))]
#[case::of_branches(step("s", "parallel", json!({"parallel_branches": [["slow"]], "timeout_seconds": 1})))]
#[case::of_a_loop(step("s", "loop", json!({"loop_step_ids": ["slow"], "timeout_seconds": 1})))]
#[tokio::test]
async fn the_time_of_a_step_is_limited(#[values(Rest, Grpc)] dialect: Dialect, #[case] first: Value) {
    let service = ModelService::new().await;
    let server = Setup::new().model(&service.url()).orchestrations(only([first, llm("slow", None)])).start();
    let client = server.client(dialect);
    let running = tokio::spawn(async move { run(&client, "").await });
    service.called().await.closed().await;
    let answer = running.await.unwrap();
    assert_eq!(
        (&answer["status"], &answer["response"]),
        (&json!("failed"), &json!("Orchestration failed. Error: Step 'S' timed out after 1s"))
    );
}

#[rstest]
#[tokio::test]
async fn the_time_of_a_run_is_limited_without_the_waits_for_people(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let steps = [super::human("ask", Some("slow")), llm("slow", None)];
    let setup = Setup::new().environment("SYNAPSE_ORCH_GLOBAL_TIMEOUT_MINUTES", 0.02);
    let server = setup.model(&service.url()).orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let run_id = super::text(&run(&client, "").await, "run_id").to_owned();
    tokio::time::sleep(Duration::from_millis(1500)).await; // longer than the run may work
    let running = tokio::spawn(async move { super::answer(&client, &run_id, None, json!("go")).await.answer() });
    service.called().await.closed().await;
    let answer = running.await.unwrap();
    assert_eq!(answer["status"], "failed");
    assert!(answer["response"].as_str().unwrap().contains("Global timeout ("), "{answer}");
}

#[rstest]
#[tokio::test]
async fn the_turns_of_a_run_are_limited(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [
        with(print("a", "a", Some("b")), json!({"max_iterations": 100})),
        with(print("b", "b", Some("a")), json!({"max_iterations": 100})),
    ];
    let server = Setup::new().orchestrations(only_with(json!({"max_total_turns": 5}), steps)).start();
    let answer = run(&server.client(dialect), "").await;
    assert_eq!(
        (&answer["status"], &answer["response"]),
        (&json!("failed"), &json!("Orchestration failed. Error: Global turn limit (5) exceeded"))
    );
    assert_eq!(history(&answer), ["a", "b", "a", "b", "a"]);
}

#[rstest]
#[tokio::test]
async fn a_budget_stops_the_run(#[values(Rest, Grpc)] dialect: Dialect) {
    let usage = json!({"input_tokens": 1_000_000, "output_tokens": 0});
    let prices = json!({"scripted.it": {"input_per_1m": 2.0, "output_per_1m": 0.0}});
    let steps = [
        with(llm("a", Some("b")), json!({"on_error": "continue"})),
        with(llm("b", Some("c")), json!({"on_error": "continue"})),
        llm("c", None),
    ];
    let server = Setup::new()
        .script(json!({"text": "dear", "usage": usage}))
        .file("model_pricing.json", prices.to_string())
        .orchestrations(only_with(json!({"max_total_cost_usd": 3}), steps))
        .start();
    let client = server.client(dialect);
    let answer = run(&client, "").await;
    assert_eq!(answer["status"], "failed");
    assert_eq!(answer["response"], "Orchestration failed. Error: Cost limit ($3) exceeded");
    let stands = super::get(&client, super::text(&answer, "run_id")).await;
    assert_eq!(
        (&stands["total_cost_usd"], &stands["usage"]["input_tokens"]),
        (&json!(4.0), &json!(2_000_000)),
        "the third model was not asked"
    );
    assert_eq!(stands["error"], "Cost limit ($3) exceeded");
}
