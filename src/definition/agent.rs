//! Agents as `user_agents.json` describes them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Problem;
use super::record::{Record, records};

/// The file of the agents, inside the data directory.
pub const AGENTS_FILE: &str = "user_agents.json";

/// Types that an agent may have; every other one counts as `conversational`.
const KINDS: [&str; 6] = ["conversational", "analysis", "code", "orchestrator", "delegate", "builder"];

/// The turns an agent may take where its record names no number.
const DEFAULT_MAX_TURNS: u32 = 30;

/// One agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Identifies the agent.
    pub id: String,
    /// What people call it; the id where the record has no name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The `type` as it is written, `conversational` by default.
    pub kind: String,
    /// The model as it is written: empty where the key is missing, nothing where it is null.
    pub model: Option<String>,
    /// Whatever the record lists, for clients to read.
    pub capabilities: Vec<Value>,
    /// Says who the agent is; the first thing a model reads.
    pub system_prompt: String,
    /// Names of the tools it may use; `all` stands for every one, and is the default.
    pub tools: Vec<String>,
    /// Whether it goes without the tools that every agent has.
    pub skip_default_tools: bool,
    /// The most model calls for one message, 30 by default.
    pub max_turns: u32,
    /// The orchestration that an agent of type `orchestrator` runs.
    pub orchestration_id: Option<String>,
    /// The agents that one of type `delegate` may ask; empty for all.
    pub delegate_agent_ids: Vec<String>,
    /// Code repositories of an agent of type `code`.
    pub repos: Vec<String>,
    /// Databases of an agent of type `code`.
    pub db_configs: Vec<String>,
}

/// Reads agents. It fails only if nothing of the file can be used.
pub fn agents(text: &str) -> Result<(Vec<Arc<Agent>>, Vec<Problem>), Problem> {
    records(AGENTS_FILE, text, |record| Arc::new(agent(record)))
}

fn agent(record: &mut Record) -> Agent {
    Agent {
        id: record.id(),
        name: record.maybe_text("name").unwrap_or_else(|| record.id()),
        description: record.text("description"),
        kind: kind(record),
        model: record.text_as_written("model"),
        capabilities: record.values("capabilities"),
        system_prompt: record.text("system_prompt"),
        tools: record.maybe_texts("tools").unwrap_or_else(|| vec!["all".to_owned()]),
        skip_default_tools: record.flag("skip_default_tools"),
        max_turns: record.count("max_turns").filter(|turns| *turns > 0).unwrap_or(DEFAULT_MAX_TURNS),
        orchestration_id: record.maybe_text("orchestration_id"),
        delegate_agent_ids: record.texts("delegate_agent_ids"),
        repos: record.texts("repos"),
        db_configs: record.texts("db_configs"),
    }
}

fn kind(record: &mut Record) -> String {
    let kind = record.maybe_text("type").unwrap_or_else(|| KINDS[0].to_owned());
    if !KINDS.contains(&kind.as_str()) {
        record.report("type", format!("`{kind}` is unknown and counts as `conversational`; write one of `{}`", KINDS.join("`, `")));
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Arc<Agent>>, Vec<String>) {
        let (agents, problems) = agents(text).unwrap();
        (agents, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_agent_of_an_id_alone_has_the_documented_defaults() {
        let (agents, problems) = read(r#"[{"id": "a1"}]"#);
        let agent = &agents[0];
        assert_eq!((agent.name.as_str(), agent.kind.as_str(), agent.max_turns), ("a1", "conversational", 30));
        assert_eq!((&agent.model, agent.tools.as_slice()), (&Some(String::new()), &["all".to_owned()][..]));
        assert!(agent.capabilities.is_empty() && agent.description.is_empty() && agent.system_prompt.is_empty());
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn a_null_model_is_told_from_a_missing_one() {
        let (agents, _) = read(r#"[{"id": "a"}, {"id": "b", "model": null}, {"id": "c", "model": "gpt-5"}]"#);
        assert_eq!(agents.iter().map(|agent| agent.model.as_deref()).collect::<Vec<_>>(), [Some(""), None, Some("gpt-5")]);
    }

    #[test]
    fn a_wrong_field_falls_back_and_is_named() {
        let (agents, problems) =
            read(r#"[{"id": "a1", "name": 7, "max_turns": -1, "tools": ["grep", 3], "capabilities": "x", "type": "odd"}]"#);
        assert_eq!((agents[0].name.as_str(), agents[0].max_turns, agents[0].tools.as_slice()), ("a1", 30, &["grep".to_owned()][..]));
        assert_eq!(
            problems,
            [
                "`user_agents.json`, `a1`, `name`: is a number; write a text",
                "`user_agents.json`, `a1`, `type`: `odd` is unknown and counts as `conversational`; write one of `conversational`, `analysis`, `code`, `orchestrator`, `delegate`, `builder`",
                "`user_agents.json`, `a1`, `capabilities`: is a text; write an array",
                "`user_agents.json`, `a1`, `tools[1]`: is a number; write a text",
                "`user_agents.json`, `a1`, `max_turns`: is a number; write a whole number from 0 up",
            ]
        );
    }

    #[test]
    fn a_record_without_an_id_is_left_out_and_the_others_stay() {
        let (agents, problems) = read(r#"[{"name": "x"}, 5, {"id": ""}, {"id": "a1", "unknown": {}}]"#);
        assert_eq!(agents.iter().map(|agent| agent.id.as_str()).collect::<Vec<_>>(), ["a1"]);
        assert_eq!(
            problems,
            [
                "`user_agents.json`, `[0]`: is left out because it has no `id`; give it a text",
                "`user_agents.json`, `[1]`: is a number; write an object",
                "`user_agents.json`, `[2]`: is left out because it has no `id`; give it a text",
            ]
        );
    }

    #[test]
    fn an_id_used_twice_is_reported() {
        let (agents, problems) = read(r#"[{"id": "a1"}, {"id": "a1"}]"#);
        assert_eq!(agents.len(), 2);
        assert_eq!(problems, ["`user_agents.json`, `a1`, `id`: `a1` is used twice; give each record its own id"]);
    }

    #[test]
    fn only_a_file_without_an_array_of_json_is_unusable() {
        assert!(agents("").unwrap_err().fatal);
        assert!(agents("[{").unwrap_err().to_string().starts_with("`user_agents.json`: is no valid JSON: "));
        assert!(agents("{}").unwrap_err().to_string().contains("no JSON array"));
        assert_eq!(read("\u{feff}[]").0.len(), 0);
    }
}
