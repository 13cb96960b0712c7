//! The toolbox: every tool that there is, and which of them an agent gets.

use std::collections::HashSet;
use std::sync::Arc;

use super::fetch_url::{FETCH_URL, SCRAPE_URL};
use super::python::{EXECUTE_PYTHON, RUN_PYTHON};
use super::{Network, Tool, datetime, fetch_url, http, mcp, python, sql, vault};
use crate::config::Config;
use crate::definition::{AGENTS_FILE, Agent, CustomKind, Database, Problem};
use crate::python::Python;
use crate::store::{Definitions, Vault};

/// The name that stands for every tool.
const ALL: &str = "all";

/// Tools that the engine makes for agents that name them: agents that work for other agents.
const OF_AGENTS: [&str; 2] = ["delegate_to_agent", "spawn_subtask"];

/// All tools of this server.
pub struct Toolbox {
    /// Those that are the same under all settings.
    built_in: Vec<Arc<dyn Tool>>,
    python: Python,
    network: Network,
    databases: Arc<sql::Databases>,
    servers: Arc<mcp::Servers>,
}

/// Which tools somebody wants.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    names: &'a [String],
    /// What is allowed of them; nothing for all.
    allowed: Option<&'a [String]>,
    /// The databases that SQL may reach, by id or name; empty for all.
    databases: &'a [String],
}

impl<'a> Wanted<'a> {
    /// Returns what an agent wants.
    pub fn by(agent: &'a Agent) -> Self {
        Self { databases: &agent.db_configs, ..Self::named(&agent.tools) }
    }

    /// Returns the tools of these names; `all` stands for every one.
    pub const fn named(names: &'a [String]) -> Self {
        Self { names, allowed: None, databases: &[] }
    }

    /// Returns what of it is allowed, too: never more than was wanted before.
    #[must_use]
    pub fn narrowed(self, allowed: &'a [String]) -> Self {
        Self { allowed: Some(allowed), ..self }
    }

    /// Tells whether a tool is wanted.
    pub fn has(&self, name: &str) -> bool {
        self.any(|wanted| wanted == name)
    }

    /// Tells whether every tool is wanted, or one whose name fits.
    pub fn any(&self, fits: impl Fn(&str) -> bool) -> bool {
        let among = |names: &[String]| names.iter().any(|name| name == ALL || fits(name));
        among(self.names) && self.allowed.is_none_or(among)
    }

    /// Returns the databases that SQL may reach.
    fn databases(&self, definitions: &Definitions) -> Vec<Arc<Database>> {
        let named = |database: &Database| self.databases.iter().any(|name| *name == database.id || *name == database.name);
        definitions.databases.iter().filter(|database| self.databases.is_empty() || named(database)).cloned().collect()
    }

    /// Tells whether a tool is wanted by just this name.
    fn names(&self, name: &str) -> bool {
        let among = |names: &[String]| names.iter().any(|other| other == name);
        among(self.names) && self.allowed.is_none_or(|allowed| among(allowed) || allowed.iter().any(|other| other == ALL))
    }
}

impl Toolbox {
    /// Makes the box. Nothing is started, opened or asked before a tool is.
    pub fn new(config: &Config, vault: &Vault, python: Python) -> Self {
        let mut built_in = vec![datetime::get_datetime(), python::run_python(RUN_PYTHON, &python)];
        built_in.extend(vault::tools(vault));
        Self {
            built_in,
            python,
            network: Network::new(config.limits.http_tool_time),
            databases: Arc::new(sql::Databases::new(&config.data_dir)),
            servers: Arc::new(mcp::Servers::new(config)),
        }
    }

    /// Returns the tool servers.
    pub const fn servers(&self) -> &Arc<mcp::Servers> {
        &self.servers
    }

    /// Returns the tools that are wanted and can be had now, each name once: the built-in ones, those of `custom_tools.json`, those of tool servers.
    pub async fn tools(&self, definitions: &Definitions, wanted: Wanted<'_>) -> Vec<Arc<dyn Tool>> {
        let mut tools = self.of_this_server(definitions, wanted);
        tools.extend(self.servers.tools(&definitions.mcp_servers, &definitions.settings, wanted).await);
        let mut names = HashSet::new();
        tools.retain(|tool| names.insert(tool.description().name.clone()));
        tools
    }

    /// Finds the tools that agents name and that nobody has. Those of tool servers are not asked for; their server has to be there.
    pub fn missing(&self, definitions: &Definitions) -> Vec<Problem> {
        let of_agent = |agent: &Arc<Agent>| -> Vec<Problem> {
            let unknown = agent.tools.iter().filter(|name| !self.may_have(definitions, name));
            let problem = |name| Problem::of_record(AGENTS_FILE, &agent.id, format!("tool `{name}` does not exist")).in_field("tools");
            unknown.map(problem).collect()
        };
        definitions.agents.iter().flat_map(of_agent).collect()
    }

    /// Tells whether there may be a tool of that name for an agent: those of tool servers are not asked for.
    pub fn may_have(&self, definitions: &Definitions, name: &str) -> bool {
        let of_server = || mcp::Names::of(&definitions.mcp_servers).iter().any(|server| server.fits(name));
        name == ALL || OF_AGENTS.contains(&name) || self.knows(definitions, name) || of_server()
    }

    /// Tells whether there is a tool of that name for anybody.
    pub fn knows(&self, definitions: &Definitions, name: &str) -> bool {
        let everything = [ALL.to_owned(), name.to_owned()];
        let wanted = Wanted::named(&everything);
        self.of_this_server(definitions, wanted).iter().any(|tool| tool.description().name == name)
    }

    fn of_this_server(&self, definitions: &Definitions, wanted: Wanted<'_>) -> Vec<Arc<dyn Tool>> {
        let mut tools: Vec<Arc<dyn Tool>> = Vec::new();
        let reach = self.network.reach(&definitions.settings);
        tools.extend(self.built_in.iter().filter(|tool| wanted.has(&tool.description().name)).cloned());
        if wanted.has(FETCH_URL) {
            tools.push(fetch_url::tool(FETCH_URL, &reach));
        }
        // Under their old names only for agents that name them so.
        if wanted.names(SCRAPE_URL) {
            tools.push(fetch_url::tool(SCRAPE_URL, &reach));
        }
        if wanted.names(EXECUTE_PYTHON) {
            tools.push(python::run_python(EXECUTE_PYTHON, &self.python));
        }
        let sql = sql::tools(&self.databases, &wanted.databases(definitions));
        tools.extend(sql.into_iter().filter(|tool| wanted.has(&tool.description().name)));
        for custom in definitions.custom_tools.iter().filter(|custom| wanted.has(&custom.name)) {
            tools.push(match &custom.kind {
                CustomKind::Http(call) => http::tool(custom, call, &reach),
                CustomKind::Python { code } => python::custom(&self.python, custom, code),
            });
        }
        tools
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_only_narrows() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (tools, allowed, has, other) in [
            (&["a", "b"][..], &["a"][..], true, false),
            (&["a"], &["a", "b"], true, false),
            (&["all"], &["b"], false, true),
            (&["a"], &["all"], true, false),
            (&["all"], &[], false, false),
            (&[], &["all"], false, false),
        ] {
            let (agent, allowed) = (Agent { tools: names(tools), ..Agent::default() }, names(allowed));
            let wanted = Wanted::by(&agent).narrowed(&allowed);
            assert_eq!((wanted.has("a"), wanted.has("b")), (has, other), "{tools:?} {allowed:?}");
        }
    }
}
