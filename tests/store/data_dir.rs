//! The directory as a whole: its lock, its starter, its admin token, its check.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::ExposeSecret;
use synapse::error::Reason;
use synapse::store::{AdminToken, DataDirLock, DefinitionFiles, check, write_starter};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("new/data");
    let lock = DataDirLock::take(&data_dir).unwrap();
    assert_eq!(mode(&data_dir), 0o700);
    let error = DataDirLock::take(&data_dir).unwrap_err();
    assert_eq!(error.reason(), Reason::FailedPrecondition);
    assert!(error.detail().starts_with(&format!("another synapse serves `{}`", data_dir.display())), "{error}");
    drop(lock);
    DataDirLock::take(&data_dir).unwrap();
}

#[test]
fn the_starter_is_written_once_and_has_no_problem() {
    let directory = tempfile::tempdir().unwrap();
    assert!(write_starter(directory.path()).unwrap());
    assert!(!write_starter(directory.path()).unwrap());
    assert_eq!(check(directory.path()), []);
    let definitions = DefinitionFiles::open(directory.path(), &std::collections::BTreeMap::new()).unwrap().current();
    assert_eq!((definitions.agents[0].name.as_str(), definitions.agents.len()), ("Assistant", 3));
    assert_eq!(definitions.agents[0].system_prompt, "You are a helpful assistant.");
    assert_eq!(definitions.orchestrations[0].steps.len(), 6);
    assert_eq!(definitions.settings.text("model"), Some("local.smollm2-135m-instruct"));
}

#[test]
fn the_starter_leaves_what_people_wrote() {
    for name in ["user_agents.json", "orchestrations.json", "settings.json"] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(name), "mine").unwrap();
        assert!(!write_starter(directory.path()).unwrap());
        assert_eq!(fs::read_to_string(directory.path().join(name)).unwrap(), "mine");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}

#[test]
fn an_interrupted_starter_is_completed() {
    let directory = tempfile::tempdir().unwrap();
    write_starter(directory.path()).unwrap();
    fs::remove_file(directory.path().join("user_agents.json")).unwrap();
    assert!(write_starter(directory.path()).unwrap());
    assert_eq!(check(directory.path()), []);
}

#[test]
fn the_admin_token_is_made_once_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let token = AdminToken::open(directory.path(), None).unwrap();
    let again = AdminToken::open(directory.path(), None).unwrap();
    let secret = token.secret().expose_secret();
    assert_eq!((secret.len(), secret.starts_with("syn-admin-")), (74, true));
    assert_eq!(mode(&directory.path().join("admin_token")), 0o600);
    assert!(again.verify(secret) && !again.verify(&secret[1..]) && !again.verify(""));
    assert!(!format!("{token:?}").contains(&secret[10..]));
}

#[test]
fn a_configured_admin_token_writes_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let token = AdminToken::open(directory.path(), Some(&"0123456789abcdef".to_owned().into())).unwrap();
    assert!(token.verify("0123456789abcdef"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn an_empty_admin_token_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("admin_token"), "\n").unwrap();
    let error = AdminToken::open(directory.path(), None).unwrap_err();
    assert_eq!(error.reason(), Reason::FailedPrecondition);
}

#[test]
fn the_check_names_every_problem_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("user_agents.json", r#"[{"id": "a", "type": "orchestrator", "orchestration_id": "o2", "name": []}]"#);
    write(
        "orchestrations.json",
        r#"[{"id": "o", "entry_step_id": "s", "steps": [{"id": "s", "type": "agent", "agent_id": "b", "next_step_id": "t"}]}]"#,
    );
    write("settings.json", "{");
    write("api_keys.json", r#"[{"id": "k", "key_hash": "12"}]"#);
    write("vault", "");
    fs::set_permissions(directory.path().join("api_keys.json"), fs::Permissions::from_mode(0o644)).unwrap();
    let problems: Vec<_> = check(directory.path()).iter().map(ToString::to_string).collect();
    let expected = [
        "`user_agents.json`, `a`, `name`: is an array; write a text",
        "`orchestrations.json`, `o`, `steps.s.next_step_id`: step `t` does not exist",
        "`settings.json`: is no valid JSON: EOF while parsing an object at line 1 column 1",
        "`api_keys.json`, `[0]`, `key_hash`: is no SHA-256 in hexadecimal, so this key is not accepted",
        "`user_agents.json`, `a`, `orchestration_id`: orchestration `o2` does not exist",
        "`orchestrations.json`, `o`, `steps.s.agent_id`: agent `b` does not exist",
        "`api_keys.json`: may be read by others (mode 644); run `chmod 600` on it",
    ];
    assert_eq!(problems[..7], expected);
    assert!(problems[7].starts_with("`vault`: is no readable directory: "), "{problems:?}");
}

#[test]
fn the_check_of_a_directory_that_is_not_there_says_so() {
    let problems = check(Path::new("/nonexistent/synapse"));
    assert!(problems[0].fatal && problems[0].to_string().starts_with("`/nonexistent/synapse`: is no readable directory"));
}
