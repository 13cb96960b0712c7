//! One operation of an OpenAPI document as the record of an HTTP tool.

use serde_json::{Map, Value, json};

use super::Place;
use super::schema::Fields;

/// The most characters of a description.
const DESCRIPTION_CHARS: usize = 1_000;

/// Fields of a parameter of Swagger that are no part of its schema.
const NO_SCHEMA: [&str; 6] = ["name", "in", "required", "description", "collectionFormat", "allowEmptyValue"];

/// What an operation takes.
#[derive(Default)]
struct Inputs {
    fields: Fields,
    query: Vec<String>,
    body: Option<Fields>,
    notes: Vec<String>,
}

/// Makes the record, still without a name, and notes what it does without; or says why there is none.
pub(super) fn operation(place: &Place<'_>, server: &str) -> Result<(Map<String, Value>, Vec<String>), String> {
    if !place.path.starts_with('/') {
        // Behind the address of a server it would name another host.
        return Err("its path does not begin with `/`".to_owned());
    }
    let mut inputs = Inputs::default();
    for parameter in parameters(place)? {
        inputs.parameter(place, parameter)?;
    }
    for name in place.path.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0)) {
        inputs.fields.add(name, json!({"type": "string"}), true);
    }
    if let Some(body) = place.operation.get("requestBody") {
        inputs.request_body(place, body)?;
    }
    let has_body = matches!(place.verb, "post" | "put" | "patch");
    let query: Vec<_> = inputs.query.iter().map(|name| format!("{name}={{{name}}}")).collect();
    let query = if has_body && !query.is_empty() { format!("?{}", query.join("&")) } else { String::new() };
    let mut tool = Map::new();
    tool.insert("name".to_owned(), Value::Null);
    let summary = place.operation["summary"].as_str().unwrap_or_default().trim().trim_end_matches('.');
    if !summary.is_empty() {
        tool.insert("generalName".to_owned(), summary.into());
    }
    tool.insert("description".to_owned(), description(place, summary).into());
    tool.insert("tool_type".to_owned(), "http".into());
    tool.insert("method".to_owned(), place.verb.to_uppercase().into());
    tool.insert("url".to_owned(), format!("{server}{}{query}", place.path).into());
    let body = inputs.body.unwrap_or_default();
    let body_names: Vec<_> = body.properties.keys().cloned().collect();
    inputs.fields.merge(body);
    tool.insert("inputSchema".to_owned(), usable(inputs.fields.clone().into_schema())?);
    // Without names the body is free, and takes all arguments.
    if has_body && !(body_names.is_empty() && inputs.fields.open) {
        tool.insert("bodyProperties".to_owned(), body_names.into());
    }
    Ok((tool, inputs.notes))
}

fn description(place: &Place<'_>, summary: &str) -> String {
    let longer = place.operation["description"].as_str().unwrap_or_default().trim();
    let whole = match (summary, longer) {
        ("", "") => format!("{} {}", place.verb.to_uppercase(), place.path),
        ("", text) => text.to_owned(),
        (text, "") => format!("{text}."),
        (first, then) => format!("{first}. {then}"),
    };
    whole.chars().take(DESCRIPTION_CHARS).collect()
}

/// Returns the parameters of a path and of its operation, which stand above them.
fn parameters<'a>(place: &Place<'a>) -> Result<Vec<&'a Value>, String> {
    let mut found: Vec<&Value> = Vec::new();
    let holders = [place.item, place.operation];
    for parameter in holders.into_iter().filter_map(|holder| holder["parameters"].as_array()).flatten() {
        let parameter = place.references.resolve(parameter)?;
        found.retain(|other| other["name"] != parameter["name"] || other["in"] != parameter["in"]);
        found.push(parameter);
    }
    Ok(found)
}

impl Inputs {
    fn parameter(&mut self, place: &Place<'_>, parameter: &Value) -> Result<(), String> {
        let name = parameter["name"].as_str().unwrap_or_default();
        let required = parameter["required"] == true;
        match parameter["in"].as_str().unwrap_or_default() {
            "path" => self.fields.add(name, schema_of(place, parameter)?, true),
            "query" => {
                self.query.push(name.to_owned());
                self.fields.add(name, schema_of(place, parameter)?, required);
            }
            "body" => self.body_schema(place, &parameter["schema"], required)?,
            "formData" => return Err("it wants a form, and tools send JSON".to_owned()),
            other => self.notes.push(format!("the {other} parameter `{name}` is dropped")),
        }
        Ok(())
    }

    fn request_body(&mut self, place: &Place<'_>, body: &Value) -> Result<(), String> {
        let body = place.references.resolve(body)?;
        let required = body["required"] == true;
        let content = body["content"].as_object().ok_or("its body has no `content`")?;
        let is_json = |media_type: &str| {
            let media_type = media_type.split(';').next().unwrap_or_default().trim();
            media_type == "application/json" || media_type.ends_with("+json") || media_type == "*/*"
        };
        match content.iter().find(|(media_type, _)| is_json(media_type)) {
            Some((_, json)) => self.body_schema(place, json.get("schema").unwrap_or(&Value::Null), required),
            None if required => {
                let types: Vec<_> = content.keys().map(|name| format!("`{name}`")).collect();
                Err(format!("its body is {}, and tools send JSON", types.join(", ")))
            }
            None => Ok(()),
        }
    }

    fn body_schema(&mut self, place: &Place<'_>, schema: &Value, required: bool) -> Result<(), String> {
        let schema = place.references.expand(schema)?;
        let mut fields = Fields::of(&schema).ok_or("its body is no object, and tools send an object of their arguments")?;
        if !required {
            fields.required.clear();
        }
        self.body = Some(fields);
        Ok(())
    }
}

/// Returns the schema of a parameter, described as the parameter is.
fn schema_of(place: &Place<'_>, parameter: &Value) -> Result<Value, String> {
    let inside = parameter["content"].as_object().and_then(|content| content.values().next()).and_then(|media| media.get("schema"));
    let own = || {
        let own = parameter.as_object().into_iter().flatten().filter(|(name, _)| !NO_SCHEMA.contains(&name.as_str()));
        Value::Object(own.map(|(name, value)| (name.clone(), value.clone())).collect())
    };
    let mut schema = place.references.expand(&parameter.get("schema").or(inside).cloned().unwrap_or_else(own))?;
    if let (Some(fields), Some(told)) = (schema.as_object_mut(), parameter["description"].as_str()) {
        fields.entry("description").or_insert_with(|| told.into());
    }
    Ok(schema)
}

/// Checks that arguments can be held against a schema.
fn usable(schema: Value) -> Result<Value, String> {
    match jsonschema::validator_for(&schema) {
        Ok(_) => Ok(schema),
        Err(error) => Err(format!("its parameters are no JSON Schema: {error}")),
    }
}
