//! What users write: agents, orchestrations and settings, read tolerantly from existing files.

mod agent;
mod orchestration;
mod problem;
mod record;
mod reference;
mod resolve;
mod settings;

pub use agent::{AGENTS_FILE, Agent, agents};
pub use orchestration::{ORCHESTRATIONS_FILE, Orchestration, Step, orchestrations};
pub use problem::Problem;
pub use reference::broken_references;
pub use resolve::resolve_agent;
pub use settings::{SETTINGS_FILE, Settings, settings};
