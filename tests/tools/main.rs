//! Tools that go out over the network, against real sockets and real databases.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod fetch_url;
mod guard;
mod http;
mod postgres;
mod service;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use synapse::definition::{CustomKind, Settings, custom_tools};
use synapse::tool::{Call, Network, Tool};
use tokio::time::Instant;

/// How long a call may take before its test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many bytes a tool may return.
const OUTPUT_BYTES: usize = 1 << 20;

/// Makes settings that allow what the test says.
fn allowing(addresses: impl Into<Value>) -> Settings {
    Settings::new(Map::from_iter([("allow_private_addresses".to_owned(), addresses.into())]))
}

/// Makes a network that does as the system does.
fn network() -> Network {
    Network::new(PATIENCE)
}

/// Makes the tool of a record, which may reach this machine.
fn http_tool(record: &Value) -> Arc<dyn Tool> {
    http_tool_in(&network(), &allowing(["127.0.0.0/8"].as_slice()), record)
}

/// Makes the tool of a record.
fn http_tool_in(network: &Network, settings: &Settings, record: &Value) -> Arc<dyn Tool> {
    let mut named = json!({"name": "t"});
    named.as_object_mut().unwrap().extend(record.as_object().unwrap().clone());
    let (tools, problems) = custom_tools(&json!([named]).to_string()).unwrap();
    assert_eq!(problems, []);
    let CustomKind::Http(http) = &tools[0].kind else { panic!("{named}") };
    synapse::tool::http::tool(&tools[0], http, &network.reach(settings))
}

/// Calls a tool and returns its text, or why there is none.
async fn call(tool: &Arc<dyn Tool>, arguments: Value) -> Result<String, String> {
    call_within(tool, arguments, PATIENCE).await
}

async fn call_within(tool: &Arc<dyn Tool>, arguments: Value, time: Duration) -> Result<String, String> {
    let Value::Object(arguments) = arguments else { panic!("{arguments}") };
    let call = Call {
        id: "call-1".to_owned(),
        arguments,
        deadline: Instant::now() + time,
        output_bytes: OUTPUT_BYTES,
        idempotency_id: "call-1".to_owned(),
    };
    let outcome = tokio::time::timeout(PATIENCE, tool.call(call)).await.unwrap();
    outcome.map(|output| output.text).map_err(|failure| failure.0)
}
