//! API keys in a real file that several processes and people write.

use std::fs;
use std::path::Path;

use jiff::{Timestamp, ToSpan};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use synapse::error::Reason;
use synapse::store::{Keys, Refusal};

use crate::process::{part, plays_a_part};

/// The documented test vector: a key, and the SHA-256 of the whole of it.
const KEY: &str = "sk-syn-0000";
const HASH: &str = "f138746243db45fb2f99e7214b63e0b724ec1cf9c6f3b8996771828c20130341";

fn file(directory: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(directory.join("api_keys.json")).unwrap()).unwrap()
}

fn write(directory: &Path, keys: &Value) {
    fs::write(directory.join("api_keys.json"), keys.to_string()).unwrap();
}

#[tokio::test]
async fn a_new_key_is_accepted_and_kept_as_a_hash_only() {
    let directory = tempfile::tempdir().unwrap();
    let keys = Keys::open(directory.path()).unwrap();
    let made = keys.create("billing", None).await.unwrap();
    let secret = made.secret.expose_secret();
    assert_eq!((secret.len(), &secret[..7]), (71, "sk-syn-"));
    assert!(secret[7..].bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit)));
    let principal = keys.verify(secret).unwrap();
    assert_eq!((&*principal.id, &*principal.name), (made.record.id.as_str(), "billing"));
    let text = fs::read_to_string(directory.path().join("api_keys.json")).unwrap();
    assert!(!text.contains(secret) && !format!("{made:?}{keys:?}").contains(secret));
    let names: Vec<_> = file(directory.path())[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["id", "name", "key_hash", "key_prefix", "created_at", "last_used_at", "is_active"]);
    assert!(text.starts_with("[\n  {\n    \"id\": \""), "two blanks of indent: {text}");
    assert_eq!((&secret[..12], made.record.created_at.len()), (made.record.key_prefix.as_str(), "2026-11-23T14:48:07Z".len()));
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &json!([]));
    Keys::open(directory.path()).unwrap().create("", None).await.unwrap();
    let mode = fs::metadata(directory.path().join("api_keys.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(file(directory.path())[0]["name"], "Unnamed Key");
}

#[test]
fn keys_of_existing_files_are_accepted() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &json!([{"id": "old", "name": "Old", "key_hash": HASH}]));
    let keys = Keys::open(directory.path()).unwrap();
    assert_eq!(&*keys.verify(KEY).unwrap().id, "old");
    assert!(keys.list()[0].is_active && keys.list()[0].last_used_at.is_some());
}

#[test]
fn a_key_that_is_unknown_revoked_or_expired_is_refused() {
    let refusal = |fields: Value| {
        let directory = tempfile::tempdir().unwrap();
        let mut key = json!({"id": "k", "name": "K", "key_hash": HASH});
        key.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        write(directory.path(), &json!([key]));
        let keys = Keys::open(directory.path()).unwrap();
        assert_eq!(keys.verify("sk-syn-0001"), Err(Refusal::Unknown));
        keys.verify(KEY).err()
    };
    assert_eq!(refusal(json!({})), None);
    assert_eq!(refusal(json!({"is_active": true, "expires_at": "2999-01-01T00:00:00Z"})), None);
    assert_eq!(refusal(json!({"is_active": false})), Some(Refusal::Revoked));
    assert_eq!(refusal(json!({"is_active": "yes"})), Some(Refusal::Revoked));
    assert_eq!(refusal(json!({"expires_at": "2020-01-01T00:00:00Z"})), Some(Refusal::Expired));
    assert_eq!(refusal(json!({"expires_at": "soon"})), Some(Refusal::Unknown));
}

#[test]
fn a_key_of_another_kind_is_refused_even_if_its_hash_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let hash = "00dc665ab929d5793fd9443e65313b4524e1bd9a1f3685acf12ea76933d8cbb5"; // of `sk-ant-0`
    write(directory.path(), &json!([{"id": "k", "key_hash": hash}]));
    assert_eq!(Keys::open(directory.path()).unwrap().verify("sk-ant-0"), Err(Refusal::Unknown));
}

#[tokio::test]
async fn a_key_expires_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let keys = Keys::open(directory.path()).unwrap();
    let end = "2020-01-01T00:00:00.9Z".parse::<Timestamp>().unwrap();
    let made = keys.create("short", Some(end)).await.unwrap();
    assert_eq!(keys.verify(made.secret.expose_secret()), Err(Refusal::Expired));
    assert_eq!(file(directory.path())[0]["expires_at"], "2020-01-01T00:00:00Z");
    let made = keys.create("long", Some(end + 100_000.hours() * 10)).await.unwrap();
    assert!(keys.verify(made.secret.expose_secret()).is_ok());
}

#[tokio::test]
async fn a_deleted_key_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let keys = Keys::open(directory.path()).unwrap();
    let made = keys.create("x", None).await.unwrap();
    assert!(keys.delete(&made.record.id).await.unwrap());
    assert!(!keys.delete(&made.record.id).await.unwrap());
    assert_eq!(keys.verify(made.secret.expose_secret()), Err(Refusal::Unknown));
    assert_eq!(file(directory.path()), json!([]));
}

#[tokio::test]
async fn a_key_made_by_another_process_is_accepted_after_a_look() {
    let directory = tempfile::tempdir().unwrap();
    let (server, command) = (Keys::open(directory.path()).unwrap(), Keys::open(directory.path()).unwrap());
    let made = command.create("x", None).await.unwrap();
    assert_eq!(server.verify(made.secret.expose_secret()), Err(Refusal::Unknown));
    server.reload_if_changed();
    assert!(server.verify(made.secret.expose_secret()).is_ok());
}

#[tokio::test]
async fn a_corrupt_file_is_refused_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    for corrupt in ["", "[{", "{}", "null"] {
        fs::write(directory.path().join("api_keys.json"), corrupt).unwrap();
        let error = Keys::open(directory.path()).unwrap_err();
        assert_eq!(error.reason(), Reason::FailedPrecondition);
        assert!(error.detail().starts_with("`api_keys.json`: is no JSON array of keys: "), "{error}");
        assert_eq!(fs::read_to_string(directory.path().join("api_keys.json")).unwrap(), corrupt);
    }
}

#[tokio::test]
async fn a_file_that_breaks_keeps_the_last_good_keys_and_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let keys = Keys::open(directory.path()).unwrap();
    let made = keys.create("x", None).await.unwrap();
    fs::write(directory.path().join("api_keys.json"), "[{").unwrap();
    keys.reload_if_changed();
    assert!(keys.verify(made.secret.expose_secret()).is_ok());
    assert!(keys.problem().unwrap().fatal);
    assert_eq!(keys.create("y", None).await.unwrap_err().reason(), Reason::FailedPrecondition);
    assert!(keys.delete(&made.record.id).await.is_err() && keys.flush_last_used().await.is_err());
    assert_eq!(fs::read_to_string(directory.path().join("api_keys.json")).unwrap(), "[{");
    write(directory.path(), &json!([]));
    keys.reload_if_changed();
    assert_eq!((keys.problem(), keys.list().len()), (None, 0));
}

#[tokio::test]
async fn the_last_use_is_written_lazily_and_what_we_do_not_know_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let other = json!({"id": "other", "key_hash": "?", "scopes": ["a"]});
    let used = json!({"id": "k", "name": "K", "key_hash": HASH, "last_used_at": null, "note": 9_007_199_254_740_993_u64});
    write(directory.path(), &json!([other, used, 7]));
    let keys = Keys::open(directory.path()).unwrap();
    keys.verify(KEY).unwrap();
    assert_eq!(file(directory.path())[1]["last_used_at"], Value::Null);
    keys.flush_last_used().await.unwrap();
    let written = file(directory.path());
    assert_eq!((&written[0], &written[2], &written[1]["note"]), (&other, &json!(7), &used["note"]));
    assert_eq!(written[1]["last_used_at"].as_str().map(str::len), Some("2026-11-23T14:48:07Z".len()));
}

#[tokio::test]
async fn two_processes_lose_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let others: Vec<_> = (0..2).map(|_| part("keys::process_that_makes_keys", directory.path()).spawn().unwrap()).collect();
    make_keys(directory.path()).await;
    for other in others {
        let output = other.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert_eq!(file(directory.path()).as_array().unwrap().len(), 3 * 20);
    assert_eq!(Keys::open(directory.path()).unwrap().list().len(), 3 * 20);
}

#[tokio::test]
#[ignore = "a part of `two_processes_lose_no_key`, which starts it"]
async fn process_that_makes_keys() {
    if plays_a_part() {
        make_keys(Path::new(".")).await;
    }
}

/// Makes 20 keys, four at a time, each through its own view of the file, and deletes some of them again.
async fn make_keys(directory: &Path) {
    let makers = (0..4).map(|_| {
        let keys = Keys::open(directory).unwrap();
        tokio::spawn(async move {
            for _ in 0..5 {
                let gone = keys.create("gone", None).await.unwrap();
                let made = keys.create("kept", None).await.unwrap();
                assert!(keys.delete(&gone.record.id).await.unwrap());
                keys.verify(made.secret.expose_secret()).unwrap();
                keys.flush_last_used().await.unwrap();
            }
        })
    });
    for maker in makers.collect::<Vec<_>>() {
        maker.await.unwrap();
    }
}
