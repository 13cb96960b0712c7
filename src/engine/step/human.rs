//! Human steps: the question, and whether an answer fits it.

use jiff::civil;
use serde_json::{Map, Value, json};

use super::inputs;
use crate::definition::{HumanTimeout, Step, Work};
use crate::engine::context::middle_out;
use crate::engine::run::{Question, ScopeState};
use crate::engine::{python_text, template};

/// What is asked where the step says nothing.
const PROMPT: &str = "Please provide input to continue.";

/// The most characters of a question.
const QUESTION: usize = 20_000;

/// The most characters of what the person should know.
const CONTEXT: usize = 50_000;

/// The most complaints about one answer.
const COMPLAINTS: usize = 10;

/// The most options that a complaint names.
const OPTIONS: usize = 20;

/// Makes the question of a step, and says after how many seconds it times out.
pub(crate) fn question(step: &Step, state: &ScopeState) -> (Question, Option<u32>) {
    let Work::Human { prompt, fields, channel_id, timeout } = &step.work else { return (Question::default(), None) };
    let asked = template::fill(prompt, &state.values).unwrap_or_else(|_| prompt.clone());
    let asked = if asked.trim().is_empty() { PROMPT.to_owned() } else { middle_out(&asked, QUESTION) };
    let seconds = match timeout {
        HumanTimeout::Wait => None,
        HumanTimeout::Answer { seconds, .. } | HumanTimeout::Fail { seconds } | HumanTimeout::Branch { seconds, .. } => Some(*seconds),
    };
    let agent_context = known(step, state).map(|text| middle_out(&text, CONTEXT));
    (Question { prompt: asked, fields: fields.clone(), agent_context, channel_id: channel_id.clone(), ..Question::default() }, seconds)
}

/// Returns what the person should know: the first input that is not empty, or else the newest result.
fn known(step: &Step, state: &ScopeState) -> Option<String> {
    let given = inputs(step, &state.values).map(|(_, value)| value).find(|value| !is_empty(value));
    let newest = || state.history.iter().rev().find_map(|past| state.values.get(past.step.output_key.as_ref()?));
    given.or_else(newest).map(python_text::str)
}

/// Takes an answer as it is kept, or says everything that is wrong with it.
pub(crate) fn check(question: &Question, answer: &Value) -> Result<Value, String> {
    let fields: Vec<Field> = question.fields.iter().filter_map(Field::of).collect();
    match answer {
        Value::String(text) => of_text(&fields, text, answer).map(|()| json!({"response": text})),
        Value::Object(values) => of_object(&fields, values).map(|()| answer.clone()),
        _ => Err(format!("`response` must be an object or a text{}", names(&fields))),
    }
}

/// Checks a text, which may stand for the only field.
fn of_text(fields: &[Field], text: &str, answer: &Value) -> Result<(), String> {
    match fields {
        [] => Ok(()),
        [only] => only.complaint(Some(answer)).map_or(Ok(()), |complaint| Err(refusal(&[complaint]))),
        _ if text.trim().is_empty() => Err(format!("`response` is empty; answer with an object{}", names(fields))),
        _ => Err(format!("`response` must be an object, because several things are asked for{}", names(fields))),
    }
}

fn of_object(fields: &[Field], values: &Map<String, Value>) -> Result<(), String> {
    // A text that was sent as existing clients wrap it stands for the only field.
    let lone = if fields.len() == 1 { values.get("response") } else { None };
    let complaints = fields.iter().filter_map(|field| field.complaint(values.get(field.name).or(lone)));
    let complaints: Vec<String> = complaints.take(COMPLAINTS).collect();
    if complaints.is_empty() { Ok(()) } else { Err(refusal(&complaints)) }
}

fn refusal(complaints: &[String]) -> String {
    format!("the answer does not fit the question: {}", complaints.join("; "))
}

fn names(fields: &[Field]) -> String {
    let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
    if names.is_empty() { String::new() } else { format!(" with `{}`", names.join("`, `")) }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A field of a question, as far as it restricts answers.
struct Field<'a> {
    name: &'a str,
    kind: String,
    required: bool,
    options: Vec<String>,
}

impl<'a> Field<'a> {
    /// Reads a field; one without a name asks for nothing that could be checked.
    fn of(field: &'a Map<String, Value>) -> Option<Self> {
        let text = |key: &str| field.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
        let required = field.get("required").is_some_and(|required| required == true || required.as_str().is_some_and(says_yes));
        let kind = text("type").unwrap_or_default().to_lowercase();
        Some(Self { name: text("name").or_else(|| text("key"))?, kind, required, options: options(field.get("options")) })
    }

    /// Says what is wrong with a value, if anything is.
    fn complaint(&self, value: Option<&Value>) -> Option<String> {
        let name = self.name;
        let Some(value) = value.filter(|value| !is_empty(value)) else {
            return self.required.then(|| format!("`{name}` is missing"));
        };
        let wrong = self.wrong(value)?;
        Some(format!("`{name}` must be {wrong}"))
    }

    /// Says what a value ought to be, where it is something else. Types that are not known are not checked.
    fn wrong(&self, value: &Value) -> Option<String> {
        let fits = match self.kind.as_str() {
            "select" | "radio" | "dropdown" => return self.none_of(&[value]),
            "multiselect" | "checkboxes" => {
                return self.none_of(&value.as_array().map_or_else(|| vec![value], |items| items.iter().collect()));
            }
            "text" | "textarea" | "string" | "password" => is_plain(value),
            "number" | "integer" => number(value).is_some_and(|number| self.kind == "number" || number.fract() == 0.0),
            "boolean" | "checkbox" => {
                value.is_boolean() || value.as_str().is_some_and(|text| says_yes(text) || text.eq_ignore_ascii_case("false"))
            }
            "email" => value.as_str().is_some_and(is_email),
            "date" => value.as_str().is_some_and(|text| text.parse::<civil::Date>().is_ok()),
            _ => true,
        };
        (!fits).then(|| self.wanted().to_owned())
    }

    fn wanted(&self) -> &'static str {
        match self.kind.as_str() {
            "number" => "a number",
            "integer" => "a whole number",
            "boolean" | "checkbox" => "`true` or `false`",
            "email" => "an e-mail address",
            "date" => "a date such as `2026-01-31`",
            _ => "a text",
        }
    }

    /// Names the options where one of the values is none of them.
    fn none_of(&self, values: &[&Value]) -> Option<String> {
        let known = |value: &Value| is_plain(value) && (self.options.is_empty() || self.options.contains(&plain(value)));
        if values.iter().all(|value| known(value)) {
            return None;
        }
        let named: Vec<&str> = self.options.iter().take(OPTIONS).map(String::as_str).collect();
        Some(if named.is_empty() { "a text".to_owned() } else { format!("one of `{}`", named.join("`, `")) })
    }
}

/// Reads options: a list of values or of objects with a `value` or a `label`, or a text with commas.
fn options(options: Option<&Value>) -> Vec<String> {
    let one = |option: &Value| match option {
        Value::Object(fields) => fields.get("value").or_else(|| fields.get("label")).map(plain),
        other => is_plain(other).then(|| plain(other)),
    };
    match options {
        Some(Value::Array(items)) => items.iter().filter_map(one).collect(),
        Some(Value::String(text)) => text.split(',').map(str::trim).filter(|option| !option.is_empty()).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn is_plain(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number: &f64| number.is_finite())
}

fn says_yes(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !text.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{orchestration, past, state};
    use super::*;

    fn asked(fields: Value) -> Question {
        Question { fields: serde_json::from_value(fields).unwrap(), ..Question::default() }
    }

    #[test]
    fn a_question_is_filled_and_shows_the_newest_result() {
        let flow = orchestration(&json!([
            {"id": "h", "type": "human", "human_prompt": "OK, {state.name}?", "human_fields": [{"key": "k", "odd": [1]}], "input_keys": ["gone", "empty"],
             "human_timeout_action": "fail", "human_timeout_seconds": 5},
            {"id": "n", "type": "llm", "output_key": "note"},
            {"id": "g", "type": "human"},
        ]));
        let mut state = state(json!({"name": "Bo", "empty": " ", "note": {"a": true}}));
        let plain = question(flow.step("g").unwrap(), &state);
        assert_eq!(plain, (Question { prompt: PROMPT.to_owned(), ..Question::default() }, None));
        state.history.push(past(&flow, "n", None));
        let (question, seconds) = question(flow.step("h").unwrap(), &state);
        assert_eq!((question.prompt.as_str(), question.agent_context.as_deref(), seconds), ("OK, Bo?", Some("{'a': True}"), Some(5)));
        assert_eq!(json!(question.fields), json!([{"key": "k", "odd": [1]}]), "fields are as they were written");
    }

    #[test]
    fn a_text_stands_for_the_only_field() {
        let one = asked(json!([{"name": "decision", "type": "select", "options": "yes, no", "required": "true"}]));
        assert_eq!(check(&one, &json!("yes")), Ok(json!({"response": "yes"})));
        assert_eq!(check(&one, &json!({"response": "no"})), Ok(json!({"response": "no"})));
        let wrong = "the answer does not fit the question: `decision` must be one of `yes`, `no`";
        assert_eq!(check(&one, &json!("maybe")), Err(wrong.to_owned()));
        assert_eq!(check(&asked(json!([])), &json!("anything")), Ok(json!({"response": "anything"})));
        let two = asked(json!([{"name": "a"}, {"key": "b"}]));
        assert_eq!(
            check(&two, &json!("x")),
            Err("`response` must be an object, because several things are asked for with `a`, `b`".to_owned())
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let question = asked(json!([
            {"name": "who", "required": true}, {"name": "age", "type": "number"}, {"name": "tags", "type": "multiselect", "options": ["a", {"value": "b", "label": "B"}]},
            {"name": "mail", "type": "email"}, {"name": "day", "type": "date"}, {"name": "sure", "type": "boolean"}, {"name": "odd", "type": "rating"},
        ]));
        let answer =
            json!({"who": " ", "age": "old", "tags": ["a", "c"], "mail": "x", "day": "tomorrow", "sure": "perhaps", "odd": {"stars": 5}});
        let told = "the answer does not fit the question: `who` is missing; `age` must be a number; `tags` must be one of `a`, `b`; \
             `mail` must be an e-mail address; `day` must be a date such as `2026-01-31`; `sure` must be `true` or `false`";
        assert_eq!(check(&question, &answer), Err(told.to_owned()));
        let fine =
            json!({"who": "Bo", "age": "7.5", "tags": "b", "mail": "b@x", "day": "2026-01-31", "sure": true, "odd": null, "more": 1});
        assert_eq!(check(&question, &fine), Ok(fine.clone()), "what was sent is kept");
        assert_eq!(check(&question, &json!({"who": "Bo"})), Ok(json!({"who": "Bo"})));
        assert!(check(&question, &json!([1])).unwrap_err().contains("must be an object"));
    }
}
