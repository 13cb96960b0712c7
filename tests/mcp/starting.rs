//! Which servers are started, when, and that a dead one is in nobody's way.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use synapse::store::DefinitionFiles;
use synapse::tool::Tool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::setup::{House, call, eventually, program, read, runs, told};

/// The record of a server that leaves a file behind when it is started.
fn marking(name: &str, house: &str) -> Value {
    let script = format!("touch {house}/{name}; exec python3 {}/tests/mcp/server.py", env!("CARGO_MANIFEST_DIR"));
    json!({"name": name, "command": "sh", "args": ["-c", script]})
}

#[tokio::test]
async fn only_servers_of_which_a_tool_is_wanted_are_started() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    let house = House::new(&json!([marking("one", place), marking("two", place)]));
    let started = || fs::read_dir(place).unwrap().count();
    assert_eq!((house.names(&["get_datetime"]).await.len(), started()), (0, 0));
    assert_eq!(house.names(&["one__echo"]).await, ["one__echo"]);
    assert_eq!(started(), 1);
    assert!(house.names(&["all"]).await.len() > 30);
    assert_eq!(started(), 2);
}

#[tokio::test]
async fn a_dead_server_blocks_nobody() {
    let records = json!([
        program("deaf", &["--deaf"]),
        program("gone", &["--refuse-to-start"]),
        {"name": "missing", "command": "no-such-program"},
        {"name": "closed", "url": "http://127.0.0.1:1/mcp"},
        program("own", &[]),
    ]);
    let house = House::with(&records, |limits| limits.mcp_list_time = Duration::from_secs(2));
    let begun = Instant::now();
    let names = house.names(&["all"]).await;
    assert!(names.iter().all(|name| name.starts_with("own__")) && !names.is_empty(), "{names:?}");
    assert!(begun.elapsed() < Duration::from_secs(8), "they were waited for one after the other: {:?}", begun.elapsed());
    let again = Instant::now();
    assert_eq!(house.names(&["all"]).await, names);
    assert!(again.elapsed() < Duration::from_millis(500), "a dead server was waited for again: {:?}", again.elapsed());
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_in_the_background() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("server.py");
    let house = House::new(&json!([{"name": "late", "command": "python3", "args": [script]}]));
    assert_eq!(house.names(&["all"]).await, [""; 0]);
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/server.py"), &script).unwrap();
    eventually("the server", async || (!house.names(&["all"]).await.is_empty()).then_some(())).await;
}

#[tokio::test]
async fn a_chat_that_leaves_does_not_stop_a_start() {
    let house = House::new(&json!([program("own", &[])]));
    drop(tokio::time::timeout(Duration::from_millis(1), house.tools(&["all"])).await);
    assert!(!house.names(&["all"]).await.is_empty());
}

#[tokio::test]
async fn a_call_says_why_its_server_cannot_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("server.py");
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/server.py"), &script).unwrap();
    let house = House::new(&json!([{"name": "own", "command": "python3", "args": [script]}]));
    let crash = house.tool("own__crash").await;
    fs::remove_file(&script).unwrap();
    told(crash.call(call(json!({}))).await).unwrap_err();
    let expected = Err("tool server `own` cannot be used: it ended (exit status: 2)".to_owned());
    assert_eq!(told(crash.call(call(json!({}))).await), expected);
}

#[tokio::test]
async fn programs_run_only_if_the_operator_lets_them() {
    let mut house = House::new(&json!([program("own", &[])]));
    house.settings.set("allow_stdio_mcp", Value::Null);
    assert_eq!(house.names(&["all"]).await, [""; 0]);
    house.settings.set("allow_stdio_mcp", json!(true));
    house.settings.set("mcp_command_allowlist", json!(["npx"]));
    assert_eq!(house.names(&["all"]).await, [""; 0]);
    house.settings.set("mcp_command_allowlist", json!(["npx", "python3"]));
    assert!(!house.names(&["all"]).await.is_empty());
}

#[tokio::test]
async fn a_tool_of_a_server_that_was_removed_says_so() {
    let mut house = House::new(&json!([program("own", &[])]));
    let (echo, never) = (house.tool("own__echo").await, house.tool("own__never").await);
    let (waiting, ()) = tokio::join!(never.call(call(json!({}))), async {
        house.records = read(&json!([program("own", &["--banner"])]));
        house.tools(&[]).await;
    });
    assert!(told(waiting).unwrap_err().contains("it was removed or changed"));
    assert_eq!(told(echo.call(call(json!({}))).await), Err("tool server `own` was removed or changed".to_owned()));
    assert!(!house.names(&["all"]).await.is_empty());
}

#[tokio::test]
async fn a_record_that_changes_in_its_file_ends_the_server() {
    let house = House::new(&json!([program("own", &[])]));
    let (file, settings) = (house.directory.path().join("mcp_servers.json"), house.directory.path().join("settings.json"));
    fs::write(&file, json!([program("own", &[])]).to_string()).unwrap();
    fs::write(settings, r#"{"allow_stdio_mcp": true}"#).unwrap();
    let definitions = Arc::new(DefinitionFiles::open(house.directory.path(), &std::collections::BTreeMap::default()).unwrap());
    let process = house.call("own__pid", json!({})).await.unwrap();
    let (servers, stop) = (Arc::new(house.servers), CancellationToken::new());
    let watching = [tokio::spawn(servers.watch(definitions.clone(), stop.clone())), tokio::spawn(definitions.watch(stop.clone()))];
    fs::write(&file, "[]").unwrap();
    eventually("the end of the process", async || (!runs(&process)).then_some(())).await;
    stop.cancel();
    for watch in watching {
        watch.await.unwrap();
    }
}

#[tokio::test]
async fn servers_with_names_alike_keep_their_tools_apart() {
    let house = House::new(&json!([program("a b", &[]), program("a.b", &["--pages", "1"])]));
    let names = house.names(&["all"]).await;
    assert!(names.contains(&"a_b__echo".to_owned()));
    let other = names.iter().find(|name| name.ends_with("__page_0")).unwrap();
    assert!(other.starts_with("a_b_") && other != "a_b__page_0", "{other}");
    let tools: Vec<Arc<dyn Tool>> = house.tools(&["a.b__page_0"]).await;
    assert_eq!(tools.len(), 1);
}
