//! Tools in Python, called as a turn calls them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use synapse::definition::{CustomKind, CustomTool};
use synapse::tool::{Call, Failure, Origin, Output, Tool, python as tools};
use tokio::time::Instant;

use crate::{PATIENCE, python};

fn call(arguments: Value) -> Call {
    let arguments = serde_json::from_value(arguments).unwrap();
    Call { id: "call_1".to_owned(), arguments, deadline: Instant::now() + PATIENCE, output_bytes: 1000, idempotency_id: "1".to_owned() }
}

fn custom(code: &str) -> Arc<dyn Tool> {
    let kind = CustomKind::Python { code: code.to_owned() };
    let tool = CustomTool { name: "tides".to_owned(), description: "Tides".to_owned(), input_schema: json!({"type": "object"}), kind };
    tools::custom(&python(), &tool, code)
}

async fn outcome(code: &str) -> Result<String, Failure> {
    custom(code).call(call(json!({"harbour": "Brest", "day": 2}))).await.map(|output| output.text)
}

#[tokio::test]
async fn a_custom_tool_reads_its_arguments_and_returns_its_result() {
    assert_eq!(outcome("result = {'at': _args['harbour'], 'high': [1, 2.5]}").await.unwrap(), r#"{"at":"Brest","high":[1,2.5]}"#);
    assert_eq!(outcome("print('seen')\nresult = f\"{_args['harbour']}!\"").await.unwrap(), "Brest!");
    assert_eq!(custom("").origin(), Origin::Custom);
    assert_eq!(custom("").description().name, "tides");
}

#[tokio::test]
async fn printed_json_is_the_result_and_other_prints_stand_inside_of_one() {
    assert_eq!(outcome("print(json.dumps(_args))").await.unwrap(), r#"{"harbour": "Brest", "day": 2}"#);
    assert_eq!(outcome("print('high at', _args['day'])").await.unwrap(), r#"{"output":"high at 2\n"}"#);
    assert_eq!(outcome("").await.unwrap(), r#"{"output":""}"#);
}

#[tokio::test]
async fn long_prints_are_cut() {
    let mut call = call(json!({}));
    call.output_bytes = 1 << 20;
    let output = custom("print('é' * 30_000)").call(call).await.unwrap();
    let output: Map<String, Value> = serde_json::from_str(&output.text).unwrap();
    assert_eq!(output["output"].as_str().unwrap().chars().count(), 20_000);
}

#[tokio::test]
async fn an_exception_is_told_with_traceback_and_prints() {
    let Failure(text) = outcome("print('so far')\n_args['pier']").await.unwrap_err();
    let failure: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&failure["error"], &failure["stdout"]), (&json!("KeyError: 'pier'"), &json!("so far\n")));
    assert!(failure["stderr"].as_str().unwrap().contains("File \"tides.py\", line 2"), "{failure}");
}

#[tokio::test]
async fn more_output_than_is_read_is_a_failure() {
    let Failure(text) = outcome("result = 'x' * 2000").await.unwrap_err();
    assert_eq!(text, "the program returned 2000 bytes, and at most 1000 are read");
}

#[tokio::test]
async fn the_deadline_of_the_call_ends_it() {
    let tool = custom("while True: pass");
    let mut call = call(json!({}));
    call.deadline = Instant::now() + Duration::from_secs(2);
    let Failure(text) = tool.call(call).await.unwrap_err();
    assert!(text.starts_with("the program was stopped because it took longer than "), "{text}");
}

#[tokio::test]
async fn run_python_runs_what_a_model_writes() {
    let tool = tools::run_python("run_python", &python());
    assert_eq!((tool.origin(), tool.description().name.as_str()), (Origin::BuiltIn, "run_python"));
    assert_eq!(tool.description().schema["required"], json!(["code"]));
    let run = async |code: &str| tool.call(call(json!({"code": code}))).await;
    assert_eq!(run("result = sum(range(10))").await, Ok(Output::text("45")));
    assert_eq!(run("print(6 * 7)").await, Ok(Output::text("42\n")));
    assert_eq!(run("pass").await, Ok(Output::text("`result` was not set and nothing was printed")));
    let Failure(text) = run("import socket\nsocket.create_connection(('1.1.1.1', 80))").await.unwrap_err();
    assert!(text.contains("the sandbox has no files, no network and no other programs"), "{text}");
}
