//! API keys: made, listed and deleted over both protocols and on the command line.

use std::os::unix::fs::PermissionsExt;

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{KEY_ID, ModelService, Outcome, Setup, answered, eventually, key_record, refused};

const PROVIDER_KEY: &str = "sk-provider-0123456789abcdef";
const INVALID: &str = "Invalid or revoked API key";

#[rstest]
#[tokio::test]
async fn a_key_opens_the_door_until_it_is_deleted(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    let admin = server.admin(dialect);
    let made = admin.call("CreateKey", json!({"name": "billing"})).await.answer();
    let (key, id) = (made["key"].as_str().unwrap(), &made["id"]);
    let digits = key.strip_prefix("sk-syn-").unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    assert_eq!((&made["name"], &made["key_prefix"]), (&json!("billing"), &json!(&key[..12])));
    let fields: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["key", "id", "name", "key_prefix", "created_at"]);

    let client = server.client(dialect).bearer(key);
    assert_eq!(client.say(json!({"message": "hi"})).await, "hi");
    let listed = admin.call("ListKeys", json!({})).await.answer();
    assert_eq!((listed.as_array().unwrap().len(), &listed[1]["id"], &listed[1]["is_active"]), (2, id, &json!(true)));
    assert!(!listed.to_string().contains(key) && !server.read("api_keys.json").contains(key), "the key is kept nowhere");

    assert_eq!(admin.call("DeleteKey", json!({"id": id})).await, answered(json!({"status": "deleted", "id": id})));
    assert_eq!(client.call("ListAgents", json!({})).await, refused(401, INVALID));
    assert_eq!(admin.call("DeleteKey", json!({"id": id})).await, refused(404, "API key not found"));
}

#[rstest]
#[tokio::test]
async fn a_key_without_a_name_gets_one(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    for request in [json!({}), json!({"name": ""})] {
        assert_eq!(server.admin(dialect).call("CreateKey", request).await.answer()["name"], "Unnamed Key");
    }
    let long = refused(400, "`name` must have at most 200 characters, not 201");
    assert_eq!(server.admin(dialect).call("CreateKey", json!({"name": "x".repeat(201)})).await, long);
}

#[rstest]
#[tokio::test]
async fn keys_are_the_admins_matter(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    for (rpc, request) in [("CreateKey", json!({"name": "x"})), ("ListKeys", json!({})), ("DeleteKey", json!({"id": KEY_ID}))] {
        let with_key = server.client(dialect).call(rpc, request.clone()).await;
        assert_eq!(with_key, refused(403, "this call wants the admin token, not an API key"));
        let outcome = server.client(dialect).stranger().call(rpc, request.clone()).await;
        assert_eq!(outcome, refused(401, "Not authenticated"));
        assert_eq!(server.admin(dialect).bearer("wrong").call(rpc, request).await, refused(401, INVALID));
    }
    assert_eq!(server.admin(dialect).say(json!({"message": "the admin may chat"})).await, "the admin may chat");
}

#[rstest]
#[tokio::test]
async fn a_key_may_expire(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut over = key_record("over", "sk-syn-over");
    over["expires_at"] = "2026-01-02T03:04:05Z".into();
    let server = Setup::new().keys(&[over]).start();
    assert_eq!(server.client(dialect).bearer("sk-syn-over").call("ListAgents", json!({})).await, refused(401, INVALID));
    let admin = server.admin(dialect);
    let past = admin.call("CreateKey", json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"})).await;
    assert_eq!(past, refused(400, "`expires_at` must be in the future"));
    let made = admin.call("CreateKey", json!({"name": "x", "expires_at": "2999-01-01T00:00:00Z"})).await.answer();
    assert_eq!(made["expires_at"], "2999-01-01T00:00:00Z");
    assert_eq!(server.client(dialect).bearer(made["key"].as_str().unwrap()).say(json!({"message": "hi"})).await, "hi");
}

#[rstest]
#[tokio::test]
async fn existing_key_files_keep_working(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut known = key_record("short", "sk-syn-0000");
    assert_eq!(known["key_hash"], "f138746243db45fb2f99e7214b63e0b724ec1cf9c6f3b8996771828c20130341");
    known.as_object_mut().unwrap().shift_remove("is_active");
    known["owner"] = "kept as it is".into();
    let (mut off, prefix) = (key_record("off", "sk-syn-off"), key_record("other", "sk-other-1"));
    off["is_active"] = false.into();
    let server = Setup::new().keys(&[known, off, prefix]).start();
    let outcome = async |key: &str| server.client(dialect).bearer(key).call("ListOrchestrations", json!({})).await;
    assert_eq!(outcome("sk-syn-0000").await, answered(json!([])));
    for key in ["sk-syn-off", "sk-other-1", "sk-syn-00000", "sk-syn-"] {
        assert_eq!(outcome(key).await, refused(401, INVALID), "{key}");
    }
    server.admin(dialect).call("CreateKey", json!({"name": "further"})).await.answer();
    assert!(server.read("api_keys.json").contains("kept as it is"));
}

#[rstest]
#[tokio::test]
async fn a_running_server_sees_what_the_command_line_does(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    let made = server.setup.run(&["keys", "create", "from the shell"]);
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(key.starts_with("sk-syn-"), "{key}");
    let client = server.client(dialect).bearer(&key);
    let outcome = async || client.call("ListAgents", json!({})).await;
    eventually("the new key", async || matches!(outcome().await, Outcome::Answered(_)).then_some(())).await;
    let listed = server.admin(dialect).call("ListKeys", json!({})).await.answer();
    let id = listed[1]["id"].as_str().unwrap();
    let revoked = server.setup.run(&["keys", "revoke", id]);
    assert!(revoked.status.success());
    eventually("the revocation", async || (outcome().await == refused(401, INVALID)).then_some(())).await;
}

#[rstest]
#[tokio::test]
async fn the_last_use_is_told_at_once_and_written_lazily(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut server = Setup::new().start();
    let last_use =
        async |server: &crate::support::Server| server.admin(dialect).call("ListKeys", json!({})).await.answer()[0]["last_used_at"].clone();
    assert_eq!(last_use(&server).await, Value::Null);
    let before = server.read("api_keys.json");
    server.client(dialect).call("ListAgents", json!({})).await.answer();
    let used = last_use(&server).await;
    assert!(used.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{used}");
    assert_eq!(server.read("api_keys.json"), before, "no request waits for the disk");
    server.restart().await;
    assert!(server.read("api_keys.json").contains(used.as_str().unwrap()));
    assert_eq!(last_use(&server).await, used);
}

#[test]
fn a_broken_key_file_stops_the_start_and_stays_as_it_is() {
    for contents in ["[{\"id\": ", "{}", "null", "not json"] {
        let setup = Setup::new().file("api_keys.json", contents);
        let path = setup.data_dir().join("api_keys.json");
        for command in [&["keys", "list"][..], &["keys", "create", "x"]] {
            assert!(!setup.run(command).status.success(), "{command:?}");
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        let failed = setup.try_start().err().unwrap();
        assert_eq!(failed.status.code(), Some(1));
        assert!(failed.errors.contains("`api_keys.json`: is no JSON array of keys"), "{}", failed.errors);
        assert_eq!(kept, contents);
    }
}

#[rstest]
#[tokio::test]
async fn a_key_file_that_breaks_later_is_reported_and_never_overwritten(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    server.write("api_keys.json", "half a fi");
    server.logged("the last good keys stay in use").await;
    assert_eq!(server.client(dialect).say(json!({"message": "hi"})).await, "hi");
    let (status, detail) = server.admin(dialect).call("CreateKey", json!({"name": "x"})).await.refusal();
    assert!(status == 400 && detail.contains("`api_keys.json`"), "{status}: {detail}");
    let ready: Value = server.request("GET", "/readyz").send().await.unwrap().json().await.unwrap();
    assert!(ready["problems"][0].as_str().unwrap().contains("`api_keys.json`"), "{ready}");
    assert_eq!(server.read("api_keys.json"), "half a fi");
}

#[rstest]
#[tokio::test]
async fn keys_made_by_several_at_once_are_all_kept(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    let admin = server.admin(dialect);
    let over_the_wire: Vec<_> = (0..8)
        .map(|number| {
            let admin = admin.clone();
            tokio::spawn(async move { admin.call("CreateKey", json!({"name": format!("wire {number}")})).await.answer() })
        })
        .collect();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let setup = &server.setup;
            scope.spawn(move || assert!(setup.run(&["keys", "create", &format!("shell {number}")]).status.success()));
        }
    });
    for made in over_the_wire {
        made.await.unwrap();
    }
    let kept: Value = serde_json::from_str(&server.read("api_keys.json")).unwrap();
    assert_eq!(kept.as_array().unwrap().len(), 13);
}

#[rstest]
#[tokio::test]
async fn an_admin_token_is_made_for_its_owner_only(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().environment("SYNAPSE_ADMIN_TOKEN", "").start();
    let path = server.data_dir().join("admin_token");
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = server.read("admin_token").trim().to_owned();
    let admin = server.client(dialect).bearer(&token);
    assert_eq!(admin.call("ListKeys", json!({})).await.answer().as_array().unwrap().len(), 1);
    assert_eq!(server.admin(dialect).call("ListKeys", json!({})).await, refused(401, INVALID));
    assert!(!server.process.errors().contains(&token), "the token is in the log");
}

#[rstest]
#[tokio::test]
async fn no_secret_is_in_the_log_however_much_is_logged(#[values(Rest, Grpc)] dialect: Dialect, #[values("debug", "trace")] level: &str) {
    let service = ModelService::new().await;
    let setup = Setup::new().model(&service.url()).setting("local_compatible_key", PROVIDER_KEY).secret(PROVIDER_KEY);
    let mut server = setup.environment("SYNAPSE_LOG", level).start();
    let client = server.client(dialect);
    let chat = tokio::spawn(async move { client.say(json!({"message": "hi"})).await });
    let mut call = service.called().await;
    assert!(call.asked.contains(PROVIDER_KEY));
    call.answer("Hello.").await;
    assert_eq!(chat.await.unwrap(), "Hello.");
    let made = server.admin(dialect).call("CreateKey", json!({"name": "x"})).await.answer();
    let key = made["key"].as_str().unwrap();
    server.client(dialect).bearer(key).call("ListAgents", json!({})).await.answer();
    server.process.terminate();
    assert_eq!(server.process.ended().await, Some(0));
    let log = server.process.errors();
    assert!(log.len() > 1_000, "{log}");
    for (name, secret) in
        [("API key", server.key.as_str()), ("new key", key), ("admin token", &server.admin), ("provider's key", PROVIDER_KEY)]
    {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "the {name} is in the log");
    }
}
