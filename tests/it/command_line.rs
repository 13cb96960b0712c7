//! The commands besides `serve`.

use std::process::Output;

use serde_json::json;

use crate::support::Setup;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Runs `synapse chat` against a server.
fn chat(server: &crate::support::Server, key: &str, arguments: &[&str]) -> Output {
    let url = server.url("");
    let setup = Setup::new().environment("SYNAPSE_URL", url).environment("SYNAPSE_API_KEY", key);
    setup.run(&[&["chat"], arguments].concat())
}

#[test]
fn chat_prints_the_answer_and_goes_on_with_a_session() {
    let agents = json!([{"id": "a1", "name": "Alpha", "tools": []}, {"id": "a2", "name": "Beta", "system_prompt": "B", "tools": []}]);
    let server = Setup::new().agents(agents).script(json!({"text": "{system}{messages} größer", "chunk_chars": 2})).start();
    let first = chat(&server, &server.key, &["hello"]);
    assert_done(&first);
    assert_eq!(text(&first.stdout), "1 größer\n");
    let session = text(&first.stderr).strip_prefix("session: ").unwrap().trim();
    let second = chat(&server, &server.key, &["hello", "--session", session]);
    assert_eq!(text(&second.stdout), "3 größer\n");
    let other = chat(&server, &server.key, &["hello", "--agent", "beta", "--session", session]);
    assert_eq!(text(&other.stdout), "B1 größer\n");
}

#[test]
fn chat_says_what_went_wrong() {
    let server = Setup::new().script(json!({"text": "", "error": "unavailable"})).start();
    let failed = |output: &Output, told: &str| {
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(told), "{}", text(&output.stderr));
    };
    failed(&chat(&server, &server.key, &["hi"]), "The agent encountered an error processing your request.");
    failed(&chat(&server, "sk-syn-wrong", &["hi"]), "401 Unauthorized: Invalid or revoked API key");
    failed(&chat(&server, "", &["hi"]), "set `SYNAPSE_API_KEY`");
    failed(&chat(&server, &server.key, &["hi", "--url", "http://127.0.0.1:1"]), "does not answer");
}

/// The proxy of the machine is for the world; a key for this machine must not go there.
#[test]
fn chat_with_this_machine_goes_past_the_proxy() {
    let server = Setup::new().script(json!({"text": "hello"})).start();
    let setup = Setup::new().environment("SYNAPSE_URL", server.url("")).environment("SYNAPSE_API_KEY", &server.key);
    let answered = setup.environment("http_proxy", "http://127.0.0.1:1").run(&["chat", "hi"]);
    assert_done(&answered);
    assert_eq!(text(&answered.stdout), "hello\n");
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let setup = Setup::new().empty();
    let made = setup.run(&["keys", "create", "billing", "--expires-at", "2999-01-01T00:00:00Z"]);
    assert_done(&made);
    let key = text(&made.stdout).trim();
    assert!(key.starts_with("sk-syn-") && key.len() == 71 && !text(&made.stderr).contains(key));
    let listed = setup.run(&["keys", "list"]);
    let line = text(&listed.stdout).trim();
    assert!(line.ends_with("  billing") && line.contains("expires 2999-01-01") && line.contains(&key[..12]), "{line}");
    assert!(!line.contains(key));
    let id = line.split(' ').next().unwrap();
    assert_done(&setup.run(&["keys", "revoke", id]));
    assert_eq!(text(&setup.run(&["keys", "list"]).stdout), "");
    let again = setup.run(&["keys", "revoke", id]);
    assert!(!again.status.success() && text(&again.stderr).contains("does not exist"));
    let past = setup.run(&["keys", "create", "x", "--expires-at", "2020-01-01T00:00:00Z"]);
    assert!(!past.status.success() && text(&past.stderr).contains("must be in the future"));
}

#[test]
fn openapi_prints_the_document() {
    assert_eq!(text(&Setup::new().run(&["openapi"]).stdout), synapse::wire::OPENAPI);
}

#[test]
fn every_wrong_variable_is_named() {
    let setup =
        Setup::new().environment("SYNAPSE_BACKEND_PORT", "many").environment("SYNAPSE_HEARTBEAT", "-1").environment("SYNAPSE_HOST", "x");
    let failed = setup.try_start().err().unwrap();
    for name in ["`SYNAPSE_BACKEND_PORT` is `many`", "`SYNAPSE_HEARTBEAT` is `-1`", "`SYNAPSE_HOST` is `x`"] {
        assert!(failed.errors.contains(name), "{name}: {}", failed.errors);
    }
}

#[test]
fn a_port_that_is_taken_stops_the_start() {
    let server = Setup::new().start();
    let failed = Setup::new().environment("SYNAPSE_BACKEND_PORT", server.address.port()).try_start().err().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.errors.contains(&format!("cannot listen on {}", server.address)), "{}", failed.errors);
}
