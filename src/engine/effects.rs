//! Idempotency ids: the same call in a repeated attempt has the same id, so that whoever does the work can tell a repetition.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::clock;

/// Gives the calls of one piece of work their ids.
pub(super) struct Effects {
    /// What tells the work from all other; nothing where it is never done again.
    work: Option<String>,
    /// How often each call was made.
    made: Mutex<HashMap<[u8; 32], u32>>,
}

impl Effects {
    /// Begins a piece of work, or an attempt to do it again.
    pub(super) fn new(work: Option<&str>) -> Self {
        Self { work: work.map(str::to_owned), made: Mutex::default() }
    }

    /// Returns the id of the next call of a tool with these arguments.
    pub(super) fn id(&self, tool: &str, arguments: &Value) -> String {
        let Some(work) = &self.work else { return clock::ordered_id().to_string() };
        let call = hash(&[work, tool, &canonical(arguments).to_string()]);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let ordinal = made.entry(call).or_default();
        *ordinal += 1;
        clock::hex(&hash(&[&clock::hex(&call), &ordinal.to_string()]))
    }
}

/// Hashes texts, none of which can run into the next.
fn hash(parts: &[&str]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// Returns a value with the keys of its objects in order.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(canonical).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields.iter().map(|(name, value)| (name.clone(), canonical(value))).collect();
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            fields.into_iter().collect()
        }
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_repeated_attempt_gives_the_same_ids_in_the_same_order() {
        let ids = |work| {
            let effects = Effects::new(Some(work));
            let calls =
                [("pay", json!({"a": 1, "b": {"d": 2, "c": 3}})), ("pay", json!({"b": {"c": 3, "d": 2}, "a": 1})), ("ship", json!({}))];
            calls.map(|(tool, arguments)| effects.id(tool, &arguments))
        };
        assert_eq!(ids("run_1/2"), ids("run_1/2"));
        let all: HashSet<String> = ids("run_1/2").into_iter().chain(ids("run_1/3")).collect();
        assert_eq!(all.len(), 6, "two equal calls are two calls");
    }

    #[test]
    fn what_is_never_done_again_has_ids_of_its_own() {
        let effects = Effects::new(None);
        assert_ne!(effects.id("pay", &json!({})), effects.id("pay", &json!({})));
    }

    #[test]
    fn the_id_depends_on_nothing_but_the_call() {
        let id = Effects::new(Some("w")).id("pay", &json!({"b": [1, null], "a": "x"}));
        let again = hash(&[&clock::hex(&hash(&["w", "pay", r#"{"a":"x","b":[1,null]}"#])), "1"]);
        assert_eq!(id, clock::hex(&again));
    }
}
