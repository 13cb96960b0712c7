//! Looks into values: `value.key`, `value[index]`, `value[start:end:step]`.

use super::arithmetic;
use super::budget::Budget;
use super::value::Value;

/// Returns what a key after a dot leads to. A missing key is None.
pub(super) fn attribute<'s>(value: &Value<'s>, name: &str) -> Result<Value<'s>, String> {
    match value {
        Value::Object(members) => Ok(members.get(name).unwrap_or(Value::None)),
        other => Err(format!("`.{name}` needs an object, and this is {}", other.described())),
    }
}

/// Returns what an index or a key in brackets leads to. A missing key is None, a missing item is a fault.
pub(super) fn index<'s>(value: &Value<'s>, index: &Value<'s>, budget: &Budget) -> Result<Value<'s>, String> {
    if let Value::Object(members) = value {
        return Ok(index.text().and_then(|key| members.get(key)).unwrap_or(Value::None));
    }
    let position = |length| position(index, length);
    if let Some(text) = value.text() {
        budget.see_text(text.len())?;
        let character = text.chars().nth(position(text.chars().count())?);
        return Ok(Value::from(character.map(String::from).unwrap_or_default()));
    }
    match value.sequence() {
        Some(items) => Ok(items.get(position(items.len())?).unwrap_or(Value::None)),
        None => Err(format!("`[...]` needs a list, a text or an object, and this is {}", value.described())),
    }
}

/// Returns a position from an index that may count from the end.
fn position(index: &Value<'_>, length: usize) -> Result<usize, String> {
    let number = index.int().ok_or_else(|| format!("the index of a list or text is a whole number, and this is {}", index.described()))?;
    let from_start = if number < 0 { number.saturating_add(length as i128) } else { number };
    let position = usize::try_from(from_start).ok().filter(|position| *position < length);
    position.ok_or_else(|| format!("there is no item {number}: the length is {length}; test it before with `len(...)`"))
}

/// Returns a part of a list or text. What lies outside is left out.
pub(super) fn slice<'s>(value: &Value<'s>, bounds: &[Value<'s>; 3], budget: &Budget) -> Result<Value<'s>, String> {
    if let Some(text) = value.text() {
        budget.see_text(text.len())?;
        let span = span(bounds, text.chars().count())?;
        budget.make_text(span.count)?;
        return Ok(Value::from(span.of_text(text)));
    }
    let Some(items) = value.sequence() else { return Err(format!("a slice needs a list or a text, and this is {}", value.described())) };
    let span = span(bounds, items.len())?;
    budget.spend(span.count)?;
    Ok(arithmetic::like(value, span.positions().filter_map(|position| items.get(position)).collect()))
}

/// The positions that a slice takes.
struct Span {
    first: i128,
    step: i128,
    count: usize,
}

impl Span {
    fn positions(&self) -> impl Iterator<Item = usize> {
        (0..self.count).filter_map(|index| usize::try_from(self.first + self.step * index as i128).ok())
    }

    fn of_text(&self, text: &str) -> String {
        if self.step == 1 {
            let first = usize::try_from(self.first).unwrap_or(usize::MAX);
            return text.chars().skip(first).take(self.count).collect();
        }
        let characters: Vec<char> = text.chars().collect();
        self.positions().filter_map(|position| characters.get(position)).collect()
    }
}

fn span([start, end, step]: &[Value<'_>; 3], length: usize) -> Result<Span, String> {
    let step = bound(step)?.unwrap_or(1);
    if step == 0 {
        return Err("a slice cannot go in steps of 0".to_owned());
    }
    let length = length as i128;
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let inside = |bound: i128| if bound < 0 { bound.saturating_add(length) } else { bound }.clamp(lowest, highest);
    let first = bound(start)?.map_or(if step > 0 { lowest } else { highest }, inside);
    let end = bound(end)?.map_or(if step > 0 { highest } else { lowest }, inside);
    let distance = if step > 0 { end - first } else { first - end };
    let count = distance.max(0).unsigned_abs().div_ceil(step.unsigned_abs());
    Ok(Span { first, step, count: usize::try_from(count).unwrap_or(0) })
}

fn bound(value: &Value<'_>) -> Result<Option<i128>, String> {
    match (value, value.int()) {
        (Value::None, _) => Ok(None),
        (_, Some(number)) => Ok(Some(number)),
        _ => Err(format!("the bounds of a slice are whole numbers, and this is {}", value.described())),
    }
}
