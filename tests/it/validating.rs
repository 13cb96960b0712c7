//! Orchestrations that are looked over before they run.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Setup, answered, refused};

async fn problems(setup: Setup, dialect: Dialect) -> Vec<(String, String, String)> {
    let server = setup.start();
    let found: Value = server.client(dialect).call("ValidateOrchestration", json!({"orchestration_id": "o1"})).await.answer();
    let text = |problem: &Value, field: &str| problem[field].as_str().unwrap_or_default().to_owned();
    let problems = found["problems"].as_array().unwrap();
    assert_eq!(found["valid"], json!(problems.is_empty()));
    problems.iter().map(|problem| (text(problem, "step_id"), text(problem, "field"), text(problem, "message"))).collect()
}

fn orchestrator(id: &str, orchestration: &str) -> Value {
    json!({"id": id, "name": id, "type": "orchestrator", "orchestration_id": orchestration})
}

fn nesting(id: &str, agent: &str) -> Value {
    json!({"id": id, "entry_step_id": "s", "steps": [{"id": "s", "type": "agent", "agent_id": agent}]})
}

#[rstest]
#[tokio::test]
async fn an_orchestration_that_can_run_is_valid(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = json!([
        {"id": "a", "type": "agent", "agent_id": "a1", "allowed_tools": ["get_datetime"], "next_step_id": "b"},
        {"id": "b", "type": "tool", "forced_tool": "vault_write", "next_step_id": "c"},
        {"id": "c", "type": "transform", "transform_code": "result = 1"},
    ]);
    let setup = Setup::new().script(json!({})).orchestrations(json!([{"id": "o1", "entry_step_id": "a", "steps": steps}]));
    let server = setup.start();
    let outcome = server.client(dialect).call("ValidateOrchestration", json!({"orchestration_id": "o1"})).await;
    assert_eq!(outcome, answered(json!({"valid": true, "problems": []})));
    let unknown = server.client(dialect).call("ValidateOrchestration", json!({"orchestration_id": "x"})).await;
    assert_eq!(unknown, refused(404, "Orchestration 'x' not found"));
}

#[rstest]
#[tokio::test]
async fn what_is_missing_is_named(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = json!([
        {"id": "a", "type": "agent", "agent_id": "gone", "model": "scripted.gone", "next_step_id": "b"},
        {"id": "b", "type": "tool", "forced_tool": "dig", "next_step_id": "c"},
        {"id": "c", "type": "agent", "agent_id": "a1", "allowed_tools": ["dig"], "next_step_id": "nowhere"},
    ]);
    let found =
        problems(Setup::new().script(json!({})).orchestrations(json!([{"id": "o1", "entry_step_id": "a", "steps": steps}])), dialect).await;
    let owned = |(step, field, message): (&str, &str, &str)| (step.to_owned(), field.to_owned(), message.to_owned());
    let script = "there is no script `gone`: add it under `scripted` in settings.json, or use `scripted.echo`";
    let expected = [
        ("c", "next_step_id", "step `nowhere` does not exist"),
        ("a", "agent_id", "agent `gone` does not exist"),
        ("a", "model", script),
        ("b", "forced_tool", "tool `dig` does not exist"),
        ("c", "allowed_tools", "tool `dig` does not exist"),
    ];
    assert_eq!(found, expected.map(owned));
}

#[rstest]
#[tokio::test]
async fn orchestrations_that_run_each_other_are_a_circle(#[values(Rest, Grpc)] dialect: Dialect) {
    let agents = json!([orchestrator("x", "o1"), orchestrator("y", "o2")]);
    let found = problems(Setup::new().agents(agents).orchestrations(json!([nesting("o1", "y"), nesting("o2", "x")])), dialect).await;
    let message = "orchestration `o1` runs itself, by way of `o1`, `o2`; break the circle";
    assert_eq!(found, [("s".to_owned(), "agent_id".to_owned(), message.to_owned())]);
}

#[tokio::test]
async fn orchestrations_are_nested_only_so_deep() {
    let deep = |levels: usize| {
        let agents: Vec<Value> = (2..=levels).map(|level| orchestrator(&format!("a{level}"), &format!("o{level}"))).collect();
        let nested = (1..levels).map(|level| nesting(&format!("o{level}"), &format!("a{}", level + 1)));
        let last = json!({"id": format!("o{levels}"), "entry_step_id": "s", "steps": [{"id": "s", "type": "end"}]});
        Setup::new().agents(Value::from(agents)).orchestrations(nested.chain([last]).collect::<Value>())
    };
    assert_eq!(problems(deep(4), Rest).await, []);
    let found = problems(deep(5), Rest).await;
    assert!(found.len() == 1 && found[0].2.starts_with("orchestrations are nested deeper than 3"), "{found:?}");
}

#[test]
fn the_check_names_the_same_problems_once() {
    let steps = json!([{"id": "a", "type": "agent", "agent_id": "gone", "next_step_id": "b"}, {"id": "b", "type": "tool"}]);
    let setup = Setup::new().script(json!({})).orchestrations(json!([{"id": "o1", "entry_step_id": "a", "steps": steps}]));
    let output = setup.run(&["check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let about = |part: &str| text.lines().filter(|line| line.contains(part)).count();
    assert_eq!((about("`steps.a.agent_id`: agent `gone`"), about("`steps.b.forced_tool`")), (1, 1), "{text}");
    assert!(!output.status.success());
}
