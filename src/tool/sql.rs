//! The built-in tools that ask databases. They read only: SQLite files are opened so, PostgreSQL gets a transaction that may not write.
//!
//! A function that a database offers may still have effects elsewhere (`dblink`, `lo_export`, `pg_terminate_backend`), so the user
//! of a PostgreSQL connection should be one that may do nothing but read.

mod postgres;
mod sqlite;
mod statement;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use self::table::Table;
use super::{Call, Failure, Origin, Output, Tool};
use crate::definition::Database;
use crate::provider::ToolDescription;

/// How long a question may take, connecting included.
const TIME: Duration = Duration::from_secs(30);

/// How many questions are asked at once, each over a connection of its own.
const AT_ONCE: usize = 8;

/// How many rows are returned where nobody says otherwise.
const ROWS: usize = 200;

/// The most rows that may be asked for.
const MOST_ROWS: usize = 1_000;

/// How databases are reached. Every question has a connection of its own, so none finds what another left behind.
pub struct Databases {
    data_dir: PathBuf,
    turns: Arc<Semaphore>,
}

impl Databases {
    /// Makes the way to databases. Paths of SQLite files begin at the data directory.
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Asks a database.
    async fn ask(&self, database: &Database, question: &Question, table: Table, deadline: Instant) -> Result<Table, Failure> {
        let deadline = deadline.min(Instant::now() + TIME);
        let late = |_| Failure::new("the database did not answer in time; ask for less");
        let answer = async {
            let turn = self.turns.clone().acquire_owned().await.map_err(|_| Failure::new("no more questions are taken"))?;
            let connection = database.connection.expose_secret().trim();
            if let Some(path) = connection.strip_prefix("sqlite:") {
                let path = path.split('?').next().unwrap_or_default();
                let path = self.data_dir.join(path.strip_prefix("//").unwrap_or(path));
                return sqlite::ask(path, question, deadline, table, turn).await;
            }
            let answer = postgres::ask(connection, question, deadline, table).await;
            drop(turn);
            answer
        };
        let named = |Failure(detail)| Failure::new(format!("database `{}`: {detail}", database.name));
        timeout_at(deadline, answer).await.map_err(late)?.map_err(named)
    }
}

/// What a database is asked.
enum Question {
    /// A statement that reads.
    Query(String),
    /// Which tables there are.
    Tables,
    /// Which columns a table has.
    Columns(String),
}

/// Which of the tools it is.
#[derive(Clone, Copy)]
enum Kind {
    Query,
    Tables,
    Columns,
}

/// Makes the tools for an agent that may use these databases; none where it may use none.
pub fn tools(databases: &Arc<Databases>, given: &[Arc<Database>]) -> Vec<Arc<dyn Tool>> {
    if given.is_empty() {
        return Vec::new();
    }
    let given: Arc<[Arc<Database>]> = given.into();
    let tool = |kind: Kind| -> Arc<dyn Tool> {
        Arc::new(SqlTool { description: Arc::new(kind.description(&given)), kind, databases: databases.clone(), given: given.clone() })
    };
    [Kind::Query, Kind::Tables, Kind::Columns].map(tool).into()
}

impl Kind {
    fn description(self, given: &[Arc<Database>]) -> ToolDescription {
        let (name, purpose, mut properties, required) = match self {
            Self::Query => (
                "run_sql_query",
                "Runs one SQL statement that reads (`SELECT`, `WITH`, `VALUES` or `EXPLAIN`) and returns columns and rows.",
                json!({
                    "query": {"type": "string", "description": "The statement, in the dialect of the database."},
                    "limit": {"type": "integer", "minimum": 1, "maximum": MOST_ROWS, "description": format!("The most rows, {ROWS} by default.")},
                }),
                Some("query"),
            ),
            Self::Tables => ("list_tables", "Lists the tables and views of a database.", json!({}), None),
            Self::Columns => (
                "get_table_schema",
                "Lists the columns of a table or view with their types.",
                json!({"table": {"type": "string", "description": "The table, with its schema before a dot if it has one."}}),
                Some("table"),
            ),
        };
        let known: Vec<_> =
            given.iter().map(|database| format!("`{}` {}", database.name, database.description).trim().to_owned()).collect();
        properties["database"] =
            json!({"type": "string", "description": "The name of the database; may be left out where there is one only."});
        ToolDescription {
            name: name.to_owned(),
            description: format!("{purpose} Databases: {}.", known.join("; ")),
            schema: json!({"type": "object", "properties": properties, "required": Vec::from_iter(required)}),
        }
    }

    fn question(self, arguments: &Map<String, Value>) -> Result<Question, Failure> {
        let text = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default();
        match self {
            Self::Query => statement::reading(text("query")).map(|statement| Question::Query(statement.to_owned())),
            Self::Tables => Ok(Question::Tables),
            Self::Columns if text("table").contains('\0') => Err(Failure::new("`table` has a null character; take it out")),
            Self::Columns => Ok(Question::Columns(text("table").to_owned())),
        }
    }
}

struct SqlTool {
    description: Arc<ToolDescription>,
    kind: Kind,
    databases: Arc<Databases>,
    given: Arc<[Arc<Database>]>,
}

impl Tool for SqlTool {
    fn description(&self) -> &Arc<ToolDescription> {
        &self.description
    }

    fn origin(&self) -> Origin {
        Origin::BuiltIn
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Output, Failure>> {
        let (databases, given, kind) = (self.databases.clone(), self.given.clone(), self.kind);
        Box::pin(async move {
            let database = chosen(&given, call.arguments.get("database").and_then(Value::as_str))?;
            let question = kind.question(&call.arguments)?;
            let rows = match call.arguments.get("limit").and_then(Value::as_u64) {
                Some(limit) => usize::try_from(limit).unwrap_or(MOST_ROWS).clamp(1, MOST_ROWS),
                None if matches!(kind, Kind::Query) => ROWS,
                None => MOST_ROWS,
            };
            let table = databases.ask(database, &question, Table::new(rows, call.output_bytes), call.deadline).await?;
            if let (Question::Columns(name), true) = (&question, table.is_empty()) {
                return Err(Failure::new(format!("table `{name}` does not exist; `list_tables` shows those that do")));
            }
            Ok(Output::text(table.into_text()))
        })
    }
}

/// Finds the database that is meant: by its id, by its name, or because there is no other.
fn chosen<'a>(given: &'a [Arc<Database>], wanted: Option<&str>) -> Result<&'a Database, Failure> {
    let names = || given.iter().map(|database| format!("`{}`", database.name)).collect::<Vec<_>>().join(", ");
    let found = match (wanted.map(str::trim).filter(|wanted| !wanted.is_empty()), given) {
        (None, [only]) => return Ok(only),
        (None, _) => return Err(Failure::new(format!("`database` is missing; name one of {}", names()))),
        (Some(wanted), _) => {
            given.iter().find(|database| database.id == wanted).or_else(|| given.iter().find(|database| database.name == wanted))
        }
    };
    found.map(Arc::as_ref).ok_or_else(|| Failure::new(format!("there is no such database; name one of {}", names())))
}

/// Writes a text as SQL does.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
