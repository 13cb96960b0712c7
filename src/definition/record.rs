//! Tolerant reading of JSON records: a wrong field falls back to its default and is reported, nothing else is lost.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::Problem;

/// Reads a file as JSON. A byte order mark is tolerated.
pub(super) fn json(file: &str, text: &str) -> Result<Value, Problem> {
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| Problem::fatal(file, format!("is no valid JSON: {error}")))
}

/// Reads a file that holds an array of records with ids; `read` makes one of each.
pub(super) fn records<T>(file: &str, text: &str, read: impl FnMut(&mut Record) -> T) -> Result<(Vec<T>, Vec<Problem>), Problem> {
    records_by("id", file, text, read)
}

/// Reads a file that holds an array of records which the field `key` tells apart; `read` makes one of each.
pub(super) fn records_by<T>(
    key: &str,
    file: &str,
    text: &str,
    read: impl FnMut(&mut Record) -> T,
) -> Result<(Vec<T>, Vec<Problem>), Problem> {
    let Value::Array(values) = json(file, text)? else {
        return Err(Problem::fatal(file, "is no JSON array; write `[` and `]` around the records"));
    };
    let mut problems = Vec::new();
    let read = Place { file, key, owner: None, field: "" }.identified(&values, &mut problems, read);
    Ok((read, problems))
}

/// Where an array of records stands: in a file, or in a field of the record `owner`.
struct Place<'a> {
    file: &'a str,
    /// The field that tells the records apart.
    key: &'a str,
    owner: Option<&'a str>,
    field: &'a str,
}

impl Place<'_> {
    fn problem(&self, id: &str, text: String) -> Problem {
        match self.owner {
            None => Problem::of_record(self.file, id, text),
            Some(owner) => Problem::of_record(self.file, owner, text).in_field(format!("{}{id}", self.field)),
        }
    }

    /// Reads those values that are objects with an id, and reports the others.
    fn identified<T>(&self, values: &[Value], problems: &mut Vec<Problem>, mut read: impl FnMut(&mut Record) -> T) -> Vec<T> {
        let mut seen = HashSet::new();
        let mut found = Vec::with_capacity(values.len());
        for (position, value) in values.iter().enumerate() {
            let Some(fields) = value.as_object() else {
                problems.push(self.problem(&format!("[{position}]"), format!("is {}; write an object", kind_of(value))));
                continue;
            };
            let Some(id) = fields.get(self.key).and_then(Value::as_str).filter(|id| !id.is_empty()) else {
                problems
                    .push(self.problem(&format!("[{position}]"), format!("is left out because it has no `{}`; give it a text", self.key)));
                continue;
            };
            let (owner, path) = match self.owner {
                None => (id, String::new()),
                Some(owner) => (owner, format!("{}.{id}.", self.field)),
            };
            let mut record = Record { file: self.file, key: self.key, owner, path, fields, problems };
            if !seen.insert(id) {
                record.report(self.key, format!("`{id}` is used twice; give each record its own {}", self.key));
            }
            found.push(read(&mut record));
        }
        found
    }
}

/// One JSON object that is being read.
pub(super) struct Record<'a> {
    file: &'a str,
    key: &'a str,
    /// The id that problems name: that of the outermost record.
    owner: &'a str,
    /// Leads from the outermost record to this one, with a dot at its end; empty for the outermost itself.
    path: String,
    fields: &'a Map<String, Value>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Record<'a> {
    /// Returns what tells the record apart, which every record has.
    pub(super) fn id(&self) -> String {
        self.fields.get(self.key).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Reports a problem of a field.
    pub(super) fn report(&mut self, field: &str, text: impl Into<String>) {
        self.problems.push(Problem::of_record(self.file, self.owner, text).in_field(format!("{}{field}", self.path)));
    }

    /// Returns the value of a field that is neither missing nor null, reporting one that `read` does not take.
    fn take<T>(&mut self, field: &str, wanted: &str, read: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        let value = self.fields.get(field).filter(|value| !value.is_null())?;
        let taken = read(value);
        if taken.is_none() {
            self.report(field, format!("is {}; write {wanted}", kind_of(value)));
        }
        taken
    }

    /// Returns a text, or nothing where it is missing, null or no text.
    pub(super) fn maybe_text(&mut self, field: &str) -> Option<String> {
        self.take(field, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// Returns a text, empty by default.
    pub(super) fn text(&mut self, field: &str) -> String {
        self.maybe_text(field).unwrap_or_default()
    }

    /// Returns a text as it is written: empty where the key is missing, nothing where it is null.
    pub(super) fn text_as_written(&mut self, field: &str) -> Option<String> {
        match self.fields.get(field) {
            Some(Value::Null) => None,
            _ => Some(self.text(field)),
        }
    }

    /// Returns a whole number from 0 up.
    pub(super) fn count(&mut self, field: &str) -> Option<u32> {
        self.take(field, "a whole number from 0 up", |value| value.as_u64().and_then(|count| u32::try_from(count).ok()))
    }

    /// Returns a number from 0 up.
    pub(super) fn number(&mut self, field: &str) -> Option<f64> {
        self.take(field, "a number from 0 up", |value| value.as_f64().filter(|number| *number >= 0.0))
    }

    /// Returns one of the words that a field may have.
    pub(super) fn choice(&mut self, field: &str, words: &[&'static str]) -> Option<&'static str> {
        let wanted = format!("one of `{}`", words.join("`, `"));
        self.take(field, &wanted, |value| words.iter().copied().find(|word| value.as_str() == Some(*word)))
    }

    /// Returns a switch, or nothing where it is missing or wrong.
    pub(super) fn maybe_flag(&mut self, field: &str) -> Option<bool> {
        self.take(field, "`true` or `false`", Value::as_bool)
    }

    /// Returns a switch, off by default.
    pub(super) fn flag(&mut self, field: &str) -> bool {
        self.maybe_flag(field).unwrap_or_default()
    }

    /// Returns any values, none by default.
    pub(super) fn values(&mut self, field: &str) -> Vec<Value> {
        self.take(field, "an array", Value::as_array).cloned().unwrap_or_default()
    }

    /// Returns texts, or nothing where the field is missing or wrong; an element that is no text is reported and left out.
    pub(super) fn maybe_texts(&mut self, field: &str) -> Option<Vec<String>> {
        let values = self.take(field, "an array of texts", Value::as_array)?;
        Some(self.only_texts(field, values))
    }

    /// Returns texts, none by default.
    pub(super) fn texts(&mut self, field: &str) -> Vec<String> {
        self.maybe_texts(field).unwrap_or_default()
    }

    /// Returns lists of texts, none by default. A single text counts as a list of one.
    pub(super) fn text_lists(&mut self, field: &str) -> Vec<Vec<String>> {
        let lists = self.take(field, "an array of arrays of texts", Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
        lists.iter().map(|list| self.only_texts(field, list.as_array().map_or(std::slice::from_ref(list), Vec::as_slice))).collect()
    }

    fn only_texts(&mut self, field: &str, values: &[Value]) -> Vec<String> {
        let mut texts = Vec::with_capacity(values.len());
        for (position, value) in values.iter().enumerate() {
            match value.as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => self.report(&format!("{field}[{position}]"), format!("is {}; write a text", kind_of(value))),
            }
        }
        texts
    }

    /// Returns a map from names to texts or null, empty by default.
    pub(super) fn text_map(&mut self, field: &str) -> Vec<(String, Option<String>)> {
        let Some(map) = self.take(field, "an object", Value::as_object) else { return Vec::new() };
        let mut entries = Vec::with_capacity(map.len());
        for (name, value) in map {
            match value {
                Value::String(text) => entries.push((name.clone(), Some(text.clone()))),
                Value::Null => entries.push((name.clone(), None)),
                other => self.report(&format!("{field}.{name}"), format!("is {}; write a text or `null`", kind_of(other))),
            }
        }
        entries
    }

    /// Returns an object with any values, or nothing where the field is missing or wrong.
    pub(super) fn object(&mut self, field: &str) -> Option<Map<String, Value>> {
        self.take(field, "an object", Value::as_object).cloned()
    }

    /// Returns objects with any values, none by default.
    pub(super) fn objects(&mut self, field: &str) -> Vec<Map<String, Value>> {
        let values = self.take(field, "an array of objects", Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
        let mut objects = Vec::with_capacity(values.len());
        for (position, value) in values.iter().enumerate() {
            match value.as_object() {
                Some(object) => objects.push(object.clone()),
                None => self.report(&format!("{field}[{position}]"), format!("is {}; write an object", kind_of(value))),
            }
        }
        objects
    }

    /// Returns what `read` makes of an object inside this one.
    pub(super) fn record<T>(&mut self, field: &str, read: impl FnOnce(&mut Record) -> T) -> Option<T> {
        let fields = self.take(field, "an object", Value::as_object)?;
        let path = format!("{}{field}.", self.path);
        Some(read(&mut Record { file: self.file, key: self.key, owner: self.owner, path, fields, problems: self.problems }))
    }

    /// Returns records with ids inside this one; those without are reported and left out.
    pub(super) fn records<T>(&mut self, field: &str, read: impl FnMut(&mut Record) -> T) -> Vec<T> {
        let values = self.take(field, "an array of objects", Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
        Place { file: self.file, key: "id", owner: Some(self.owner), field }.identified(values, self.problems, read)
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "`null`",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::definition::{agents, broken_references, orchestrations, settings};

    /// Values of every kind under names that the readers know, and some that they do not.
    fn value() -> impl Strategy<Value = Value> {
        let name = prop::sample::select(vec![
            "id",
            "name",
            "type",
            "model",
            "tools",
            "max_turns",
            "steps",
            "agent_id",
            "route_map",
            "parallel_branches",
            "human_fields",
            "x",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            prop::sample::select(vec!["", "a", "agent", "orchestrator"]).prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((name.clone(), inner), 0..6).prop_map(|fields| fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<Map<_, _>>()
                    .into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_array_is_read_and_every_record_with_an_id_is_kept(values in prop::collection::vec(value(), 0..5)) {
            let text = Value::from(values.clone()).to_string();
            let with_id = values.iter().filter(|value| value["id"].as_str().is_some_and(|id| !id.is_empty())).count();
            let (agents, problems) = agents(&text).unwrap();
            prop_assert_eq!(agents.len(), with_id);
            prop_assert!(problems.iter().all(|problem| !problem.fatal && problem.id.is_some()));
            let (orchestrations, problems) = orchestrations(&text).unwrap();
            prop_assert_eq!(orchestrations.len(), with_id);
            prop_assert!(problems.iter().all(|problem| !problem.fatal && problem.id.is_some()));
            broken_references(&agents, &orchestrations);
        }

        #[test]
        fn settings_are_any_object(value in value()) {
            prop_assert_eq!(settings(&value.to_string()).is_ok(), value.is_object());
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            prop_assert_eq!(agents(&text).is_ok(), orchestrations(&text).is_ok());
        }
    }
}
