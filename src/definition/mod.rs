//! What users write: agents, orchestrations, tools and settings, read tolerantly from existing files.

mod agent;
mod custom_tool;
mod database;
mod mcp_server;
mod openapi;
mod orchestration;
mod pricing;
mod problem;
mod record;
mod reference;
mod resolve;
mod settings;
mod step;

pub use agent::{AGENTS_FILE, Agent, agents};
pub use custom_tool::{CUSTOM_TOOLS_FILE, CustomKind, CustomTool, HttpCall, custom_tools};
pub use database::{DATABASES_FILE, Database, databases};
pub use mcp_server::{MCP_SERVERS_FILE, McpServer, Reach, mcp_servers};
pub use openapi::{Import, ImportWishes, import_openapi};
pub use orchestration::{ORCHESTRATIONS_FILE, Orchestration, orchestrations};
pub use pricing::{PRICING_FILE, Price, Pricing, pricing};
pub use problem::Problem;
pub use reference::broken_references;
pub use resolve::resolve_agent;
pub use settings::{SETTINGS_FILE, Settings, settings};
pub use step::{Case, HumanTimeout, OnError, OnInterrupt, Retry, Route, Step, Way, Work};
