//! Model calls in a real database.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use synapse::store::{Calls, ModelCall, ModelCalls, NewTurn, Outcome, Sessions, Store, Totals};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

fn call(agent: &str, session: &str, seconds: i64) -> ModelCall {
    ModelCall {
        created_at: at(seconds),
        agent_id: agent.to_owned(),
        session_id: session.to_owned(),
        model: "gpt-x".to_owned(),
        provider: "openai".to_owned(),
        input_tokens: 100,
        output_tokens: 10,
        cached_tokens: 40,
        cost: Some(0.25),
        latency: 1200,
        outcome: Outcome::Answered,
    }
}

fn turn(user: &str) -> NewTurn {
    NewTurn {
        session_id: "s".to_owned(),
        agent_id: "a".to_owned(),
        agent_name: "A".to_owned(),
        user: user.to_owned(),
        images: Vec::new(),
        assistant: "yes".to_owned(),
        model: "m".to_owned(),
        input_tokens: 1,
        output_tokens: 1,
    }
}

async fn open(directory: &Path) -> (Sessions, ModelCalls) {
    let store = Store::open(directory).await.unwrap();
    (store.sessions(), store.model_calls())
}

/// Writes on until there are so many calls.
async fn until(sessions: &Sessions, calls: &ModelCalls, count: u64) {
    let written = async {
        while calls.total(Calls::default()).await.unwrap().calls != count {
            sessions.flush().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), written).await.unwrap();
}

#[tokio::test]
async fn a_call_is_durable_before_the_turn_that_follows_it() {
    let directory = tempfile::tempdir().unwrap();
    let (sessions, calls) = open(directory.path()).await;
    let recorded = ModelCall { agent_id: "a \"\\ é \u{1f642}\n".to_owned(), cost: None, outcome: Outcome::TimedOut, ..call("a", "s", 0) };
    calls.record(recorded.clone());
    calls.record(call("a", "s", 1));
    sessions.append(turn("x")).await.unwrap();
    assert_eq!(calls.list(Calls::default(), 10).await.unwrap(), [call("a", "s", 1), recorded.clone()]);
    drop((sessions, calls));
    let (_, calls) = open(directory.path()).await;
    assert_eq!(calls.list(Calls::default(), 10).await.unwrap(), [call("a", "s", 1), recorded]);
}

#[tokio::test]
async fn a_call_is_kept_though_no_turn_follows() {
    let directory = tempfile::tempdir().unwrap();
    let (_, calls) = open(directory.path()).await;
    calls.record(call("a", "s", 0));
    let kept = async { while calls.total(Calls::default()).await.unwrap().calls == 0 {} };
    tokio::time::timeout(Duration::from_secs(30), kept).await.unwrap();
}

#[tokio::test]
async fn calls_are_added_up_by_agent_session_and_time() {
    let directory = tempfile::tempdir().unwrap();
    let (sessions, calls) = open(directory.path()).await;
    assert_eq!(calls.total(Calls::default()).await.unwrap(), Totals::default());
    for (agent, session, seconds) in [("a", "s", 0), ("a", "t", 10), ("b", "s", 20)] {
        calls.record(call(agent, session, seconds));
    }
    calls.record(ModelCall { cost: None, outcome: Outcome::Cancelled, ..call("b", "t", 30) });
    sessions.flush().await.unwrap();
    let all = Totals { calls: 4, input_tokens: 400, output_tokens: 40, cached_tokens: 160, cost: 0.75, unpriced: 1 };
    assert_eq!(calls.total(Calls::default()).await.unwrap(), all);
    let count = async |which: Calls<'_>| calls.total(which).await.unwrap().calls;
    let (agent_id, session_id, since) = (Some("a"), Some("s"), Some(at(10)));
    assert_eq!(count(Calls { agent_id, ..Calls::default() }).await, 2);
    assert_eq!(count(Calls { session_id, ..Calls::default() }).await, 2);
    assert_eq!(count(Calls { since, ..Calls::default() }).await, 3);
    assert_eq!(count(Calls { agent_id, session_id, since: None }).await, 1);
    assert_eq!(count(Calls { agent_id, session_id, since }).await, 0);
    assert_eq!(calls.list(Calls { agent_id, ..Calls::default() }, 1).await.unwrap(), [call("a", "t", 10)]);
}

#[tokio::test]
async fn nonsense_of_a_provider_fails_no_turn_and_no_total() {
    let directory = tempfile::tempdir().unwrap();
    let (sessions, calls) = open(directory.path()).await;
    for number in 0..3 {
        calls.record(ModelCall { cost: Some(f64::NAN), input_tokens: u64::MAX, latency: u64::MAX, ..call("a\0b", "s", number) });
    }
    sessions.append(turn("x")).await.unwrap();
    let total = calls.total(Calls { agent_id: Some("a\0b"), ..Calls::default() }).await.unwrap();
    assert_eq!((total.calls, total.unpriced, total.input_tokens), (3, 3, 3 << 40));
}

#[tokio::test]
async fn more_calls_than_the_queue_holds_are_all_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (sessions, calls) = open(directory.path()).await;
    for number in 0..5000 {
        calls.record(call("a", "s", number));
    }
    until(&sessions, &calls, 5000).await;
}

#[tokio::test]
async fn old_calls_are_deleted_and_newer_ones_stay() {
    let directory = tempfile::tempdir().unwrap();
    let (sessions, calls) = open(directory.path()).await;
    for number in 0..1200 {
        calls.record(call("a", "s", number));
        if number % 500 == 0 {
            sessions.flush().await.unwrap();
        }
    }
    sessions.flush().await.unwrap();
    assert_eq!(calls.purge(at(1100)).await.unwrap(), 1100);
    let kept = calls.list(Calls::default(), 1000).await.unwrap();
    assert_eq!((kept.len(), kept[99].created_at), (100, at(1100)));
    assert_eq!(calls.purge(at(1100)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_database_of_version_1_keeps_its_turns() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("synapse.db");
    let mut database = SqliteConnectOptions::new().filename(&file).create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql(include_str!("../../src/store/schema/1_sessions.sql")).execute(&mut database).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO conversations VALUES (1, 's', 'a', 'A', 1, 1000, 1000);
         INSERT INTO turns VALUES (1, 1, 1000, 5, 'm', 1, 2, 'Is it kept?', 'yes', NULL)",
    )
    .execute(&mut database)
    .await
    .unwrap();
    database.close().await.unwrap();
    let (sessions, calls) = open(directory.path()).await;
    calls.record(call("a", "s", 0));
    sessions.append(turn("And this?")).await.unwrap();
    let turns = sessions.recent("s", "a", 1000).await.unwrap();
    assert_eq!(turns.iter().map(|turn| turn.user.as_str()).collect::<Vec<_>>(), ["Is it kept?", "And this?"]);
    assert_eq!(calls.total(Calls::default()).await.unwrap().calls, 1);
}
