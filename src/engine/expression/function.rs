//! The functions of expressions.

use std::rc::Rc;

use super::arguments::{Arguments, refused};
use super::budget::Budget;
use super::collection::Object;
use super::tree::Comparison;
use super::value::Value;
use super::{arithmetic, compare, number, sort};

/// The functions.
pub(super) const NAMES: [&str; 17] = [
    "len",
    "int",
    "float",
    "str",
    "bool",
    "list",
    "tuple",
    "dict",
    "abs",
    "min",
    "max",
    "round",
    "any",
    "all",
    "sum",
    "sorted",
    "isinstance",
];

/// The types that `isinstance` knows.
pub(super) const KINDS: [&str; 7] = ["int", "float", "str", "bool", "list", "tuple", "dict"];

/// Calls a function.
pub(super) fn call<'s>(name: &str, mut arguments: Arguments<'s>, budget: &Budget) -> Result<Value<'s>, String> {
    match name {
        "sorted" => {
            let reverse = arguments.take("reverse").is_some_and(|reverse| reverse.truth());
            sorted(arguments.only(name)?, reverse, budget)
        }
        "min" | "max" => {
            let default = arguments.take("default");
            let comparison = if name == "min" { Comparison::Less } else { Comparison::Greater };
            extreme(name, arguments.only(name)?, comparison, default, budget)
        }
        _ => plain(name, arguments.only(name)?, budget),
    }
}

fn plain<'s>(name: &str, values: &[Value<'s>], budget: &Budget) -> Result<Value<'s>, String> {
    match (name, values) {
        ("len", [value]) => length(value, budget),
        ("int", []) => Ok(Value::Int(0)),
        ("int", [value]) => number::int(value).map(Value::Int),
        ("float", []) => Ok(Value::Float(0.0)),
        ("float", [value]) => number::float(value).map(Value::Float),
        ("str", []) => Ok(Value::Kept("")),
        ("str", [value]) => value.to_text(budget).map(Value::from),
        ("bool", []) => Ok(Value::Bool(false)),
        ("bool", [value]) => Ok(Value::Bool(value.truth())),
        ("list", []) => Ok(Vec::new().into()),
        ("list", [value]) => Ok(value.elements(budget)?.into()),
        ("tuple", []) => Ok(Value::Tuple(Rc::default())),
        ("tuple", [value]) => Ok(Value::Tuple(value.elements(budget)?.into())),
        ("dict", []) => object(std::iter::empty(), budget),
        ("dict", [members @ Value::Object(_)]) => Ok(members.clone()),
        ("abs", [value]) => absolute(value),
        ("round", [value] | [value, Value::None]) => number::round(value).map(Value::Int),
        ("round", [value, digits]) => number::round_to(value, digits.int().ok_or("`round` needs a whole number of digits")?),
        ("any", [value]) => Ok(Value::Bool(value.elements(budget)?.iter().any(Value::truth))),
        ("all", [value]) => Ok(Value::Bool(value.elements(budget)?.iter().all(Value::truth))),
        ("sum", [value]) => sum(value, Value::Int(0), budget),
        ("sum", [value, start]) => sum(value, start.clone(), budget),
        _ => Err(refused(name, values)),
    }
}

fn length<'s>(value: &Value<'_>, budget: &Budget) -> Result<Value<'s>, String> {
    let length = match (value, value.text(), value.sequence()) {
        (Value::Object(members), _, _) => members.len(),
        (_, Some(text), _) => {
            budget.see_text(text.len())?;
            text.chars().count()
        }
        (_, _, Some(items)) => items.len(),
        _ => return Err(refused("len", std::slice::from_ref(value))),
    };
    Ok(Value::Int(length as i128))
}

fn absolute<'s>(value: &Value<'s>) -> Result<Value<'s>, String> {
    match number::Number::of(value) {
        Some(number::Number::Float(number)) => Ok(Value::Float(number.abs())),
        Some(number::Number::Int(number)) if number < 0 => arithmetic::unary("-", value),
        Some(number::Number::Int(number)) => Ok(Value::Int(number)),
        None => Err(refused("abs", std::slice::from_ref(value))),
    }
}

fn sum<'s>(value: &Value<'s>, start: Value<'s>, budget: &Budget) -> Result<Value<'s>, String> {
    if start.text().is_some() {
        return Err("`sum` does not join text; use `''.join(...)`".to_owned());
    }
    value.elements(budget)?.iter().try_fold(start, |sum, item| arithmetic::binary(&sum, "+", item, budget))
}

fn sorted<'s>(values: &[Value<'s>], reverse: bool, budget: &Budget) -> Result<Value<'s>, String> {
    let [value] = values else { return Err(refused("sorted", values)) };
    let comparison = if reverse { Comparison::Greater } else { Comparison::Less };
    let sorted = sort::sorted(value.elements(budget)?, &|left, right| compare::holds(left, comparison, right, budget))?;
    Ok(sorted.into())
}

/// Returns the first of the smallest or largest values.
fn extreme<'s>(
    name: &str,
    values: &[Value<'s>],
    comparison: Comparison,
    default: Option<Value<'s>>,
    budget: &Budget,
) -> Result<Value<'s>, String> {
    let candidates = match values {
        [] => return Err(refused(name, values)),
        [list] => list.elements(budget)?,
        several => several.to_vec(),
    };
    let mut candidates = candidates.into_iter();
    let Some(mut best) = candidates.next().or(default) else { return Err(format!("`{name}` of nothing; give it `default=`")) };
    for candidate in candidates {
        if compare::holds(&candidate, comparison, &best, budget)? {
            best = candidate;
        }
    }
    Ok(best)
}

/// Makes an object; of a key that comes twice, the last value counts.
pub(super) fn object<'v, 's: 'v>(
    members: impl Iterator<Item = (&'v Value<'s>, &'v Value<'s>)>,
    budget: &Budget,
) -> Result<Value<'s>, String> {
    let mut made: Vec<(Rc<str>, Value<'s>)> = Vec::new();
    for (key, value) in members {
        budget.spend(made.len())?;
        let key = key.text().ok_or_else(|| format!("keys of objects are text here, and this is {}", key.described()))?;
        match made.iter_mut().find(|(known, _)| **known == *key) {
            Some((_, known)) => *known = value.clone(),
            None => made.push((key.into(), value.clone())),
        }
    }
    Ok(Value::Object(Object::Made(made.into())))
}

/// Tells whether a value is of one of these types. True and False are integers too, as in Python.
pub(super) fn is_instance(value: &Value<'_>, kinds: &[String]) -> bool {
    kinds.iter().any(|kind| kind == value.kind() || (kind == "int" && matches!(value, Value::Bool(_))))
}
