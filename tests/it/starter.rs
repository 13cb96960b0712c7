//! The first start on an empty directory.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Server, Setup};

/// Starts on an empty directory and returns the key that is printed.
fn first_start() -> (Server, String) {
    let server = Setup::new().empty().start();
    let printed = server.process.output_until("/docs");
    let key = printed.lines().map(str::trim).find(|line| line.starts_with("sk-syn-")).unwrap().to_owned();
    for told in ["curl -N http", "grpcurl -plaintext", "python3 -c", "to begin with were written"] {
        assert!(printed.contains(told), "{told}: {printed}");
    }
    assert!(printed.contains(&server.address.to_string()), "{printed}");
    (server, key)
}

#[rstest]
#[tokio::test]
async fn the_first_start_writes_a_starter_and_prints_its_key_once(#[values(Rest, Grpc)] dialect: Dialect) {
    let (mut server, key) = first_start();
    let client = server.client(dialect).bearer(&key);
    let agents = client.call("ListAgents", json!({})).await.answer();
    assert!((2..=3).contains(&agents.as_array().unwrap().len()), "{agents}");
    assert_eq!(client.call("ListOrchestrations", json!({})).await.answer().as_array().unwrap().len(), 1);
    assert!(!server.process.errors().contains(&key), "the key is in the log");
    let mut files: Vec<_> = std::fs::read_dir(server.data_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    for name in ["user_agents.json", "orchestrations.json", "settings.json", "api_keys.json"] {
        assert!(files.iter().any(|file| file == name), "{name}: {files:?}");
    }
    let keys = server.read("api_keys.json");
    server.write("user_agents.json", r#"[{"id": "mine", "name": "Mine"}]"#);
    server.restart().await;
    let client = server.client(dialect).bearer(&key);
    assert_eq!(client.call("ListAgents", json!({})).await.answer()[0]["id"], "mine");
    let (before, after): (Value, Value) =
        (serde_json::from_str(&keys).unwrap(), serde_json::from_str(&server.read("api_keys.json")).unwrap());
    assert_eq!((after.as_array().unwrap().len(), &after[0]["id"]), (1, &before[0]["id"]));
}

#[test]
fn the_starter_has_no_problem() {
    let (server, _) = first_start();
    let output = server.setup.run(&["check"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
