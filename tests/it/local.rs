//! The model in the server, with its real weights, asked as users ask it.
#![cfg(feature = "local")]

use rstest::rstest;
use serde_json::json;
use synapse::provider::weights;

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Setup, joined};

#[rstest]
#[tokio::test]
async fn the_local_model_knows_the_capital_of_france(#[values(Rest, Grpc)] dialect: Dialect) {
    let models = concat!(env!("CARGO_TARGET_TMPDIR"), "/models");
    let agents = json!([{"id": "a1", "name": "Alpha", "system_prompt": "You are a helpful assistant.", "tools": []}]);
    weights::fetch(models.as_ref(), None, |_| ()).await.unwrap();
    let setup = Setup::new().agents(agents).setting("model", "local.smollm2-135m-instruct").environment("SYNAPSE_MODEL_DIR", models);
    let server = setup.start();
    let events = server.client(dialect).events(json!({"message": "What is the capital of France?"})).await;
    let response = &events[events.len() - 2];
    assert!(response["content"].as_str().unwrap().contains("Paris"), "{response}");
    assert_eq!(joined(&events, "text_delta"), response["content"].as_str().unwrap());
    assert!(response["usage"]["output_tokens"].as_u64().unwrap() > 3, "{response}");
}
