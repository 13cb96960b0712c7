//! Print steps: text with values of the state.

use serde_json::{Map, Value};

use super::{Done, Failure};
use crate::engine::run::Told;
use crate::engine::template;

/// Fills the text.
pub(super) fn decide(content: &str, values: &Map<String, Value>) -> Result<Done, Failure> {
    let text = template::fill_deep(content, values)?;
    let warnings = if content.is_empty() { vec!["`print_content` is empty; write what is to be shown".to_owned()] } else { Vec::new() };
    Ok(Done { output: Some(text.clone().into()), told: Told::Text(text), warnings, ..Done::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{decided, orchestration};

    #[test]
    fn text_is_filled_and_an_empty_one_is_warned_of() {
        let flow = orchestration(&json!([{"id": "p", "type": "print", "print_content": "Hi {state.a.b}"}, {"id": "q", "type": "print"}]));
        assert_eq!(decided(&flow, "p", json!({"a": {"b": "Bo"}})).output.unwrap(), "Hi Bo");
        let empty = decided(&flow, "q", json!({}));
        assert_eq!((empty.output.unwrap(), empty.warnings.len()), (json!(""), 1));
    }
}
