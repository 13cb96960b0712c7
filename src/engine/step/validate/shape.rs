//! What can be told of an orchestration alone: its ways, the settings of its steps, and what they need to do anything.

use std::collections::HashSet;

use super::{Found, OfStep, StepProblem};
use crate::definition::{HumanTimeout, OnError, Orchestration, Retry, Step, Work};
use crate::engine::expression;

/// The failures that `retry.on` may name.
const RETRIED: [&str; 5] = ["timeout", "model", "tool", "transform", "orchestration"];

/// Finds what is wrong with an orchestration, whatever else there is.
pub(super) fn check(orchestration: &Orchestration, found: &mut Found) {
    entry(orchestration, found);
    for step in &orchestration.steps {
        ways(orchestration, step, &mut found.of(step));
        policies(step, &mut found.of(step));
        form(step, &mut found.of(step));
    }
    unreachable(orchestration, found);
}

fn exists(orchestration: &Orchestration, id: &str) -> bool {
    orchestration.steps.iter().any(|step| step.id == id)
}

fn entry(orchestration: &Orchestration, found: &mut Found) {
    let message = match orchestration.entry_step_id.as_str() {
        "" => "is empty, so a run ends at once; name the first step".to_owned(),
        id if !exists(orchestration, id) => format!("step `{id}` does not exist"),
        _ => return,
    };
    found.0.push(StepProblem { step_id: None, field: "entry_step_id".to_owned(), message });
}

fn ways(orchestration: &Orchestration, step: &Step, found: &mut OfStep<'_>) {
    for way in step.ways().into_iter().filter(|way| !exists(orchestration, &way.step_id)) {
        found.add(&way.field, format!("step `{}` does not exist", way.step_id));
    }
}

/// Looks at what every kind may have: retries and what follows a failure.
fn policies(step: &Step, found: &mut OfStep<'_>) {
    let Retry { max_attempts, on, .. } = &step.retry;
    for kind in on.iter().filter(|kind| !RETRIED.contains(&kind.as_str())) {
        found.add("retry.on", format!("`{kind}` is no failure; write some of `{}`", RETRIED.join("`, `")));
    }
    if *max_attempts <= 1 && !on.is_empty() {
        found.add("retry.max_attempts", "is 1, so nothing is ever tried again; write the attempts in all");
    }
    let routes = matches!(step.work, Work::Evaluator { .. });
    if step.on_error == OnError::Continue && routes && step.next_step_id.is_none() {
        found.add(
            "on_error",
            "is `continue`, but without `next_step_id` a failure ends the run as if it were complete; name the step that follows",
        );
    }
    if let Work::Human { timeout, .. } = &step.work {
        match timeout {
            HumanTimeout::Answer { answer, .. } if answer.is_empty() => {
                found.add("human_timeout_answer", "is empty; write the answer that counts when nobody gives one");
            }
            HumanTimeout::Branch { step_id: None, .. } => {
                found.add("human_timeout_step_id", "is missing, so the run ends when nobody answers; name the step that follows then");
            }
            _ => {}
        }
    }
}

/// Looks at what each kind has of its own.
fn form(step: &Step, found: &mut OfStep<'_>) {
    match &step.work {
        Work::Unknown => found.add("type", format!("`{}` is no type of step", step.kind)),
        Work::Tool { forced_tool: None } => found.add("forced_tool", "is missing, so nothing is called; name a tool"),
        Work::Evaluator { routes, .. } if routes.is_empty() => {
            found.add("route_map", "is empty, so there is nothing to choose; name the ways");
        }
        Work::Parallel { branches, .. } if branches.iter().all(Vec::is_empty) => {
            found.add("parallel_branches", "is empty; name the branches");
        }
        Work::Loop { body, until, .. } => {
            if body.is_empty() {
                found.add("loop_step_ids", "is empty, so nothing is repeated; name the steps of a pass");
            }
            readable("loop_until", until.as_deref(), found);
        }
        Work::Merge { .. } if step.input_keys.is_empty() => {
            found.add("input_keys", "is empty, so there is nothing to merge; name keys of the state");
        }
        Work::ExtractJson if step.input_keys.is_empty() => found.add("input_keys", "is empty, so there is no text; name keys of the state"),
        Work::Human { fields, .. } => {
            let is_named = |key: &str, field: &serde_json::Map<_, serde_json::Value>| {
                field.get(key).and_then(|name| name.as_str()).is_some_and(|name| !name.is_empty())
            };
            for (position, _) in fields.iter().enumerate().filter(|(_, field)| !is_named("name", field) && !is_named("key", field)) {
                found.add(&format!("human_fields[{position}]"), "has no `name`; give it one");
            }
        }
        Work::Transform { code } if code.trim().is_empty() => found.add("transform_code", "is empty; write a program that sets `result`"),
        Work::IfElse { condition, .. } => readable("if_condition", Some(condition), found),
        Work::Switch { expression, cases, .. } => {
            readable("switch_expression", Some(expression), found);
            if cases.is_empty() {
                found.add("switch_cases", "is empty, so `next_step_id` follows whatever the value is; write the cases");
            }
        }
        Work::Print { content } if content.is_empty() => found.add("print_content", "is empty; write what is to be shown"),
        _ => {}
    }
}

fn readable(field: &str, source: Option<&str>, found: &mut OfStep<'_>) {
    if let Some(Err(fault)) = source.map(expression::check) {
        found.add(field, format!("cannot be read: {fault}"));
    }
}

/// Finds steps that no way leads to.
fn unreachable(orchestration: &Orchestration, found: &mut Found) {
    let mut reached: HashSet<&str> = HashSet::new();
    let mut open = vec![orchestration.entry_step_id.clone()];
    while let Some(id) = open.pop() {
        let Some(step) = orchestration.steps.iter().find(|step| step.id == id) else { continue };
        if reached.insert(&step.id) {
            open.extend(step.ways().into_iter().map(|way| way.step_id));
        }
    }
    if reached.is_empty() {
        return; // without a beginning that would be all of them
    }
    for step in orchestration.steps.iter().filter(|step| !reached.contains(step.id.as_str())) {
        found.of(step).add("id", "no way leads to the step; name it where it is to follow, or take it out");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::definition::orchestrations;

    fn told(orchestration: &Value) -> Vec<String> {
        let read = orchestrations(&json!([orchestration]).to_string()).unwrap().0;
        let mut found = Found::default();
        check(&read[0], &mut found);
        let line = |problem: StepProblem| format!("{}.{}", problem.step_id.unwrap_or_default(), problem.field);
        found.0.into_iter().map(line).collect()
    }

    #[test]
    fn a_sound_orchestration_has_no_problem() {
        let steps = json!([
            {"id": "p", "type": "parallel", "parallel_branches": [["a"], ["b"]], "next_step_id": "m"},
            {"id": "a", "type": "llm", "next_step_id": "m"}, {"id": "b", "type": "llm", "next_step_id": "m"},
            {"id": "m", "type": "merge", "input_keys": ["a"], "next_step_id": "h"},
            {"id": "h", "type": "human", "human_fields": [{"key": "k"}], "human_timeout_action": "answer", "human_timeout_answer": {"k": 1}},
        ]);
        assert_eq!(told(&json!({"id": "o", "entry_step_id": "p", "steps": steps})), [""; 0]);
    }

    #[test]
    fn what_cannot_work_is_named_with_its_field() {
        let steps = json!([
            {"id": "i", "type": "if_else", "if_condition": "1 +", "if_true_step_id": "gone"},
            {"id": "e", "type": "evaluator", "on_error": "continue", "retry": {"on": ["weather"]}},
            {"id": "l", "type": "loop", "loop_until": "(", "next_step_id": "l"},
            {"id": "h", "type": "human", "human_fields": [{"label": "x"}], "human_timeout_action": "branch"},
            {"id": "t", "type": "tool"}, {"id": "x", "type": "transform"}, {"id": "s", "type": "switch", "switch_expression": "state.a"},
            {"id": "p", "type": "parallel"}, {"id": "j", "type": "jump"},
        ]);
        let problems = told(&json!({"id": "o", "entry_step_id": "i", "steps": steps}));
        let expected = [
            "i.if_true_step_id",
            "i.if_condition",
            "e.retry.on",
            "e.retry.max_attempts",
            "e.on_error",
            "e.route_map",
            "l.loop_step_ids",
            "l.loop_until",
            "h.human_timeout_step_id",
            "h.human_fields[0]",
            "t.forced_tool",
            "x.transform_code",
            "s.switch_cases",
            "p.parallel_branches",
            "j.type",
            "e.id",
            "l.id",
            "h.id",
            "t.id",
            "x.id",
            "s.id",
            "p.id",
            "j.id",
        ];
        assert_eq!(problems, expected);
        assert_eq!(told(&json!({"id": "o", "steps": [{"id": "a", "type": "end"}]})), [".entry_step_id"]);
    }
}
