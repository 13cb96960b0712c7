//! The methods of text. Letters are told apart as Unicode does; Python has more to say about titlecase letters and about digits beyond ASCII.

use std::collections::HashSet;
use std::rc::Rc;

use super::arguments::refused;
use super::budget::Budget;
use super::value::Value;

/// Calls a method of a text. That it is looked at was spent before.
pub(super) fn call<'s>(text: &str, name: &str, values: &[Value<'s>], budget: &Budget) -> Result<Value<'s>, String> {
    match values {
        [] => bare(text, name, budget).ok_or_else(|| refused(name, values))?,
        [Value::None] if matches!(name, "strip" | "lstrip" | "rstrip" | "split") => call(text, name, &[], budget),
        [first] => one(text, name, first, budget).ok_or_else(|| refused(name, values))?,
        [Value::None, count] if name == "split" => Ok(listed(split_blank(text, limit(count)?), budget)?),
        [first, second] => two(text, name, first, second, budget).ok_or_else(|| refused(name, values))?,
        [old, new, count] if name == "replace" => match (old.text(), new.text()) {
            (Some(old), Some(new)) => replace(text, old, new, limit(count)?, budget),
            _ => Err(refused(name, values)),
        },
        _ => Err(refused(name, values)),
    }
}

/// Calls a method without arguments; nothing is returned where there is none.
fn bare<'s>(text: &str, name: &str, budget: &Budget) -> Option<Result<Value<'s>, String>> {
    let all = |test: fn(char) -> bool| Ok(Value::Bool(!text.is_empty() && text.chars().all(test)));
    let any = |test: fn(char) -> bool| text.chars().any(test);
    Some(match name {
        "lower" => made(text.to_lowercase(), budget),
        "upper" => made(text.to_uppercase(), budget),
        "title" => made(title(text), budget),
        "capitalize" => made(capitalized(text), budget),
        "strip" => made(text.trim_matches(is_blank), budget),
        "lstrip" => made(text.trim_start_matches(is_blank), budget),
        "rstrip" => made(text.trim_end_matches(is_blank), budget),
        "split" => listed(split_blank(text, usize::MAX), budget),
        "splitlines" => listed(lines(text), budget),
        "isdigit" => all(|character| character.is_ascii_digit()),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isspace" => all(is_blank),
        "isupper" => Ok(Value::Bool(any(char::is_uppercase) && !any(char::is_lowercase))),
        "islower" => Ok(Value::Bool(any(char::is_lowercase) && !any(char::is_uppercase))),
        _ => return None,
    })
}

/// Calls a method with one argument; nothing is returned where there is none.
fn one<'s>(text: &str, name: &str, value: &Value<'s>, budget: &Budget) -> Option<Result<Value<'s>, String>> {
    match name {
        "join" => return Some(join(text, value, budget)),
        "startswith" => return any_text(value, |part| text.starts_with(part)),
        "endswith" => return any_text(value, |part| text.ends_with(part)),
        _ => {}
    }
    let part = value.text()?;
    let set: HashSet<char> = if name.ends_with("strip") { part.chars().collect() } else { HashSet::new() };
    let one_of = |character: char| set.contains(&character);
    Some(match name {
        "strip" => made(text.trim_matches(one_of), budget),
        "lstrip" => made(text.trim_start_matches(one_of), budget),
        "rstrip" => made(text.trim_end_matches(one_of), budget),
        "removeprefix" => made(text.strip_prefix(part).unwrap_or(text), budget),
        "removesuffix" => made(text.strip_suffix(part).unwrap_or(text), budget),
        "split" => split(text, part, usize::MAX, budget),
        "find" => Ok(place(text, text.find(part))),
        "rfind" => Ok(place(text, text.rfind(part))),
        "index" => {
            text.find(part).map(|byte| place(text, Some(byte))).ok_or_else(|| "the text has no such part; use `.find(...)`".to_owned())
        }
        "count" => Ok(Value::Int(text.matches(part).count() as i128)),
        _ => return None,
    })
}

/// Takes the steps for a text that was made; it is hardly longer than one that was there.
fn made<'s>(text: impl Into<Rc<str>>, budget: &Budget) -> Result<Value<'s>, String> {
    let text = text.into();
    budget.make_text(text.len())?;
    Ok(Value::Text(text))
}

fn two<'s>(text: &str, name: &str, first: &Value<'s>, second: &Value<'s>, budget: &Budget) -> Option<Result<Value<'s>, String>> {
    let part = first.text()?;
    match name {
        "replace" => Some(replace(text, part, second.text()?, usize::MAX, budget)),
        "split" => Some(limit(second).and_then(|limit| split(text, part, limit, budget))),
        _ => None,
    }
}

/// Returns how many times something is done at most; a negative number is no limit.
fn limit(value: &Value<'_>) -> Result<usize, String> {
    let number = value.int().ok_or_else(|| format!("the count is a whole number, and this is {}", value.described()))?;
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

/// Tells what Python takes for a blank: besides those of Unicode, four separators of ASCII.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Returns a place in characters, -1 where there is none.
fn place<'s>(text: &str, byte: Option<usize>) -> Value<'s> {
    Value::Int(byte.map_or(-1, |byte| text[..byte].chars().count() as i128))
}

fn any_text<'s>(value: &Value<'_>, test: impl Fn(&str) -> bool) -> Option<Result<Value<'s>, String>> {
    let found = match value {
        Value::Tuple(parts) => parts.iter().map(|part| part.text().map(&test)).collect::<Option<Vec<_>>>()?.contains(&true),
        single => test(single.text()?),
    };
    Some(Ok(Value::Bool(found)))
}

fn listed<'s>(parts: Vec<&str>, budget: &Budget) -> Result<Value<'s>, String> {
    budget.spend(parts.len())?;
    budget.make_text(parts.iter().map(|part| part.len()).sum())?;
    Ok(parts.into_iter().map(|part| Value::from(part.to_owned())).collect::<Vec<_>>().into())
}

fn split<'s>(text: &str, separator: &str, limit: usize, budget: &Budget) -> Result<Value<'s>, String> {
    if separator.is_empty() {
        return Err("`split` needs a separator that is not empty; `list(...)` splits into characters".to_owned());
    }
    listed(text.splitn(limit.saturating_add(1), separator).collect(), budget)
}

fn split_blank(text: &str, limit: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    while !rest.is_empty() {
        let end = if words.len() < limit { rest.find(is_blank).unwrap_or(rest.len()) } else { rest.len() };
        words.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(is_blank);
    }
    words
}

fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}']);
        let Some(end) = end else {
            lines.push(rest);
            break;
        };
        lines.push(&rest[..end]);
        rest = &rest[end..];
        rest = rest.strip_prefix("\r\n").unwrap_or_else(|| rest.get(rest.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default());
    }
    lines
}

fn join<'s>(separator: &str, value: &Value<'_>, budget: &Budget) -> Result<Value<'s>, String> {
    let mut joined = String::new();
    for (index, part) in value.elements(budget)?.iter().enumerate() {
        let part =
            part.text().ok_or_else(|| format!("`join` takes a list of texts, and it has {}; convert with `str(...)`", part.described()))?;
        budget.make_text(separator.len() + part.len())?;
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(part);
    }
    Ok(joined.into())
}

fn replace<'s>(text: &str, old: &str, new: &str, limit: usize, budget: &Budget) -> Result<Value<'s>, String> {
    let places = text.matches(old).count().min(limit);
    budget.make_text(text.len().saturating_add(places.saturating_mul(new.len())))?;
    Ok(text.replacen(old, new, places).into())
}

fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut inside = false;
    for character in text.chars() {
        if inside {
            titled.extend(character.to_lowercase());
        } else {
            titled.push_str(&capitalized(character.encode_utf8(&mut [0; 4])));
        }
        inside = character.is_lowercase() || character.is_uppercase();
    }
    titled
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return String::new() };
    let mut upper = first.to_uppercase();
    let mut capitalized: String = upper.next().into_iter().collect();
    capitalized.push_str(&upper.collect::<String>().to_lowercase());
    capitalized.push_str(&characters.as_str().to_lowercase());
    capitalized
}
