//! What model calls take: told with the answer, and recorded.

use rstest::rstest;
use serde_json::json;
use synapse::store::{Calls, ModelCall, Outcome, Store};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Server, Setup};

/// Stops the server and reads what it recorded, the oldest call first.
async fn recorded(server: &mut Server) -> Vec<ModelCall> {
    server.process.terminate();
    assert_eq!(server.process.ended().await, Some(0));
    let store = Store::open(&server.data_dir()).await.unwrap();
    let mut calls = store.model_calls().list(Calls::default(), 100).await.unwrap();
    calls.reverse();
    calls
}

#[rstest]
#[tokio::test]
async fn every_model_call_is_recorded_with_its_price(#[values(Rest, Grpc)] dialect: Dialect) {
    let usage = json!({"input_tokens": 1000, "output_tokens": 100, "cached_tokens": 400});
    let call = json!([{"tool": "get_datetime", "arguments": {}}]);
    let script = json!({"answers": [{"text": "", "calls": call, "usage": usage}, {"text": "done", "usage": usage}]});
    let prices = json!({"scripted.it": {"input_per_1m": 2.0, "output_per_1m": 10.0, "cache_read_per_1m": 0.5}});
    let mut server = Setup::new().all_tools().script(script).file("model_pricing.json", prices.to_string()).start();
    let answer = server.client(dialect).chat(json!({"message": "hi", "session_id": "s"})).await.answer();
    assert_eq!(answer["usage"], json!({"input_tokens": 2000, "output_tokens": 200, "cached_tokens": 800}), "of both calls");
    let calls = recorded(&mut server).await;
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!((call.agent_id.as_str(), call.session_id.as_str(), call.model.as_str()), ("a1", "s", "scripted.it"));
        assert_eq!((call.provider.as_str(), call.outcome), ("scripted", Outcome::Answered));
        assert_eq!((call.input_tokens, call.output_tokens, call.cached_tokens), (1000, 100, 400));
        // 600 tokens at 2 dollars, 400 at 0.5, 100 at 10, all for a million.
        assert!((call.cost.unwrap() - 0.0024).abs() < 1e-12, "{call:?}");
    }
}

#[rstest]
#[tokio::test]
async fn calls_that_fail_or_are_left_are_recorded_too(#[values(Rest, Grpc)] dialect: Dialect) {
    let scripts = json!({"broken": {"error": "rejected"}, "late": {"error": "timed_out"}, "slow": {"delay_ms": 60_000}});
    let agent = |id: &str| json!({"id": id, "name": id, "model": format!("scripted.{id}")});
    let mut server = Setup::new().agents(json!([agent("broken"), agent("late"), agent("slow")])).setting("scripted", scripts).start();
    let client = server.client(dialect);
    client.chat(json!({"message": "hi", "agent": "broken"})).await.refusal();
    client.chat(json!({"message": "hi", "agent": "late"})).await.refusal();
    let mut events = client.stream(json!({"message": "hi", "agent": "slow"})).await.unwrap();
    events.until("thinking").await;
    drop(events);
    server.logged("the caller went away").await;
    let outcomes: Vec<(String, Outcome, Option<f64>)> =
        recorded(&mut server).await.into_iter().map(|call| (call.agent_id, call.outcome, call.cost)).collect();
    let expected = [("broken", Outcome::Failed), ("late", Outcome::TimedOut), ("slow", Outcome::Cancelled)];
    assert_eq!(outcomes, expected.map(|(agent, outcome)| (agent.to_owned(), outcome, None)));
}
