//! The methods of values.

use super::arguments::{Arguments, refused};
use super::budget::Budget;
use super::collection::{List, Object};
use super::value::Value;
use super::{compare, text_method};

/// The methods of all kinds of values.
pub(super) const NAMES: [&str; 31] = [
    "lower",
    "upper",
    "title",
    "capitalize",
    "strip",
    "lstrip",
    "rstrip",
    "removeprefix",
    "removesuffix",
    "startswith",
    "endswith",
    "replace",
    "split",
    "join",
    "find",
    "rfind",
    "index",
    "count",
    "isdigit",
    "isalpha",
    "isalnum",
    "isspace",
    "isupper",
    "islower",
    "splitlines",
    "get",
    "keys",
    "values",
    "items",
    "bit_length",
    "is_integer",
];

/// Calls a method of a value.
pub(super) fn call<'s>(value: &Value<'s>, name: &str, arguments: &Arguments<'s>, budget: &Budget) -> Result<Value<'s>, String> {
    let values = arguments.only(name)?;
    if let Some(text) = value.text() {
        budget.see_text(text.len())?;
        return text_method::call(text, name, values, budget);
    }
    match (value, value.sequence()) {
        (Value::Object(members), _) => of_object(members, name, values, budget),
        (_, Some(items)) => of_list(&items, name, values, budget),
        (Value::Float(number), _) if name == "is_integer" && values.is_empty() => {
            Ok(Value::Bool(number.is_finite() && number.fract() == 0.0))
        }
        (number, _) if name == "bit_length" && values.is_empty() && number.int().is_some() => {
            let bits = number.int().unwrap_or_default().unsigned_abs().checked_ilog2().map_or(0, |highest| highest + 1);
            Ok(Value::Int(bits.into()))
        }
        (other, _) => Err(format!("`.{name}` is no method of {}", other.described())),
    }
}

fn of_object<'s>(members: &Object<'s>, name: &str, values: &[Value<'s>], budget: &Budget) -> Result<Value<'s>, String> {
    let get = |key: &Value<'_>| key.text().and_then(|key| members.get(key));
    let list = |items: Vec<Value<'s>>| Ok(items.into());
    budget.spend(if name == "get" { 1 } else { members.len() })?;
    match (name, values) {
        ("get", [key]) => Ok(get(key).unwrap_or(Value::None)),
        ("get", [key, default]) => Ok(get(key).unwrap_or_else(|| default.clone())),
        ("keys", []) => list(members.iter().map(|(key, _)| key).collect()),
        ("values", []) => list(members.iter().map(|(_, value)| value).collect()),
        ("items", []) => list(members.iter().map(|(key, value)| Value::Tuple([key, value].into())).collect()),
        _ => Err(format!("`.{name}` is no method of an object, or not with these values")),
    }
}

fn of_list<'s>(items: &List<'s>, name: &str, values: &[Value<'s>], budget: &Budget) -> Result<Value<'s>, String> {
    let ("index" | "count", [wanted]) = (name, values) else { return Err(refused(name, values)) };
    let mut count = 0_i128;
    for (index, item) in items.iter().enumerate() {
        if !compare::equal(&item, wanted, budget)? {
            continue;
        }
        if name == "index" {
            return Ok(Value::Int(index as i128));
        }
        count += 1;
    }
    if name == "index" { Err("the list has no such item; test it before with `in`".to_owned()) } else { Ok(Value::Int(count)) }
}
