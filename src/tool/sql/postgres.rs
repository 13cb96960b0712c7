//! Questions to PostgreSQL, inside a transaction that may not write and is rolled back.

use std::str::FromStr;

use futures_util::TryStreamExt;
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Connection, Executor, Row, SqlSafeStr, Statement, TypeInfo, ValueRef};
use tokio::time::Instant;

use super::table::{CELL_CHARS, Table, bytes_cell, number_cell};
use super::{Question, quoted};
use crate::tool::Failure;

/// Beginnings of a URL that mean PostgreSQL.
const SCHEMES: [&str; 2] = ["postgres", "postgresql"];

/// Asks a server.
pub(super) async fn ask(url: &str, question: &Question, deadline: Instant, mut table: Table) -> Result<Table, Failure> {
    let mut connection = options(url)?.connect().await.map_err(|error| failed(&error))?;
    asked(&mut connection, &sql(question), deadline, &mut table).await.map_err(|error| failed(&error))?;
    // Nothing was changed, so nothing is lost if the goodbye fails.
    let _ = connection.close().await;
    Ok(table)
}

/// Reads a URL. Existing ones may name a driver, as in `postgresql+psycopg://`.
fn options(url: &str) -> Result<PgConnectOptions, Failure> {
    let unusable = || Failure::new("its `connection_string` cannot be used; write a URL that begins with `sqlite:` or `postgres:`");
    let (scheme, rest) = url.split_once("://").ok_or_else(unusable)?;
    let scheme = scheme.split('+').next().filter(|scheme| SCHEMES.contains(scheme)).ok_or_else(unusable)?;
    let options = PgConnectOptions::from_str(&format!("{scheme}://{rest}")).map_err(|_| unusable())?;
    Ok(options.application_name("synapse").disable_statement_logging())
}

async fn asked(connection: &mut PgConnection, sql: &str, deadline: Instant, table: &mut Table) -> sqlx::Result<()> {
    let milliseconds = deadline.saturating_duration_since(Instant::now()).as_millis().max(1);
    let begin = format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}; SET LOCAL idle_in_transaction_session_timeout = {milliseconds}; \
         SET LOCAL standard_conforming_strings = on"
    );
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut *connection).await?;
    // The server itself refuses here what is more than one statement.
    let statement = connection.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await?;
    let columns = statement.columns();
    table.columns = columns.iter().map(|column| column.name().to_owned()).collect();
    let kinds: Vec<_> = columns.iter().map(|column| column.type_info().name().to_owned()).collect();
    let plan = if explains(sql) { Some(explain(connection, sql, table.most_rows()).await?) } else { None };
    // A cursor takes nothing but a statement that reads.
    let declare = format!("DECLARE answer NO SCROLL CURSOR FOR {}", cut(plan.unwrap_or(sql), &kinds));
    sqlx::query(AssertSqlSafe(declare)).persistent(false).execute(&mut *connection).await?;
    let mut rows = sqlx::raw_sql(AssertSqlSafe(format!("FETCH {} FROM answer", table.most_rows() + 1))).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await?
        && table.push(cells(&row, &kinds))
    {}
    Ok(())
}

/// Tells whether a statement asks for a plan.
fn explains(sql: &str) -> bool {
    sql.trim_start().get(..7).is_some_and(|word| word.eq_ignore_ascii_case("explain"))
}

/// Keeps the lines of a plan, which no cursor takes and which may be as long as any value, and returns the statement that reads them.
async fn explain(connection: &mut PgConnection, sql: &str, most_lines: usize) -> sqlx::Result<&'static str> {
    let body = format!(
        "DECLARE line text; plan text[]; BEGIN FOR line IN EXECUTE {} LOOP plan := plan || left(line, {}); \
         EXIT WHEN cardinality(plan) > {most_lines}; END LOOP; PERFORM set_config('synapse.plan', to_json(plan)::text, true); END",
        quoted(sql),
        CELL_CHARS + 1
    );
    sqlx::query(AssertSqlSafe(format!("DO {}", quoted(&body)))).persistent(false).execute(connection).await?;
    Ok("SELECT * FROM json_array_elements_text(current_setting('synapse.plan')::json)")
}

/// Has the server cut long values: every message is kept whole here before it is looked at.
fn cut(sql: &str, kinds: &[String]) -> String {
    if kinds.is_empty() {
        return sql.to_owned();
    }
    let names: Vec<_> = (0..kinds.len()).map(|position| format!("c{position}")).collect();
    let short = |(name, kind): (&String, &String)| match kind.as_str() {
        "BYTEA" => format!("octet_length({name})::text"),
        _ => format!(
            "CASE WHEN length({name}::text) > {CELL_CHARS} \
             THEN left({name}::text, {CELL_CHARS}) || '… (' || length({name}::text) || ' characters)' ELSE {name}::text END"
        ),
    };
    let shorts: Vec<_> = names.iter().zip(kinds).map(short).collect();
    // The statement may end with a comment.
    format!("SELECT {} FROM ({sql}\n) AS answer ({})", shorts.join(", "), names.join(", "))
}

fn sql(question: &Question) -> String {
    const VISIBLE: &str = "NOT IN ('pg_catalog', 'information_schema')";
    match question {
        Question::Query(statement) => statement.clone(),
        Question::Tables => format!(
            "SELECT table_schema AS schema, table_name AS name, lower(table_type) AS type FROM information_schema.tables \
             WHERE table_schema {VISIBLE} ORDER BY 1, 2"
        ),
        Question::Columns(table) => {
            let table = quoted(table);
            format!(
                "SELECT table_schema AS schema, column_name AS name, data_type AS type, is_nullable = 'YES' AS nullable, \
                 column_default AS \"default\" FROM information_schema.columns \
                 WHERE {table} IN (table_name, table_schema || '.' || table_name) AND table_schema {VISIBLE} ORDER BY 1, ordinal_position"
            )
        }
    }
}

fn cells(row: &PgRow, kinds: &[String]) -> Vec<Value> {
    kinds.iter().enumerate().map(|(position, kind)| cell(row, position, kind)).collect()
}

/// Reads a cell, which the server sends as text that is short.
fn cell(row: &PgRow, position: usize, kind: &str) -> Value {
    let Ok(value) = row.try_get_raw(position) else { return Value::Null };
    if value.is_null() {
        return Value::Null;
    }
    let Ok(text) = value.as_str() else { return "(no UTF-8)".into() };
    match kind {
        "BOOL" => (text == "true").into(),
        "INT2" | "INT4" | "INT8" | "OID" => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        "FLOAT4" | "FLOAT8" => text.parse().map_or_else(|_| text.into(), number_cell),
        "JSON" | "JSONB" => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        "BYTEA" => bytes_cell(text.parse().unwrap_or_default()),
        _ => text.into(),
    }
}

/// Tells what a model can act on, and never what opens the database.
fn failed(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(error) => Failure::new(error.message().chars().take(CELL_CHARS).collect::<String>()),
        sqlx::Error::Io(error) => Failure::new(format!("it cannot be reached: {}", error.kind())),
        sqlx::Error::Tls(_) => Failure::new("no secure connection can be made"),
        _ => Failure::new("the connection failed"),
    }
}
