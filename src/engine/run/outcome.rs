//! How a run came out, or stands, in the words of the API.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::graph::Graph;
use super::record::{self, Outcome};
use super::state::{Past, Scope, State};
use super::tell::{seconds, time};
use crate::engine::expression::truth;
use crate::engine::python_text;
use crate::wire::JsonObject;
use crate::wire::v1::{Question, StepRecord};

/// Returns the state that clients see: keys that begin with `_` are the server's own.
pub(crate) fn shared_state(scope: &Scope) -> JsonObject {
    let seen: Map<String, Value> =
        scope.values.iter().filter(|(key, _)| !key.starts_with('_')).map(|(key, value)| (key.clone(), value.clone())).collect();
    JsonObject(seen)
}

/// Returns what was done.
pub(crate) fn step_history(scope: &Scope) -> Vec<StepRecord> {
    scope.history.iter().map(step_record).collect()
}

fn step_record(past: &Past) -> StepRecord {
    StepRecord {
        step_id: past.step.id.clone(),
        step_name: past.step.name.clone(),
        step_type: past.step.kind.clone(),
        status: if past.completed { "completed" } else { "failed" }.to_owned(),
        started_at: time(past.started_at),
        ended_at: time(past.ended_at),
        duration_seconds: seconds(past.started_at, past.ended_at),
        output_key: past.step.output_key.clone(),
        error: past.error.clone(),
        attempt: past.attempt,
    }
}

/// Returns the answer of an orchestration: what its last step wrote, or a sentence about how it came out.
pub(crate) fn final_response(scope: &Scope, outcome: Outcome, error: Option<&str>) -> String {
    if outcome == Outcome::Failed {
        let of_step = || scope.history.iter().rev().find_map(|past| past.error.as_deref().filter(|_| !past.completed));
        return format!("Orchestration failed. Error: {}", error.or_else(of_step).unwrap_or("Unknown error"));
    }
    let written = scope.history.iter().rev().find_map(|past| scope.values.get(past.step.output_key.as_ref()?));
    match written.filter(|value| truth(value)) {
        Some(value) => python_text::str(value),
        None => format!("Orchestration completed. {} steps executed.", scope.history.len()),
    }
}

/// Returns the questions that wait for an answer.
pub(crate) fn questions(graph: &Graph, state: &State) -> Arc<[Question]> {
    let asked = state.questions();
    asked.map(|(execution, asked)| question(execution, outermost(graph, state, execution).unwrap_or_default(), asked)).collect()
}

/// Returns the step of the outermost orchestration that an execution stands in.
fn outermost(graph: &Graph, state: &State, execution: u32) -> Option<String> {
    let mut open = state.open.get(&execution)?;
    loop {
        let frame = state.frames.get(&open.frame)?;
        match frame.scope {
            0 => return Some(state.step(graph, 0, &open.step).map_or_else(|| open.step.clone(), |step| step.id.clone())),
            scope => open = state.open.get(&state.frames.get(&scope)?.parent?)?,
        }
    }
}

/// Returns a question as clients read it.
pub(crate) fn question(execution: u32, step_id: String, asked: &record::Question) -> Question {
    Question {
        step_id,
        prompt: asked.prompt.clone(),
        fields: asked.fields.iter().cloned().map(JsonObject).collect(),
        agent_context: asked.agent_context.clone(),
        question_id: execution.to_string(),
        expires_at: asked.expires_at.and_then(time),
    }
}
