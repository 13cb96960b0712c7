//! Steps that find JSON in text.

use serde_json::{Map, Value};

use super::{Done, inputs, readable};
use crate::definition::Step;
use crate::engine::extract_json::extract;
use crate::engine::run::Told;
use crate::wire::ascii;

/// Looks for JSON in the inputs: one value counts as it is, several make a list.
pub(super) fn decide(step: &Step, values: &Map<String, Value>) -> Done {
    let texts: Vec<String> = inputs(step, values).map(|(_, value)| readable(value)).collect();
    let mut found = extract(&texts.join("\n"));
    let warning = found.is_empty().then(|| format!("no JSON was found in {}", named(step)));
    let value = if found.len() > 1 { Value::Array(found) } else { found.pop().unwrap_or_default() };
    let text = ascii::to_vec(&value).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    Done { output: Some(value), told: Told::Text(text), warnings: warning.into_iter().collect(), ..Done::default() }
}

fn named(step: &Step) -> String {
    match step.input_keys.as_slice() {
        [] => "nothing, because `input_keys` is empty".to_owned(),
        keys => format!("`{}`", keys.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{decided, orchestration};
    use super::*;

    #[test]
    fn one_value_stands_alone_and_several_make_a_list() {
        let flow = orchestration(&json!([{"id": "e", "type": "extract_json", "input_keys": ["a", "b"]}]));
        let found = |a: Value| decided(&flow, "e", json!({"a": a}));
        assert_eq!(found("so {\"x\": 1}!".into()).output.unwrap(), json!({"x": 1}));
        assert_eq!(found(json!({"x": [1]})).output.unwrap(), json!({"x": [1]}), "what is JSON already stays as it is");
        let several = found("x {\"a\":1} y [2]".into());
        assert_eq!((several.output, several.told), (Some(json!([{"a": 1}, [2]])), Told::Text("[{\"a\": 1}, [2]]".to_owned())));
        let none = found("nothing".into());
        assert_eq!((none.output, none.warnings), (Some(Value::Null), vec!["no JSON was found in `a`, `b`".to_owned()]));
    }
}
