//! The tools that ask databases, with SQLite.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use synapse::definition::databases;
use synapse::tool::Tool;
use synapse::tool::sql::{Databases, tools};

use crate::{call, call_within};

/// A data directory with one database.
struct Setup {
    directory: tempfile::TempDir,
    tools: Vec<Arc<dyn Tool>>,
}

/// Makes the tools for records of `db_configs.json`.
fn made(data_dir: &Path, records: &Value) -> Vec<Arc<dyn Tool>> {
    let (given, problems) = databases(&records.to_string()).unwrap();
    assert_eq!(problems, []);
    tools(&Arc::new(Databases::new(data_dir)), &given)
}

impl Setup {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(directory.path().join("tides.db")).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        let script = "CREATE TABLE tides (id INTEGER PRIMARY KEY, harbour TEXT NOT NULL, height REAL, photo BLOB, day DATE DEFAULT 'x');
             INSERT INTO tides VALUES (1, 'Büsum', 3.5, x'0102', '2026-11-23'), (2, 'Husum', NULL, NULL, NULL);
             CREATE VIEW high AS SELECT * FROM tides WHERE height > 3";
        sqlx::raw_sql(script).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let tools = made(
            directory.path(),
            &json!([{"id": "d1", "name": "tides", "description": "Tides.", "connection_string": "sqlite:tides.db"}]),
        );
        Self { directory, tools }
    }

    fn tool(&self, name: &str) -> &Arc<dyn Tool> {
        self.tools.iter().find(|tool| tool.description().name == name).unwrap()
    }

    async fn query(&self, query: &str) -> Result<Value, String> {
        let told = call(self.tool("run_sql_query"), json!({"query": query})).await?;
        Ok(serde_json::from_str(&told).unwrap())
    }
}

#[tokio::test]
async fn a_query_returns_columns_and_rows() {
    let setup = Setup::new().await;
    let told = setup.query("SELECT *, 1 AS 'größe' FROM tides ORDER BY id;").await.unwrap();
    let rows = json!([[1, "Büsum", 3.5, "(2 bytes)", "2026-11-23", 1], [2, "Husum", null, null, null, 1]]);
    assert_eq!(told, json!({"columns": ["id", "harbour", "height", "photo", "day", "größe"], "rows": rows, "truncated": false}));
    let none = setup.query("SELECT id FROM tides WHERE 0").await.unwrap();
    assert_eq!(none, json!({"columns": ["id"], "rows": [], "truncated": false}));
    assert_eq!(setup.query("SELECT nope FROM tides").await.unwrap_err(), "database `tides`: no such column: nope");
}

#[tokio::test]
async fn tables_and_their_columns_are_listed() {
    let setup = Setup::new().await;
    let told = call(setup.tool("list_tables"), json!({})).await.unwrap();
    assert_eq!(told, r#"{"columns":["name","type"],"rows":[["high","view"],["tides","table"]],"truncated":false}"#);
    let told: Value = serde_json::from_str(&call(setup.tool("get_table_schema"), json!({"table": "tides"})).await.unwrap()).unwrap();
    assert_eq!(told["rows"][1], json!(["harbour", "TEXT", 0, null, 0]));
    for name in ["nope", "x') UNION SELECT sql FROM sqlite_schema --", "tides'"] {
        let failure = call(setup.tool("get_table_schema"), json!({"table": name})).await.unwrap_err();
        assert!(failure.contains("does not exist; `list_tables` shows"), "{failure}");
    }
}

#[tokio::test]
async fn nothing_can_be_written() {
    let setup = Setup::new().await;
    let before = std::fs::read(setup.directory.path().join("tides.db")).unwrap();
    for query in [
        "DELETE FROM tides",
        "SELECT 1; DELETE FROM tides",
        "WITH a AS (SELECT 1) DELETE FROM tides",
        "WITH a AS (SELECT 1) INSERT INTO tides (harbour) SELECT 'x' FROM a",
        "ATTACH 'other.db' AS other",
        "SELECT 1; ATTACH 'other.db' AS other",
        "PRAGMA query_only = off",
        "EXPLAIN PRAGMA query_only = off",
        "VACUUM INTO 'copy.db'",
        "SELECT load_extension('x')",
        "CREATE TEMP TABLE t (a)",
    ] {
        assert!(setup.query(query).await.is_err(), "{query}");
    }
    assert_eq!(std::fs::read(setup.directory.path().join("tides.db")).unwrap(), before);
    let names: Vec<_> = std::fs::read_dir(setup.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["tides.db"]);
}

#[tokio::test]
async fn rows_cells_and_bytes_are_bounded() {
    let setup = Setup::new().await;
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT i FROM n";
    let told = setup.query(numbers).await.unwrap();
    assert_eq!((told["rows"].as_array().unwrap().len(), &told["truncated"]), (200, &json!(true)));
    let tool = setup.tool("run_sql_query");
    let told: Value = serde_json::from_str(&call(tool, json!({"query": numbers, "limit": 1_000})).await.unwrap()).unwrap();
    assert_eq!(told["rows"].as_array().unwrap().len(), 1_000);
    let told = setup.query("SELECT printf('%.*c', 5000, 'ä')").await.unwrap();
    assert!(told["rows"][0][0].as_str().unwrap().ends_with("… (5000 characters)"), "{told}");
    let wide = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT printf('%.*c', 2000, 'x') AS a, printf('%.*c', 2000, 'x') AS b, \
         printf('%.*c', 2000, 'x') AS c, printf('%.*c', 2000, 'x') AS d FROM n";
    let told = setup.query(wide).await.unwrap();
    assert!(told.to_string().len() < 1 << 20 && told["truncated"] == json!(true));
}

#[tokio::test]
async fn a_statement_that_never_ends_is_stopped() {
    let setup = Setup::new().await;
    let endless = json!({"query": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"});
    let begun = Instant::now();
    let failure = call_within(setup.tool("run_sql_query"), endless, Duration::from_millis(300)).await.unwrap_err();
    assert!(failure.contains("in time") || failure.contains("too long"), "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(setup.query("SELECT 1").await.unwrap()["rows"], json!([[1]]));
}

#[tokio::test]
async fn statements_that_nobody_waits_for_stop_and_give_back_their_turns() {
    let setup = Setup::new().await;
    let tool = setup.tool("run_sql_query");
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let ask = |query: &'static str, time| {
        let tool = tool.clone();
        async move { call_within(&tool, json!({"query": query}), time).await }
    };
    let asking: Vec<_> = (0..8).map(|_| tokio::spawn(ask(endless, Duration::from_mins(1)))).collect();
    while ask("SELECT 1", Duration::from_millis(200)).await.is_ok() {}
    asking.iter().for_each(tokio::task::JoinHandle::abort);
    ask("SELECT 1", Duration::from_secs(15)).await.unwrap();
}

#[tokio::test]
async fn one_value_cannot_take_all_memory_or_time() {
    let setup = Setup::new().await;
    for query in [
        "SELECT zeroblob(900000000)",
        "SELECT hex(zeroblob(1000000))",
        "SELECT instr(zeroblob(100000000), zeroblob(50000000) || x'01')",
        "WITH RECURSIVE n(x) AS (SELECT 'x' UNION ALL SELECT x || x FROM n) SELECT max(length(x)) FROM n",
        "SELECT group_concat(printf('%.*c', 100000, 'x')) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20) SELECT * FROM n)",
    ] {
        let failure = setup.query(query).await.unwrap_err();
        assert!(failure.ends_with("too large; ask for less"), "{query}: {failure}");
    }
    assert_eq!(setup.query("SELECT printf('%.*c', 900000000, 'x')").await.unwrap()["rows"], json!([[null]]));
    let columns = vec!["randomblob(1000000)"; 257].join(",");
    assert!(setup.query(&format!("SELECT {columns}")).await.unwrap_err().contains("too many columns"));
    let calls = vec!["length(randomblob(1000000))"; 1_000].join("+");
    assert!(setup.query(&format!("SELECT {calls}")).await.unwrap_err().contains("too large"));
    assert_eq!(setup.query("SELECT 1").await.unwrap()["rows"], json!([[1]]));
}

/// The store is SQLite in the same process.
#[tokio::test]
async fn a_question_leaves_no_limit_to_other_connections() {
    let setup = Setup::new().await;
    setup.query("SELECT 1").await.unwrap();
    let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>("PRAGMA hard_heap_limit").fetch_one(&mut connection).await.unwrap(), 0);
    assert_eq!(sqlx::query_scalar::<_, i64>("SELECT length(zeroblob(9000000))").fetch_one(&mut connection).await.unwrap(), 9_000_000);
}

#[tokio::test]
async fn a_table_with_many_columns_can_be_asked_for_some_of_them() {
    let setup = Setup::new().await;
    let columns: Vec<_> = (0..300).map(|column| format!("c{column}")).collect();
    let options = SqliteConnectOptions::new().filename(setup.directory.path().join("tides.db"));
    let mut connection = options.connect().await.unwrap();
    let wide = format!("CREATE TABLE wide ({})", columns.join(","));
    sqlx::raw_sql(sqlx::AssertSqlSafe(wide)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(setup.query("SELECT c299 FROM wide").await.unwrap()["columns"], json!(["c299"]));
    assert!(setup.query("SELECT * FROM wide").await.unwrap_err().contains("too many columns"));
}

#[tokio::test]
async fn an_agent_asks_only_the_databases_that_it_is_given() {
    let setup = Setup::new().await;
    assert!(made(setup.directory.path(), &json!([])).is_empty());
    let two = json!([
        {"id": "d1", "name": "tides", "connection_string": "sqlite:tides.db"},
        {"id": "d2", "name": "gone", "connection_string": "sqlite:///nowhere/at/all.db"},
        {"id": "d3", "name": "odd", "connection_string": "mysql://u:secret@h/d"},
        {"id": "d4", "name": "off", "connection_string": "postgres://u:secret@127.0.0.1:1/d"},
    ]);
    let tools = made(setup.directory.path(), &two);
    let ask = async |database: Option<&str>| call(&tools[0], json!({"query": "SELECT 1", "database": database})).await;
    assert!(ask(Some("d1")).await.is_ok() && ask(Some("tides")).await.is_ok());
    assert_eq!(ask(None).await.unwrap_err(), "`database` is missing; name one of `tides`, `gone`, `odd`, `off`");
    assert!(ask(Some("other")).await.unwrap_err().contains("there is no such database"));
    for (name, told) in [("gone", "cannot be opened"), ("odd", "`connection_string` cannot be used"), ("off", "cannot be reached")] {
        let failure = ask(Some(name)).await.unwrap_err();
        assert!(failure.contains(told) && !failure.contains("secret"), "{failure}");
    }
    assert!(tools[0].description().description.contains("`tides`"));
}
