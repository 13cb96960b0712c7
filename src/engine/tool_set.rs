//! The tools of one turn: chosen before it begins, and never widened by what the model hears on the way.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::provider::ToolDescription;
use crate::tool::Tool;

/// The most mistakes in arguments that are told at once.
const MISTAKES: usize = 5;

/// The names that are told to a model that asked for a tool that there is not.
const NAMES: usize = 30;

/// The tools of one turn.
pub(super) struct ToolSet {
    tools: Vec<Arc<dyn Tool>>,
    descriptions: Arc<[Arc<ToolDescription>]>,
}

impl ToolSet {
    /// Takes tools; of several of one name only the first, because providers refuse such a list.
    pub(super) fn new(mut tools: Vec<Arc<dyn Tool>>) -> Self {
        let mut names = HashSet::new();
        tools.retain(|tool| names.insert(tool.description().name.clone()));
        let descriptions = tools.iter().map(|tool| tool.description().clone()).collect();
        Self { tools, descriptions }
    }

    /// Returns what the model is told of them.
    pub(super) fn descriptions(&self) -> Arc<[Arc<ToolDescription>]> {
        self.descriptions.clone()
    }

    /// Tells whether there is no tool at all.
    pub(super) fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// Finds a tool by its name.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.tools.iter().find(|tool| tool.description().name == name)
    }

    /// Names the tools to a model that asked for another.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.descriptions.iter().take(NAMES).map(|description| description.name.as_str()).collect();
        if names.is_empty() { "there are none".to_owned() } else { format!("there are: {}", names.join(", ")) }
    }
}

/// Takes arguments that keep the schema, or says what is wrong with them so that a model can mend it.
pub(super) fn check(description: &ToolDescription, arguments: &Value) -> Result<Map<String, Value>, String> {
    let name = &description.name;
    let Value::Object(fields) = arguments else {
        return Err(format!("the arguments of `{name}` must be a JSON object; call it again"));
    };
    let validator = jsonschema::options().build(&description.schema).map_err(|error| {
        tracing::warn!(tool = name, %error, "the schema of a tool is broken");
        format!("the schema of `{name}` is broken, so it cannot be called")
    })?;
    let mistakes: Vec<String> = validator.iter_errors(arguments).take(MISTAKES).map(|mistake| told(&mistake)).collect();
    if mistakes.is_empty() {
        return Ok(fields.clone());
    }
    Err(format!("the arguments of `{name}` do not keep its schema: {}; mend them and call it again", mistakes.join("; ")))
}

fn told(mistake: &jsonschema::ValidationError) -> String {
    let place = mistake.instance_path().to_string();
    if place.is_empty() { mistake.masked().to_string() } else { format!("`{place}`: {}", mistake.masked()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told_of(arguments: &Value) -> String {
        let schema = json!({"type": "object", "properties": {"text": {"type": "string"}, "count": {"minimum": 1}}, "required": ["text"]});
        let description = ToolDescription { name: "echo".to_owned(), description: String::new(), schema };
        check(&description, arguments).err().unwrap_or_default()
    }

    #[test]
    fn arguments_that_keep_the_schema_pass() {
        assert_eq!(told_of(&json!({"text": "a", "count": 2, "other": null})), "");
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let told = told_of(&json!({"text": 5, "count": 0}));
        assert!(told.contains("`/text`") && told.contains("`/count`") && told.contains("call it again"), "{told}");
        assert!(told_of(&json!({})).contains("text"), "the missing field is named");
        assert!(told_of(&json!("{\"text\": ")).contains("must be a JSON object"));
    }

    #[test]
    fn a_broken_schema_is_a_failure_of_the_tool_alone() {
        let description = ToolDescription { name: "odd".to_owned(), description: String::new(), schema: json!({"type": 7}) };
        assert!(check(&description, &json!({})).unwrap_err().contains("is broken"));
    }
}
