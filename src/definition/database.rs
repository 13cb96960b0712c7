//! Databases that agents may ask, as `db_configs.json` describes them.

use std::sync::Arc;

use secrecy::SecretString;

use super::Problem;
use super::record::{Record, records};

/// The file of the databases, inside the data directory.
pub const DATABASES_FILE: &str = "db_configs.json";

/// One database.
#[derive(Debug, Clone)]
pub struct Database {
    /// Identifies the database.
    pub id: String,
    /// What people call it; the id where the record has no name.
    pub name: String,
    /// What is in it, for models to read.
    pub description: String,
    /// Where it is and what opens it, as a URL that begins with `sqlite:` or `postgres:`.
    pub connection: SecretString,
}

/// Reads databases. It fails only if nothing of the file can be used.
pub fn databases(text: &str) -> Result<(Vec<Arc<Database>>, Vec<Problem>), Problem> {
    let (databases, problems) = records(DATABASES_FILE, text, database)?;
    Ok((databases.into_iter().flatten().map(Arc::new).collect(), problems))
}

fn database(record: &mut Record) -> Option<Database> {
    let Some(connection) = record.maybe_text("connection_string").filter(|text| !text.trim().is_empty()) else {
        record
            .report("connection_string", "is missing, so the database is left out; write a URL that begins with `sqlite:` or `postgres:`");
        return None;
    };
    Some(Database {
        id: record.id(),
        name: record.maybe_text("name").unwrap_or_else(|| record.id()),
        description: record.text("description"),
        connection: connection.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_without_a_connection_is_left_out_and_named() {
        let (databases, problems) =
            databases(r#"[{"id": "d1", "connection_string": "sqlite:///a.db"}, {"id": "d2", "name": "x"}]"#).unwrap();
        assert_eq!(databases.iter().map(|database| database.name.as_str()).collect::<Vec<_>>(), ["d1"]);
        assert_eq!(
            problems[0].to_string(),
            "`db_configs.json`, `d2`, `connection_string`: is missing, so the database is left out; write a URL that begins with `sqlite:` or `postgres:`"
        );
        assert!(!format!("{databases:?}").contains("a.db"));
    }
}
