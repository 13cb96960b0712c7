//! Retrying runs: they go on from the step that failed, and nothing that was done is done again.

use rstest::rstest;
use serde_json::{Value, json};

use super::{begin, entered, get, history, human, llm, of_type, only, plain, print, run, step, text, watched};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{ModelService, Setup, refused};

fn retry(run_id: &str) -> Value {
    json!({"run_id": run_id})
}

#[rstest]
#[tokio::test]
async fn a_run_goes_on_from_the_step_that_failed(#[values(Rest, Grpc)] dialect: Dialect, #[values(true, false)] stream: bool) {
    let service = ModelService::new().await;
    let steps = [print("first", "1", Some("ask")), llm("ask", Some("z")), print("z", "{state.first}{state.ask}", None)];
    let server = Setup::new().model(&service.url()).orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let failing = tokio::spawn({
        let client = client.clone();
        async move { run(&client, "").await }
    });
    service.called().await.respond("400 Bad Request", "", "{}").await;
    let failed = failing.await.unwrap();
    assert_eq!(failed["status"], "failed");
    let run_id = text(&failed, "run_id").to_owned();
    let before = watched(&client, &run_id).await;
    let retrying = tokio::spawn({
        let (client, run_id) = (client.clone(), run_id.clone());
        async move {
            if stream {
                let told = plain(client.open("StreamRetryRun", retry(&run_id)).await.unwrap()).await;
                assert_eq!((text(&told[0], "type"), entered(&told)), ("run_retried", vec!["ask", "z"]));
                of_type(&told, "final").last().unwrap()["data"].clone()
            } else {
                client.call("RetryRun", retry(&run_id)).await.answer()
            }
        }
    });
    service.called().await.answer("2").await;
    let done = retrying.await.unwrap();
    assert_eq!((&done["status"], history(&done)), (&json!("completed"), vec!["first", "ask", "ask", "z"]));
    assert_eq!(done["shared_state"]["z"], "12");
    let whole = watched(&client, &run_id).await;
    assert_eq!(whole[..before.len() - 1], before[..before.len() - 1], "what was told stays");
    assert_eq!(get(&client, &run_id).await["error"], Value::Null);
    let ended = refused(400, &format!("Run '{run_id}' cannot be retried; it is completed, and only failed and cancelled runs can"));
    assert_eq!(client.call("RetryRun", retry(&run_id)).await, ended);
    assert_eq!(client.open("StreamRetryRun", retry(&run_id)).await.err(), Some(ended));
}

#[rstest]
#[tokio::test]
async fn branches_that_were_done_are_not_done_again(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let steps = [
        step("p", "parallel", json!({"parallel_branches": [["quick"], ["left"], ["ask"]], "next_step_id": "z"})),
        print("quick", "q", None),
        llm("left", None),
        human("ask", None),
        print("z", "{state.quick}{state.left}{state.ask.response}", None),
    ];
    let server = Setup::new().model(&service.url()).orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let run_id = begin(&client).await;
    service.called().await.respond("400 Bad Request", "", "{}").await;
    watched(&client, &run_id).await;
    let retrying = tokio::spawn({
        let (client, run_id) = (client.clone(), run_id.clone());
        async move { client.call("RetryRun", retry(&run_id)).await.answer() }
    });
    service.called().await.answer("l").await;
    let paused = retrying.await.unwrap();
    assert_eq!(
        (&paused["status"], text(&paused["human_input_required"], "step_id")),
        (&json!("paused"), "ask"),
        "the question is still open"
    );
    let done = super::answer(&client, &run_id, None, json!("a")).await.answer();
    assert_eq!(done["response"], "qla");
    let told: Vec<Value> = watched(&client, &run_id).await.into_iter().map(|(_, event)| event).collect();
    assert_eq!(entered(&told).iter().filter(|step| **step == "quick").count(), 1);
}

#[rstest]
#[tokio::test]
async fn a_cancelled_run_goes_on(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let mut server = Setup::new().model(&service.url()).orchestrations(only([print("first", "1", Some("ask")), llm("ask", None)])).start();
    let client = server.client(dialect);
    let run_id = begin(&client).await;
    let call = service.called().await;
    client.call("CancelRun", json!({"run_id": run_id})).await.answer();
    call.closed().await;
    server.restart().await;
    let client = server.client(dialect);
    let begun = client.call("RetryRun", json!({"run_id": run_id, "background": true})).await.answer();
    assert_eq!(begun["status"], "running");
    service.called().await.answer("2").await;
    let told: Vec<Value> = watched(&client, &run_id).await.into_iter().map(|(_, event)| event).collect();
    assert_eq!(entered(&told), ["first", "ask", "ask"]);
    assert_eq!(of_type(&told, "final").last().unwrap()["response"], "2");
}

#[rstest]
#[tokio::test]
async fn a_run_that_ran_out_of_turns_goes_on(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [print("a", "a", Some("b")), print("b", "b", Some("c")), print("c", "c", None)];
    let server = Setup::new().orchestrations(super::only_with(json!({"max_total_turns": 2}), steps)).start();
    let client = server.client(dialect);
    let failed = run(&client, "").await;
    assert_eq!(failed["response"], "Orchestration failed. Error: Global turn limit (2) exceeded");
    let done = client.call("RetryRun", retry(text(&failed, "run_id"))).await.answer();
    assert_eq!((&done["status"], history(&done)), (&json!("completed"), vec!["a", "b", "c"]));
}

#[rstest]
#[tokio::test]
async fn a_run_that_ran_out_of_time_goes_on(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let setup = Setup::new().environment("SYNAPSE_ORCH_GLOBAL_TIMEOUT_MINUTES", 0.02);
    let server = setup.model(&service.url()).orchestrations(only([llm("ask", None)])).start();
    let client = server.client(dialect);
    let run_id = begin(&client).await;
    service.called().await.closed().await;
    watched(&client, &run_id).await;
    let retrying = tokio::spawn(async move { client.call("RetryRun", retry(&run_id)).await.answer() });
    service.called().await.answer("in time").await;
    assert_eq!(retrying.await.unwrap()["response"], "in time");
}

#[rstest]
#[tokio::test]
async fn a_question_that_nobody_answered_is_asked_again(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut ask = human("ask", None);
    (ask["human_timeout_seconds"], ask["human_timeout_action"]) = (1.into(), "fail".into());
    let server = Setup::new().orchestrations(only([ask])).start();
    let client = server.client(dialect);
    let run_id = text(&run(&client, "").await, "run_id").to_owned();
    watched(&client, &run_id).await;
    let asked = client.call("RetryRun", retry(&run_id)).await.answer();
    assert_eq!(asked["status"], "paused");
    assert_eq!(super::answer(&client, &run_id, None, json!("here")).await.answer()["status"], "completed");
}
