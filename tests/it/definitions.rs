//! Definitions: edits are seen while the server runs, and broken files do no harm.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Client, Server, Setup, eventually};

async fn names(client: &Client) -> Vec<String> {
    let agents = client.call("ListAgents", json!({})).await.answer();
    agents.as_array().unwrap().iter().map(|agent| agent["name"].as_str().unwrap().to_owned()).collect()
}

async fn ready(server: &Server) -> Value {
    server.client(Rest).http.get(server.url("/readyz")).send().await.unwrap().json().await.unwrap()
}

#[rstest]
#[tokio::test]
async fn an_edit_is_seen_within_two_seconds(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().script(json!({"text": "old"})).start();
    let client = server.client(dialect);
    assert_eq!(client.say(json!({"message": "hi"})).await, "old");
    let edited = Instant::now();
    server.write("user_agents.json", r#"[{"id": "b", "name": "Bee"}]"#);
    server.write("settings.json", r#"{"model": "scripted.it", "scripted": {"it": {"text": "new"}}}"#);
    server.write("orchestrations.json", r#"[{"id": "o", "name": "O", "steps": []}]"#);
    eventually("the edit", async || (names(&client).await == ["Bee"] && client.say(json!({"message": "hi"})).await == "new").then_some(()))
        .await;
    assert!(edited.elapsed() < Duration::from_secs(2), "{:?}", edited.elapsed());
    assert_eq!(client.call("ListOrchestrations", json!({})).await.answer()[0]["id"], "o");
}

#[rstest]
#[tokio::test]
async fn a_broken_edit_keeps_the_last_good_version(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    let client = server.client(dialect);
    let is_ready = async || (ready(&server).await == json!({"status": "ready", "problems": []})).then_some(());
    eventually("readiness", is_ready).await;
    server.write("user_agents.json", "[{\"id\": ");
    let told = eventually("the problem", async || ready(&server).await["problems"][0].as_str().map(str::to_owned)).await;
    assert!(told.starts_with("`user_agents.json`: "), "{told}");
    assert_eq!(names(&client).await, ["Alpha"]);
    server.logged("its last good version stays in use").await;
    server.write("user_agents.json", r#"[{"id": "a1", "name": "Mended"}]"#);
    eventually("the repair", async || (names(&client).await == ["Mended"]).then_some(())).await;
    assert_eq!(ready(&server).await["problems"], json!([]));
}

#[test]
fn a_file_that_is_broken_at_the_start_stops_it() {
    let failed = Setup::new().file("user_agents.json", "{]").try_start().err().unwrap();
    assert!(!failed.status.success() && failed.errors.contains("`user_agents.json`"), "{}", failed.errors);
}

#[test]
fn check_names_every_problem_by_file_id_and_field() {
    let setup = Setup::new()
        .agents(json!([{"id": "a1", "name": 7, "tools": ["get_datetime", "sing"]}, {"id": "a2", "name": "Two", "type": "orchestrator", "orchestration_id": "gone"}]))
        .orchestrations(json!([{"id": "o1", "name": "One", "steps": [{"id": "s1", "name": "S", "type": "odd"}]}]))
        .file("settings.json", r#"{"strict_agents": "yes"}"#);
    let output = setup.run(&["check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    for named in [
        "`user_agents.json`, `a1`, `name`: ",
        "`user_agents.json`, `a1`, `tools`: tool `sing` does not exist",
        "`orchestrations.json`, `o1`",
        "`settings.json`, `strict_agents`: ",
        "`gone`",
    ] {
        assert!(text.contains(named), "{named}: {text}");
    }
    assert!(!text.contains("`get_datetime`"), "{text}");
}

#[test]
fn check_finds_nothing_wrong_with_good_files() {
    let setup = Setup::new().file("settings.json", "{}");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(setup.data_dir().join("api_keys.json"), private).unwrap();
    let output = setup.run(&["check"]);
    assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap().contains("has no problem")), (Some(0), true));
}

#[rstest]
#[tokio::test]
async fn the_environment_stands_above_the_settings(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().setting("model", "gpt-4o").environment("SYNAPSE_SETTING_MODEL", "scripted.echo").start();
    assert_eq!(server.client(dialect).say(json!({"message": "hi"})).await, "hi");
}
