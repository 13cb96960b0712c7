//! The tools that are part of the server, called as an agent calls them.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use synapse::definition::Settings;
use synapse::store::Vault;
use synapse::tool::{Call, Tool, datetime, large, vault};
use tokio::time::Instant;

/// Calls a tool with arguments that keep its schema, and returns its text or why it failed.
async fn call(tools: &[Arc<dyn Tool>], name: &str, arguments: Value) -> Result<String, String> {
    let tool = tools.iter().find(|tool| tool.description().name == name).unwrap();
    assert!(jsonschema::is_valid(&tool.description().schema, &arguments), "{name}: {arguments}");
    let Value::Object(arguments) = arguments else { unreachable!() };
    let deadline = Instant::now() + Duration::from_secs(30);
    let call = Call { id: "call_1".to_owned(), arguments, deadline, output_bytes: 1 << 20, idempotency_id: "1".to_owned() };
    tool.call(call).await.map(|output| output.text).map_err(|failure| failure.0)
}

fn settings(values: &Value) -> Settings {
    Settings::new(values.as_object().unwrap().clone())
}

#[tokio::test]
async fn an_agent_keeps_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let tools = vault::tools(&Vault::open(directory.path()));
    let file = json!({"path": "notes/a.md", "content": "one\ntwo\nthree\n"});
    assert_eq!(call(&tools, "vault_create", file.clone()).await.unwrap(), "`notes/a.md` was written: 14 bytes");
    let exists = "`notes/a.md` exists in the vault already; choose another name or overwrite it";
    assert_eq!(call(&tools, "vault_create", file.clone()).await.unwrap_err(), exists);
    call(&tools, "vault_write", file).await.unwrap();
    let patch = json!({"path": "notes/a.md", "old_text": "two", "new_text": "2"});
    assert_eq!(call(&tools, "vault_patch", patch).await.unwrap(), "`notes/a.md` was patched");
    assert_eq!(call(&tools, "vault_read", json!({"path": "notes/a.md"})).await.unwrap(), "one\n2\nthree\n");
    let part = call(&tools, "vault_read", json!({"path": "notes/a.md", "from_line": 2, "lines": 1})).await.unwrap();
    assert_eq!(part, "2\n[the file has 3 lines; to read on, call vault_read with from_line 3]");
    let root: Value = serde_json::from_str(&call(&tools, "vault_list", json!({})).await.unwrap()).unwrap();
    assert_eq!((&root["entries"][0]["name"], &root["more"]), (&json!("notes/"), &json!(false)));
    let notes: Value = serde_json::from_str(&call(&tools, "vault_list", json!({"path": "notes"})).await.unwrap()).unwrap();
    assert_eq!((&notes["entries"][0]["name"], &notes["entries"][0]["bytes"]), (&json!("a.md"), &json!(12)));
    assert_eq!(call(&tools, "vault_delete", json!({"path": "notes/a.md"})).await.unwrap(), "`notes/a.md` was deleted");
    let gone = call(&tools, "vault_read", json!({"path": "notes/a.md"})).await.unwrap_err();
    assert_eq!(gone, "`notes/a.md` does not exist in the vault");
}

#[tokio::test]
async fn a_long_line_is_read_in_parts() {
    let directory = tempfile::tempdir().unwrap();
    let tools = vault::tools(&Vault::open(directory.path()));
    call(&tools, "vault_write", json!({"path": "a", "content": "x".repeat(60_000)})).await.unwrap();
    let first = call(&tools, "vault_read", json!({"path": "a"})).await.unwrap();
    assert!(first.ends_with("[the file has 1 lines; to read on, call vault_read with from_line 1 and from_character 50001]"));
    let rest = call(&tools, "vault_read", json!({"path": "a", "from_line": 1, "from_character": 50_001})).await.unwrap();
    assert_eq!(rest, "x".repeat(10_000));
}

#[tokio::test]
async fn the_clock_tells_the_present_in_a_zone() {
    let tools = [datetime::get_datetime()];
    let told: Value = serde_json::from_str(&call(&tools, "get_datetime", json!({"timezone": "Asia/Tokyo"})).await.unwrap()).unwrap();
    assert_eq!(told["timezone"], "Asia/Tokyo");
    assert!(told["iso"].as_str().unwrap().ends_with("+09:00"), "{told}");
    assert!(synapse::clock::now().as_second() - told["unix"].as_i64().unwrap() < 30);
    let utc: Value = serde_json::from_str(&call(&tools, "get_datetime", json!({})).await.unwrap()).unwrap();
    assert_eq!(utc["timezone"], "UTC");
    assert!(call(&tools, "get_datetime", json!({"timezone": "Mars/Olympus"})).await.unwrap_err().contains("`Mars/Olympus` does not exist"));
}

#[tokio::test]
async fn a_large_output_goes_into_the_vault_and_is_read_from_there() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path());
    let settings = settings(&json!({"vault_threshold": 600}));
    let fitting = "é".repeat(600);
    assert_eq!(large::stash(&vault, &settings, "t", fitting.clone()).await, fitting);
    let output = format!("{}\n{}", "é".repeat(600), "x".repeat(100));
    let told: Value = serde_json::from_str(&large::stash(&vault, &settings, "tide/../table", output.clone()).await).unwrap();
    assert_eq!((&told["file_type"], &told["size_chars"], &told["total_lines"]), (&json!("txt"), &json!(701), &json!(2)));
    assert_eq!(told["content_preview"], "é".repeat(500));
    assert!(told["message"].as_str().unwrap().contains("`vault_read`"), "{told}");
    let path = told["vault_file"].as_str().unwrap();
    assert!(path.starts_with("tool_outputs/tide____table_20"), "{path}");
    let read = call(&vault::tools(&vault), "vault_read", json!({"path": path})).await.unwrap();
    assert_eq!(read, output);
    assert_eq!(large::stash(&vault, &settings, "vault_read", read.clone()).await, read, "it does not go round in circles");
    let array = serde_json::to_string(&vec![1; 600]).unwrap();
    let told: Value = serde_json::from_str(&large::stash(&vault, &settings, "t", array).await).unwrap();
    assert_eq!(told["file_type"], "json");
}

#[tokio::test]
async fn an_output_larger_than_a_file_is_kept_in_part_and_the_model_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path());
    let output = "é".repeat(3 << 20);
    let told: Value = serde_json::from_str(&large::stash(&vault, &Settings::default(), "t", output).await).unwrap();
    assert_eq!(told["size_chars"], 3 << 20);
    assert!(told["message"].as_str().unwrap().contains("only its first 2097152 characters were kept"), "{told}");
}

#[tokio::test]
async fn where_there_is_no_vault_a_large_output_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path());
    let off = settings(&json!({"vault_threshold": 3, "vault_enabled": false}));
    let cut = large::stash(&vault, &off, "t", "äöüß".to_owned()).await;
    assert_eq!(cut, "äöü\n[the output has 4 characters and was cut after 3: the vault is turned off]");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    std::fs::write(directory.path().join("vault"), "a file where the vault should be").unwrap();
    let cut = large::stash(&vault, &settings(&json!({"vault_threshold": 3})), "t", "abcd".to_owned()).await;
    assert!(cut.starts_with("abc\n[the output has 4 characters and was cut after 3: "), "{cut}");
}
