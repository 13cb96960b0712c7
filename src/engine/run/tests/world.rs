//! What the world does to steps here: the same for the same step, the same values and the same number of failures in front.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

use crate::definition::{Step, Work};

/// Why an attempt failed: its kind, as `retry.on` names it, and a sentence.
pub(super) type Fault = (&'static str, String);

/// What an attempt came to: its output, and the label of the way that it chose.
pub(super) type Deed = (Option<Value>, Option<String>);

/// Does the work of a step. Its label says how often it fails before it succeeds.
pub(super) fn perform(step: &Step, values: &Map<String, Value>, failures: u32) -> Result<Deed, Fault> {
    let fails: u32 = step.label.parse().unwrap_or_default();
    if failures < fails {
        let kind = if matches!(step.work, Work::Transform { .. }) { "transform" } else { "model" };
        return Err((kind, format!("step {} failed", step.id)));
    }
    Ok(match &step.work {
        Work::Transform { .. } => (Some((counter(step.output_key.as_ref(), values) + 1).into()), None),
        Work::Evaluator { routes, .. } if routes.is_empty() => (None, None),
        Work::Evaluator { routes, .. } => {
            let label = routes[counter(step.input_keys.first(), values) as usize % routes.len()].label.clone();
            (Some(label.clone().into()), Some(label))
        }
        _ => (Some(text(step, values).into()), None),
    })
}

/// Returns what a person answers.
pub(super) fn answer(step: &Step) -> Value {
    json!({"by": step.id})
}

/// Returns the message of a nested orchestration.
pub(super) fn message(step: &Step) -> String {
    format!("for {}", step.id)
}

/// Returns the number under a key; 0 where there is none.
pub(super) fn counter(key: Option<&String>, values: &Map<String, Value>) -> u64 {
    key.and_then(|key| values.get(key)?.as_u64()).unwrap_or_default()
}

/// Returns a text that depends on everything that the step reads.
fn text(step: &Step, values: &Map<String, Value>) -> String {
    let mut hasher = DefaultHasher::new();
    step.input_keys.iter().for_each(|key| values.get(key).map(Value::to_string).hash(&mut hasher));
    format!("{} {:x}", step.id, hasher.finish())
}
