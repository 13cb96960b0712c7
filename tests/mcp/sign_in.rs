//! Signing in at servers that ask who is there.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use synapse::store::McpTokens;
use synapse::tool::mcp::sign_in;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::fake::Fake;
use crate::setup::House;

/// A browser whose owner agrees to everything.
fn agree(address: &str) {
    let address = address.to_owned();
    tokio::spawn(async move { assert!(reqwest::get(address).await.unwrap().status().is_success()) });
}

async fn signed_in(fake: &Fake) -> House {
    let house = House::new(&json!([fake.record("/mcp", None)]));
    assert_eq!(house.names(&["all"]).await, [""; 0]);
    sign_in(&house.records[0], &McpTokens::open(house.directory.path()), &[], agree).await.unwrap();
    house
}

fn file(house: &House, name: &str) -> Value {
    let path = house.directory.path().join("mcp_tokens").join(name);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A second server on the same directory, as if the first had been started again.
fn again(fake: &Fake, house: House) -> House {
    let next = House::new(&json!([fake.record("/mcp", None)]));
    let (from, to) = (house.directory.path().join("mcp_tokens"), next.directory.path().join("mcp_tokens"));
    std::fs::rename(from, to).unwrap();
    drop(house);
    next
}

#[tokio::test]
async fn a_sign_in_is_kept_and_used() {
    let fake = Fake::guarded(&[]).await;
    let house = signed_in(&fake).await;
    let (tokens, client) = (file(&house, "far.json"), file(&house, "far_client.json"));
    assert_eq!((&tokens["access_token"], &tokens["refresh_token"]), (&json!("access-1"), &json!("refresh-1")));
    assert_eq!(client["client_id"], "registered");
    let house = again(&fake, house);
    assert_eq!(house.call("far__echo", json!({"text": "hello"})).await, Ok("hello".to_owned()));
    assert_eq!(fake.seen("tools/call")[0].0["authorization"], "Bearer access-1");
}

#[tokio::test]
async fn a_server_that_runs_finds_the_sign_in_by_itself() {
    let fake = Fake::guarded(&[]).await;
    let house = signed_in(&fake).await;
    crate::setup::eventually("the tools", async || (!house.names(&["all"]).await.is_empty()).then_some(())).await;
}

#[tokio::test]
async fn a_token_that_is_refused_or_over_is_refreshed() {
    let fake = Fake::guarded(&[]).await;
    let house = again(&fake, signed_in(&fake).await);
    assert_eq!(house.names(&["far__echo"]).await.len(), 1);
    *fake.state.access.lock().unwrap() = Some(vec!["none".to_owned()]);
    assert_eq!(house.call("far__echo", json!({"text": "hello"})).await, Ok("hello".to_owned()));
    assert_eq!(file(&house, "far.json")["access_token"], "access-2");

    let path = house.directory.path().join("mcp_tokens/far.json");
    let mut over = file(&house, "far.json");
    over["received_at"] = json!(1);
    std::fs::write(path, over.to_string()).unwrap();
    let house = again(&fake, house);
    assert_eq!(house.call("far__echo", json!({"text": "hello"})).await, Ok("hello".to_owned()));
    assert_eq!(file(&house, "far.json")["access_token"], "access-3");
}

#[tokio::test]
async fn a_sign_in_that_is_withdrawn_makes_the_tools_absent_until_the_next() {
    let fake = Fake::guarded(&[]).await;
    let house = again(&fake, signed_in(&fake).await);
    let echo = house.tool("far__echo").await;
    *fake.state.access.lock().unwrap() = Some(Vec::new());
    fake.state.refresh.lock().unwrap().clear();
    let failure = echo.call(crate::setup::call(json!({}))).await.unwrap_err();
    assert!(failure.0.contains("run `synapse tools sign-in far`"), "{failure}");
    assert_eq!(house.names(&["all"]).await, [""; 0]);
    sign_in(&house.records[0], &McpTokens::open(house.directory.path()), &[], agree).await.unwrap();
    assert_eq!(again(&fake, house).call("far__echo", json!({"text": "hello"})).await, Ok("hello".to_owned()));
}

#[tokio::test]
async fn an_answer_with_another_state_neither_signs_in_nor_ends_the_wait() {
    let fake = Fake::guarded(&[]).await;
    let house = House::new(&json!([fake.record("/mcp", None)]));
    let forge = |shown: &str| {
        let address = reqwest::Url::parse(shown).unwrap();
        let back = address.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
        tokio::spawn(async move {
            for query in ["", "?code=code-0", "?code=code-0&state=forged", "?error=access_denied&state="] {
                assert_eq!(reqwest::get(format!("{back}{query}")).await.unwrap().status(), 400, "{query}");
            }
            agree(address.as_str());
        });
    };
    sign_in(&house.records[0], &McpTokens::open(house.directory.path()), &[], forge).await.unwrap();
    assert_eq!(file(&house, "far.json")["access_token"], "access-1");
}

#[tokio::test]
async fn what_a_sign_in_gave_is_not_told_to_another_address() {
    let (fake, other) = (Fake::guarded(&[]).await, Fake::guarded(&["access-1"]).await);
    let house = again(&other, signed_in(&fake).await);
    assert_eq!(file(&house, "far.json")["server_url"], fake.record("/mcp", None)["url"]);
    assert_eq!(house.names(&["all"]).await, [""; 0]);
    assert!(other.seen("initialize").iter().all(|(headers, _)| !headers.contains_key("authorization")));
    sign_in(&house.records[0], &McpTokens::open(house.directory.path()), &[], agree).await.unwrap();
    assert_eq!(file(&house, "far.json")["server_url"], other.record("/mcp", None)["url"]);
}

#[tokio::test]
async fn a_client_that_the_operator_registered_is_used() {
    let fake = Fake::guarded(&[]).await;
    let house = House::new(&json!([fake.record("/mcp", None)]));
    let tokens = McpTokens::open(house.directory.path());
    tokens.keep_client("far", &json!({"client_id": "by-hand", "client_secret": "s3cret"})).await.unwrap();
    let look = |address: &str| {
        assert!(address.contains("client_id=by-hand"), "{address}");
        agree(address);
    };
    sign_in(&house.records[0], &tokens, &[], look).await.unwrap();
    assert_eq!(file(&house, "far_client.json"), json!({"client_id": "by-hand", "client_secret": "s3cret"}));
}

#[tokio::test]
async fn a_server_that_asks_for_nothing_needs_no_sign_in() {
    let fake = Fake::start().await;
    let house = House::new(&json!([fake.record("/mcp", None), crate::setup::program("own", &[])]));
    let tokens = McpTokens::open(house.directory.path());
    for record in &house.records {
        let failure = sign_in(record, &tokens, &[], |_| panic!("nobody is to be asked")).await.unwrap_err();
        assert!(failure.0.contains("no sign-in"), "{failure}");
    }
}

#[tokio::test]
async fn a_call_that_needs_more_rights_says_how_to_get_them() {
    let fake = Fake::guarded(&[]).await;
    let house = again(&fake, signed_in(&fake).await);
    let expected = "tool server `far` refuses the call: its sign-in does not allow that: \
                    run `synapse tools sign-in far --scope \"tools more\"`";
    assert_eq!(house.call("far__more", json!({})).await, Err(expected.to_owned()));
    let scopes = ["tools".to_owned(), "more".to_owned()];
    sign_in(&house.records[0], &McpTokens::open(house.directory.path()), &scopes, agree).await.unwrap();
    assert_eq!(house.call("far__more", json!({})).await, Ok("more".to_owned()));
}

/// The command line on a data directory.
fn synapse(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synapse"));
    command.args(arguments).env_clear().env("SYNAPSE_DATA_DIR", data).stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn the_command_line_shows_the_address_and_keeps_what_comes_back() {
    let fake = Fake::guarded(&[]).await;
    let house = House::new(&json!([fake.record("/mcp", None)]));
    std::fs::write(house.directory.path().join("mcp_servers.json"), json!([fake.record("/mcp", None)]).to_string()).unwrap();
    let mut child = synapse(house.directory.path(), &["tools", "sign-in", "far"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.starts_with("http://") {
            agree(&line);
        }
    }
    assert!(child.wait().await.unwrap().success());
    assert_eq!(house.call("far__echo", json!({"text": "hello"})).await, Ok("hello".to_owned()));
}

#[tokio::test]
async fn the_command_line_knows_only_servers_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let output = synapse(directory.path(), &["tools", "sign-in", "nobody"]).output().await.unwrap();
    assert!(!output.status.success());
    let expected = "synapse: tool server `nobody` is not in `mcp_servers.json`, or is disabled there\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
}
