//! Fills the values of a run into the texts that people wrote.

use serde_json::{Map, Value};

use super::python_text;

/// The most bytes of a text with its values filled in.
const FILLED_BYTES: usize = 8 << 20;

/// What a placeholder begins with.
const OPENING: &str = "{state.";

/// A text that is too large once its values are in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text has more than {} MB once its values are filled in; name fewer of them, or cut them in a step before", FILLED_BYTES >> 20)]
pub(crate) struct TooLarge;

/// Fills a prompt: `{state.key}` becomes the value as Python shows it. Where the key is missing, the text stays as it is written.
pub(crate) fn fill(template: &str, state: &Map<String, Value>) -> Result<String, TooLarge> {
    replace(template, |key| state.get(key))
}

/// Fills the text of a print step: `{state.a.b}` walks objects. Where a key is missing or its value is null, the text stays as it is written.
pub(crate) fn fill_deep(template: &str, state: &Map<String, Value>) -> Result<String, TooLarge> {
    replace(template, |path| walk(path, state).filter(|value| !value.is_null()))
}

fn walk<'s>(path: &str, state: &'s Map<String, Value>) -> Option<&'s Value> {
    let mut keys = path.split('.');
    let first = state.get(keys.next()?);
    keys.fold(first, |value, key| value?.as_object()?.get(key))
}

/// Goes through the template once, so that a value that looks like a placeholder is not filled in again.
fn replace<'s>(template: &str, find: impl Fn(&str) -> Option<&'s Value>) -> Result<String, TooLarge> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find(OPENING) {
        let (before, placeholder) = rest.split_at(start);
        filled.push_str(before);
        if let Some((path, value)) = path(placeholder).and_then(|path| Some((path, find(path)?))) {
            filled.push_str(&python_text::str(value));
            rest = &placeholder[OPENING.len() + path.len() + 1..];
        } else {
            filled.push_str(OPENING);
            rest = &placeholder[OPENING.len()..];
        }
        fits(&filled)?;
    }
    filled.push_str(rest);
    fits(&filled).map(|()| filled)
}

/// Returns the path of a placeholder that is closed.
fn path(placeholder: &str) -> Option<&str> {
    let inside = &placeholder[OPENING.len()..];
    let end = inside.find(|character: char| !character.is_alphanumeric() && !matches!(character, '_' | '.'))?;
    inside[end..].starts_with('}').then(|| &inside[..end])
}

fn fits(filled: &str) -> Result<(), TooLarge> {
    if filled.len() <= FILLED_BYTES { Ok(()) } else { Err(TooLarge) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn templates_are_filled_as_in_the_corpus() {
        // Not ours: `big` is beyond 64 bits; like all JSON here it is read as a float. No template shows it.
        let corpus: Value = serde_json::from_str(include_str!("../../tests/corpus/templates.json")).unwrap();
        let state = corpus["state"].as_object().unwrap();
        let cases = corpus["tpls"].as_array().unwrap();
        assert!(cases.len() >= 15);
        for case in cases {
            let template = case["tpl"].as_str().unwrap();
            assert_eq!(fill(template, state).unwrap(), case["prompt"].as_str().unwrap(), "prompt {template}");
            assert_eq!(fill_deep(template, state).unwrap(), case["print"].as_str().unwrap(), "print {template}");
        }
    }

    #[test]
    fn a_value_that_looks_like_a_placeholder_is_not_filled_in_again() {
        let state = state(json!({"a": "{state.b}", "b": "no"}));
        assert_eq!(fill("{state.a}{state.b}{state.a", &state).unwrap(), "{state.b}no{state.a");
    }

    #[test]
    fn null_is_shown_in_a_prompt_and_left_out_of_a_print() {
        let state = state(json!({"a": null, "o": {"x": null, "y": [1]}}));
        assert_eq!(fill("{state.a}", &state).unwrap(), "None");
        assert_eq!(
            fill_deep("{state.a} {state.o.x} {state.o.y} {state.o.y.0} {state.o.}", &state).unwrap(),
            "{state.a} {state.o.x} [1] {state.o.y.0} {state.o.}"
        );
    }

    #[test]
    fn braces_of_json_around_a_placeholder_stay() {
        let state = state(json!({"n": 1}));
        assert_eq!(fill(r#"{"a": {"n": {state.n}}} {{x}} {{{state.{state.n}"#, &state).unwrap(), r#"{"a": {"n": 1}} {{x}} {{{state.1"#);
    }

    #[test]
    fn a_text_that_grows_too_large_is_refused() {
        let state = state(json!({"a": "x".repeat(1 << 20)}));
        assert_eq!(fill(&"{state.a}".repeat(8), &state).unwrap().len(), FILLED_BYTES);
        assert_eq!(fill(&"{state.a}".repeat(100_000), &state), Err(TooLarge));
        assert_eq!(fill_deep(&"{state.a}".repeat(100_000), &state), Err(TooLarge));
    }
}
