//! The file of API keys, kept as other programs know it: fields and records that we do not know stay as they are.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::definition::Problem;

/// The file of the API keys, inside the data directory.
pub(super) const KEYS_FILE: &str = "api_keys.json";

/// What may be told of a key: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Identifies the key.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The first 12 characters of the key, by which people recognise it.
    pub key_prefix: String,
    /// When it was made, as the file says it: RFC 3339, UTC.
    pub created_at: String,
    /// When it was last used, RFC 3339, UTC; nothing before its first use.
    pub last_used_at: Option<String>,
    /// When it stops to be accepted, RFC 3339; nothing for never.
    pub expires_at: Option<String>,
    /// Whether it is accepted.
    pub is_active: bool,
}

/// The records of the file, in file order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct KeyFile(Vec<Value>);

impl KeyFile {
    /// Reads the file's text.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        serde_json::from_str(text)
            .map(Self)
            .map_err(|error| Problem::fatal(KEYS_FILE, format!("is no JSON array of keys: {error}; repair it or put back a copy")))
    }

    /// Writes the file's text.
    pub(super) fn to_text(&self) -> String {
        format!("{:#}", Value::Array(self.0.clone()))
    }

    /// Returns the usable keys with their hashes, and what is wrong with the other records.
    pub(super) fn keys(&self) -> (Vec<(KeyRecord, [u8; 32])>, Vec<Problem>) {
        let (mut keys, mut problems) = (Vec::new(), Vec::new());
        for (position, value) in self.0.iter().enumerate() {
            match value.as_object().ok_or(("", "is no object")).and_then(key) {
                Ok(key) => keys.push(key),
                Err((field, text)) => {
                    let problem = Problem::of_record(KEYS_FILE, &format!("[{position}]"), format!("{text}, so this key is not accepted"));
                    problems.push(Problem { field: Some(field.to_owned()).filter(|field| !field.is_empty()), ..problem });
                }
            }
        }
        (keys, problems)
    }

    /// Adds a key.
    pub(super) fn add(&mut self, record: &KeyRecord, hash: &str) {
        let mut value = json!({
            "id": record.id,
            "name": record.name,
            "key_hash": hash,
            "key_prefix": record.key_prefix,
            "created_at": record.created_at,
            "last_used_at": record.last_used_at,
            "is_active": record.is_active,
        });
        if let (Some(expires_at), Some(fields)) = (&record.expires_at, value.as_object_mut()) {
            fields.insert("expires_at".to_owned(), expires_at.as_str().into());
        }
        self.0.push(value);
    }

    /// Removes a key and tells whether there was one.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|value| text(value, "id") != Some(id));
        self.0.len() < before
    }

    /// Writes down when a key was used, unless the file knows of a later use.
    pub(super) fn mark_used(&mut self, id: &str, second: i64) {
        for value in self.0.iter_mut().filter(|value| text(value, "id") == Some(id)) {
            let known = text(value, "last_used_at").map_or(0, second_of);
            if let Some(fields) = value.as_object_mut().filter(|_| known < second) {
                fields.insert("last_used_at".to_owned(), time_of(second).into());
            }
        }
    }
}

/// Reads one record, or says which field makes it useless.
fn key(fields: &Map<String, Value>) -> Result<(KeyRecord, [u8; 32]), (&'static str, &'static str)> {
    let text = |field: &str| fields.get(field).and_then(Value::as_str).map(str::to_owned);
    let id = text("id").filter(|id| !id.is_empty()).ok_or(("id", "is missing or no text"))?;
    let hash = text("key_hash").and_then(|hash| bytes_of(&hash)).ok_or(("key_hash", "is no SHA-256 in hexadecimal"))?;
    let expires_at = text("expires_at");
    let expiry_is_readable = match fields.get("expires_at") {
        None | Some(Value::Null) => true,
        Some(_) => expires_at.as_ref().is_some_and(|time| time.parse::<Timestamp>().is_ok()),
    };
    if !expiry_is_readable {
        return Err(("expires_at", "is no time in RFC 3339"));
    }
    let is_active = fields.get("is_active").is_none_or(|active| active.is_null() || active == &Value::Bool(true));
    let record = KeyRecord {
        name: text("name").unwrap_or_else(|| id.clone()),
        key_prefix: text("key_prefix").unwrap_or_default(),
        created_at: text("created_at").unwrap_or_default(),
        last_used_at: text("last_used_at"),
        expires_at,
        is_active,
        id,
    };
    Ok((record, hash))
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

/// Reads 64 hexadecimal digits.
fn bytes_of(hash: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hash.len() != 64 || !hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (position, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hash.get(position * 2..position * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Writes a time as the file does: UTC, to the second.
pub(super) fn time_of(second: i64) -> String {
    Timestamp::from_second(second).unwrap_or_default().to_string()
}

/// Reads a time of the file as seconds, 0 for one that cannot be read.
pub(super) fn second_of(time: &str) -> i64 {
    time.parse::<Timestamp>().map_or(0, Timestamp::as_second)
}
