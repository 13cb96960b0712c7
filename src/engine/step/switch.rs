//! Switch steps: the text of a value chooses among ways.

use serde_json::{Map, Value};

use super::Done;
use crate::definition::Case;
use crate::engine::run::{Lead, Told};
use crate::engine::{expression, python_text};

/// Compares the value, as Python shows it, with the cases. Without any case the step behind follows.
pub(super) fn decide(source: &str, cases: &[Case], default: Option<&String>, values: &Map<String, Value>) -> Done {
    let (value, warning) = match expression::evaluate(source, values) {
        Ok(value) => (Some(value), None),
        Err(fault) => (None, Some(format!("the expression `{source}` cannot be evaluated, so no case matches: {fault}"))),
    };
    let text = value.as_ref().map(python_text::str);
    let case = cases.iter().find(|case| text.as_ref() == Some(&case.text));
    let lead = match case {
        _ if cases.is_empty() => Lead::Behind,
        Some(case) => Lead::To(case.step_id.clone()),
        None => Lead::To(default.cloned()),
    };
    let (expression, case) = (source.to_owned(), case.map(|case| case.text.clone()));
    let told = Told::Switch { expression, value: text.unwrap_or_default(), case };
    Done { output: value, told, lead, warnings: warning.into_iter().collect(), ..Done::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{decided, orchestration};
    use super::*;

    fn outcome(value: &Value, cases: &Value, default: &Value) -> (Option<Value>, Lead, Option<String>) {
        let step =
            json!({"id": "s", "type": "switch", "switch_expression": "state.v", "switch_cases": cases, "switch_default_step_id": default});
        let done = decided(&orchestration(&json!([step])), "s", json!({"v": value}));
        let Told::Switch { case, .. } = done.told else { panic!("no switch: {:?}", done.told) };
        (done.output, done.lead, case)
    }

    #[test]
    fn values_are_compared_as_python_shows_them() {
        let cases = json!({"True": "a", "1.0": "b", "None": "c", "{'k': 'x'}": "d", "no": null});
        for (value, way) in [(json!(true), "a"), (json!(1.0), "b"), (Value::Null, "c"), (json!({"k": "x"}), "d")] {
            let (output, lead, case) = outcome(&value, &cases, &Value::Null);
            assert_eq!((output, lead, case.is_some()), (Some(value), Lead::To(Some(way.to_owned())), true));
        }
        assert_eq!(outcome(&"no".into(), &cases, &"z".into()).1, Lead::To(None), "a case that leads nowhere ends");
    }

    #[test]
    fn what_matches_no_case_takes_the_default_or_ends() {
        assert_eq!(outcome(&7.into(), &json!({"8": "a"}), &"z".into()).1, Lead::To(Some("z".to_owned())));
        assert_eq!(outcome(&7.into(), &json!({"8": "a"}), &Value::Null).1, Lead::To(None));
        assert_eq!(outcome(&7.into(), &json!({}), &"z".into()).1, Lead::Behind, "without cases the default does not count");
    }
}
