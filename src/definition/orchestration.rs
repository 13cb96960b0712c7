//! Orchestrations as `orchestrations.json` describes them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Problem;
use super::record::{Record, records};
use super::step::{Step, step};

/// The file of the orchestrations, inside the data directory.
pub const ORCHESTRATIONS_FILE: &str = "orchestrations.json";

/// The steps of a run where the record names no number.
const MAX_TOTAL_TURNS: u32 = 100;

/// A graph of steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Orchestration {
    /// Identifies the orchestration.
    pub id: String,
    /// What people call it; the id where the record has no name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The steps, in file order.
    pub steps: Vec<Step>,
    /// Whatever the record lists as edges, for clients to read; routing does not use them.
    pub edges: Vec<Value>,
    /// Where a run begins; empty for a run that ends at once.
    pub entry_step_id: String,
    /// What the state begins with, and what a form for it asks for: `{key: {type, default, description}}`.
    pub state_schema: Map<String, Value>,
    /// The most steps of a run, those inside branches and loops not counted; 100 by default.
    pub max_total_turns: u32,
    /// The most that the models of a run may cost, in US dollars; nothing for no limit.
    pub max_total_cost_usd: Option<f64>,
    /// The most minutes that a run may work, the waits for people not counted; that of the server by default.
    pub timeout_minutes: Option<u32>,
}

/// Reads orchestrations. It fails only if nothing of the file can be used.
pub fn orchestrations(text: &str) -> Result<(Vec<Arc<Orchestration>>, Vec<Problem>), Problem> {
    records(ORCHESTRATIONS_FILE, text, |record| Arc::new(orchestration(record)))
}

fn orchestration(record: &mut Record) -> Orchestration {
    let orchestration = Orchestration {
        id: record.id(),
        name: record.maybe_text("name").unwrap_or_else(|| record.id()),
        description: record.text("description"),
        steps: record.records("steps", step),
        edges: record.values("edges"),
        entry_step_id: record.text("entry_step_id"),
        state_schema: record.object("state_schema").unwrap_or_default(),
        max_total_turns: record.count("max_total_turns").filter(|turns| *turns > 0).unwrap_or(MAX_TOTAL_TURNS),
        max_total_cost_usd: record.number("max_total_cost_usd"),
        timeout_minutes: record.count("timeout_minutes").filter(|minutes| *minutes > 0),
    };
    report_dead_ends(&orchestration, record);
    orchestration
}

/// Reports ways that lead nowhere and a missing beginning.
fn report_dead_ends(orchestration: &Orchestration, record: &mut Record) {
    let exists = |id: &str| orchestration.steps.iter().any(|step| step.id == id);
    if orchestration.entry_step_id.is_empty() {
        record.report("entry_step_id", "is empty, so a run ends at once; name the first step");
    } else if !exists(&orchestration.entry_step_id) {
        record.report("entry_step_id", format!("step `{}` does not exist", orchestration.entry_step_id));
    }
    for step in &orchestration.steps {
        for way in step.ways().iter().filter(|way| !exists(&way.step_id)) {
            record.report(&format!("steps.{}.{}", step.id, way.field), format!("step `{}` does not exist", way.step_id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::step::Work;
    use super::*;

    fn read(text: &str) -> (Vec<Arc<Orchestration>>, Vec<String>) {
        let (orchestrations, problems) = orchestrations(text).unwrap();
        (orchestrations, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_sparse_step_has_the_documented_defaults() {
        let text = r#"[{"id": "o1", "entry_step_id": "s1", "steps": [{"id": "s1", "type": "print"}, {"id": "s2", "type": "end", "agent_id": null}]}]"#;
        let (orchestrations, problems) = read(text);
        let [first, second] = orchestrations[0].steps.as_slice() else { panic!("two steps") };
        assert_eq!((first.name.as_str(), first.label.as_str(), first.agent_id.as_deref()), ("s1", "", Some("")));
        assert_eq!(second.agent_id, None);
        assert_eq!((orchestrations[0].name.as_str(), orchestrations[0].edges.len()), ("o1", 0));
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn what_people_wrote_by_hand_is_kept() {
        let text = r#"[{"id": "o1", "entry_step_id": "a", "edges": [{"from": "a"}],
            "steps": [{"id": "a", "type": "llm", "label": "A", "depends_on": ["b"]}]}]"#;
        let (orchestrations, _) = read(text);
        let orchestration = &orchestrations[0];
        assert_eq!((orchestration.steps[0].label.as_str(), orchestration.steps[0].depends_on.as_slice()), ("A", &["b".to_owned()][..]));
        assert_eq!(orchestration.edges, [serde_json::json!({"from": "a"})]);
    }

    #[test]
    fn every_way_that_leads_nowhere_is_named() {
        let text = r#"[{"id": "o1", "entry_step_id": "gone", "steps": [
            {"id": "a", "type": "switch", "next_step_id": "n", "switch_default_step_id": "d", "switch_cases": {"x": "a", "y": "c", "z": null}},
            {"id": "b", "type": "if_else", "if_true_step_id": "t", "if_false_step_id": ""},
            {"id": "c", "type": "evaluator", "route_map": {"good": "q"}},
            {"id": "d", "type": "parallel", "parallel_branches": [["a"], ["p"], "r"]},
            {"id": "e", "type": "loop", "loop_step_ids": ["a", "l"]}]}]"#;
        let place = |field: &str, step: &str| format!("`orchestrations.json`, `o1`, `{field}`: step `{step}` does not exist");
        assert_eq!(
            read(text).1,
            [
                place("entry_step_id", "gone"),
                place("steps.a.next_step_id", "n"),
                place("steps.b.if_true_step_id", "t"),
                place("steps.c.route_map.good", "q"),
                place("steps.d.parallel_branches[1]", "p"),
                place("steps.d.parallel_branches[2]", "r"),
                place("steps.e.loop_step_ids[1]", "l"),
            ]
        );
    }

    #[test]
    fn a_problem_of_a_step_names_the_orchestration_and_the_step() {
        let text = r#"[{"id": "o1", "entry_step_id": "steps1", "steps": [
            {"id": "steps1", "type": "jump", "label": 3}, {"type": "end"}, {"id": "steps1", "type": "end"}]}]"#;
        let (orchestrations, problems) = read(text);
        assert_eq!(orchestrations[0].steps.len(), 2);
        assert_eq!(problems[0], "`orchestrations.json`, `o1`, `steps.steps1.label`: is a number; write a text");
        assert!(
            problems[1].starts_with("`orchestrations.json`, `o1`, `steps.steps1.type`: `jump` is no type of step; write one of `agent`,")
        );
        assert_eq!(
            problems[2..],
            [
                "`orchestrations.json`, `o1`, `steps[1]`: is left out because it has no `id`; give it a text",
                "`orchestrations.json`, `o1`, `steps.steps1.id`: `steps1` is used twice; give each record its own id",
            ]
        );
    }

    #[test]
    fn human_options_may_be_a_list() {
        let text = r#"[{"id": "o1", "entry_step_id": "h", "steps": [
            {"id": "h", "type": "human", "human_fields": [{"key": "k", "options": ["yes", "no"], "max": 3}]}]}]"#;
        let (orchestrations, problems) = read(text);
        let Work::Human { fields, .. } = &orchestrations[0].steps[0].work else { panic!("a human step") };
        assert_eq!(fields[0]["options"], serde_json::json!(["yes", "no"]));
        assert_eq!(problems, [""; 0]);
    }
}
