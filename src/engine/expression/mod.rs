//! Conditions: Python expressions over the state of a run, evaluated by a small total language of our own.
//!
//! Integers have 128 bits, and more than that is a fault. Nothing here waits, loops without end, or reaches anything but the state: the source, its nesting
//! and the work are bounded. Where it differs from Python it is more forgiving: keys of objects in lists may be read as `item.key`, and a missing key of any
//! object is None.

mod arguments;
mod arithmetic;
mod budget;
mod collection;
mod compare;
mod evaluator;
mod fault;
mod format;
mod function;
mod lexer;
mod literal;
mod method;
mod number;
mod parser;
mod primary;
mod sort;
mod subscript;
mod text_method;
mod tree;
mod value;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value as Json};

pub(crate) use fault::Fault;

use budget::Budget;
use evaluator::Evaluator;

/// The most bytes of an expression.
const SOURCE_BYTES: usize = 4 << 10;

/// Returns the value of an expression as JSON: tuples are lists, integers beyond 64 bits are text.
pub(crate) fn evaluate(source: &str, state: &Map<String, Json>) -> Result<Json, Fault> {
    let tree = parser::parse(source)?;
    let budget = Budget::new();
    let value = Evaluator::new(state, &budget).evaluate(&tree)?;
    value.to_json(&budget).map_err(|message| Fault::new(0, message))
}

/// Tells whether the value of an expression is true as Python sees it; the value itself may be as large as the state.
pub(crate) fn holds(source: &str, state: &Map<String, Json>) -> Result<bool, Fault> {
    let tree = parser::parse(source)?;
    let budget = Budget::new();
    Ok(Evaluator::new(state, &budget).evaluate(&tree)?.truth())
}

/// Tells whether a value is true as Python sees it.
pub(crate) fn truth(value: &Json) -> bool {
    value::Value::from(value).truth()
}

/// Checks what can be known of an expression without a state: its form, and the names of its functions and methods.
pub(crate) fn check(source: &str) -> Result<(), Fault> {
    parser::parse(source).map(|_| ())
}
