//! Definitions that people edit while the server runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use synapse::store::DefinitionFiles;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

fn open(directory: &Path) -> DefinitionFiles {
    DefinitionFiles::open(directory, &BTreeMap::new()).unwrap()
}

fn names(files: &DefinitionFiles) -> Vec<String> {
    files.current().agents.iter().map(|agent| agent.name.clone()).collect()
}

#[test]
fn an_empty_directory_defines_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let files = open(directory.path());
    assert!(files.current().agents.is_empty() && files.current().orchestrations.is_empty() && files.problems().is_empty());
}

#[test]
fn settings_of_the_environment_stand_above_the_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("settings.json"), r#"{"model": "a", "openai_key": "k"}"#).unwrap();
    let overlay = BTreeMap::from([("model".to_owned(), "b".into())]);
    let files = DefinitionFiles::open(directory.path(), &overlay).unwrap();
    assert_eq!((files.current().settings.text("model"), files.current().settings.text("openai_key")), (Some("b"), Some("k")));
    fs::write(directory.path().join("settings.json"), r#"{"model": "c"}"#).unwrap();
    files.reload_if_changed();
    assert_eq!((files.current().settings.text("model"), files.current().settings.text("openai_key")), (Some("b"), None));
}

#[test]
fn every_unusable_file_stops_the_start_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("user_agents.json"), "{}").unwrap();
    fs::write(directory.path().join("settings.json"), [0xff]).unwrap();
    let problems = DefinitionFiles::open(directory.path(), &BTreeMap::new()).unwrap_err();
    assert_eq!(problems.iter().map(|problem| problem.file.as_str()).collect::<Vec<_>>(), ["user_agents.json", "settings.json"]);
    assert!(problems.iter().all(|problem| problem.fatal));
}

#[test]
fn a_broken_edit_keeps_the_last_good_version_and_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("user_agents.json");
    fs::write(&path, r#"[{"id": "a", "name": "One"}]"#).unwrap();
    let files = open(directory.path());
    fs::write(&path, r#"[{"id": "a", "name": "Two"}"#).unwrap();
    files.reload_if_changed();
    assert_eq!(names(&files), ["One"]);
    assert_eq!((files.problems().len(), files.problems()[0].file.as_str()), (1, "user_agents.json"));
    fs::write(&path, r#"[{"id": "a", "name": "Two"}]"#).unwrap();
    files.reload_if_changed();
    assert_eq!(names(&files), ["Two"]);
    assert!(files.problems().is_empty());
}

#[test]
fn edits_of_equal_length_in_the_same_instant_are_seen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("user_agents.json");
    fs::write(&path, r#"[{"id": "a", "name": "0"}]"#).unwrap();
    let files = open(directory.path());
    let instant = fs::metadata(&path).unwrap().modified().unwrap();
    for digit in ["1", "2", "3", "4"] {
        fs::write(&path, format!(r#"[{{"id": "a", "name": "{digit}"}}]"#)).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(instant).unwrap();
        files.reload_if_changed();
        assert_eq!(names(&files), [digit]);
    }
}

#[tokio::test]
async fn an_edit_is_in_use_within_two_seconds_and_the_watch_stops() {
    let directory = tempfile::tempdir().unwrap();
    let files = Arc::new(open(directory.path()));
    let stop = CancellationToken::new();
    let watch = tokio::spawn(Arc::clone(&files).watch(stop.clone()));
    fs::write(directory.path().join("user_agents.json"), r#"[{"id": "a", "name": "New"}]"#).unwrap();
    let deadline = Instant::now() + Duration::from_secs(2);
    while names(&files) != ["New"] {
        assert!(Instant::now() < deadline, "the edit was not seen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(2), watch).await.unwrap().unwrap();
}
