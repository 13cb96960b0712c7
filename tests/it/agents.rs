//! Agents and orchestrations as clients see them.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Setup, answered, refused};

#[rstest]
#[tokio::test]
async fn agents_are_listed_in_file_order(#[values(Rest, Grpc)] dialect: Dialect) {
    let agents = json!([
        {"id": "z", "name": "Zed", "model": null, "unknown": 5},
        {"id": "a", "model": "gpt-4o", "type": "code", "capabilities": ["x", {"b": 1, "a": null}], "description": "reads"},
        {"id": "m", "name": "Em"},
    ]);
    let server = Setup::new().agents(agents).start();
    let client = server.client(dialect);
    let expected = json!([
        {"id": "z", "name": "Zed", "type": "conversational", "model": null, "capabilities": []},
        {"id": "a", "name": "a", "type": "code", "model": "gpt-4o", "capabilities": ["x", {"b": 1, "a": null}]},
        {"id": "m", "name": "Em", "type": "conversational", "model": "", "capabilities": []},
    ]);
    assert_eq!(client.call("ListAgents", json!({})).await, answered(expected.clone()));
    let mut whole = expected[1].clone();
    whole["description"] = "reads".into();
    assert_eq!(client.call("GetAgent", json!({"agent_id": "a"})).await, answered(whole));
}

#[rstest]
#[tokio::test]
async fn an_unknown_agent_is_not_found(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    for id in ["x", "A1", "Alpha", "é ñ/?#%"] {
        let outcome = server.client(dialect).call("GetAgent", json!({"agent_id": id})).await;
        assert_eq!(outcome, refused(404, &format!("Agent '{id}' not found")));
    }
}

#[rstest]
#[tokio::test]
async fn no_agents_are_an_empty_list(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().agents(json!([])).start();
    assert_eq!(server.client(dialect).call("ListAgents", json!({})).await, answered(json!([])));
    assert_eq!(server.client(dialect).call("ListOrchestrations", json!({})).await, answered(json!([])));
}

#[rstest]
#[tokio::test]
async fn orchestrations_are_listed_and_described(#[values(Rest, Grpc)] dialect: Dialect) {
    let orchestrations = json!([{
        "id": "o1", "name": "One", "description": "first", "entry_step_id": "s1",
        "steps": [
            {"id": "s1", "name": "Say", "type": "agent", "agent_id": "a1", "next_step_id": "s2", "label": "L", "depends_on": ["s0"]},
            {"id": "s2", "name": "End", "type": "end", "agent_id": null},
            {"id": "s3", "name": "Loose", "type": "print"},
        ],
        "edges": [{"to": "s2", "from": "s1"}],
    }]);
    let server = Setup::new().orchestrations(orchestrations).start();
    let client = server.client(dialect);
    let list = json!([{"id": "o1", "name": "One", "description": "first", "steps": 3}]);
    assert_eq!(client.call("ListOrchestrations", json!({})).await, answered(list));
    let whole = json!({
        "id": "o1", "name": "One", "description": "first",
        "steps": [
            {"id": "s1", "label": "L", "type": "agent", "agent_id": "a1", "depends_on": ["s0"]},
            {"id": "s2", "label": "", "type": "end", "agent_id": null, "depends_on": []},
            {"id": "s3", "label": "", "type": "print", "agent_id": "", "depends_on": []},
        ],
        "edges": [{"to": "s2", "from": "s1"}],
    });
    assert_eq!(client.call("GetOrchestration", json!({"orchestration_id": "o1"})).await, answered(whole));
    let unknown = client.call("GetOrchestration", json!({"orchestration_id": "x"})).await;
    assert_eq!(unknown, refused(404, "Orchestration 'x' not found"));
}

/// What people write: the order of keys is theirs, and integers are larger than a double tells apart.
const FREE: &str = r#"{"z":9007199254740993,"a":-9223372036854775808,"m":{"y":18446744073709551615,"x":[1.5,null]}}"#;

#[tokio::test]
async fn rest_keeps_integers_exact_and_keys_in_order() {
    let agents = format!(r#"[{{"id": "a1", "name": "Alpha", "capabilities": [{FREE}]}}]"#);
    let orchestrations =
        format!(r#"[{{"id": "o1", "name": "One", "steps": [{{"id": "s", "name": "s", "type": "end"}}], "edges": [{FREE}]}}]"#);
    let server = Setup::new().file("user_agents.json", agents).file("orchestrations.json", orchestrations).start();
    for path in ["/api/v1/agents", "/api/v1/agents/a1", "/api/v1/orchestrations/o1"] {
        let client = server.client(Rest);
        let response = client.http.get(server.url(path)).bearer_auth(&server.key).send().await.unwrap();
        let text = response.text().await.unwrap();
        assert!(text.contains(FREE), "{path}: {text}");
    }
}

#[tokio::test]
async fn grpc_rounds_integers_as_its_numbers_do() {
    let agents = r#"[{"id": "a1", "name": "Alpha", "capabilities": [9007199254740993, 5, 2.5]}]"#;
    let server = Setup::new().file("user_agents.json", agents).start();
    let agent: Value = server.client(Grpc).call("GetAgent", json!({"agent_id": "a1"})).await.answer();
    assert_eq!(agent["capabilities"], json!([9_007_199_254_740_992_i64, 5, 2.5]));
}
