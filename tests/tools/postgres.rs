//! The tools that ask databases, with a real PostgreSQL server: `tests/postgres/run` starts one and runs this.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use synapse::definition::databases;
use synapse::tool::Tool;
use synapse::tool::sql::{Databases, tools};

use crate::{call, call_within};

/// Returns the tools for the server that `SYNAPSE_TEST_POSTGRES` names.
#[expect(clippy::disallowed_methods, reason = "the script that starts the server tells where it is")]
fn given() -> Vec<Arc<dyn Tool>> {
    let url = std::env::var("SYNAPSE_TEST_POSTGRES").unwrap();
    let (given, _) = databases(&json!([{"id": "d1", "name": "tides", "connection_string": url}]).to_string()).unwrap();
    tools(&Arc::new(Databases::new(Path::new("."))), &given)
}

async fn query(query: &str) -> Result<Value, String> {
    Ok(serde_json::from_str(&call(&given()[0], json!({"query": query})).await?).unwrap())
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/postgres/run"]
async fn every_type_becomes_something_readable() {
    let told = query(
        "SELECT true, 1::int2, 9007199254740993::int8, 1.5::float8, 'NaN'::float8, 1.10::numeric, 'ä'::text, 'x'::varchar, '\\x0102'::bytea, \
         '2026-11-23 10:00:00+00'::timestamptz AT TIME ZONE 'UTC', '2026-11-23'::date, '{\"a\": [1]}'::jsonb, ARRAY[1,2], NULL, \
         '00000000-0000-0000-0000-000000000001'::uuid, '10.0.0.0/8'::cidr, int4range(1, 5), 'glad'::mood, (1,2)::pair, '1 day'::interval",
    );
    let row = json!([
        true, 1, 9_007_199_254_740_993_i64, 1.5, "NaN", "1.10", "ä", "x", "(2 bytes)", "2026-11-23 10:00:00", "2026-11-23", {"a": [1]},
        "{1,2}", null, "00000000-0000-0000-0000-000000000001", "10.0.0.0/8", "[1,5)", "glad", "(1,2)", "1 day"
    ]);
    assert_eq!(told.await.unwrap()["rows"], json!([row]));
    let none = query("SELECT id AS x, harbour FROM tides WHERE false").await.unwrap();
    assert_eq!(none, json!({"columns": ["x", "harbour"], "rows": [], "truncated": false}));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/postgres/run"]
async fn tables_columns_plans_and_limits_are_told() {
    let told = call(&given()[1], json!({})).await.unwrap();
    assert_eq!(told, r#"{"columns":["schema","name","type"],"rows":[["public","tides","base table"]],"truncated":false}"#);
    for table in ["tides", "public.tides"] {
        let told: Value = serde_json::from_str(&call(&given()[2], json!({"table": table})).await.unwrap()).unwrap();
        assert_eq!(told["rows"][1], json!(["public", "harbour", "text", false, null]));
    }
    assert!(call(&given()[2], json!({"table": "x') OR ('1'='1"})).await.unwrap_err().contains("does not exist"));
    assert!(query("EXPLAIN SELECT * FROM tides").await.unwrap()["rows"][0][0].as_str().unwrap().contains("Scan"));
    assert!(query("EXPLAIN (FORMAT JSON) SELECT 1").await.unwrap()["rows"][0][0].is_array());
    let told = query("SELECT * FROM generate_series(1, 1000000)").await.unwrap();
    assert_eq!((told["rows"].as_array().unwrap().len(), &told["truncated"]), (200, &json!(true)));
    assert_eq!(query("SELECT 1 LIMIT 200").await.unwrap()["truncated"], json!(false));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/postgres/run"]
async fn a_long_value_is_cut_on_the_server() {
    let told =
        query("SELECT repeat('ä', 20000000) AS a, repeat('b', 2000) AS a, convert_to(repeat('c', 3000), 'UTF8') -- end").await.unwrap();
    let (long, whole) = (format!("{}… (20000000 characters)", "ä".repeat(2_000)), "b".repeat(2_000));
    assert_eq!(told["columns"], json!(["a", "a", "convert_to"]));
    assert_eq!(told["rows"], json!([[long, whole, "(3000 bytes)"]]));
    let plan = query("EXPLAIN VERBOSE SELECT repeat('x', 20000000), '$$; ''COMMIT'").await.unwrap();
    assert!(plan.to_string().len() < 5_000, "{}", plan.to_string().len());
    assert_eq!(query("SELECT 1) AS a, (SELECT 2").await.unwrap_err(), "database `tides`: syntax error at or near \")\"");
    assert_eq!(query("SELECT FROM tides").await.unwrap()["rows"], json!([[], []]));
    assert_eq!(query("SELECT id FROM tides ORDER BY id DESC").await.unwrap()["rows"], json!([[2], [1]]));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/postgres/run"]
async fn nothing_can_be_written() {
    for statement in [
        "WITH gone AS (DELETE FROM tides RETURNING *) SELECT * FROM gone",
        "SELECT * INTO copy FROM tides",
        "SELECT * FROM tides FOR UPDATE",
        "EXPLAIN ANALYZE DELETE FROM tides",
        "EXPLAIN (ANALYZE) WITH gone AS (DELETE FROM tides RETURNING *) SELECT * FROM gone",
        "SELECT nextval('numbers')",
        "SELECT write_it()",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT E'\\'; COMMIT; DELETE FROM tides; --'",
        "SELECT /* /* */ 1; */ 1",
        "COPY tides TO PROGRAM 'cat'",
    ] {
        let outcome = query(statement).await;
        assert!(outcome.is_err() || statement.starts_with("SELECT E"), "{statement}: {outcome:?}");
    }
    assert_eq!(query("SELECT count(*) FROM tides").await.unwrap()["rows"], json!([[2]]));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/postgres/run"]
async fn one_call_leaves_nothing_to_the_next() {
    query("SELECT set_config('synapse.left', 'x', false), pg_advisory_lock(1)").await.unwrap();
    let told = query("SELECT current_setting('synapse.left', true), pg_try_advisory_lock(1)").await.unwrap();
    assert_eq!(told["rows"], json!([[null, true]]));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/postgres/run"]
async fn a_statement_that_takes_too_long_is_stopped_on_the_server() {
    let failure = call_within(&given()[0], json!({"query": "SELECT pg_sleep(600)"}), Duration::from_millis(500)).await.unwrap_err();
    assert!(failure.contains("in time") || failure.contains("timeout"), "{failure}");
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND state = 'active' AND pid <> pg_backend_pid()";
    let deadline = tokio::time::Instant::now() + crate::PATIENCE;
    while query(sleeping).await.unwrap()["rows"] != json!([[0]]) {
        assert!(tokio::time::Instant::now() < deadline, "the statement goes on");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/postgres/run"]
async fn errors_help_and_tell_no_password() {
    assert_eq!(query("SELECT nope FROM tides").await.unwrap_err(), "database `tides`: column \"nope\" does not exist");
    assert!(query("SELECT repeat('x', 1000000)::int").await.unwrap_err().len() < 3_000);
    let (wrong, _) = databases(r#"[{"id": "d", "connection_string": "postgresql+psycopg2://postgres:hunter2@127.0.0.1:1/x"}]"#).unwrap();
    let tools = tools(&Arc::new(Databases::new(Path::new("."))), &wrong);
    let failure = call(&tools[0], json!({"query": "SELECT 1"})).await.unwrap_err();
    assert!(failure.contains("cannot be reached") && !failure.contains("hunter2"), "{failure}");
}
