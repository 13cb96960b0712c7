//! Tool servers (Model Context Protocol): started when somebody wants one of their tools, kept, and never waited for in vain.

mod child_input;
mod connection;
mod content;
mod credentials;
mod http;
mod list;
mod name;
mod noticing;
mod reason;
mod remote_tool;
mod server;
mod sign_in;
mod stdio;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use sign_in::sign_in;

use super::{Tool, Wanted};
use crate::config::Config;
use crate::definition::{McpServer, Settings};
use crate::store::{DefinitionFiles, McpTokens};
pub(super) use name::Names;
use remote_tool::RemoteTool;
use server::Server;

/// How often the records are compared with the servers that run.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a stop waits for tool servers to end by themselves; then they are killed.
const GOODBYE: Duration = Duration::from_secs(6);

/// The tool servers that run, by name.
pub struct Servers {
    setup: Arc<Setup>,
    running: Mutex<HashMap<String, Arc<Server>>>,
    tasks: TaskTracker,
}

/// What every server needs besides its record.
struct Setup {
    /// How long a server may take to connect and to list its tools.
    list_time: Duration,
    /// How long one call may take.
    call_time: Duration,
    /// The variables that children get besides those of their record.
    environment: Vec<(&'static str, String)>,
    /// The results of sign-ins.
    tokens: McpTokens,
}

impl Servers {
    /// Starts nothing yet.
    pub fn new(config: &Config) -> Self {
        let setup = Setup {
            list_time: config.limits.mcp_list_time,
            call_time: config.limits.mcp_call_time,
            environment: config.child_environment.clone(),
            tokens: McpTokens::open(&config.data_dir),
        };
        Self { setup: Arc::new(setup), running: Mutex::default(), tasks: TaskTracker::new() }
    }

    /// Returns the tools that are wanted of the servers that answer. Servers that do not run yet are started, side by side; one that
    /// failed before is not waited for: it is tried again in the background.
    pub async fn tools(&self, records: &[Arc<McpServer>], settings: &Settings, wanted: Wanted<'_>) -> Vec<Arc<dyn Tool>> {
        let asked = self.keep(records, settings).into_iter().filter(|server| server.names().may_have(wanted));
        let listed = join_all(asked.map(async |server| (server.clone(), server.tools().await))).await;
        let mut taken = HashSet::new();
        let tools = listed.into_iter().flat_map(|(server, tools)| tools.into_iter().map(move |tool| (server.clone(), tool)));
        tools
            .filter(|(server, tool)| wanted.has(&tool.description.name) || wanted.has(&server.names().raw(&tool.name)))
            .filter(|(_, tool)| taken.insert(tool.description.name.clone()))
            .map(|(server, tool)| Arc::new(RemoteTool::new(server, tool)) as Arc<dyn Tool>)
            .collect()
    }

    /// Ends the servers whose record or permission changed or is gone, and returns those of the records, not started.
    fn keep(&self, records: &[Arc<McpServer>], settings: &Settings) -> Vec<Arc<Server>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *running);
        let mut kept = Vec::with_capacity(records.len());
        for (record, names) in records.iter().zip(Names::of(records)) {
            let refusal = stdio::refusal(record, settings);
            let server = match before.remove(&record.name) {
                Some(server) if server.is(record, &names, refusal.as_deref()) => server,
                changed => {
                    changed.inspect(|server| server.stop());
                    Arc::new(Server::new(record.clone(), names, refusal, self.setup.clone(), self.tasks.clone()))
                }
            };
            running.insert(record.name.clone(), server.clone());
            kept.push(server);
        }
        for server in before.values() {
            server.stop();
        }
        kept
    }

    /// Ends servers as soon as their record changes or their permission is withdrawn, until `stop`.
    pub async fn watch(self: Arc<Self>, definitions: Arc<DefinitionFiles>, stop: CancellationToken) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = definitions.current();
        while stop.run_until_cancelled(look.tick()).await.is_some() {
            let current = definitions.current();
            if !Arc::ptr_eq(&seen, &current) {
                self.keep(&current.mcp_servers, &current.settings);
                seen = current;
            }
        }
    }

    /// Ends every server, children with their whole process group.
    pub async fn close(&self) {
        self.keep(&[], &Settings::default());
        self.tasks.close();
        if timeout(GOODBYE, self.tasks.wait()).await.is_err() {
            tracing::warn!("tool servers do not end; they are killed");
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.keep(&[], &Settings::default());
    }
}
