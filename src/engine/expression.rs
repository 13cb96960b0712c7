//! Conditions (placeholder until the language is merged).

use serde_json::{Map, Value};

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(pub String);

/// Evaluates.
pub(crate) fn evaluate(_source: &str, _state: &Map<String, Value>) -> Result<Value, Fault> {
    Err(Fault("not here yet".to_owned()))
}

/// Tells whether a condition holds.
pub(crate) fn holds(_source: &str, _state: &Map<String, Value>) -> Result<bool, Fault> {
    Err(Fault("not here yet".to_owned()))
}

/// Tells whether a value counts as true.
pub(crate) fn truth(_value: &Value) -> bool {
    false
}

/// Checks.
pub(crate) fn check(_source: &str) -> Result<(), Fault> {
    Ok(())
}
