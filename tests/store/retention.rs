//! What goes by itself, because it is too old or too much.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use synapse::store::{Calls, DefinitionFiles, ModelCall, NewRun, Outcome, RunFacts, RunFilter, RunRow, RunStatus, Store};
use tokio_util::sync::CancellationToken;

use crate::runs::sample::{facts, row, run};

fn days_ago(days: i64) -> Timestamp {
    synapse::clock::now() - SignedDuration::from_hours(days * 24)
}

/// Keeps only what these settings want, until it is so.
async fn keep(store: &Store, directory: &Path, settings: &str, so: impl AsyncFn() -> bool) {
    fs::write(directory.join("settings.json"), settings).unwrap();
    let definitions = DefinitionFiles::open(directory, &BTreeMap::new()).unwrap();
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(store.clone().keep_recent(definitions.into(), stop.clone()));
    let wait = async {
        while !so().await {
            store.sessions().flush().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
    stop.cancel();
    keeping.await.unwrap();
}

async fn ended(store: &Store, run_id: &str, days: i64, bytes: usize) {
    let facts = RunFacts { ended_at: Some(days_ago(days)), ..facts(RunStatus::Failed) };
    let row = RunRow { body: "x".repeat(bytes), ..row(1) };
    store.runs().create(NewRun { facts, row, ..run(run_id) }).await.unwrap();
}

async fn kept(store: &Store) -> Vec<String> {
    let mut runs: Vec<_> =
        store.runs().list(RunFilter::default(), None, 1000).await.unwrap().runs.into_iter().map(|run| run.run_id).collect();
    runs.sort();
    runs
}

/// Returns how many pages the database has, and how many of them are free.
async fn pages(directory: &Path) -> (i64, i64) {
    let mut database = SqliteConnectOptions::new().filename(directory.join("synapse.db")).connect().await.unwrap();
    let pages = sqlx::query_as("SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count");
    pages.fetch_one(&mut database).await.unwrap()
}

#[tokio::test]
async fn calls_older_than_the_settings_want_go_by_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    for age in [1, 3, 500] {
        store.model_calls().record(ModelCall {
            created_at: days_ago(age),
            agent_id: "a".to_owned(),
            session_id: "s".to_owned(),
            model: "m".to_owned(),
            provider: "openai".to_owned(),
            input_tokens: 1,
            output_tokens: 1,
            cached_tokens: 0,
            cost: None,
            latency: 1,
            outcome: Outcome::Answered,
        });
    }
    store.sessions().flush().await.unwrap();
    let so = async || store.model_calls().total(Calls::default()).await.unwrap().calls == 1;
    keep(&store, directory.path(), r#"{"usage_retention_days": 2}"#, so).await;
}

#[tokio::test]
async fn finished_runs_go_when_they_are_too_old_or_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    for (run_id, days) in [("a", 1), ("b", 20), ("c", 29), ("d", 31)] {
        ended(&store, run_id, days, 1).await;
    }
    store.runs().create(run("open")).await.unwrap();
    keep(&store, directory.path(), "{}", async || kept(&store).await == ["a", "b", "c", "open"]).await;
    keep(&store, directory.path(), r#"{"run_retention_days": 28}"#, async || kept(&store).await == ["a", "b", "open"]).await;
    keep(&store, directory.path(), r#"{"run_retention_count": 1}"#, async || kept(&store).await == ["a", "open"]).await;
}

#[tokio::test]
async fn the_room_of_what_went_is_given_back_to_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    for number in 0..100 {
        ended(&store, &number.to_string(), 31, 50_000).await;
    }
    let (before, _) = pages(directory.path()).await;
    assert!(before > 1200, "{before} pages");
    let so = async || {
        let (pages, free) = pages(directory.path()).await;
        pages < 300 && free <= pages / 10
    };
    keep(&store, directory.path(), "{}", so).await;
}
