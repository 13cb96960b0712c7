//! OpenAPI documents as custom tools: one HTTP tool for each operation.

mod operation;
mod schema;

use std::collections::HashSet;

use reqwest::Url;
use serde_json::{Map, Value};

use self::operation::operation;
use self::schema::References;

/// The verbs that an operation may have.
const VERBS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];

/// The most operations that are taken of one document.
const OPERATIONS: usize = 1_000;

/// The most characters of a tool's name.
const NAME_CHARS: usize = 64;

/// What the person who imports a document says beyond it.
#[derive(Debug, Clone, Default)]
pub struct ImportWishes {
    /// Where the API is, if the document says it wrongly or in part only.
    pub base_url: Option<String>,
    /// What every name begins with.
    pub prefix: String,
    /// Headers that every call carries.
    pub headers: Vec<(String, String)>,
}

/// What became of a document.
#[derive(Debug, Default)]
pub struct Import {
    /// Records for `custom_tools.json`.
    pub tools: Vec<Map<String, Value>>,
    /// What could not be taken, a sentence each.
    pub left_out: Vec<String>,
    /// The ways of authentication that operations ask for, by name.
    pub authentication: Vec<String>,
}

/// Reads an OpenAPI document of version 3, or of version 2 when it was called Swagger.
pub fn import_openapi(text: &str, wishes: &ImportWishes) -> Result<Import, String> {
    let document: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| format!("the document is no JSON: {error}; convert YAML to JSON first"))?;
    let version = document["openapi"].as_str().or_else(|| document["swagger"].as_str()).unwrap_or_default();
    if !version.starts_with("3.") && version != "2.0" {
        return Err("the document is no OpenAPI of version 3 and no Swagger of version 2".to_owned());
    }
    let paths = document["paths"].as_object().ok_or("the document has no `paths`")?;
    let references = References::new(&document);
    let (mut import, mut names) = (Import::default(), HashSet::new());
    for (path, item) in paths {
        let Ok(item) = references.resolve(item) else {
            import.left_out.push(format!("`{path}`: it is kept in another document"));
            continue;
        };
        for (verb, found) in item.as_object().into_iter().flatten().filter(|(verb, _)| VERBS.contains(&verb.as_str())) {
            if import.tools.len() == OPERATIONS {
                return Err(format!("the document has more than {OPERATIONS} operations; split it"));
            }
            let place = Place { document: &document, references: &references, path, item, verb, operation: found };
            import.take(&place, wishes, &mut names);
        }
    }
    Ok(import)
}

/// An operation and everything around it.
struct Place<'a> {
    document: &'a Value,
    references: &'a References<'a>,
    path: &'a str,
    item: &'a Value,
    verb: &'a str,
    operation: &'a Value,
}

impl Import {
    /// Makes the tool of an operation, or notes why there is none.
    fn take(&mut self, place: &Place<'_>, wishes: &ImportWishes, names: &mut HashSet<String>) {
        let told = format!("`{} {}`", place.verb.to_uppercase(), place.path);
        match server(place, wishes.base_url.as_deref()).and_then(|server| operation(place, &server)) {
            Err(why) => self.left_out.push(format!("{told}: {why}")),
            Ok((mut tool, notes)) => {
                self.left_out.extend(notes.into_iter().map(|note| format!("{told}: {note}")));
                let plain = place.operation["operationId"].as_str().map_or_else(|| format!("{}_{}", place.verb, place.path), str::to_owned);
                tool["name"] = unique(&format!("{}{plain}", wishes.prefix), names).into();
                if !wishes.headers.is_empty() {
                    let headers = wishes.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
                    tool.insert("headers".to_owned(), Value::Object(headers.collect()));
                }
                self.tools.push(tool);
            }
        }
        let asked = place.operation.get("security").or_else(|| place.document.get("security")).and_then(Value::as_array);
        for name in asked.into_iter().flatten().filter_map(Value::as_object).flat_map(Map::keys) {
            if !self.authentication.contains(name) {
                self.authentication.push(name.clone());
            }
        }
    }
}

/// Makes a name that a model can call a tool by, and that no other tool of the document has.
fn unique(wanted: &str, names: &mut HashSet<String>) -> String {
    let mut name = String::new();
    for character in wanted.chars() {
        match character {
            character if character.is_ascii_alphanumeric() || character == '-' => name.push(character),
            _ if name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    let base = Some(name.trim_matches('_')).filter(|name| !name.is_empty()).unwrap_or("tool");
    let numbered = (1..).map(|number: usize| if number == 1 { String::new() } else { format!("_{number}") });
    let mut candidates = numbered.map(|end| format!("{}{end}", &base[..base.len().min(NAME_CHARS - end.len())]));
    candidates.find(|name| names.insert(name.clone())).unwrap_or_default()
}

/// Finds the address that the paths begin at, without a slash at its end.
fn server(place: &Place<'_>, base_url: Option<&str>) -> Result<String, String> {
    let listed = [place.operation, place.item, place.document].into_iter().find_map(|holder| holder["servers"].get(0));
    let told = listed.map(filled_in).or_else(|| swagger_server(place.document)).unwrap_or_default();
    let base = base_url.map(Url::parse).transpose().map_err(|_| "`--base-url` is no address; write one that begins with `https://`")?;
    let is_whole = told.contains("://");
    let server = match base {
        Some(base) if !is_whole && !told.is_empty() => base.join(&told).map_err(|error| error.to_string())?.into(),
        Some(base) => String::from(base),
        None if is_whole => told,
        None => return Err("the document does not say where the API is; add `--base-url`".to_owned()),
    };
    let readable = Url::parse(&server).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.username().is_empty());
    if readable { Ok(server.trim_end_matches('/').to_owned()) } else { Err(format!("its server `{server}` is no address of the web")) }
}

/// Puts the defaults of its variables into the address of a server.
fn filled_in(server: &Value) -> String {
    let url = server["url"].as_str().unwrap_or_default().to_owned();
    let variables = server["variables"].as_object().into_iter().flatten();
    variables.fold(url, |url, (name, variable)| url.replace(&format!("{{{name}}}"), variable["default"].as_str().unwrap_or_default()))
}

fn swagger_server(document: &Value) -> Option<String> {
    let path = document["basePath"].as_str();
    let Some(host) = document["host"].as_str() else { return path.map(str::to_owned) };
    let schemes: Vec<_> = document["schemes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let scheme = if schemes.is_empty() || schemes.contains(&"https") { "https" } else { "http" };
    Some(format!("{scheme}://{host}{}", path.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn import(document: &Value, wishes: &ImportWishes) -> Import {
        import_openapi(&document.to_string(), wishes).unwrap()
    }

    fn of(paths: &Value) -> Import {
        import(&json!({"openapi": "3.0.3", "servers": [{"url": "https://h/v1/"}], "paths": paths}), &ImportWishes::default())
    }

    #[test]
    fn an_operation_becomes_a_tool() {
        let made = of(&json!({"/tides/{harbour}": {
            "parameters": [{"name": "harbour", "in": "path", "required": true, "schema": {"type": "string"}, "description": "Where."}],
            "put": {
                "operationId": "set.tide", "summary": "Sets a tide", "description": "At a harbour.",
                "parameters": [{"name": "day", "in": "query", "schema": {"type": "string", "nullable": true}}, {"name": "X-A", "in": "header"}],
                "requestBody": {"required": true, "content": {"application/json": {"schema": {"allOf": [
                    {"type": "object", "required": ["high"], "properties": {"high": {"type": "number", "minimum": 0, "exclusiveMinimum": true}}},
                    {"properties": {"low": {"type": "number"}, "id": {"type": "string", "readOnly": true}}},
                ]}}}},
            },
        }}));
        assert_eq!(made.left_out, ["`PUT /tides/{harbour}`: the header parameter `X-A` is dropped"]);
        assert_eq!(
            Value::from(made.tools),
            json!([{
                "name": "set_tide", "generalName": "Sets a tide", "description": "Sets a tide. At a harbour.", "tool_type": "http",
                "method": "PUT", "url": "https://h/v1/tides/{harbour}?day={day}",
                "inputSchema": {
                    "type": "object",
                    "properties": {
                        "harbour": {"type": "string", "description": "Where."},
                        "day": {"type": ["string", "null"]},
                        "high": {"type": "number", "exclusiveMinimum": 0},
                        "low": {"type": "number"},
                    },
                    "required": ["harbour", "high"],
                },
                "bodyProperties": ["high", "low"],
            }])
        );
    }

    #[test]
    fn names_are_valid_and_unique() {
        let get = |id: &str| json!({"get": {"operationId": id}});
        let long = "x".repeat(100);
        let made =
            of(&json!({"/a/{b}": {"get": {}}, "/b": get("a b!"), "/c": get("a_b"), "/d": get(&long), "/e": get(&long), "/f": get("ü")}));
        let names: Vec<_> = made.tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["get_a_b", "a_b", "a_b_2", &"x".repeat(64), &format!("{}_2", "x".repeat(62)), "tool"]);
    }

    #[test]
    fn references_are_resolved_and_circles_end() {
        let mut document = json!({"openapi": "3.1.0", "paths": {
            "/a": {"post": {"requestBody": {"$ref": "#/components/requestBodies/Tree"}}},
            "/b": {"get": {"parameters": [{"$ref": "other.json#/x"}]}},
            "/c": {"get": {"parameters": [{"$ref": "#/components/parameters/Loop"}]}},
            "/d": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/L0"}}}}}},
        }, "components": {
            "requestBodies": {"Tree": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Tree"}}}}},
            "parameters": {"Loop": {"$ref": "#/components/parameters/Loop"}},
            "schemas": {"Tree": {"type": "object", "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}}}},
        }});
        for level in 0..30 {
            let next = json!({"$ref": format!("#/components/schemas/L{}", level + 1)});
            document["components"]["schemas"][format!("L{level}")] = json!({"type": "object", "properties": {"a": next, "b": next}});
        }
        let made = import(&document, &ImportWishes { base_url: Some("https://h".to_owned()), ..ImportWishes::default() });
        assert_eq!(made.tools[0]["inputSchema"]["properties"]["children"], json!({"type": "array", "items": {}}));
        assert_eq!(made.left_out.len(), 2, "{:?}", made.left_out);
        assert!(made.left_out[0].contains("`other.json#/x`") && made.left_out[1].contains("`GET /c`"), "{:?}", made.left_out);
        assert!(made.tools[1]["inputSchema"].to_string().len() < 1 << 20);
    }

    #[test]
    fn what_no_tool_can_do_is_left_out_and_named() {
        let body =
            |media_type: &str, schema: Value| json!({"requestBody": {"required": true, "content": {media_type: {"schema": schema}}}});
        let made = of(&json!({
            "/form": {"post": body("multipart/form-data", json!({}))},
            "/list": {"post": body("application/json", json!({"type": "array", "items": {}}))},
            "/pattern": {"get": {"parameters": [{"name": "a", "in": "query", "schema": {"type": "nonsense"}}]}},
            "/free": {"post": body("application/json", json!({"type": "object"}))},
            "/either": {"post": body("application/vnd.x+json", json!({"oneOf": [{"required": ["a"], "properties": {"a": {}}}, {"properties": {"b": {}}}]}))},
        }));
        let names: Vec<_> = made.tools.iter().map(|tool| (tool["name"].as_str().unwrap(), tool.get("bodyProperties").cloned())).collect();
        assert_eq!(names, [("post_free", None), ("post_either", Some(json!(["a", "b"])))]);
        assert!(made.tools[1]["inputSchema"].get("required").is_none());
        for (note, told) in made.left_out.iter().zip(["`multipart/form-data`", "its body is no object", "no JSON Schema"]) {
            assert!(note.contains(told), "{note}");
        }
        assert_eq!(made.left_out.len(), 3);
    }

    #[test]
    fn the_server_is_resolved() {
        let url = |document: &Value, base: Option<&str>| {
            let made = import(document, &ImportWishes { base_url: base.map(str::to_owned), ..ImportWishes::default() });
            made.tools.first().map_or_else(|| made.left_out[0].clone(), |tool| tool["url"].as_str().unwrap().to_owned())
        };
        let with = |servers: Value| json!({"openapi": "3.0.0", "servers": servers, "paths": {"/a": {"get": {}}}});
        let variable = with(json!([{"url": "https://{region}.h/{v}", "variables": {"region": {"default": "eu"}, "v": {"default": "v2"}}}]));
        let swagger = json!({"swagger": "2.0", "host": "h:8443", "basePath": "/v2", "schemes": ["http"], "paths": {"/a": {"get": {}}}});
        for (document, base, expected) in [
            (&variable, None, "https://eu.h/v2/a"),
            (&variable, Some("http://x/y/"), "http://x/y/a"),
            (&with(json!([{"url": "/api/v3"}])), Some("https://x"), "https://x/api/v3/a"),
            (&swagger, None, "http://h:8443/v2/a"),
        ] {
            assert_eq!(url(document, base), expected);
        }
        assert!(url(&with(json!([{"url": "/api"}])), None).contains("add `--base-url`"));
        assert!(url(&with(json!([{"url": "ftp://h"}])), None).contains("is no address of the web"));
    }

    #[test]
    fn swagger_2_is_understood() {
        let document = json!({"swagger": "2.0", "host": "h", "paths": {"/a": {"post": {"parameters": [
            {"name": "q", "in": "query", "type": "integer", "required": true, "collectionFormat": "csv"},
            {"name": "body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/B"}},
        ]}}, "/b": {"post": {"parameters": [{"name": "f", "in": "formData", "type": "file"}]}}},
            "definitions": {"B": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}}});
        let made = import(&document, &ImportWishes::default());
        assert_eq!(made.tools[0]["url"], "https://h/a?q={q}");
        let schema = json!({"type": "object", "properties": {"q": {"type": "integer"}, "a": {"type": "string"}}, "required": ["q", "a"]});
        assert_eq!(made.tools[0]["inputSchema"], schema);
        assert_eq!(made.left_out, ["`POST /b`: it wants a form, and tools send JSON"]);
    }

    #[test]
    fn what_is_no_openapi_is_refused() {
        for (text, told) in
            [("openapi: 3.0.0", "no JSON"), ("{}", "no OpenAPI"), ("[]", "no OpenAPI"), (r#"{"openapi": "3.1.0"}"#, "no `paths`")]
        {
            assert!(import_openapi(text, &ImportWishes::default()).unwrap_err().contains(told), "{text}");
        }
    }
}
