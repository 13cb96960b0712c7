//! Tools as `custom_tools.json` describes them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Problem;
use super::record::{Record, records_by};

/// The file of the custom tools, inside the data directory.
pub const CUSTOM_TOOLS_FILE: &str = "custom_tools.json";

/// Verbs that an HTTP tool may have.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// The most characters of a name that models can call.
const NAME_LENGTH: usize = 64;
/// Headers that belong to the connection or the body, which a tool does not make itself.
const NOT_SETTABLE: [&str; 10] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "keep-alive", "te", "trailer", "expect", "accept-encoding"];

/// One custom tool.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomTool {
    /// The name that models and agents call it by.
    pub name: String,
    /// What it does, for models to read.
    pub description: String,
    /// The JSON Schema of its arguments; any object where the record has none.
    pub input_schema: Value,
    /// What it is.
    pub kind: CustomKind,
}

/// What a custom tool is.
#[derive(Debug, Clone, PartialEq)]
pub enum CustomKind {
    /// A call over HTTP.
    Http(HttpCall),
    /// A program in Python.
    Python {
        /// The source, which reads its arguments from `_args`.
        code: String,
    },
}

/// The call of an HTTP tool.
#[derive(Clone, PartialEq)]
pub struct HttpCall {
    /// The verb in upper case, `GET` by default.
    pub method: String,
    /// The address, with placeholders in braces.
    pub url: String,
    /// Headers that every call carries; values may be secrets.
    pub headers: Vec<(String, String)>,
    /// The keys of the answer that are kept; empty for all.
    pub output_keys: Vec<String>,
    /// The arguments that make the body of a `POST`, `PUT` or `PATCH`; nothing for all of them.
    pub body_keys: Option<Vec<String>>,
}

impl std::fmt::Debug for HttpCall {
    /// Shows no value of a header: it may be a secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("HttpCall").field("method", &self.method).field("url", &self.url).finish_non_exhaustive()
    }
}

/// Reads custom tools. It fails only if nothing of the file can be used.
pub fn custom_tools(text: &str) -> Result<(Vec<Arc<CustomTool>>, Vec<Problem>), Problem> {
    let (tools, problems) = records_by("name", CUSTOM_TOOLS_FILE, text, custom_tool)?;
    Ok((tools.into_iter().flatten().map(Arc::new).collect(), problems))
}

/// Reads a tool; nothing where it could never be called.
fn custom_tool(record: &mut Record) -> Option<CustomTool> {
    let kind = match record.maybe_text("tool_type").as_deref().unwrap_or("http") {
        "http" => CustomKind::Http(http_call(record)?),
        "python" => CustomKind::Python { code: required(record, "code")? },
        other => {
            record.report("tool_type", format!("`{other}` is unknown, so the tool is left out; write `http` or `python`"));
            return None;
        }
    };
    if !callable(&record.id()) {
        record.report(
            "name",
            format!("is no name that models can call, so the tool is left out; write at most {NAME_LENGTH} letters, digits, `_` and `-`"),
        );
        return None;
    }
    Some(CustomTool { name: record.id(), description: record.text("description"), input_schema: input_schema(record), kind })
}

/// Tells whether every provider takes a name.
fn callable(name: &str) -> bool {
    name.len() <= NAME_LENGTH && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Reads the schema of the arguments, which every provider wants to be that of an object.
fn input_schema(record: &mut Record) -> Value {
    let mut schema = record.object("inputSchema").unwrap_or_default();
    schema.insert("type".to_owned(), json!("object"));
    Value::Object(schema)
}

fn http_call(record: &mut Record) -> Option<HttpCall> {
    let mut method = record.maybe_text("method").unwrap_or_else(|| METHODS[0].to_owned()).to_ascii_uppercase();
    if !METHODS.contains(&method.as_str()) {
        record.report("method", format!("`{method}` is unknown and counts as `GET`; write one of `{}`", METHODS.join("`, `")));
        METHODS[0].clone_into(&mut method);
    }
    let url = required(record, "url")?;
    let headers = record.text_map("headers").into_iter().filter_map(|(name, value)| Some((name, value?)));
    let headers = headers.collect::<Vec<_>>().into_iter().filter(|(name, value)| is_settable(record, name, value)).collect();
    let output_keys = record.object("outputSchema").as_ref().and_then(properties).unwrap_or_default();
    let body_keys = record.maybe_texts("bodyProperties");
    Some(HttpCall { method, url, headers, output_keys, body_keys })
}

/// Tells whether a tool may send a header, and reports one that it may not.
fn is_settable(record: &mut Record, name: &str, value: &str) -> bool {
    let why = if http::HeaderName::from_bytes(name.as_bytes()).is_err() || http::HeaderValue::from_str(value).is_err() {
        "is no header that can be sent, so it is left out; write a name and a value without line breaks"
    } else if NOT_SETTABLE.contains(&name.to_ascii_lowercase().as_str()) {
        "is set by the connection, so it is left out; take it away"
    } else {
        return true;
    };
    record.report(&format!("headers.{name}"), why);
    false
}

fn properties(schema: &Map<String, Value>) -> Option<Vec<String>> {
    Some(schema.get("properties")?.as_object()?.keys().cloned().collect())
}

fn required(record: &mut Record, field: &str) -> Option<String> {
    let text = record.maybe_text(field).filter(|text| !text.trim().is_empty());
    if text.is_none() {
        record.report(field, "is missing, so the tool is left out; write a text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_read_as_it_is_documented() {
        let (tools, problems) = custom_tools(
            r#"[{"name": "tide_table", "description": "Tides", "tool_type": "http", "method": "get", "url": "https://t/{harbour}",
                 "headers": {"Authorization": "Bearer x"}, "inputSchema": {"type": "object", "required": ["harbour"]},
                 "outputSchema": {"properties": {"high": {}}}},
                {"name": "sum", "tool_type": "python", "code": "print(1)"}]"#,
        )
        .unwrap();
        assert_eq!(problems, []);
        let CustomKind::Http(call) = &tools[0].kind else { panic!("{:?}", tools[0]) };
        assert_eq!(
            (call.method.as_str(), call.url.as_str(), call.output_keys.as_slice()),
            ("GET", "https://t/{harbour}", &["high".to_owned()][..])
        );
        assert!(!format!("{:?}", tools[0]).contains("Bearer"));
        assert_eq!(tools[1].kind, CustomKind::Python { code: "print(1)".to_owned() });
        assert_eq!(tools[1].input_schema, json!({"type": "object"}));
    }

    #[test]
    fn a_header_that_cannot_be_set_is_left_out_and_named() {
        let (tools, problems) =
            custom_tools(r#"[{"name": "a", "url": "https://h", "headers": {"Host": "x", "a b": "c", "X-A": "b", "X-B": "c\nd"}, "bodyProperties": ["q"]}]"#)
                .unwrap();
        let CustomKind::Http(call) = &tools[0].kind else { panic!("{:?}", tools[0]) };
        assert_eq!(call.headers, [("X-A".to_owned(), "b".to_owned())]);
        assert_eq!(call.body_keys.as_deref(), Some(&["q".to_owned()][..]));
        assert_eq!(
            problems.iter().filter_map(|problem| problem.field.as_deref()).collect::<Vec<_>>(),
            ["headers.Host", "headers.a b", "headers.X-B"]
        );
    }

    #[test]
    fn a_tool_that_could_never_be_called_is_left_out_and_named() {
        let (tools, problems) = custom_tools(
            r#"[{"name": "a"}, {"name": "b", "tool_type": "python"}, {"name": "c", "tool_type": "odd"}, {"url": "x"}, {"name": "two words", "url": "http://h"}, {"name": "d", "url": "http://h", "method": "BREW"}]"#,
        )
        .unwrap();
        assert_eq!(tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["d"]);
        assert_eq!(
            problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "`custom_tools.json`, `a`, `url`: is missing, so the tool is left out; write a text",
                "`custom_tools.json`, `b`, `code`: is missing, so the tool is left out; write a text",
                "`custom_tools.json`, `c`, `tool_type`: `odd` is unknown, so the tool is left out; write `http` or `python`",
                "`custom_tools.json`, `[3]`: is left out because it has no `name`; give it a text",
                "`custom_tools.json`, `two words`, `name`: is no name that models can call, so the tool is left out; write at most 64 letters, digits, `_` and `-`",
                "`custom_tools.json`, `d`, `method`: `BREW` is unknown and counts as `GET`; write one of `GET`, `POST`, `PUT`, `PATCH`, `DELETE`, `HEAD`, `OPTIONS`",
            ]
        );
    }
}
