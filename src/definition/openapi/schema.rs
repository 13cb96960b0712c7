//! Schemas of OpenAPI documents as plain JSON Schema: references resolved, circles ended, older spellings rewritten.

use std::cell::Cell;

use serde_json::{Map, Value, json};

/// How many references in a row are followed.
const HOPS: usize = 16;

/// How deep a schema may be; what is deeper allows everything.
const DEPTH: usize = 24;

/// How many schemas may be written out for one parameter or body; what comes after them allows everything.
const SCHEMAS: usize = 2_000;

/// Words that tell a model nothing, or that other dialects understand otherwise.
const DROPPED: [&str; 10] =
    ["nullable", "discriminator", "xml", "externalDocs", "example", "examples", "deprecated", "$schema", "$id", "$anchor"];

/// Words that hold schemas by name.
const BY_NAME: [&str; 3] = ["properties", "patternProperties", "dependentSchemas"];

/// Words that hold one schema or a list of them.
const INSIDE: [&str; 14] = [
    "items",
    "prefixItems",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "allOf",
    "anyOf",
    "oneOf",
    "unevaluatedItems",
];

/// Where references of a document lead.
pub(super) struct References<'a> {
    document: &'a Value,
    /// How many schemas may still be written out.
    left: Cell<usize>,
}

impl<'a> References<'a> {
    /// Takes a document.
    pub(super) fn new(document: &'a Value) -> Self {
        Self { document, left: Cell::new(0) }
    }

    /// Follows a value to what it refers to, if it is a reference.
    pub(super) fn resolve(&self, value: &'a Value) -> Result<&'a Value, String> {
        let mut value = value;
        for _ in 0..HOPS {
            let Some(reference) = value["$ref"].as_str() else { return Ok(value) };
            value = self.target(reference)?;
        }
        Err("a reference leads in a circle".to_owned())
    }

    /// Writes a schema out without references.
    pub(super) fn expand(&self, schema: &Value) -> Result<Value, String> {
        self.left.set(SCHEMAS);
        self.schema(schema, &mut Vec::new(), 0)
    }

    fn target(&self, reference: &str) -> Result<&'a Value, String> {
        let pointer = reference.strip_prefix('#').ok_or_else(|| format!("`{reference}` is kept in another document"))?;
        let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy();
        self.document.pointer(&pointer).ok_or_else(|| format!("`{reference}` leads nowhere"))
    }

    /// Writes a schema out; `open` are the references that led to it.
    fn schema(&self, schema: &Value, open: &mut Vec<String>, depth: usize) -> Result<Value, String> {
        let Some(fields) = schema.as_object() else { return Ok(if schema.is_boolean() { schema.clone() } else { json!({}) }) };
        let left = self.left.get();
        if depth >= DEPTH || left == 0 {
            return Ok(json!({}));
        }
        self.left.set(left - 1);
        if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
            if open.iter().any(|other| other == reference) {
                return Ok(json!({}));
            }
            open.push(reference.to_owned());
            let mut target = self.schema(self.target(reference)?, open, depth + 1)?;
            open.pop();
            if let (Some(target), Some(told)) = (target.as_object_mut(), fields.get("description")) {
                target.insert("description".to_owned(), told.clone());
            }
            return Ok(target);
        }
        let mut written = Map::new();
        for (word, value) in fields.iter().filter(|(word, _)| !DROPPED.contains(&word.as_str())) {
            written.insert(word.clone(), self.word(word, value, open, depth + 1)?);
        }
        modernise(fields, &mut written);
        Ok(Value::Object(written))
    }

    fn word(&self, word: &str, value: &Value, open: &mut Vec<String>, depth: usize) -> Result<Value, String> {
        match value {
            Value::Object(named) if BY_NAME.contains(&word) => named
                .iter()
                .map(|(name, schema)| Ok((name.clone(), self.schema(schema, open, depth)?)))
                .collect::<Result<_, _>>()
                .map(Value::Object),
            Value::Array(list) if INSIDE.contains(&word) => {
                list.iter().map(|schema| self.schema(schema, open, depth)).collect::<Result<_, _>>().map(Value::Array)
            }
            schema if INSIDE.contains(&word) => self.schema(schema, open, depth),
            other => Ok(other.clone()),
        }
    }
}

/// Rewrites what OpenAPI 3.0 and Swagger spell otherwise than JSON Schema.
fn modernise(old: &Map<String, Value>, schema: &mut Map<String, Value>) {
    if let (Some(Value::Bool(true)), Some(Value::String(kind))) = (old.get("nullable"), old.get("type")) {
        schema.insert("type".to_owned(), json!([kind, "null"]));
    }
    for (flag, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if let Some(exclusive) = old.get(flag).and_then(Value::as_bool) {
            schema.shift_remove(flag);
            if let Some(value) = exclusive.then(|| schema.shift_remove(bound)).flatten() {
                schema.insert(flag.to_owned(), value);
            }
        }
    }
}

/// The fields of an object.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    pub(super) properties: Map<String, Value>,
    pub(super) required: Vec<String>,
    /// Whether it takes fields without a name too.
    pub(super) open: bool,
}

impl Fields {
    /// Reads a schema without references; nothing where it is no object's.
    pub(super) fn of(schema: &Value) -> Option<Self> {
        let is_object = match &schema["type"] {
            Value::Null => true,
            Value::Array(kinds) => kinds.iter().any(|kind| kind == "object"),
            kind => kind == "object",
        };
        let members = |word: &str| schema[word].as_array().into_iter().flatten().map(Self::of).collect::<Option<Vec<_>>>();
        let mut fields = Self::own(schema);
        for member in members("allOf")? {
            fields.merge(member);
        }
        // Of several forms any may be meant, so nothing is required.
        for member in members("oneOf")?.into_iter().chain(members("anyOf")?) {
            fields.merge(Self { required: Vec::new(), ..member });
        }
        fields.open = fields.properties.is_empty();
        is_object.then_some(fields)
    }

    fn own(schema: &Value) -> Self {
        let mut fields = Self::default();
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, property) in schema["properties"].as_object().into_iter().flatten().filter(|(_, property)| property["readOnly"] != true)
        {
            fields.add(name, property.clone(), required.contains(&name.as_str()));
        }
        fields
    }

    /// Adds a field, unless there is one of that name.
    pub(super) fn add(&mut self, name: &str, schema: Value, required: bool) {
        self.properties.entry(name).or_insert(schema);
        if required && !self.required.iter().any(|other| other == name) {
            self.required.push(name.to_owned());
        }
    }

    /// Adds the fields of another object.
    pub(super) fn merge(&mut self, other: Self) {
        self.open = other.open;
        for (name, schema) in other.properties {
            let required = other.required.contains(&name);
            self.add(&name, schema, required);
        }
    }

    /// Writes the schema of the object.
    pub(super) fn into_schema(self) -> Value {
        let mut schema = json!({"type": "object", "properties": self.properties});
        if !self.required.is_empty() {
            schema["required"] = self.required.into();
        }
        schema
    }
}
