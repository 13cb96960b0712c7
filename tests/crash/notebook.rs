//! What a client was told of a run, and whether what it is told later agrees.

use std::collections::BTreeMap;

use serde_json::Value;

/// The events of a run by their numbers, from however many streams.
#[derive(Default)]
pub(crate) struct Notebook {
    events: BTreeMap<u64, Value>,
}

impl Notebook {
    /// Returns the newest number.
    pub(crate) fn last(&self) -> u64 {
        self.events.last_key_value().map_or(0, |(id, _)| *id)
    }

    /// Takes an event of a stream down; `before` is the number of the one before it in that stream.
    pub(crate) fn take(&mut self, before: u64, id: u64, event: &Value) {
        assert_eq!(id, before + 1, "a number is left out or repeated before {event}");
        if let Some(known) = self.events.insert(id, event.clone()) {
            assert_eq!(known, *event, "number {id} was something else before");
        }
    }

    /// Returns the events of a type.
    pub(crate) fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.values().filter(move |event| event["type"] == kind)
    }

    /// Returns how many events of a type belong to a step, wherever it stands.
    pub(crate) fn of_step(&self, kind: &str, step: &str) -> usize {
        self.of_type(kind).filter(|event| stands(event) == step).count()
    }

    /// Returns the last event of a type.
    pub(crate) fn last_of(&self, kind: &str) -> Option<&Value> {
        self.events.values().rev().find(|event| event["type"] == kind)
    }

    /// Returns all events with their numbers.
    pub(crate) fn all(&self) -> Vec<(u64, Value)> {
        self.events.iter().map(|(id, event)| (*id, event.clone())).collect()
    }
}

/// Returns the step that an event is about, the innermost one.
pub(crate) fn stands(event: &Value) -> &str {
    event["nested_step_id"].as_str().or_else(|| event["orch_step_id"].as_str()).unwrap_or_default()
}
