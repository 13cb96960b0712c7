//! Merge steps: several values of the state become one.

use serde_json::{Map, Value, json};

use super::{Done, inputs};
use crate::definition::Step;
use crate::engine::python_text;
use crate::engine::run::{Flow, Told};

/// Puts the inputs that are there together, each under the name of the step that wrote it.
pub(super) fn decide(step: &Step, strategy: &str, flow: &Flow, values: &Map<String, Value>) -> Done {
    let label = |key: &str| flow.producer(key).map_or_else(|| key.to_owned(), |producer| format!("{} ({})", producer.name, producer.id));
    let labelled: Vec<(String, &Value)> = inputs(step, values).map(|(key, value)| (label(key), value)).collect();
    let merged: Value = match strategy {
        "concat" => {
            let parts = labelled.iter().map(|(label, value)| format!("[{label}]:\n{}", python_text::str(value)));
            parts.collect::<Vec<_>>().join("\n\n").into()
        }
        "dict" => labelled.iter().map(|(label, value)| (label.clone(), (*value).clone())).collect(),
        _ => labelled.iter().map(|(label, value)| json!({"source": label, "data": value})).collect(),
    };
    let told = Told::Merge { inputs: u32::try_from(labelled.len()).unwrap_or(u32::MAX), strategy: strategy.to_owned() };
    Done { output: Some(merged), told, ..Done::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{decided, orchestration};
    use super::*;

    #[test]
    fn values_are_merged_under_the_names_of_their_steps() {
        let merged = |strategy: &str| {
            let flow = orchestration(&json!([
                {"id": "m", "type": "merge", "input_keys": ["a", "none", "b"], "merge_strategy": strategy},
                {"id": "x", "name": "X", "type": "print", "output_key": "a"},
            ]));
            decided(&flow, "m", json!({"a": "one", "b": {"k": true}}))
        };
        assert_eq!(merged("concat").output.unwrap(), "[X (x)]:\none\n\n[b]:\n{'k': True}");
        assert_eq!(merged("dict").output.unwrap(), json!({"X (x)": "one", "b": {"k": true}}));
        assert_eq!(merged("odd").output.unwrap(), json!([{"source": "X (x)", "data": "one"}, {"source": "b", "data": {"k": true}}]));
        assert_eq!(merged("list").told, Told::Merge { inputs: 2, strategy: "list".to_owned() });
    }
}
