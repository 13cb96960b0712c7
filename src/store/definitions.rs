//! The definitions in use: read at the start, read again when somebody edits them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::watched::{Sight, WatchedFile, every_second};
use crate::definition::{
    AGENTS_FILE, Agent, CUSTOM_TOOLS_FILE, CustomTool, DATABASES_FILE, Database, MCP_SERVERS_FILE, McpServer, ORCHESTRATIONS_FILE,
    Orchestration, PRICING_FILE, Pricing, Problem, SETTINGS_FILE, Settings, agents, broken_references, custom_tools, databases,
    mcp_servers, orchestrations, pricing, settings,
};

/// Everything that users define, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    /// The agents in file order.
    pub agents: Vec<Arc<Agent>>,
    /// The orchestrations in file order.
    pub orchestrations: Vec<Arc<Orchestration>>,
    /// The tools that users wrote, in file order.
    pub custom_tools: Vec<Arc<CustomTool>>,
    /// The tool servers in file order.
    pub mcp_servers: Vec<Arc<McpServer>>,
    /// The databases in file order.
    pub databases: Vec<Arc<Database>>,
    /// What models cost.
    pub pricing: Arc<Pricing>,
    /// The settings, those of the environment above those of the file.
    pub settings: Settings,
}

/// The files of the definitions. A file that breaks keeps its last good version in use.
#[derive(Debug)]
pub struct DefinitionFiles {
    current: ArcSwap<Definitions>,
    broken: ArcSwap<Vec<Problem>>,
    overlay: BTreeMap<String, Value>,
    sources: Mutex<Sources>,
}

impl DefinitionFiles {
    /// Reads the definitions of a data directory; a missing file counts as empty. `overlay` stands above the file's settings.
    /// It fails with all files that cannot be used.
    pub fn open(data_dir: &Path, overlay: &BTreeMap<String, Value>) -> Result<Self, Vec<Problem>> {
        let mut sources = Sources::of(data_dir);
        sources.look();
        let broken = sources.broken();
        if !broken.is_empty() {
            return Err(broken);
        }
        Ok(Self {
            current: ArcSwap::from_pointee(sources.definitions(overlay)),
            broken: ArcSwap::default(),
            overlay: overlay.clone(),
            sources: Mutex::new(sources),
        })
    }

    /// Returns the definitions in use, without waiting.
    pub fn current(&self) -> Arc<Definitions> {
        self.current.load_full()
    }

    /// Returns why files cannot be used right now; their last good versions stay in use.
    pub fn problems(&self) -> Vec<Problem> {
        self.broken.load().to_vec()
    }

    /// Looks at the files and takes over what changed. It blocks on the disk.
    pub fn reload_if_changed(&self) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.look() {
            self.current.store(Arc::new(sources.definitions(&self.overlay)));
            self.broken.store(Arc::new(sources.broken()));
        }
    }

    /// Looks at the files every second until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        every_second(stop, move || self.reload_if_changed()).await;
    }
}

#[derive(Debug)]
struct Sources {
    agents: Source<Vec<Arc<Agent>>>,
    orchestrations: Source<Vec<Arc<Orchestration>>>,
    custom_tools: Source<Vec<Arc<CustomTool>>>,
    mcp_servers: Source<Vec<Arc<McpServer>>>,
    databases: Source<Vec<Arc<Database>>>,
    pricing: Source<Pricing>,
    settings: Source<Settings>,
}

impl Sources {
    fn of(data_dir: &Path) -> Self {
        Self {
            agents: Source::new(data_dir, AGENTS_FILE, agents),
            orchestrations: Source::new(data_dir, ORCHESTRATIONS_FILE, orchestrations),
            custom_tools: Source::new(data_dir, CUSTOM_TOOLS_FILE, custom_tools),
            mcp_servers: Source::new(data_dir, MCP_SERVERS_FILE, mcp_servers),
            databases: Source::new(data_dir, DATABASES_FILE, databases),
            pricing: Source::new(data_dir, PRICING_FILE, pricing),
            settings: Source::new(data_dir, SETTINGS_FILE, settings),
        }
    }

    /// Looks at every file and tells whether any changed.
    fn look(&mut self) -> bool {
        let tools = self.custom_tools.look() | self.mcp_servers.look() | self.databases.look() | self.pricing.look();
        let changed = self.agents.look() | self.orchestrations.look() | self.settings.look() | tools;
        if changed {
            for problem in broken_references(&self.agents.good, &self.orchestrations.good) {
                tracing::warn!("{problem}");
            }
        }
        changed
    }

    fn broken(&self) -> Vec<Problem> {
        [
            &self.agents.broken,
            &self.orchestrations.broken,
            &self.custom_tools.broken,
            &self.mcp_servers.broken,
            &self.databases.broken,
            &self.pricing.broken,
            &self.settings.broken,
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect()
    }

    fn definitions(&self, overlay: &BTreeMap<String, Value>) -> Definitions {
        let mut settings = self.settings.good.clone();
        for (name, value) in overlay {
            settings.set(name, value.clone());
        }
        Definitions {
            agents: self.agents.good.clone(),
            orchestrations: self.orchestrations.good.clone(),
            custom_tools: self.custom_tools.good.clone(),
            mcp_servers: self.mcp_servers.good.clone(),
            databases: self.databases.good.clone(),
            pricing: Arc::new(self.pricing.good.clone()),
            settings,
        }
    }
}

/// Reads the text of a file; the problems are those of single records.
type Read<T> = fn(&str) -> Result<(T, Vec<Problem>), Problem>;

/// One file and its last good contents.
#[derive(Debug)]
struct Source<T> {
    name: &'static str,
    file: WatchedFile,
    read: Read<T>,
    good: T,
    broken: Option<Problem>,
}

impl<T: Default> Source<T> {
    fn new(data_dir: &Path, name: &'static str, read: Read<T>) -> Self {
        Self { name, file: WatchedFile::new(data_dir.join(name)), read, good: T::default(), broken: None }
    }

    /// Looks at the file and tells whether something changed.
    fn look(&mut self) -> bool {
        let read = match self.file.look() {
            Sight::Same => return false,
            Sight::Changed(None) => Ok((T::default(), Vec::new())),
            Sight::Changed(Some(text)) => (self.read)(&text),
            Sight::Unreadable(why) => Err(Problem::fatal(self.name, format!("cannot be read: {why}"))),
        };
        match read {
            Ok((good, problems)) => {
                tracing::info!("`{}` is in use as it stands now", self.name);
                for problem in problems {
                    tracing::warn!("{problem}");
                }
                (self.good, self.broken) = (good, None);
            }
            Err(problem) => {
                tracing::error!("{problem}; its last good version stays in use");
                self.broken = Some(problem);
            }
        }
        true
    }
}
