//! What a model reads before the conversation.

use super::turn::Turn;
use crate::clock;
use crate::definition::{Agent, Database};

/// Said when no tool may be called any more.
const LAST: &str = "This is your last turn: answer now with what you have, and call no tool.";

/// Writes the system prompt of a round, of which so many follow at most. An agent without tools has the words of its author alone.
pub(super) fn system(turn: &Turn, left: u32) -> String {
    let mut parts = vec![turn.agent.system_prompt.clone()];
    parts.extend(databases(turn));
    if !turn.tools.is_empty() {
        // The day alone: a prompt that changes with every call is cached by no provider.
        parts.push(format!("Today is {} (UTC).", clock::now().strftime("%A, %Y-%m-%d")));
        if left == 0 {
            parts.push(LAST.to_owned());
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

/// Describes the databases that are linked to an agent of type `code`.
fn databases(turn: &Turn) -> Option<String> {
    turn.tools.find("run_sql_query")?;
    let databases = turn.scope.definitions.databases.iter().filter(|database| is_linked(&turn.agent, database));
    let lines: Vec<String> =
        databases.map(|database| format!("- {} (id `{}`): {}", database.name, database.id, database.description)).collect();
    let head = "Databases, which you may read and never change, through `run_sql_query`, `list_tables` and `get_table_schema`:";
    (!lines.is_empty()).then(|| format!("{head}\n{}", lines.join("\n")))
}

/// Tells whether a database is linked to an agent.
fn is_linked(agent: &Agent, database: &Database) -> bool {
    agent.kind == "code" && agent.db_configs.contains(&database.id)
}
