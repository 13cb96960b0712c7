//! `synapse tools import`: documents become tools that can be called.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use synapse::definition::{CustomKind, Settings, custom_tools};
use synapse::tool::{Call, Network, Tool};
use tokio::time::Instant;

use crate::support::Setup;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Returns the tools of a data directory.
fn tools(setup: &Setup) -> Vec<Value> {
    serde_json::from_str(&std::fs::read_to_string(setup.data_dir().join("custom_tools.json")).unwrap()).unwrap()
}

/// Writes a document beside the data directory and returns its path.
fn document(setup: &Setup, document: &Value) -> String {
    let path = setup.beside("document.json");
    std::fs::write(&path, document.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn small() -> Value {
    json!({"openapi": "3.0.0", "servers": [{"url": "https://h"}], "paths": {"/a": {"get": {"operationId": "a"}}, "/b": {"get": {"operationId": "b"}}}})
}

/// Calls an imported tool as the server does.
async fn call(records: &str, name: &str, arguments: Value) -> Result<String, String> {
    let (tools, problems) = custom_tools(records).unwrap();
    assert_eq!(problems, []);
    let tool = tools.iter().find(|tool| tool.name == name).unwrap();
    let CustomKind::Http(http) = &tool.kind else { panic!("{tool:?}") };
    assert!(jsonschema::is_valid(&tool.input_schema, &arguments), "{}", tool.input_schema);
    let settings = Settings::new(Map::from_iter([("allow_private_addresses".to_owned(), json!(["127.0.0.1"]))]));
    let tool: Arc<dyn Tool> = synapse::tool::http::tool(tool, http, &Network::new(Duration::from_secs(20)).reach(&settings));
    let Value::Object(arguments) = arguments else { panic!("{arguments}") };
    let deadline = Instant::now() + Duration::from_secs(20);
    let call = Call { id: "call_1".to_owned(), arguments, deadline, output_bytes: 1 << 20, idempotency_id: "call-1".to_owned() };
    tool.call(call).await.map(|output| output.text).map_err(|failure| failure.0)
}

#[tokio::test]
async fn our_own_document_becomes_tools_that_call_us() {
    let server = Setup::new().start();
    let header = format!("Authorization: Bearer {}", server.key);
    let own = document(&server.setup, &serde_json::from_str(synapse::wire::OPENAPI).unwrap());
    let url = server.url("");
    let done = server.setup.run(&["tools", "import", &own, "--base-url", &url, "--prefix", "own_", "--header", &header]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("`own_list_agents GET ") && !text(&done.stdout).contains(&server.key));
    let records = server.read("custom_tools.json");
    let agents = call(&records, "own_list_agents", json!({})).await.unwrap();
    assert!(agents.contains("Alpha"), "{agents}");
    assert!(call(&records, "own_get_agent", json!({"agent_id": "a1"})).await.unwrap().contains("\"a1\""));
    let answer = call(&records, "own_chat", json!({"message": "hello", "agent": "a1", "session_id": "s/1"})).await.unwrap();
    assert!(answer.contains("hello"), "{answer}");
    let turns = call(&records, "own_get_session", json!({"session_id": "s/1", "agent_id": "a1", "page_size": 1})).await.unwrap();
    assert!(turns.contains("hello"), "{turns}");
    assert_eq!(
        call(&records, "own_get_agent", json!({"agent_id": "nobody"})).await.unwrap_err().split(':').next(),
        Some("the answer is 404 Not Found")
    );
    let checked = server.setup.run(&["check"]);
    assert!(!text(&checked.stdout).contains("custom_tools.json"), "{}", text(&checked.stdout));
}

#[test]
fn what_people_wrote_stays() {
    let own = json!([{"name": "mine", "url": "https://x"}, {"name": "a", "url": "https://h/old", "headers": {"X": "y"}, "note": 1}, 5]);
    let setup = Setup::new().file("custom_tools.json", own.to_string());
    let path = document(&setup, &small());
    let done = setup.run(&["tools", "import", &path]);
    assert!(done.status.success() && text(&done.stdout).contains("1 tools added, 1 updated"), "{done:?}");
    let now = tools(&setup);
    assert_eq!((now.len(), &now[0], &now[2]), (4, &own[0], &own[2]));
    assert_eq!((&now[1]["url"], &now[1]["headers"], &now[1]["note"]), (&json!("https://h/a"), &json!({"X": "y"}), &json!(1)));
    assert!(setup.run(&["tools", "import", &path]).status.success());
    assert_eq!(tools(&setup), now, "a second import changes nothing");
}

#[test]
fn headers_are_not_sent_to_another_address() {
    let own = json!([{"name": "a", "url": "https://elsewhere/a", "headers": {"Authorization": "Bearer secret"}}]);
    let setup = Setup::new().file("custom_tools.json", own.to_string());
    let done = setup.run(&["tools", "import", &document(&setup, &small())]);
    assert!(done.status.success() && text(&done.stderr).contains("`a` is at another address now"), "{done:?}");
    assert_eq!((tools(&setup)[0].get("headers"), &tools(&setup)[0]["url"]), (None, &json!("https://h/a")));
}

#[test]
fn a_path_that_would_name_another_host_is_left_out() {
    let setup = Setup::new();
    let mut document_with = small();
    document_with["paths"][".evil.example/x"] = json!({"get": {"operationId": "evil"}});
    let done = setup.run(&["tools", "import", &document(&setup, &document_with)]);
    assert!(done.status.success() && text(&done.stderr).contains("does not begin with `/`"), "{done:?}");
    assert_eq!(tools(&setup).len(), 2);
}

#[test]
fn a_failed_import_and_a_dry_run_change_nothing() {
    let setup = Setup::new().file("custom_tools.json", "[{\"name\": \"mine\"");
    let path = document(&setup, &small());
    let refused = setup.run(&["tools", "import", &path]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("is no JSON array of tools"), "{refused:?}");
    let kept = || std::fs::read_to_string(setup.data_dir().join("custom_tools.json")).unwrap();
    let shown = setup.run(&["tools", "import", &path, "--dry-run"]);
    let shown: Vec<Value> = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown[1]["url"], "https://h/b");
    for (broken, told) in [(json!([]), "no OpenAPI"), (json!({"openapi": "3.0.0", "paths": {"/a": {"get": {}}}}), "add `--base-url`")] {
        let refused = setup.run(&["tools", "import", &document(&setup, &broken)]);
        assert!(!refused.status.success() && text(&refused.stderr).contains(told), "{refused:?}");
    }
    let missing = setup.run(&["tools", "import", "/nowhere.json"]);
    assert!(!missing.status.success() && text(&missing.stderr).contains("`/nowhere.json` does not exist"), "{missing:?}");
    assert_eq!(kept(), "[{\"name\": \"mine\"");
}

#[test]
fn imports_at_the_same_time_lose_nothing() {
    let setup = Setup::new();
    let path = document(&setup, &small());
    std::thread::scope(|scope| {
        for prefix in ["a_", "b_", "c_", "d_"] {
            let (setup, path) = (&setup, &path);
            scope.spawn(move || assert!(setup.run(&["tools", "import", path, "--prefix", prefix]).status.success()));
        }
    });
    assert_eq!(tools(&setup).len(), 8);
}
