//! Cancelling runs.

use rstest::rstest;
use serde_json::{Value, json};

use super::{begin, get, human, llm, of_type, only, orchestration, print, run, step, text, watched};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{ModelService, Setup, refused};

fn cancel(run_id: &str) -> Value {
    json!({"run_id": run_id})
}

#[rstest]
#[tokio::test]
async fn a_model_at_work_is_stopped(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let steps = [
        print("first", "1", Some("p")),
        step("p", "parallel", json!({"parallel_branches": [["left"], ["right"]], "next_step_id": "z"})),
        llm("left", None),
        llm("right", None),
        print("z", "never", None),
    ];
    let server = Setup::new().model(&service.url()).orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { run(&client, "").await }
    });
    let (left, right) = (service.called().await, service.called().await);
    let listed = client.call("ListRuns", json!({"status": "running"})).await.answer();
    let run_id = text(&listed["runs"][0], "run_id").to_owned();
    let cancelled = client.call("CancelRun", cancel(&run_id)).await.answer();
    assert_eq!((&cancelled["status"], &cancelled["shared_state"]["first"]), (&json!("cancelled"), &json!("1")));
    left.closed().await;
    right.closed().await;
    assert_eq!(waiting.await.unwrap(), cancelled, "whoever waits for the run hears the same");
    let told: Vec<Value> = watched(&client, &run_id).await.into_iter().map(|(_, event)| event).collect();
    assert_eq!(of_type(&told, "orchestration_error")[0]["error"], "Cancelled");
    assert_eq!(of_type(&told, "orchestration_complete").len(), 1);
    let stands = get(&client, &run_id).await;
    assert_eq!((&stands["status"], &stands["current_steps"], &stands["error"]), (&json!("cancelled"), &json!([]), &Value::Null));
}

#[rstest]
#[tokio::test]
async fn a_tool_at_work_is_stopped(#[values(Rest, Grpc)] dialect: Dialect) {
    let tool = ModelService::new().await;
    let server = Setup::new()
        .script(json!({"calls": [{"tool": "ring", "arguments": {}}]}))
        .setting("allow_private_addresses", true)
        .file("custom_tools.json", json!([{"name": "ring", "method": "POST", "url": tool.url()}]).to_string())
        .orchestrations(only([step("t", "tool", json!({"forced_tool": "ring"}))]))
        .start();
    let client = server.client(dialect);
    let run_id = begin(&client).await;
    let call = tool.called().await;
    assert_eq!(client.call("CancelRun", cancel(&run_id)).await.answer()["status"], "cancelled");
    call.closed().await;
}

#[rstest]
#[tokio::test]
async fn a_run_that_waits_is_cancelled_and_takes_no_answer(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().orchestrations(only([human("ask", None)])).start();
    let client = server.client(dialect);
    let run_id = text(&run(&client, "").await, "run_id").to_owned();
    let mut watcher = client.open("WatchRun", json!({"run_id": run_id})).await.unwrap();
    watcher.until("human_input_required").await;
    assert_eq!(client.call("CancelRun", cancel(&run_id)).await.answer()["status"], "cancelled");
    assert_eq!(watcher.until("orchestration_complete").await["status"], "cancelled");
    let late = super::answer(&client, &run_id, None, json!("x")).await;
    assert_eq!(late, refused(400, &format!("Run '{run_id}' is not waiting for an answer; it is cancelled")));
    let again = refused(400, &format!("Run '{run_id}' cannot be cancelled; it is cancelled already"));
    assert_eq!(client.call("CancelRun", cancel(&run_id)).await, again);
    assert_eq!(get(&client, &run_id).await["pending"], json!([]));
}

#[rstest]
#[tokio::test]
async fn of_an_end_and_a_cancel_one_wins(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let server = Setup::new().model(&service.url()).orchestrations(only([llm("ask", None)])).start();
    let client = server.client(dialect);
    for _ in 0..10 {
        let run_id = begin(&client).await;
        let mut call = service.called().await;
        call.begin().await;
        let cancelling = tokio::spawn({
            let (client, run_id) = (client.clone(), run_id.clone());
            async move { client.call("CancelRun", cancel(&run_id)).await }
        });
        // Whether the server still listens is what this is about.
        call.try_end().await;
        let cancelled = cancelling.await.unwrap();
        let told: Vec<Value> = watched(&client, &run_id).await.into_iter().map(|(_, event)| event).collect();
        let [end] = of_type(&told, "orchestration_complete")[..] else { panic!("one end: {told:?}") };
        match cancelled {
            crate::support::Outcome::Answered(answer) => {
                assert_eq!((&answer["status"], &end["status"]), (&json!("cancelled"), &json!("cancelled")));
            }
            crate::support::Outcome::Refused { status, .. } => assert_eq!((status, &end["status"]), (400, &json!("completed"))),
        }
    }
}

#[rstest]
#[tokio::test]
async fn what_is_nested_is_stopped_too(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let orchestrations = json!([
        orchestration("o1", [step("sub", "agent", json!({"agent_id": "inner"}))]),
        orchestration(
            "o2",
            [step("p", "parallel", json!({"parallel_branches": [["ask"], ["slow"]]})), human("ask", None), llm("slow", None)]
        ),
    ]);
    let agents = json!([{"id": "inner", "name": "Inner", "type": "orchestrator", "orchestration_id": "o2"}]);
    let server = Setup::new().model(&service.url()).agents(agents).orchestrations(orchestrations).start();
    let client = server.client(dialect);
    let run_id = begin(&client).await;
    let call = service.called().await;
    assert_eq!(client.call("CancelRun", cancel(&run_id)).await.answer()["status"], "cancelled");
    call.closed().await;
    let late = super::answer(&client, &run_id, Some("ask"), json!("x")).await;
    assert_eq!(late, refused(400, &format!("Run '{run_id}' is not waiting for an answer; it is cancelled")));
}
