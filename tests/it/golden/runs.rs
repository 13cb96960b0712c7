//! Exchanges of runs: every event and every field that was recorded is told, in the same order, with the deviations that stand here.

use rstest::rstest;
use serde_json::{Value, json};

use super::Exchange;
use crate::support::Dialect::Rest;
use crate::support::{ModelService, Server, Setup};

/// The exchanges, each replayed below.
pub(super) const EXCHANGES: [&str; 21] = [
    "resume_stream_human",
    "resume_stream_unknown",
    "resume_sync_human",
    "resume_sync_unknown",
    "run_stream_agentstep",
    "run_stream_agentstep_error",
    "run_stream_bad",
    "run_stream_branch",
    "run_stream_eval",
    "run_stream_human",
    "run_stream_llm_fail",
    "run_stream_loop",
    "run_stream_par",
    "run_stream_print2",
    "run_stream_xform",
    "run_sync_bad",
    "run_sync_branch",
    "run_sync_human",
    "run_sync_loop",
    "run_sync_par",
    "run_sync_print2",
];

/// Events that we tell besides; clients ignore types that they do not know.
const ADDED_EVENTS: [&str; 3] = ["text_delta", "reasoning_delta", "human_input_received"];

/// Fields that we tell besides. Those of `final` are null for a step that is no agent's.
const ADDED_FIELDS: [&str; 10] =
    ["attempt", "call_id", "question_id", "expires_at", "pending", "step_name", "step_history", "output_key", "data", "tool_name"];

/// Values that are never twice the same.
const CHANGING: [&str; 4] = ["run_id", "started_at", "ended_at", "duration_seconds"];

/// Changes what was recorded into what we answer, each change with its reason.
fn deviate(name: &str, status: &mut u16, recorded: &mut Vec<Value>) {
    // Keys of the state that begin with `_` are the server's own, and never leave it.
    recorded.iter_mut().for_each(hide_private);
    // One decision is one event, with the fields of both that were told: clients that read either go on working.
    join_decisions(recorded);
    // The reasoning of a model is a live hint (`reasoning_delta`); what it decided stands in what follows.
    recorded.retain(|event| event["type"] != "llm_reasoning");
    match name {
        // A run that does not exist is refused before a stream begins, as sync calls always did.
        "resume_stream_unknown" => {
            *status = 404;
            *recorded = vec![json!({"detail": "Run 'nope' not found"})];
        }
        // What a person answered is a step that was done, and stands in the history.
        "resume_stream_human" | "resume_sync_human" => recorded.iter_mut().for_each(|event| {
            for place in ["/step_history", "/data/step_history"] {
                if let Some(Value::Array(history)) = event.pointer_mut(place) {
                    history.insert(0, human_step());
                }
            }
        }),
        // Why it failed is said, where it was an unknown error.
        "run_stream_bad" | "run_sync_bad" => {
            replace(recorded, "Orchestration failed. Error: Unknown error", "Orchestration failed. Error: Step 'zz' not found");
        }
        // The recorded tool belonged to a server that the other product starts by itself; here a user wrote it, and the intent says so.
        "run_stream_agentstep" => replace(recorded, r#""intent":"chat""#, r#""intent":"custom_tool""#),
        // A failure is a failure: the run does not complete with the provider's words for a result.
        "run_stream_agentstep_error" => {
            *recorded = failed(recorded, "a", "A", "agent");
        }
        _ => {}
    }
}

/// What is expected of the run of an agent step whose model fails.
fn failed(recorded: &[Value], id: &str, name: &str, kind: &str) -> Vec<Value> {
    let error = "An internal error occurred while executing this step.";
    let state = json!({"user_input": "Bo", "user_query": "Bo"});
    let history = json!([{"step_id": id, "step_name": name, "step_type": kind, "status": "failed", "error": error}]);
    let data = json!({"run_id": "", "status": "failed", "step_history": history, "shared_state": state});
    let mut events = recorded[..3].to_vec();
    events.extend([
        json!({"type": "step_error", "orch_step_id": id, "error": error}),
        json!({"type": "orchestration_complete", "run_id": "", "status": "failed", "final_state": state}),
        json!({"type": "final", "response": format!("Orchestration failed. Error: {error}"), "intent": "orchestration", "data": data, "tool_name": null}),
        json!({"type": "done"}),
    ]);
    events
}

fn human_step() -> Value {
    json!({"step_id": "h1", "step_name": "Ask", "step_type": "human", "status": "completed", "output_key": "ans",
        "started_at": "", "ended_at": "", "duration_seconds": 0})
}

fn replace(events: &mut Vec<Value>, from: &str, to: &str) {
    let text = Value::from(std::mem::take(events)).to_string().replace(from, to);
    *events = serde_json::from_str(&text).unwrap();
}

fn hide_private(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !key.starts_with('_'));
            fields.values_mut().for_each(hide_private);
        }
        Value::Array(items) => items.iter_mut().for_each(hide_private),
        _ => {}
    }
}

/// Joins the second event of each decision to its first.
fn join_decisions(events: &mut Vec<Value>) {
    let mut joined: Vec<Value> = Vec::new();
    for event in events.drain(..) {
        let kind = event["type"].as_str().unwrap_or_default();
        let is_second = kind.ends_with("_decision") && event.get("target_step_id").is_some();
        match joined.iter_mut().rev().find(|first| is_second && first["type"] == kind) {
            Some(first) => first.as_object_mut().unwrap().extend(event.as_object().unwrap().clone()),
            None => joined.push(event),
        }
    }
    *events = joined;
}

/// Says what of the recorded value is missing in ours, or what is in ours that is no known addition.
fn differences(path: &str, recorded: &Value, ours: &Value, found: &mut Vec<String>) {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            for (key, value) in recorded {
                match ours.get(key) {
                    Some(_) if CHANGING.contains(&key.as_str()) => {}
                    Some(told) => differences(&format!("{path}.{key}"), value, told, found),
                    None => found.push(format!("{path}.{key} is missing")),
                }
            }
            let is_new =
                |key: &&String| !recorded.contains_key(*key) && !ADDED_FIELDS.contains(&key.as_str()) && !CHANGING.contains(&key.as_str());
            found.extend(ours.keys().filter(is_new).map(|key| format!("{path}.{key} is new")));
        }
        (Value::Array(recorded), Value::Array(ours)) if recorded.len() == ours.len() => {
            for (number, (recorded, ours)) in recorded.iter().zip(ours).enumerate() {
                differences(&format!("{path}[{number}]"), recorded, ours, found);
            }
        }
        _ if recorded == ours => {}
        _ => found.push(format!("{path} is {ours} instead of {recorded}")),
    }
}

/// Returns the events of a body, or the body itself.
fn read(body: &str) -> Vec<Value> {
    if body.starts_with('{') {
        return vec![serde_json::from_str(body).unwrap()];
    }
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = data.map(|data| serde_json::from_str::<Value>(data).unwrap());
    events.filter(|event| !ADDED_EVENTS.iter().any(|added| event["type"] == *added)).collect()
}

fn step(id: &str, kind: &str, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("`{fields}` are no fields") };
    let mut step = json!({"id": id, "name": id.to_uppercase(), "type": kind});
    step.as_object_mut().unwrap().extend(fields);
    step
}

fn orchestration(id: &str, name: &str, schema: Value, steps: Value) -> Value {
    let mut made = json!({"id": id, "name": name});
    made["entry_step_id"] = steps[0]["id"].as_str().unwrap_or("zz").into();
    (made["state_schema"], made["steps"]) = (schema, steps);
    made
}

fn orchestrations() -> Value {
    let human = json!({"name": "Ask", "human_prompt": "OK, {state.user_input}?", "output_key": "ans", "next_step_id": "p2",
        "human_fields": [{"name": "decision", "type": "text", "label": "Decision"}]});
    let routes = json!({"route_map": {"redo": "w", "ok": null}, "output_key": "dec"});
    json!([
        orchestration(
            "print2",
            "Print two",
            json!({"lang": {"type": "string", "default": "en"}}),
            json!([
                step(
                    "s1",
                    "print",
                    json!({"print_content": "Hi {state.user_input} ({state.lang}) {state.nope}", "output_key": "greet", "next_step_id": "s2"})
                ),
                step("s2", "end", json!({"name": "End"})),
            ])
        ),
        orchestration(
            "human",
            "Human",
            json!({}),
            json!([
                step("h1", "human", human),
                step("p2", "print", json!({"print_content": "got {state.ans.decision}", "output_key": "out"})),
            ])
        ),
        orchestration(
            "par",
            "Par",
            json!({}),
            json!([
                step("p", "parallel", json!({"parallel_branches": [["x"], ["y"]], "next_step_id": "m"})),
                step("x", "print", json!({"print_content": "X", "output_key": "kx", "next_step_id": "m"})),
                step("y", "print", json!({"print_content": "Y", "output_key": "ky", "next_step_id": "m"})),
                step("m", "merge", json!({"merge_strategy": "concat", "input_keys": ["kx", "ky"], "output_key": "mm"})),
            ])
        ),
        orchestration(
            "loop",
            "Loop",
            json!({}),
            json!([
                step("l", "loop", json!({"loop_count": 2, "loop_step_ids": ["b"], "output_key": "lo"})),
                step("b", "print", json!({"print_content": "B", "output_key": "kb"})),
            ])
        ),
        orchestration(
            "branch",
            "Branch",
            json!({"n": {"type": "number", "default": 5}}),
            json!([
                step(
                    "i",
                    "if_else",
                    json!({"if_condition": "state.n > 3", "if_true_step_id": "s", "if_false_step_id": "f", "output_key": "r"})
                ),
                step("s", "switch", json!({"switch_expression": "state.n", "switch_cases": {"5": "f"}})),
                step("f", "print", json!({"print_content": "F", "output_key": "o"})),
            ])
        ),
        orchestration(
            "eval",
            "Eval",
            json!({}),
            json!([step("w", "llm", json!({"output_key": "draft", "next_step_id": "e"})), step("e", "evaluator", routes),])
        ),
        orchestration("agentstep", "AgentStep", json!({}), json!([step("a", "agent", json!({"agent_id": "a1", "output_key": "k"}))])),
        orchestration(
            "xform",
            "Xform",
            json!({}),
            json!([
                step("a", "transform", json!({"transform_code": "result = {'n': 1}", "output_key": "r", "next_step_id": "b"})),
                step("b", "extract_json", json!({"input_keys": ["user_input"], "output_key": "j"})),
            ])
        ),
        orchestration("bad", "Bad", json!({}), json!([])),
    ])
}

/// What the models of an exchange answer.
fn models(name: &str) -> Vec<&'static str> {
    match name {
        "run_stream_eval" => vec!["d1", r#"{"reasoning": "short", "choice": "redo"}"#, "d2", r#"{"reasoning": "good", "choice": "ok"}"#],
        _ => Vec::new(),
    }
}

fn server(name: &str, model: &ModelService, tool: &ModelService) -> Server {
    let script = match name {
        "run_stream_llm_fail" | "run_stream_agentstep_error" => json!({"error": "rejected"}),
        _ => {
            json!({"answers": [{"text": "", "reasoning": "why", "calls": [{"tool": "echo", "arguments": {"text": "q"}}]}, {"text": "Answer."}]})
        }
    };
    let setup = Setup::new()
        .agents(json!([{"id": "a1", "name": "Alpha", "tools": ["echo"]}]))
        .orchestrations(orchestrations())
        .file("custom_tools.json", json!([{"name": "echo", "method": "POST", "url": tool.url()}]).to_string())
        .setting("allow_private_addresses", true);
    if models(name).is_empty() { setup.script(script).start() } else { setup.model(&model.url()).start() }
}

#[rstest]
#[tokio::test]
async fn a_known_run_is_as_it_was(#[values(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)] number: usize) {
    let name = EXCHANGES[number];
    let path = format!("{}/tests/golden/{name}.http", env!("CARGO_MANIFEST_DIR"));
    let exchange = Exchange::read(&std::fs::read_to_string(path).unwrap());
    let (model, tool) = (ModelService::new().await, ModelService::new().await);
    let server = server(name, &model, &tool);
    let answering = tokio::spawn(async move {
        for text in models(name) {
            model.called().await.answer(text).await;
        }
    });
    let serving =
        tokio::spawn(async move { tool.called().await.respond("200 OK", "content-type: application/json\r\n", r#"{"echo": "q"}"#).await });
    let path = match exchange.path.split_once("/runs/run_") {
        Some((before, after)) => format!("{before}/runs/{}/{}", paused(&server).await, after.split_once('/').unwrap().1),
        None => exchange.path.clone(),
    };
    let request = server.request("POST", &path).header("content-type", "application/json").body(exchange.body.unwrap());
    let response = request.send().await.unwrap();
    let (mut status, mut recorded) = (exchange.answer.status, read(&exchange.answer.body));
    deviate(name, &mut status, &mut recorded);
    assert_eq!(response.status().as_u16(), status);
    let ours = read(&response.text().await.unwrap());
    let mut found = Vec::new();
    differences("", &Value::from(recorded.clone()), &Value::from(ours.clone()), &mut found);
    assert!(found.is_empty(), "{found:#?} in {:#?}", ours.iter().map(Value::to_string).collect::<Vec<_>>());
    answering.abort();
    serving.abort();
}

/// Starts the run that a resume goes on with.
async fn paused(server: &Server) -> String {
    let run = server.client(Rest).call("Run", json!({"orchestration_id": "human", "message": "Bo"})).await;
    run.answer()["run_id"].as_str().unwrap().to_owned()
}
