//! Runs of orchestrations, as those see them who start, watch, answer, cancel and retry them.

mod bundles;
mod cancelling;
mod chats;
mod conversations;
mod interrupts;
mod nested;
mod people;
mod pinned;
mod policies;
mod repeating;
mod retention;
mod retrying;
mod routing;
mod starting;
mod steps;
mod validation;
mod watching;

use serde_json::{Value, json};

use crate::support::{Client, Events};

/// Makes a step from its id, its type and its other fields; its name is the id in capitals.
fn step(id: &str, kind: &str, fields: Value) -> Value {
    with(json!({"id": id, "name": id.to_uppercase(), "type": kind}), fields)
}

/// Returns a record with further fields.
fn with(mut record: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("`{fields}` are no fields") };
    record.as_object_mut().unwrap().extend(fields);
    record
}

/// Makes a step that prints, and writes what it printed under its id.
fn print(id: &str, content: &str, next: Option<&str>) -> Value {
    step(id, "print", json!({"print_content": content, "output_key": id, "next_step_id": next}))
}

/// Makes a step that asks a model, and writes its answer under its id.
fn llm(id: &str, next: Option<&str>) -> Value {
    step(id, "llm", json!({"prompt_template": id, "output_key": id, "next_step_id": next}))
}

/// Makes a step that asks a person, and writes the answer under its id.
fn human(id: &str, next: Option<&str>) -> Value {
    step(id, "human", json!({"human_prompt": format!("{id}?"), "output_key": id, "next_step_id": next}))
}

/// Makes an orchestration that begins with the first of its steps.
fn orchestration(id: &str, steps: impl IntoIterator<Item = Value>) -> Value {
    let steps: Vec<Value> = steps.into_iter().collect();
    json!({"id": id, "name": id.to_uppercase(), "entry_step_id": steps[0]["id"], "steps": steps})
}

/// Makes the file of orchestrations with one, `o1`.
fn only(steps: impl IntoIterator<Item = Value>) -> Value {
    json!([orchestration("o1", steps)])
}

/// Makes the file of orchestrations with one, `o1`, that has further fields.
fn only_with(fields: Value, steps: impl IntoIterator<Item = Value>) -> Value {
    let steps: Vec<Value> = steps.into_iter().collect();
    json!([with(orchestration("o1", steps), fields)])
}

/// A request to run `o1`.
fn start(message: &str) -> Value {
    json!({"orchestration_id": "o1", "message": message})
}

/// Runs `o1` and returns how that came out.
async fn run(client: &Client, message: &str) -> Value {
    client.call("Run", start(message)).await.answer()
}

/// Runs `o1` in the background and returns its id.
async fn begin(client: &Client) -> String {
    let answer = client.call("Run", json!({"orchestration_id": "o1", "background": true})).await.answer();
    answer["run_id"].as_str().unwrap().to_owned()
}

/// Runs `o1` and returns its events.
async fn events(client: &Client, message: &str) -> Vec<Value> {
    plain(client.open("StreamRun", start(message)).await.unwrap()).await
}

/// Reads a stream to its end without the numbers.
async fn plain(events: Events) -> Vec<Value> {
    events.numbered().await.into_iter().map(|(_, event)| event).collect()
}

/// Watches a run from its beginning to its end.
async fn watched(client: &Client, run_id: &str) -> Vec<(u64, Value)> {
    client.open("WatchRun", json!({"run_id": run_id})).await.unwrap().numbered().await
}

/// Returns what the API says of a run.
async fn get(client: &Client, run_id: &str) -> Value {
    client.call("GetRun", json!({"run_id": run_id})).await.answer()
}

/// Answers a question.
async fn answer(client: &Client, run_id: &str, step_id: Option<&str>, response: Value) -> crate::support::Outcome {
    client.call("Resume", json!({"run_id": run_id, "step_id": step_id, "response": response})).await
}

/// Returns the events of a type.
fn of_type<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

/// Returns the ids of the steps that were entered, in their order.
fn entered(events: &[Value]) -> Vec<&str> {
    of_type(events, "step_start").iter().map(|event| event["orch_step_id"].as_str().unwrap()).collect()
}

/// Returns the ids of the steps in a history, in their order.
fn history(run: &Value) -> Vec<&str> {
    run["step_history"].as_array().unwrap().iter().map(|step| step["step_id"].as_str().unwrap()).collect()
}

/// Returns a text of an answer.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("`{key}` of {value}"))
}
