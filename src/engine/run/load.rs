//! Reads what is kept of a run: its log, and the definitions that it follows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest, Sha256};

use super::graph::{Graph, Pinned};
use super::record::Record;
use super::state::State;
use crate::definition::Orchestration;
use crate::error::{Error, Result};
use crate::store::{Definitions, PinnedDefinition, RunRow, RunStore, RunSummary};

/// Rows that are read at once.
const ROWS: u32 = 500;

/// The logs of runs. Clones share everything.
#[derive(Clone)]
pub struct Logs {
    /// Where they are kept.
    pub store: Arc<dyn RunStore>,
    graphs: Arc<Graphs>,
}

/// Graphs in use, each once.
#[derive(Default)]
struct Graphs {
    by_hash: Mutex<HashMap<[u8; 32], Weak<Graph>>>,
    /// What was pinned of the definitions in use, by orchestration.
    pinned: Mutex<PinnedNow>,
}

#[derive(Default)]
struct PinnedNow {
    definitions: Weak<Definitions>,
    by_id: HashMap<String, (Arc<PinnedDefinition>, Arc<Graph>)>,
}

/// The log of one run.
#[derive(Clone)]
pub(crate) struct Log {
    logs: Logs,
    /// The run.
    pub run_id: String,
}

/// A run as it is kept.
pub(crate) struct Loaded {
    /// What lists read of it.
    pub summary: RunSummary,
    /// Its definitions.
    pub graph: Arc<Graph>,
}

impl Logs {
    /// Makes the logs of a store.
    pub fn new(store: Arc<dyn RunStore>) -> Self {
        Self { store, graphs: Arc::default() }
    }

    /// Returns the log of a run.
    pub(crate) fn of(&self, run_id: &str) -> Log {
        Log { logs: self.clone(), run_id: run_id.to_owned() }
    }

    /// Pins an orchestration with everything that it names. The same definitions are pinned once.
    pub(crate) fn pin(&self, definitions: &Arc<Definitions>, orchestration: &Orchestration) -> Result<(Arc<PinnedDefinition>, Arc<Graph>)> {
        let mut now = self.graphs.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if !now.definitions.upgrade().is_some_and(|known| Arc::ptr_eq(&known, definitions)) {
            *now = PinnedNow { definitions: Arc::downgrade(definitions), by_id: HashMap::new() };
        }
        if let Some(known) = now.by_id.get(&orchestration.id) {
            return Ok(known.clone());
        }
        let pinned = Pinned::gather(orchestration, &definitions.orchestrations, &definitions.agents);
        let body: Arc<str> = serde_json::to_string(&pinned).map_err(Error::internal)?.into();
        let definition = Arc::new(PinnedDefinition { hash: Sha256::digest(body.as_bytes()).into(), body });
        let made = (definition, Arc::new(Graph::new(pinned)));
        now.by_id.insert(orchestration.id.clone(), made.clone());
        Ok(made)
    }

    async fn graph(&self, summary: &RunSummary) -> Result<Arc<Graph>> {
        let Some(hash) = summary.definition else { return Ok(Graph::of_chats()) };
        let known = |graphs: &Graphs| graphs.by_hash.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).and_then(Weak::upgrade);
        if let Some(graph) = known(&self.graphs) {
            return Ok(graph);
        }
        let missing = || Error::internal(format!("the definition of run `{}` is missing", summary.run_id));
        let body = self.store.definition(&hash).await?.ok_or_else(missing)?;
        let graph = Arc::new(Graph::new(serde_json::from_str(&body).map_err(Error::internal)?));
        let mut by_hash = self.graphs.by_hash.lock().unwrap_or_else(PoisonError::into_inner);
        by_hash.retain(|_, graph| graph.strong_count() > 0);
        by_hash.insert(hash, Arc::downgrade(&graph));
        Ok(graph)
    }
}

impl Log {
    /// Returns where runs are kept.
    pub(crate) fn store(&self) -> &Arc<dyn RunStore> {
        &self.logs.store
    }

    /// Reads what stands in front of the log.
    pub(crate) async fn open(&self) -> Result<Loaded> {
        let unknown = || Error::not_found(format!("Run '{}' not found", self.run_id));
        self.loaded(self.logs.store.get(&self.run_id).await?.ok_or_else(unknown)?).await
    }

    /// Reads the definitions of a run.
    pub(crate) async fn loaded(&self, summary: RunSummary) -> Result<Loaded> {
        let graph = self.logs.graph(&summary).await?;
        Ok(Loaded { summary, graph })
    }

    /// Reads the rows behind a row.
    pub(crate) async fn rows(&self, after: u64) -> Result<Vec<RunRow>> {
        self.logs.store.rows(&self.run_id, after, ROWS).await
    }

    /// Returns the records of a row.
    pub(crate) fn records(row: &RunRow) -> Result<Vec<Record>> {
        serde_json::from_str(&row.body).map_err(Error::internal)
    }

    /// Folds the whole log, and returns the numbers of its last row and event.
    pub(crate) async fn fold(&self, graph: &Graph) -> Result<(State, u64, u64)> {
        let (mut state, mut row, mut event) = (State::default(), 0, 0);
        loop {
            let rows = self.rows(row).await?;
            let Some(last) = rows.last() else { return Ok((state, row, event)) };
            (row, event) = (last.number, last.first_event + u64::from(last.events) - 1);
            for row in &rows {
                for record in Self::records(row)? {
                    state.apply(graph, &record);
                }
            }
        }
    }
}
