//! Orchestrations and states for the tests of steps.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Done, decide};
use crate::definition::orchestrations;
use crate::engine::run::{Flow, Graph, Past, Pinned, ScopeState};

/// Makes a graph of an orchestration `w` with these steps.
pub(super) fn graph(steps: &Value) -> Graph {
    let text = json!([{"id": "w", "name": "Work", "steps": steps}]).to_string();
    let orchestrations = orchestrations(&text).unwrap().0.iter().map(|one| (**one).clone()).collect();
    Graph::new(Pinned { orchestrations, agents: Vec::new() })
}

/// Makes an orchestration of these steps.
pub(super) fn orchestration(steps: &Value) -> Flow {
    let text = json!([{"id": "w", "steps": steps}]).to_string();
    Flow::new((*orchestrations(&text).unwrap().0[0]).clone())
}

/// Makes what an orchestration `w` knows of these values.
pub(super) fn state(values: Value) -> ScopeState {
    let Value::Object(values) = values else { panic!("values are an object") };
    ScopeState { orchestration_id: "w".to_owned(), values: Arc::new(values), ..ScopeState::default() }
}

/// Makes a step that was done, with the route that it chose.
pub(super) fn past(flow: &Flow, step: &str, route: Option<(&str, &str)>) -> Past {
    Past {
        step: flow.step(step).unwrap().clone(),
        attempt: 1,
        started_at: 0,
        ended_at: 0,
        error: None,
        completed: true,
        route: route.map(|(label, reasoning)| (label.to_owned(), reasoning.to_owned())),
    }
}

/// Decides a step.
pub(super) fn decided(flow: &Flow, step: &str, values: Value) -> Done {
    decide(flow.step(step).unwrap(), flow, &state(values)).unwrap().unwrap()
}
