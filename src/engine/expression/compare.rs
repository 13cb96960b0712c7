//! Comparisons, as Python has them.

use std::cmp::Ordering;

use super::budget::Budget;
use super::collection::{List, Object};
use super::number::Number;
use super::tree::Comparison;
use super::value::Value;

/// Tells whether a comparison holds.
pub(super) fn holds(left: &Value<'_>, comparison: Comparison, right: &Value<'_>, budget: &Budget) -> Result<bool, String> {
    match comparison {
        Comparison::Equal => equal(left, right, budget),
        Comparison::NotEqual => equal(left, right, budget).map(|equal| !equal),
        Comparison::Less => order(left, right, budget).map(|order| order == Some(Ordering::Less)),
        Comparison::LessOrEqual => order(left, right, budget).map(|order| matches!(order, Some(Ordering::Less | Ordering::Equal))),
        Comparison::Greater => order(left, right, budget).map(|order| order == Some(Ordering::Greater)),
        Comparison::GreaterOrEqual => order(left, right, budget).map(|order| matches!(order, Some(Ordering::Greater | Ordering::Equal))),
        Comparison::In => contains(right, left, budget),
        Comparison::NotIn => contains(right, left, budget).map(|contains| !contains),
        Comparison::Is => same(left, right),
        Comparison::IsNot => same(left, right).map(|same| !same),
    }
}

/// Tells whether two values are equal. Values of different kinds are not, but numbers are compared by what they count.
pub(super) fn equal(left: &Value<'_>, right: &Value<'_>, budget: &Budget) -> Result<bool, String> {
    budget.spend(1)?;
    if let (Some(left), Some(right)) = (left.text(), right.text()) {
        budget.see_text(left.len().min(right.len()))?;
        return Ok(left == right);
    }
    if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
        return Ok(left.order(right) == Some(Ordering::Equal));
    }
    match (left, right) {
        (Value::None, Value::None) => Ok(true),
        (Value::Object(left), Value::Object(right)) => equal_objects(left, right, budget),
        (left, right) if left.kind() == right.kind() => match (left.sequence(), right.sequence()) {
            (Some(left), Some(right)) => Ok(left.len() == right.len() && first_difference(&left, &right, budget)?.is_none()),
            _ => Ok(false),
        },
        _ => Ok(false),
    }
}

fn equal_objects(left: &Object<'_>, right: &Object<'_>, budget: &Budget) -> Result<bool, String> {
    if left.len() != right.len() {
        return Ok(false);
    }
    for (key, value) in left.iter() {
        match key.text().and_then(|key| right.get(key)) {
            Some(other) if equal(&value, &other, budget)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Returns the first pair of items that are not equal.
fn first_difference<'s>(left: &List<'s>, right: &List<'s>, budget: &Budget) -> Result<Option<(Value<'s>, Value<'s>)>, String> {
    for (left, right) in left.iter().zip(right.iter()) {
        if !equal(&left, &right, budget)? {
            return Ok(Some((left, right)));
        }
    }
    Ok(None)
}

/// Returns the order of two values that have one: numbers, texts, lists of such. `nan` has none, and that is no fault.
pub(super) fn order(left: &Value<'_>, right: &Value<'_>, budget: &Budget) -> Result<Option<Ordering>, String> {
    budget.spend(1)?;
    if let (Some(left), Some(right)) = (left.text(), right.text()) {
        budget.see_text(left.len().min(right.len()))?;
        return Ok(Some(left.cmp(right)));
    }
    if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
        return Ok(left.order(right));
    }
    match (left.sequence(), right.sequence()) {
        (Some(first), Some(second)) if left.kind() == right.kind() => match first_difference(&first, &second, budget)? {
            Some((left, right)) => order(&left, &right, budget),
            None => Ok(Some(first.len().cmp(&second.len()))),
        },
        _ => Err(format!("{} and {} have no order; compare numbers with numbers and text with text", left.described(), right.described())),
    }
}

fn contains(container: &Value<'_>, item: &Value<'_>, budget: &Budget) -> Result<bool, String> {
    if let Some(text) = container.text() {
        budget.see_text(text.len())?;
        let part =
            item.text().ok_or_else(|| format!("text contains only text, and this is {}; convert it with `str(...)`", item.described()))?;
        return Ok(text.contains(part));
    }
    if let Value::Object(members) = container {
        return Ok(item.text().is_some_and(|key| members.get(key).is_some()));
    }
    let items =
        container.sequence().ok_or_else(|| format!("`in` looks into lists, texts and objects, and this is {}", container.described()))?;
    for candidate in items.iter() {
        if equal(&candidate, item, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tells whether two values are the same one of None, True and False; for others Python's answer depends on its memory.
fn same(left: &Value<'_>, right: &Value<'_>) -> Result<bool, String> {
    match (left, right) {
        (Value::None, other) | (other, Value::None) => Ok(matches!(other, Value::None)),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::Bool(_), _) | (_, Value::Bool(_)) => Ok(false),
        _ => Err("`is` is for `None`, `True` and `False`; compare other values with `==`".to_owned()),
    }
}
