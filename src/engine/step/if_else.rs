//! If steps: a condition chooses between two ways.

use serde_json::{Map, Value};

use super::Done;
use crate::engine::expression;
use crate::engine::run::{Lead, Told};

/// Decides the condition; one that cannot be evaluated is false. A true one without a way ends, a false one goes on behind the step.
pub(super) fn decide(condition: &str, if_true: Option<&String>, if_false: Option<&String>, values: &Map<String, Value>) -> Done {
    let (holds, warning) = match expression::holds(condition, values) {
        Ok(holds) => (holds, None),
        Err(fault) => (false, Some(format!("the condition `{condition}` cannot be evaluated and counts as false: {fault}"))),
    };
    let lead = match (holds, if_false) {
        (true, _) => Lead::To(if_true.cloned()),
        (false, Some(if_false)) => Lead::To(Some(if_false.clone())),
        (false, None) => Lead::Behind,
    };
    let told = Told::If { condition: condition.to_owned(), holds };
    Done { output: Some(holds.into()), told, lead, warnings: warning.into_iter().collect(), ..Done::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{decided, orchestration};
    use super::*;

    fn outcome(step: Value, n: i32) -> (Option<Value>, Lead, usize) {
        let mut step = step;
        (step["id"], step["type"]) = ("i".into(), "if_else".into());
        let done = decided(&orchestration(&json!([step])), "i", json!({"n": n}));
        (done.output, done.lead, done.warnings.len())
    }

    #[test]
    fn a_true_condition_without_a_way_ends() {
        let step = json!({"if_condition": "state.n > 3", "if_false_step_id": "f", "next_step_id": "n"});
        assert_eq!(outcome(step.clone(), 5), (Some(true.into()), Lead::To(None), 0));
        assert_eq!(outcome(step, 1), (Some(false.into()), Lead::To(Some("f".to_owned())), 0));
    }

    #[test]
    fn a_false_condition_without_a_way_goes_on_behind() {
        let step = json!({"if_condition": "state.n > 3", "if_true_step_id": "t", "next_step_id": "n"});
        assert_eq!(outcome(step.clone(), 5), (Some(true.into()), Lead::To(Some("t".to_owned())), 0));
        assert_eq!(outcome(step, 1), (Some(false.into()), Lead::Behind, 0));
    }

    #[test]
    fn a_condition_that_cannot_be_evaluated_is_false_and_warned_of() {
        assert_eq!(outcome(json!({"if_condition": "state.n >", "if_true_step_id": "t"}), 5), (Some(false.into()), Lead::Behind, 1));
    }
}
