//! What becomes of the list of tools that a server sends: those that a model can use, as far as they fit.

use std::collections::HashSet;
use std::sync::Arc;

use rmcp::model::Tool as RemoteDescription;
use serde_json::{Value, json};

use super::name::Names;
use super::remote_tool::Listed;
use crate::provider::ToolDescription;

/// The most tools of one server that are kept; the others are left out.
const TOOLS: usize = 1000;

/// The most bytes of one tool: its name, its description and its schema together. Larger ones are left out.
const TOOL_BYTES: usize = 64 << 10;

/// The most bytes of all tools of one server together; those beyond are left out.
const LIST_BYTES: usize = 4 << 20;

/// The tools of one server.
pub(super) struct List<'a> {
    names: &'a Names,
    taken: HashSet<String>,
    tools: Vec<Listed>,
    bytes: usize,
}

impl<'a> List<'a> {
    pub(super) fn new(names: &'a Names) -> Self {
        Self { names, taken: HashSet::new(), tools: Vec::new(), bytes: 0 }
    }

    /// Adds the tools of a page, and tells whether all of them found room.
    pub(super) fn add(&mut self, page: Vec<Value>) -> bool {
        for tool in page {
            let name = tool.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            match described(tool) {
                Ok((description, schema, bytes)) => {
                    if self.tools.len() == TOOLS || self.bytes + bytes > LIST_BYTES {
                        tracing::warn!(
                            tool = self.names.raw(&name),
                            "a tool server lists too much; this tool and the following are left out"
                        );
                        return false;
                    }
                    self.bytes += bytes;
                    let shown = self.names.shown(&name, &mut self.taken);
                    self.tools.push(Listed { name, description: Arc::new(ToolDescription { name: shown, description, schema }) });
                }
                Err(problem) => tracing::warn!(tool = self.names.raw(&name), problem, "a tool is left out"),
            }
        }
        true
    }

    pub(super) fn into_tools(self) -> Vec<Listed> {
        self.tools
    }
}

/// Returns the description, the schema and the bytes of a listed tool, or what is wrong with it.
fn described(tool: Value) -> Result<(String, Value, usize), String> {
    let tool: RemoteDescription = serde_json::from_value(tool).map_err(|error| error.to_string())?;
    let mut schema = Value::Object((*tool.input_schema).clone());
    let description = tool.description.or(tool.title.map(Into::into)).unwrap_or_default().into_owned();
    let bytes = tool.name.len() + description.len() + schema.to_string().len();
    if bytes > TOOL_BYTES {
        return Err(format!("its description and schema have {bytes} bytes; at most {TOOL_BYTES} are kept"));
    }
    if schema.get("type").is_none() {
        schema["type"] = json!("object"); // providers ask for it
    }
    if schema["type"] != "object" {
        return Err("its arguments are no object".to_owned());
    }
    jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
    Ok((description, schema, bytes))
}
