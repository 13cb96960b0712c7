//! Orchestrations as `orchestrations.json` describes them.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Problem;
use super::record::{Record, records};

/// The file of the orchestrations, inside the data directory.
pub const ORCHESTRATIONS_FILE: &str = "orchestrations.json";

/// Types that a step may have.
const KINDS: [&str; 14] = [
    "agent",
    "llm",
    "tool",
    "evaluator",
    "parallel",
    "merge",
    "loop",
    "human",
    "transform",
    "extract_json",
    "if_else",
    "switch",
    "print",
    "end",
];

/// A graph of steps.
#[derive(Debug, Clone, PartialEq)]
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
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Identifies the step inside its orchestration.
    pub id: String,
    /// What people call it; the id where the record has no name.
    pub name: String,
    /// The label, if someone wrote one.
    pub label: String,
    /// The `type`, as it is written.
    pub kind: String,
    /// The agent as it is written: empty where the key is missing, nothing where it is null.
    pub agent_id: Option<String>,
    /// Whatever the record lists as predecessors, for clients to read; routing does not use them.
    pub depends_on: Vec<String>,
    /// What a person is asked for: objects with any values, lists of options included.
    pub human_fields: Vec<Map<String, Value>>,
    /// Every way out of this step, in the order of their fields.
    pub ways: Vec<Way>,
}

/// A reference from a step to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The field that holds it.
    pub field: String,
    /// The step it leads to.
    pub step_id: String,
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
    };
    report_dead_ends(&orchestration, record);
    orchestration
}

fn step(record: &mut Record) -> Step {
    Step {
        id: record.id(),
        name: record.maybe_text("name").unwrap_or_else(|| record.id()),
        label: record.text("label"),
        kind: kind(record),
        agent_id: record.text_as_written("agent_id"),
        depends_on: record.texts("depends_on"),
        human_fields: record.objects("human_fields"),
        ways: ways(record),
    }
}

fn kind(record: &mut Record) -> String {
    let kind = record.text("type");
    if !KINDS.contains(&kind.as_str()) {
        record.report("type", format!("`{kind}` is no type of step; write one of `{}`", KINDS.join("`, `")));
    }
    kind
}

fn ways(record: &mut Record) -> Vec<Way> {
    let mut ways = Vec::new();
    let mut add = |field: String, step_id: Option<String>| {
        let step_id = step_id.filter(|id| !id.is_empty());
        ways.extend(step_id.map(|step_id| Way { field, step_id }));
    };
    for field in ["next_step_id", "if_true_step_id", "if_false_step_id", "switch_default_step_id"] {
        add(field.to_owned(), record.maybe_text(field));
    }
    for field in ["route_map", "switch_cases"] {
        for (label, step_id) in record.text_map(field) {
            add(format!("{field}.{label}"), step_id);
        }
    }
    for (position, step_id) in record.texts("loop_step_ids").into_iter().enumerate() {
        add(format!("loop_step_ids[{position}]"), Some(step_id));
    }
    for (position, branch) in record.text_lists("parallel_branches").into_iter().enumerate() {
        for step_id in branch {
            add(format!("parallel_branches[{position}]"), Some(step_id));
        }
    }
    ways
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
        for way in step.ways.iter().filter(|way| !exists(&way.step_id)) {
            record.report(&format!("steps.{}.{}", step.id, way.field), format!("step `{}` does not exist", way.step_id));
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(orchestrations[0].steps[0].human_fields[0]["options"], serde_json::json!(["yes", "no"]));
        assert_eq!(problems, [""; 0]);
    }
}
