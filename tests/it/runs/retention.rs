//! Retention: runs that ended go when they are too old or too many; runs that wait for people stay.

use rstest::rstest;
use serde_json::{Value, json};

use super::{answer, human, orchestration, print, text};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Client, Setup, eventually};

async fn run(client: &Client, id: &str) -> String {
    let answer = client.call("Run", json!({"orchestration_id": id})).await.answer();
    text(&answer, "run_id").to_owned()
}

async fn listed(client: &Client) -> Vec<String> {
    let runs = client.call("ListRuns", json!({})).await.answer()["runs"].clone();
    runs.as_array().unwrap().iter().map(|run| text(run, "run_id").to_owned()).collect()
}

#[rstest]
#[case::too_many("run_retention_count", 2)]
#[case::too_old("run_retention_days", 0)]
#[tokio::test]
async fn runs_that_ended_go_and_those_that_wait_stay(#[values(Rest, Grpc)] dialect: Dialect, #[case] setting: &str, #[case] kept: usize) {
    let orchestrations = json!([orchestration("p", [print("p", "p", None)]), orchestration("h", [human("ask", None)])]);
    let mut server = Setup::new().setting(setting, kept).orchestrations(orchestrations).start();
    let client = server.client(dialect).keyed("once");
    let first = run(&client, "p").await;
    let client = server.client(dialect);
    let waiting = run(&client, "h").await;
    let mut ended = Vec::new();
    for _ in 0..4 {
        ended.push(run(&client, "p").await);
    }
    assert_eq!(listed(&client).await.len(), 6);
    server.restart().await;
    let client = server.client(dialect);
    let expected: Vec<String> = ended.into_iter().rev().take(kept).chain([waiting.clone()]).collect();
    eventually("what is kept", async || (listed(&client).await == expected).then_some(())).await;
    let (status, detail) = client.call("GetRun", json!({"run_id": first})).await.refusal();
    assert_eq!((status, detail), (404, format!("Run '{first}' not found")));
    let again = run(&client.keyed("once"), "p").await;
    assert_ne!(again, first, "the key went with its run");
    let answered: Value = answer(&client, &waiting, None, json!("x")).await.answer();
    assert_eq!(answered["status"], "completed");
}
