//! Crashes of the server: what was at work goes on, or does what its step says.

use rstest::rstest;
use serde_json::{Value, json};

use super::{answer, begin, get, human, llm, of_type, only, orchestration, print, step, text, watched};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Client, ModelService, Server, Setup, eventually, refused};

/// Starts a run that prints and asks a model, and kills the server while the model thinks.
async fn crashed(dialect: Dialect, service: &ModelService, on_interrupt: Value) -> (Server, Client, String) {
    let mut ask = llm("ask", Some("z"));
    ask["on_interrupt"] = on_interrupt;
    let steps = [print("first", "one", Some("ask")), ask, print("z", "{state.first} {state.ask}", None)];
    let mut server = Setup::new().model(&service.url()).orchestrations(only(steps)).start();
    let run_id = begin(&server.client(dialect)).await;
    let call = service.called().await;
    server.crash();
    call.closed().await;
    let client = server.client(dialect);
    (server, client, run_id)
}

#[rstest]
#[tokio::test]
async fn what_a_crash_interrupted_is_done_again_and_nothing_else(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let (_server, client, run_id) = crashed(dialect, &service, Value::Null).await;
    service.called().await.answer("two").await;
    let events = watched(&client, &run_id).await;
    let ids: Vec<u64> = events.iter().map(|(id, _)| *id).filter(|id| *id > 0).collect();
    assert_eq!(ids[..ids.len() - 1], (1..ids.len() as u64).collect::<Vec<_>>());
    let events: Vec<Value> = events.into_iter().map(|(_, event)| event).collect();
    let started: Vec<_> =
        of_type(&events, "step_start").iter().map(|event| (text(event, "orch_step_id"), event["attempt"].clone())).collect();
    assert_eq!(started, [("first", json!(1)), ("ask", json!(1)), ("ask", json!(2)), ("z", json!(1))]);
    let last = of_type(&events, "final").last().copied().unwrap();
    assert_eq!((&last["response"], &last["data"]["status"]), (&json!("one two"), &json!("completed")));
}

#[rstest]
#[tokio::test]
async fn an_interrupted_step_may_fail(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let (_server, client, run_id) = crashed(dialect, &service, json!("fail")).await;
    let failed = eventually("the end", async || Some(get(&client, &run_id).await).filter(|run| run["status"] == "failed")).await;
    assert_eq!(failed["error"], "the step was interrupted by a restart of the server");
}

#[rstest]
#[case::again("retry")]
#[case::not_again("fail")]
#[tokio::test]
async fn a_person_may_decide_about_an_interrupted_step(#[values(Rest, Grpc)] dialect: Dialect, #[case] decision: &str) {
    let service = ModelService::new().await;
    let (_server, client, run_id) = crashed(dialect, &service, json!("ask")).await;
    let paused = eventually("the question", async || Some(get(&client, &run_id).await).filter(|run| run["status"] == "paused")).await;
    let question = &paused["pending"][0];
    assert!(text(question, "prompt").starts_with("Step 'ASK' was interrupted by a restart of the server"), "{question}");
    let (status, detail) = answer(&client, &run_id, None, json!({"decision": "perhaps"})).await.refusal();
    assert!(status == 400 && detail.contains("must be one of `retry`, `fail`"), "{detail}");
    let deciding = tokio::spawn({
        let decision = json!({"decision": decision});
        async move { answer(&client, &run_id, Some("ask"), decision).await.answer() }
    });
    if decision == "retry" {
        service.called().await.answer("two").await;
    }
    let done = deciding.await.unwrap();
    let (status, response) = match decision {
        "retry" => ("completed", "one two"),
        _ => ("failed", "Orchestration failed. Error: the step was interrupted, and a person decided not to repeat it"),
    };
    assert_eq!((&done["status"], &done["response"]), (&json!(status), &json!(response)));
}

#[rstest]
#[tokio::test]
async fn a_run_that_waits_waits_on(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut server = Setup::new().orchestrations(only([human("ask", Some("z")), print("z", "{state.ask.response}", None)])).start();
    let run_id = text(&super::run(&server.client(dialect), "").await, "run_id").to_owned();
    server.crash();
    let client = server.client(dialect);
    assert_eq!(get(&client, &run_id).await["status"], "paused");
    assert_eq!(answer(&client, &run_id, None, json!("still here")).await.answer()["response"], "still here");
}

#[rstest]
#[tokio::test]
async fn a_run_that_crashes_the_server_again_and_again_fails(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let (mut server, _, run_id) = crashed(dialect, &service, Value::Null).await;
    for _ in 0..3 {
        let call = service.called().await;
        server.crash();
        call.closed().await;
    }
    let call = service.called().await;
    server.crash();
    drop(call);
    let client = server.client(dialect);
    let failed = eventually("the end", async || Some(get(&client, &run_id).await).filter(|run| run["status"] != "running")).await;
    assert_eq!(failed["status"], "failed");
    assert!(text(&failed, "error").starts_with("crash loop: the server crashed 5 times in a row"), "{failed}");
}

#[rstest]
#[tokio::test]
async fn a_tool_can_tell_that_a_call_is_repeated(#[values(Rest, Grpc)] dialect: Dialect) {
    let tool = ModelService::new().await;
    let mut server = Setup::new()
        .script(json!({"calls": [{"tool": "ring", "arguments": {}}]}))
        .setting("allow_private_addresses", true)
        .file("custom_tools.json", json!([{"name": "ring", "method": "POST", "url": tool.url()}]).to_string())
        .orchestrations(only([step("t", "tool", json!({"forced_tool": "ring", "output_key": "t"}))]))
        .start();
    let run_id = begin(&server.client(dialect)).await;
    let mark = |asked: &str| asked.lines().find(|line| line.to_lowercase().starts_with("idempotency-key: ")).map(str::to_owned);
    let call = tool.called().await;
    let first = mark(&call.asked);
    server.crash();
    let call = tool.called().await;
    assert!(first.is_some());
    assert_eq!(mark(&call.asked), first);
    call.respond("200 OK", "content-type: text/plain\r\n", "ding").await;
    let events = watched(&server.client(dialect), &run_id).await;
    assert_eq!(events[events.len() - 2].1["response"], "ding");
}

#[rstest]
#[tokio::test]
async fn branches_passes_and_nested_orchestrations_go_on_where_they_were(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let orchestrations = json!([
        orchestration(
            "o1",
            [
                step("l", "loop", json!({"loop_count": 2, "loop_step_ids": ["p"], "next_step_id": "z"})),
                step("p", "parallel", json!({"parallel_branches": [["done"], ["sub"]]})),
                print("done", "d", None),
                step("sub", "agent", json!({"agent_id": "inner", "output_key": "sub"})),
                print("z", "{state.sub}", None),
            ]
        ),
        orchestration("o2", [print("inside", "i", Some("ask")), llm("ask", None)]),
    ]);
    let agents = json!([{"id": "inner", "name": "Inner", "type": "orchestrator", "orchestration_id": "o2"}]);
    let mut server = Setup::new().model(&service.url()).agents(agents).orchestrations(orchestrations).start();
    let run_id = begin(&server.client(dialect)).await;
    service.called().await.answer("one").await;
    let call = service.called().await;
    server.crash();
    call.closed().await;
    service.called().await.answer("two").await;
    let events: Vec<Value> = watched(&server.client(dialect), &run_id).await.into_iter().map(|(_, event)| event).collect();
    let count = |id: &str| {
        of_type(&events, "step_start").iter().filter(|event| event["orch_step_id"] == id || event["nested_step_id"] == id).count()
    };
    assert_eq!((count("done"), count("inside"), count("ask")), (2, 2, 3), "only what was interrupted is done again");
    assert_eq!(of_type(&events, "final").last().unwrap()["data"]["status"], "completed");
}

#[rstest]
#[tokio::test]
async fn a_run_outlives_an_orderly_stop(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let setup = Setup::new().model(&service.url()).orchestrations(only([print("first", "1", Some("ask")), llm("ask", None)]));
    let mut server = setup.environment("SYNAPSE_SHUTDOWN_TIMEOUT", 0.3).start();
    let client = server.client(dialect);
    let waiting = tokio::spawn(async move { client.call("Run", super::start("")).await });
    let call = service.called().await;
    server.restart().await;
    call.closed().await;
    assert_eq!(waiting.await.unwrap(), refused(503, "the server is stopping; try again in a moment"));
    service.called().await.answer("2").await;
    let client = server.client(dialect);
    let listed = client.call("ListRuns", json!({})).await.answer();
    let events: Vec<Value> = watched(&client, text(&listed["runs"][0], "run_id")).await.into_iter().map(|(_, event)| event).collect();
    assert_eq!(super::entered(&events), ["first", "ask", "ask"]);
    assert_eq!(of_type(&events, "final").last().unwrap()["response"], "2");
}

#[rstest]
#[tokio::test]
async fn a_pause_between_attempts_outlives_a_crash(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let mut ask = llm("ask", None);
    ask["retry"] = json!({"max_attempts": 2, "backoff_seconds": 1});
    let mut server = Setup::new().model(&service.url()).orchestrations(only([ask])).start();
    let run_id = begin(&server.client(dialect)).await;
    let mut events = server.client(dialect).open("WatchRun", json!({"run_id": run_id})).await.unwrap();
    service.called().await.respond("400 Bad Request", "", "{}").await;
    assert!(events.until("step_error").await["retry_at"].is_string());
    server.crash();
    service.called().await.answer("fine").await;
    let events = watched(&server.client(dialect), &run_id).await;
    let last = &events[events.len() - 2].1;
    assert_eq!((&last["response"], &last["data"]["step_history"][1]["attempt"]), (&json!("fine"), &json!(2)));
}
