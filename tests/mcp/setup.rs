//! What every test begins with: tool servers of a data directory of its own, and shorthands for calling their tools.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use synapse::config::{Config, Limits};
use synapse::definition::{McpServer, Settings, mcp_servers};
use synapse::tool::mcp::Servers;
use synapse::tool::{Call, Failure, Output, Tool, Wanted};
use tempfile::TempDir;
use tokio::time::Instant;

/// How long anything that is waited for may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tool servers with their records.
pub(crate) struct House {
    pub(crate) servers: Servers,
    pub(crate) records: Vec<Arc<McpServer>>,
    pub(crate) settings: Settings,
    pub(crate) directory: TempDir,
}

impl House {
    /// The servers of records like those of `mcp_servers.json`; programs may run.
    pub(crate) fn new(records: &Value) -> Self {
        Self::with(records, |_| {})
    }

    /// As `new`, with other limits.
    pub(crate) fn with(records: &Value, limit: impl FnOnce(&mut Limits)) -> Self {
        let _ = tracing_subscriber::fmt().with_test_writer().try_init(); // shown for a test that fails
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::from_environment().unwrap();
        config.data_dir = directory.path().into();
        limit(&mut config.limits);
        let servers = Servers::new(&config);
        let settings = Settings::new(json!({"allow_stdio_mcp": true}).as_object().unwrap().clone());
        Self { servers, records: read(records), settings, directory }
    }

    pub(crate) async fn tools(&self, wanted: &[&str]) -> Vec<Arc<dyn Tool>> {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        self.servers.tools(&self.records, &self.settings, Wanted::named(&wanted)).await
    }

    pub(crate) async fn names(&self, wanted: &[&str]) -> Vec<String> {
        self.tools(wanted).await.iter().map(|tool| tool.description().name.clone()).collect()
    }

    pub(crate) async fn tool(&self, name: &str) -> Arc<dyn Tool> {
        self.tools(&[name]).await.pop().unwrap_or_else(|| panic!("there is no `{name}`"))
    }

    /// Calls a tool and returns its text, or that of its failure.
    pub(crate) async fn call(&self, name: &str, arguments: Value) -> Result<String, String> {
        told(self.tool(name).await.call(call(arguments)).await)
    }
}

pub(crate) fn read(records: &Value) -> Vec<Arc<McpServer>> {
    let (servers, problems) = mcp_servers(&records.to_string()).unwrap();
    assert_eq!(problems, []);
    servers
}

/// The record of the test server with arguments.
pub(crate) fn program(name: &str, arguments: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/server.py");
    let arguments: Vec<_> = [script].into_iter().chain(arguments.iter().copied()).collect();
    json!({"name": name, "command": "python3", "args": arguments, "env": {"OWN": "value"}})
}

pub(crate) fn call(arguments: Value) -> Call {
    let arguments = match arguments {
        Value::Object(arguments) => arguments,
        _ => Map::new(),
    };
    Call {
        id: "call-1".to_owned(),
        arguments,
        deadline: Instant::now() + PATIENCE,
        output_bytes: 1 << 20,
        idempotency_id: "call-1".to_owned(),
    }
}

pub(crate) fn told(result: Result<Output, Failure>) -> Result<String, String> {
    result.map(|output| output.text).map_err(|failure| failure.0)
}

/// Looks again and again until there is something to see.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what} did not come in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Tells whether a process runs, and is no zombie.
pub(crate) fn runs(process: &str) -> bool {
    let state = std::process::Command::new("ps").args(["-o", "state=", "-p", process]).output().unwrap().stdout;
    !state.is_empty() && state[0] != b'Z'
}
