//! Looking an orchestration over before it runs.

use rstest::rstest;
use serde_json::json;

use super::{llm, only, print, step, text};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Setup, refused};

#[rstest]
#[tokio::test]
async fn what_would_fail_is_named(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [
        step("if", "if_else", json!({"if_condition": "state.n >", "if_true_step_id": "gone", "if_false_step_id": "a"})),
        step("a", "agent", json!({"agent_id": "nobody", "next_step_id": "t"})),
        step("t", "tool", json!({"forced_tool": "nothing", "retry": {"on": ["weather"]}})),
        llm("unreachable", None),
    ];
    let server = Setup::new().orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let answer = client.call("ValidateOrchestration", json!({"orchestration_id": "o1"})).await.answer();
    assert_eq!(answer["valid"], false);
    let problems: Vec<(&str, &str)> = answer["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["step_id"].as_str().unwrap_or(""), text(problem, "field")))
        .collect();
    for expected in [("if", "if_condition"), ("if", "if_true_step_id"), ("a", "agent_id"), ("t", "forced_tool"), ("t", "retry.on")] {
        assert!(problems.contains(&expected), "{expected:?} is not among {answer}");
    }
    assert!(problems.iter().any(|(step, _)| *step == "unreachable"), "{answer}");
    assert_eq!(client.call("ValidateOrchestration", json!({"orchestration_id": "o9"})).await, refused(404, "Orchestration 'o9' not found"));
}

#[rstest]
#[tokio::test]
async fn what_is_fine_has_no_problems(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().orchestrations(only([print("p", "{state.user_input}", Some("end")), step("end", "end", json!({}))])).start();
    let answer = server.client(dialect).call("ValidateOrchestration", json!({"orchestration_id": "o1"})).await;
    assert_eq!(answer.answer(), json!({"valid": true, "problems": []}));
}
