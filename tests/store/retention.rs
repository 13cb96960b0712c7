//! What goes by itself, because it is too old or too much.

#[tokio::test]
async fn calls_older_than_the_settings_want_go_by_themselves() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("settings.json"), r#"{"usage_retention_days": 2}"#).unwrap();
    let definitions = synapse::store::DefinitionFiles::open(directory.path(), &std::collections::BTreeMap::new()).unwrap();
    let (sessions, calls) = open(directory.path()).await;
    let days = |days: i64| synapse::clock::now() - SignedDuration::from_hours(days * 24);
    for age in [1, 3, 500] {
        calls.record(ModelCall { created_at: days(age), ..call("a", "s", 0) });
    }
    sessions.flush().await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let keeping = tokio::spawn(calls.clone().keep_recent(definitions.into(), stop.clone()));
    until(&sessions, &calls, 1).await;
    stop.cancel();
    keeping.await.unwrap();
}

