//! Bundles in the shapes of those that people have: they load, are found in order, and run to their end.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};

use super::{answer, entered, text, watched};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Server, Setup};

/// Starts a server with a bundle and the models that play in it.
fn server(bundle: &Value) -> Server {
    let part = |name: &str| bundle["bundle"][name].to_string();
    let setup = Setup::new().file("user_agents.json", part("agents")).file("orchestrations.json", part("orchestrations"));
    let setup = setup.file("custom_tools.json", part("custom_tools"));
    let settings = bundle["settings"].as_object().unwrap().iter();
    settings.fold(setup, |setup, (name, value)| setup.setting(name, value.clone())).start()
}

#[rstest]
#[tokio::test]
async fn a_bundle_is_valid_and_runs(
    #[values(Rest, Grpc)] dialect: Dialect,
    #[values("builder", "developer", "productivity", "simple", "starter")] name: &str,
) {
    let path = format!("{}/tests/bundles/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let bundle: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let server = server(&bundle);
    let client = server.client(dialect);
    for orchestration in bundle["bundle"]["orchestrations"].as_array().unwrap() {
        let found = client.call("ValidateOrchestration", json!({"orchestration_id": orchestration["id"]})).await.answer();
        assert_eq!(found, json!({"valid": true, "problems": []}), "{}", orchestration["id"]);
    }
    for run in bundle["runs"].as_array().unwrap() {
        let mut outcome = client.call("Run", json!({"orchestration_id": run["orchestration"], "message": run["message"]})).await.answer();
        let run_id = text(&outcome, "run_id").to_owned();
        for given in run["answers"].as_array().unwrap() {
            assert_eq!(outcome["status"], "paused", "{outcome}");
            outcome = answer(&client, &run_id, given["step_id"].as_str(), given["response"].clone()).await.answer();
        }
        assert_eq!(outcome["status"], run["expect"]["status"], "{outcome}");
        let events: Vec<Value> = watched(&client, &run_id).await.into_iter().map(|(_, event)| event).collect();
        let mut times = BTreeMap::<&str, u64>::new();
        for step in entered(&events) {
            *times.entry(step).or_default() += 1;
        }
        assert_eq!(json!(times), sorted(&run["expect"]["entered"]));
        for key in run["expect"]["state"].as_array().unwrap() {
            assert!(!outcome["shared_state"][key.as_str().unwrap()].is_null(), "`{key}` is missing: {outcome}");
        }
    }
}

fn sorted(counts: &Value) -> Value {
    let sorted: BTreeMap<&String, &Value> = counts.as_object().unwrap().iter().collect();
    json!(sorted)
}
