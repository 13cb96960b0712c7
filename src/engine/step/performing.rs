//! Steps with effects outside, performed with scripted models and the tools of the server.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fixture::state;
use super::{Alone, Attempt, Done, Failure, FailureKind, perform};
use crate::config::Config;
use crate::definition::{agents, orchestrations};
use crate::engine::run::{Graph, Lead, Live, Logs, Note, Pinned, Told};
use crate::engine::scope::Scope;
use crate::engine::teller::{self, Teller, What};
use crate::engine::{Engine, Turnstile};
use crate::metrics::Metrics;
use crate::provider::Models;
use crate::python::{Python, own_program};
use crate::store::{DefinitionFiles, Store, Vault};
use crate::tool::Toolbox;

async fn engine(directory: &TempDir, scripts: Value) -> Arc<Engine> {
    let data_dir = directory.path().to_string_lossy().into_owned();
    let settings = json!({"model": "scripted.it", "scripted": scripts});
    std::fs::write(directory.path().join("settings.json"), settings.to_string()).unwrap();
    let config = Config::read(|name| (name == "SYNAPSE_DATA_DIR").then(|| data_dir.clone())).unwrap();
    let store = Store::open(&config.data_dir).await.unwrap();
    let vault = Vault::open(&config.data_dir);
    let python = Python::new(config.python.clone(), own_program().unwrap());
    Arc::new(Engine {
        definitions: Arc::new(DefinitionFiles::open(&config.data_dir, &config.settings).unwrap()),
        sessions: store.sessions(),
        model_calls: store.model_calls(),
        toolbox: Toolbox::new(&config, &vault, python.clone()),
        vault,
        python,
        models: Models::new(&config, None),
        metrics: Metrics::default(),
        logs: Logs::new(store.runs()),
        live: Arc::new(Live::default()),
        step_time: Duration::from_secs(10),
        run_time: Duration::from_secs(10),
        model_time: Duration::from_secs(10),
        tool_time: Duration::from_secs(10),
        stop: CancellationToken::new(),
        tasks: tokio_util::task::TaskTracker::new(),
        turnstile: Turnstile::default(),
    })
}

/// Performs the step `s`, and returns what it came to with all events but text.
async fn performed(scripts: Value, step: Value, values: Value) -> (Result<Done, Failure>, Vec<Note>) {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory, scripts).await;
    let mut step = step;
    step["id"] = "s".into();
    let agent = json!([{"id": "a", "name": "Ann", "tools": ["get_datetime", "vault_read"], "model": "scripted.other"}]).to_string();
    let orchestration = json!([{"id": "w", "steps": [step], "entry_step_id": "s"}]).to_string();
    let pinned = Pinned {
        orchestrations: vec![(*orchestrations(&orchestration).unwrap().0[0]).clone()],
        agents: vec![(*agents(&agent).unwrap().0[0]).clone()],
    };
    let graph = Arc::new(Graph::new(pinned));
    let (mouth, mut said) = teller::mailbox();
    let scope = Scope::new(engine.definitions.current(), "orch_r".to_owned(), engine.model_time);
    let attempt = Attempt {
        step: graph.flow("w").unwrap().step("s").unwrap().clone(),
        graph,
        engine,
        state: Arc::new(state(values)),
        pass: None,
        effect_id: "r/1".to_owned(),
        scope: Arc::new(scope),
        teller: Teller::new(mouth, 1),
        alone: Alone::default(),
        deadline: Instant::now() + Duration::from_secs(10),
    };
    let listen = async {
        let mut told = Vec::new();
        while let Some(said) = said.recv().await {
            match said.what {
                What::Note(note) => told.push(note),
                What::Hint(_) => {}
                What::Kept(kept) => kept.send(()).unwrap(),
            }
        }
        told
    };
    tokio::join!(perform(attempt), listen)
}

fn failed(outcome: Result<Done, Failure>) -> (FailureKind, String) {
    let failure = outcome.unwrap_err();
    (failure.kind, failure.error.detail().to_owned())
}

#[tokio::test]
async fn an_llm_step_answers_its_prompt() {
    let step = json!({"type": "llm", "prompt_template": "Hi {state.name}", "output_key": "k"});
    let (done, events) = performed(json!({"it": {"text": "{message}!"}}), step, json!({"name": "Bo"})).await;
    let done = done.unwrap();
    assert_eq!((done.output, done.told), (Some("Hi Bo!".into()), Told::Text("Hi Bo!".to_owned())));
    assert!(events.is_empty(), "what a step says comes with its record: {events:?}");
}

#[tokio::test]
async fn a_model_that_fails_is_a_failure_and_no_text() {
    for kind in ["llm", "evaluator", "agent", "tool"] {
        let step = json!({"type": kind, "agent_id": "a", "model": "scripted.it", "route_map": {"x": null}, "forced_tool": "get_datetime"});
        let (outcome, _) = performed(json!({"it": {"error": "rejected"}}), step, json!({})).await;
        let (found, detail) = failed(outcome);
        assert_eq!((found, detail.as_str()), (FailureKind::Model, "An internal error occurred while executing this step."), "{kind}");
    }
}

#[tokio::test]
async fn an_evaluator_takes_the_way_of_its_route() {
    let step = json!({"type": "evaluator", "input_keys": ["draft"], "route_map": {"redo": "s", "good": null},
        "route_descriptions": {"redo": "too short", "good": "complete"}});
    let scripts = json!({"it": {"reasoning": "it says so"}});
    let done = performed(scripts.clone(), step.clone(), json!({"draft": "this is complete"})).await.0.unwrap();
    assert_eq!((done.output, done.lead), (Some("good".into()), Lead::To(None)));
    assert_eq!(done.told, Told::Route { label: "good".to_owned(), reasoning: "it says so".to_owned() });
    let done = performed(scripts, step, json!({"draft": "far too short"})).await.0.unwrap();
    assert_eq!(done.lead, Lead::To(Some("s".to_owned())));
}

#[tokio::test]
async fn an_evaluator_without_routes_is_passed_with_a_warning() {
    let done = performed(json!({"it": {"error": "rejected"}}), json!({"type": "evaluator"}), json!({})).await.0.unwrap();
    assert_eq!((done.lead, done.output, done.warnings.len()), (Lead::Behind, None, 1));
}

#[tokio::test]
async fn a_tool_step_is_told_its_mistakes_until_it_succeeds() {
    let calls = |arguments: Value| json!({"calls": [{"tool": "vault_write", "arguments": arguments}]});
    let script = json!({"answers": [calls(json!({"path": "a.txt"})), calls(json!({"path": "a.txt", "content": "{results}"}))]});
    let (done, events) = performed(json!({"it": script}), json!({"type": "tool", "forced_tool": "vault_write"}), json!({})).await;
    let output = done.unwrap().output.unwrap();
    assert!(output.as_str().unwrap().starts_with("`a.txt` was written"), "{output}");
    let [
        Note::ToolExecution { .. },
        Note::ToolResult { preview: first, .. },
        Note::ToolExecution { args: second, .. },
        Note::ToolResult { preview: last, call_id, .. },
    ] = events.as_slice()
    else {
        panic!("two calls: {events:?}")
    };
    assert!(first.starts_with("Error: the arguments of `vault_write`") && first.contains("content"), "{}", first);
    let told = &second["content"];
    assert!(told.as_str().unwrap().contains("do not keep its schema"), "the model heard what was wrong: {told}");
    assert_eq!((call_id.as_str(), output.as_str()), ("call_2", Some(last.as_str())));
}

#[tokio::test]
async fn a_tool_step_calls_no_other_tool() {
    let script = json!({"calls": [{"tool": "vault_write", "arguments": {"path": "a", "content": "b"}}]});
    let (outcome, events) =
        performed(json!({"it": script}), json!({"type": "tool", "forced_tool": "get_datetime", "max_turns": 2}), json!({})).await;
    let told = "tool `get_datetime` failed in all of its 2 attempts, at last with: tool `vault_write` must not be called here; call `get_datetime`";
    assert_eq!(failed(outcome), (FailureKind::Tool, told.to_owned()));
    assert!(events.is_empty(), "{events:?}");
}

#[tokio::test]
async fn a_tool_that_is_not_there_ends_no_run() {
    let scripts = || json!({"it": {"calls": [{"tool": "get_datetime"}]}});
    let missing = performed(scripts(), json!({"type": "tool", "forced_tool": "gone"}), json!({})).await.0.unwrap();
    assert!(missing.output.is_none() && missing.error.unwrap().contains("`gone` does not exist"));
    let foreign = performed(scripts(), json!({"type": "tool", "forced_tool": "vault_write", "agent_id": "a"}), json!({})).await.0.unwrap();
    assert!(foreign.error.unwrap().contains("none of the step's agent"), "an agent's step has the agent's tools");
    let unnamed = performed(scripts(), json!({"type": "tool"}), json!({})).await.0.unwrap();
    assert_eq!((unnamed.warnings.len(), unnamed.output), (1, None));
    let own = performed(scripts(), json!({"type": "tool", "forced_tool": "get_datetime", "agent_id": "a"}), json!({})).await.0.unwrap();
    assert!(own.output.is_some());
}

#[tokio::test]
async fn an_agent_step_takes_a_turn_and_hands_out_what_its_conversation_keeps() {
    let script = json!({"answers": [{"calls": [{"tool": "get_datetime"}]}, {"text": "done"}]});
    let step = json!({"type": "agent", "agent_id": "a", "prompt_template": "Tell the time, {state.user_input}", "output_key": "k"});
    let (done, events) = performed(json!({"other": script}), step, json!({"user_input": "Bo"})).await;
    let done = done.unwrap();
    let told = Told::Answer { text: "done".to_owned(), intent: "chat".to_owned(), tool_name: Some("get_datetime".to_owned()) };
    assert_eq!((done.output, done.told), (Some("done".into()), told));
    let turn = done.turn.unwrap();
    assert_eq!((turn.session_id.as_str(), turn.agent_id.as_str(), turn.model.as_str()), ("orch_r", "a", "scripted.other"));
    assert_eq!((turn.user.as_str(), turn.assistant.as_str()), ("Tell the time, Bo", "done"));
    assert!(matches!(events[0], Note::Thought { .. }), "that the first round begins is told by others: {events:?}");
    assert_eq!(events.iter().filter(|event| matches!(event, Note::Thinking { .. })).count(), 1);
}

#[tokio::test]
async fn a_step_may_have_another_model_fewer_rounds_and_fewer_tools_than_its_agent() {
    let step =
        json!({"type": "agent", "agent_id": "a", "model": "scripted.mine", "allowed_tools": ["vault_read", "vault_write"], "max_turns": 1});
    let (done, _) = performed(json!({"mine": {"text": "{tools}"}}), step.clone(), json!({})).await;
    assert_eq!(done.unwrap().output.unwrap(), "vault_read", "never more than the agent has");
    let usual = json!({"type": "agent", "agent_id": "a", "model": "default"});
    let (done, _) = performed(json!({"it": {"text": "the settings'"}, "other": {"text": "the agent's"}}), usual, json!({})).await;
    assert_eq!(done.unwrap().output.unwrap(), "the agent's");
    let endless = json!({"mine": {"calls": [{"tool": "vault_read", "arguments": {"path": "x"}}]}});
    let (kind, detail) = failed(performed(endless, step, json!({})).await.0);
    assert!(kind == FailureKind::Model && detail.contains("called tools in all of its 1 turns"), "{detail}");
}

#[tokio::test]
async fn an_agent_that_does_not_exist_is_replaced_by_nobody() {
    let (kind, detail) = failed(performed(json!({"it": {}}), json!({"type": "agent", "agent_id": "gone"}), json!({})).await.0);
    assert_eq!(
        (kind, detail.as_str()),
        (FailureKind::Definition, "agent `gone` of step `s` does not exist; name another, or create it, and run again")
    );
}
