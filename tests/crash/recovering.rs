//! The next start: a run that takes the server with it again and again, and one that a stop merely interrupts.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Client, ModelService, Setup, eventually};

/// A server with an orchestration that rings a bell, and one that asks a person.
fn setup(bell: &ModelService) -> Setup {
    let ring = json!({"id": "ring", "name": "Ring", "type": "tool", "forced_tool": "ring", "output_key": "ring"});
    let ask = json!({"id": "ask", "name": "Ask", "type": "human", "human_prompt": "?"});
    Setup::new()
        .script(json!({"calls": [{"tool": "ring", "arguments": {}}]}))
        .setting("allow_private_addresses", true)
        .file("custom_tools.json", json!([{"name": "ring", "method": "POST", "url": bell.url()}]).to_string())
        .orchestrations(json!([
            {"id": "ringing", "name": "Ringing", "entry_step_id": "ring", "steps": [ring]},
            {"id": "asking", "name": "Asking", "entry_step_id": "ask", "steps": [ask]},
        ]))
        .environment("SYNAPSE_SHUTDOWN_TIMEOUT", 0.2)
}

async fn begin(client: &Client, id: &str) -> String {
    let answer = client.call("Run", json!({"orchestration_id": id, "background": true})).await.answer();
    answer["run_id"].as_str().unwrap().to_owned()
}

async fn get(client: &Client, run_id: &str) -> Value {
    client.call("GetRun", json!({"run_id": run_id})).await.answer()
}

async fn stands(client: &Client, run_id: &str, status: &str) -> Value {
    eventually(status, async || Some(get(client, run_id).await).filter(|run| run["status"] == status)).await
}

#[rstest]
#[tokio::test]
async fn a_run_that_takes_the_server_with_it_five_times_fails_alone(#[values(Rest, Grpc)] dialect: Dialect) {
    let bell = ModelService::new().await;
    let mut server = setup(&bell).start();
    let client = server.client(dialect);
    let waiting = begin(&client, "asking").await;
    stands(&client, &waiting, "paused").await;
    let run_id = begin(&client, "ringing").await;
    for _ in 0..5 {
        let call = bell.called().await;
        server.crash();
        call.closed().await;
    }
    let client = server.client(dialect);
    let failed = stands(&client, &run_id, "failed").await;
    assert!(failed["error"].as_str().unwrap().starts_with("crash loop: the server crashed 5 times in a row"), "{failed}");
    server.crash();
    let client = server.client(dialect);
    assert_eq!(get(&client, &run_id).await, failed, "the sixth start is calm");
    let answered = client.call("Resume", json!({"run_id": waiting, "response": "still here"})).await.answer();
    assert_eq!(answered["status"], "completed", "whoever only waits has nothing to do with it");
    // What is mended may be tried again, and begins to count anew.
    client.call("RetryRun", json!({"run_id": run_id, "background": true})).await.answer();
    let call = bell.called().await;
    server.crash();
    call.closed().await;
    bell.called().await.respond("200 OK", "content-type: text/plain\r\n", "ding").await;
    stands(&server.client(dialect), &run_id, "completed").await;
}

#[rstest]
#[tokio::test]
async fn a_stop_is_no_crash_and_the_next_start_goes_on(#[values(Rest, Grpc)] dialect: Dialect) {
    let bell = ModelService::new().await;
    let mut server = setup(&bell).start();
    let run_id = begin(&server.client(dialect), "ringing").await;
    for _ in 0..6 {
        let call = bell.called().await;
        server.restart().await;
        call.closed().await;
    }
    bell.called().await.respond("200 OK", "content-type: text/plain\r\n", "ding").await;
    let client = server.client(dialect);
    let told = client.open("WatchRun", json!({"run_id": run_id})).await.unwrap().numbered().await;
    let last = &told[told.len() - 2].1;
    assert_eq!((&last["response"], &last["data"]["status"]), (&json!("ding"), &json!("completed")));
}
