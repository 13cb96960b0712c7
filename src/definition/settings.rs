//! The settings of `settings.json`, with what the environment puts above them.

use std::fmt;

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::Problem;
use super::record::json;

/// The file of the settings, inside the data directory.
pub const SETTINGS_FILE: &str = "settings.json";

/// Settings that are switches.
const FLAGS: [&str; 10] = [
    "vault_enabled",
    "auto_compact_enabled",
    "prompt_cache_enabled",
    "allow_db_write",
    "embed_code",
    "allow_stdio_mcp",
    "coding_agent_enabled",
    "messaging_enabled",
    "report_agent_enabled",
    "strict_agents",
];

/// Settings that are counts.
const COUNTS: [&str; 4] = ["vault_threshold", "auto_compact_threshold", "rate_limit_per_tenant_rps", "usage_retention_days"];

/// Reads settings. It fails only if the file holds no JSON object.
pub fn settings(text: &str) -> Result<(Settings, Vec<Problem>), Problem> {
    let Value::Object(values) = json(SETTINGS_FILE, text)? else {
        return Err(Problem::fatal(SETTINGS_FILE, "is no JSON object; write `{` and `}` around the settings"));
    };
    let problems = values.iter().filter(|(_, value)| !value.is_null()).filter_map(|(name, value)| problem(name, value)).collect();
    Ok((Settings::new(values), problems))
}

fn problem(name: &str, value: &Value) -> Option<Problem> {
    let is_text = name == "model" || ["_key", "_base_url"].iter().any(|end| name.ends_with(end));
    let wanted = if FLAGS.contains(&name) && !value.is_boolean() {
        "no `true` or `false`"
    } else if COUNTS.contains(&name) && !value.is_u64() {
        "no whole number from 0 up"
    } else if is_text && !value.is_string() {
        "no text"
    } else if name == "model_abilities" && !are_abilities(value) {
        "not of the form `{\"<model>\": {\"images\": true, \"tools\": true, \"streaming\": true}}`"
    } else if name == "allow_private_addresses" && !(value.is_boolean() || value.is_array() || value.is_string()) {
        "neither `true` nor `false` nor an array of hosts, addresses and networks"
    } else {
        return None;
    };
    Some(Problem {
        field: Some(name.to_owned()),
        fatal: false,
        ..Problem::fatal(SETTINGS_FILE, format!("is {wanted}, so its default is used"))
    })
}

/// Returns whether a value says of models what they can do.
fn are_abilities(value: &Value) -> bool {
    let known = |(name, able): (&String, &Value)| ["images", "tools", "streaming"].contains(&name.as_str()) && able.is_boolean();
    let are_known = |model: &Value| model.as_object().is_some_and(|abilities| abilities.iter().all(known));
    value.as_object().is_some_and(|models| models.values().all(are_known))
}

/// Settings by name. Unknown ones are kept and ignored.
#[derive(Clone, Default, PartialEq)]
pub struct Settings(Map<String, Value>);

impl Settings {
    /// Takes the object of `settings.json`.
    pub const fn new(values: Map<String, Value>) -> Self {
        Self(values)
    }

    /// Puts a value above what the file says.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// Returns the value as it stands, unless it is null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Returns a text that is not blank.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// Returns a text that no log may show.
    pub fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// Returns a switch, or the default where it is missing or no boolean.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or(default)
    }

    /// Returns a count, or the default where it is missing, negative or no integer.
    pub fn count(&self, name: &str, default: u64) -> u64 {
        self.get(name).and_then(Value::as_u64).unwrap_or(default)
    }

    /// Returns the names that are set, in file order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for Settings {
    /// Shows names only: values may be secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_the_wrong_kind_is_named_and_the_others_stay() {
        let (settings, problems) =
            settings(r#"{"model": 5, "vault_enabled": "yes", "openai_key": null, "unknown": [1], "vault_threshold": 9}"#).unwrap();
        assert_eq!(
            problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "`settings.json`, `model`: is no text, so its default is used",
                "`settings.json`, `vault_enabled`: is no `true` or `false`, so its default is used",
            ]
        );
        assert_eq!((settings.text("model"), settings.flag("vault_enabled", true), settings.count("vault_threshold", 1)), (None, true, 9));
    }

    #[test]
    fn abilities_of_another_form_are_named() {
        let told = |abilities: &str| settings(&format!(r#"{{"model_abilities": {abilities}}}"#)).unwrap().1;
        for wrong in ["[]", "7", r#"{"m": true}"#, r#"{"m": {"images": "yes"}}"#, r#"{"m": {"vision": true}}"#] {
            let problems = told(wrong);
            assert!(problems.len() == 1 && problems[0].to_string().contains("`model_abilities`"), "{wrong}: {problems:?}");
        }
        assert!(told(r#"{"m": {"images": true, "tools": false, "streaming": false}, "n": {}}"#).is_empty());
    }

    #[test]
    fn what_addresses_are_allowed_is_a_switch_or_a_list() {
        for (value, problems) in [("true", 0), (r#"["10.0.0.0/8"]"#, 0), ("5", 1), ("{}", 1)] {
            let found = settings(&format!(r#"{{"allow_private_addresses": {value}}}"#)).unwrap().1;
            assert_eq!(found.len(), problems, "{value}: {found:?}");
        }
    }

    #[test]
    fn settings_that_are_no_object_are_unusable() {
        assert!(settings("[]").unwrap_err().fatal);
        assert!(settings("nonsense").unwrap_err().fatal);
    }

    #[test]
    fn no_value_is_shown_for_debugging() {
        let (settings, _) = settings(r#"{"openai_key": "sk-secret"}"#).unwrap();
        assert_eq!(format!("{settings:?}"), r#"{"openai_key"}"#);
    }
}
