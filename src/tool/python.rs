//! Tools in Python: those that users write into `custom_tools.json`, and `run_python`, whose code a model writes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Call, Failure, Origin, Output, Tool};
use crate::definition::CustomTool;
use crate::provider::ToolDescription;
use crate::python::{Answer, Fault, Program, Python, Raised};

/// How long a custom tool may take.
const CUSTOM_TIME: Duration = Duration::from_secs(35);

/// How long the code of a model may take.
const RUN_TIME: Duration = Duration::from_mins(1);

/// The most characters of printed text that is no JSON.
const PRINTED_CHARACTERS: usize = 20_000;

/// The variable that holds the arguments of a custom tool.
const ARGUMENTS: &str = "_args";

/// What a model is told of `run_python`.
const ABOUT: &str = "Runs a Python 3 program and returns what the variable `result` holds in the end, or else what was printed. \
    Use it to calculate, to parse and to transform data. The standard library is there; files, network and other programs are not, \
    and nothing is kept from one call to the next.";

/// A tool in Python.
struct PythonTool {
    description: Arc<ToolDescription>,
    python: Python,
    /// The code of a custom tool; nothing where the model writes it.
    code: Option<String>,
}

/// The name of the tool that runs the code of a model.
pub const RUN_PYTHON: &str = "run_python";

/// The name by which existing agents know it.
pub const EXECUTE_PYTHON: &str = "execute_python";

/// Makes the tool that runs the code of a model, under one of its names.
pub fn run_python(name: &str, python: &Python) -> Arc<dyn Tool> {
    let code = json!({"type": "string", "description": "the source of the program"});
    let schema = json!({"type": "object", "properties": {"code": code}, "required": ["code"], "additionalProperties": false});
    let description = ToolDescription { name: name.to_owned(), description: ABOUT.to_owned(), schema };
    Arc::new(PythonTool { description: Arc::new(description), python: python.clone(), code: None })
}

/// Makes a custom tool of its code.
pub fn custom(python: &Python, tool: &CustomTool, code: &str) -> Arc<dyn Tool> {
    let (name, description, schema) = (tool.name.clone(), tool.description.clone(), tool.input_schema.clone());
    let description = ToolDescription { name, description, schema };
    Arc::new(PythonTool { description: Arc::new(description), python: python.clone(), code: Some(code.to_owned()) })
}

impl Tool for PythonTool {
    fn description(&self) -> &Arc<ToolDescription> {
        &self.description
    }

    fn origin(&self) -> Origin {
        if self.code.is_some() { Origin::Custom } else { Origin::BuiltIn }
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Output, Failure>> {
        let most = if self.code.is_some() { CUSTOM_TIME } else { RUN_TIME };
        let limit = most.min(call.deadline.saturating_duration_since(Instant::now()));
        let form = if self.code.is_some() { custom_text } else { run_text };
        let (python, program) = (self.python.clone(), self.program(call.arguments));
        Box::pin(async move {
            let text = form(python.run(&program, limit).await.map_err(|fault| failure(&fault))?);
            if text.len() > call.output_bytes {
                let (size, most) = (text.len(), call.output_bytes);
                return Err(Failure::new(format!("the program returned {size} bytes, and at most {most} are read")));
            }
            Ok(Output::text(text))
        })
    }
}

impl PythonTool {
    fn program(&self, mut arguments: Map<String, Value>) -> Program {
        let file = format!("{}.py", self.description.name);
        let Some(code) = &self.code else {
            let code = arguments.remove("code").and_then(|code| code.as_str().map(str::to_owned)).unwrap_or_default();
            return Program { file, code, names: Map::new() };
        };
        let names = Map::from_iter([(ARGUMENTS.to_owned(), Value::Object(arguments))]);
        Program { file, code: code.clone(), names }
    }
}

/// Writes the answer of a model's code.
fn run_text(answer: Answer) -> String {
    match answer.result {
        Value::Null if answer.printed.is_empty() => "`result` was not set and nothing was printed".to_owned(),
        Value::Null => answer.printed,
        result => text(result),
    }
}

/// Writes the answer of a custom tool: its result, or printed JSON, or whatever was printed inside of JSON.
fn custom_text(answer: Answer) -> String {
    if !answer.result.is_null() {
        return text(answer.result);
    }
    let printed = answer.printed.trim();
    if serde_json::from_str::<serde::de::IgnoredAny>(printed).is_ok() {
        return printed.to_owned();
    }
    let end = answer.printed.char_indices().nth(PRINTED_CHARACTERS).map_or(answer.printed.len(), |(end, _)| end);
    json!({"output": answer.printed[..end]}).to_string()
}

fn text(result: Value) -> String {
    match result {
        Value::String(text) => text,
        result => result.to_string(),
    }
}

/// Tells why there is no answer; of an exception with all that helps to mend the code.
fn failure(fault: &Fault) -> Failure {
    let error = fault.to_string();
    match fault {
        Fault::Raised(Raised { traceback, printed, .. }) | Fault::Refused(Raised { traceback, printed, .. }) => {
            Failure::new(json!({"error": error, "stderr": traceback, "stdout": printed}).to_string())
        }
        _ => Failure::new(error),
    }
}
