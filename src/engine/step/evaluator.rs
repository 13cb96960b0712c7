//! Evaluator steps: a model chooses a way.

use serde_json::Value;

use super::{Attempt, Done, Failure, FailureKind, inputs, readable};
use crate::definition::{Route, Step};
use crate::engine::context::middle_out;
use crate::engine::run::{Lead, ScopeState, Told};
use crate::provider::{Choice, Chosen, DescribedOption};

/// The most characters that a model judges at once.
const JUDGED: usize = 200_000;

/// Lets the model choose. What names no way is a failure: a run never goes a way that nobody chose.
pub(super) async fn perform(attempt: &Attempt, instruction: &str, routes: &[Route]) -> Result<Done, Failure> {
    if routes.is_empty() {
        let warning = "`route_map` is empty, so there is nothing to choose; name the ways".to_owned();
        return Ok(Done { warnings: vec![warning], ..Done::default() });
    }
    let model = attempt.model()?;
    let option = |route: &Route| DescribedOption { id: route.label.clone(), description: route.description.clone() };
    let choice = Choice {
        model: model.model.name.clone(),
        instruction: instruction.to_owned(),
        message: judged(&attempt.step, &attempt.state),
        options: routes.iter().map(option).collect(),
        deadline: attempt.scope.end(attempt.engine.model_time),
    };
    let chosen = attempt.engine.choose(attempt.asker(&model), choice).await.map_err(Failure::model)?;
    let route = routes.iter().find(|route| route.label == chosen.id);
    let route =
        route.ok_or_else(|| Failure::new(FailureKind::Model, format!("the model chose `{}`, which is none of the routes", chosen.id)))?;
    let told = Told::Route { label: route.label.clone(), reasoning: reasoning(&chosen, route, routes.len()) };
    Ok(Done { output: Some(route.label.clone().into()), told, lead: Lead::To(route.step_id.clone()), ..Done::default() })
}

/// Returns what is to be judged: the inputs, or else the newest result, or else the message of the run.
fn judged(step: &Step, state: &ScopeState) -> String {
    let inputs: Vec<(&String, &Value)> = inputs(step, &state.values).collect();
    let text = match inputs.as_slice() {
        // Bare, because small models judge a text by its beginning.
        [(_, value)] => readable(value),
        [] => newest(state).map(readable).unwrap_or_default(),
        several => several.iter().map(|(key, value)| format!("## {key}\n{}", readable(value))).collect::<Vec<_>>().join("\n\n"),
    };
    middle_out(&text, JUDGED)
}

/// Returns the newest result of a step that is still there, or else the message of the run.
fn newest(state: &ScopeState) -> Option<&Value> {
    let result = |key: &Option<String>| state.values.get(key.as_ref()?);
    let newest = state.history.iter().rev().filter(|past| past.completed).find_map(|past| result(&past.step.output_key));
    newest.or_else(|| state.values.get("user_input"))
}

/// Returns the model's words, or else says what the route stands for.
fn reasoning(chosen: &Chosen, route: &Route, routes: usize) -> String {
    if !chosen.reasoning.trim().is_empty() {
        return chosen.reasoning.trim().to_owned();
    }
    match route.description.trim() {
        "" => format!("`{}` fits best of the {routes} routes", route.label),
        description => format!("`{}` fits best of the {routes} routes: {description}", route.label),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::fixture::{orchestration, past, state};
    use super::*;

    #[test]
    fn one_input_is_judged_bare_and_several_by_name() {
        let judged_of = |keys: &[&str]| {
            let flow = orchestration(&json!([{"id": "e", "type": "evaluator", "input_keys": keys}]));
            judged(flow.step("e").unwrap(), &state(json!({"user_input": "go", "a": "one", "b": [2]})))
        };
        assert_eq!(judged_of(&["a", "none"]), "one");
        assert_eq!(judged_of(&["a", "b"]), "## a\none\n\n## b\n[2]");
        assert_eq!(judged_of(&[]), "go");
    }

    #[test]
    fn without_inputs_the_newest_result_is_judged() {
        let flow = orchestration(&json!([{"id": "e", "type": "evaluator"}, {"id": "w", "type": "llm", "output_key": "draft"}]));
        let mut state = state(json!({"user_input": "go", "draft": "text"}));
        state.history.push(past(&flow, "w", None));
        assert_eq!(judged(flow.step("e").unwrap(), &Arc::new(state)), "text");
    }

    #[test]
    fn there_are_always_words_for_a_choice() {
        let route = Route { label: "redo".to_owned(), description: "it is too short".to_owned(), step_id: None };
        let mut chosen = Chosen { id: "redo".to_owned(), ..Chosen::default() };
        assert_eq!(reasoning(&chosen, &route, 2), "`redo` fits best of the 2 routes: it is too short");
        chosen.reasoning = " short\n".to_owned();
        assert_eq!(reasoning(&chosen, &route, 2), "short");
    }
}
