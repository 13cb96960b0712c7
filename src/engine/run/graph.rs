//! The graph of a run: its orchestration and those nested inside, with their agents, as they were when it started.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::definition::{Agent, Orchestration, Step, Work};

/// How many orchestrations may be nested inside each other, the outermost not counted.
pub(crate) const DEPTH: u32 = 3;

/// Everything that a run needs of the definitions, as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pinned {
    /// The orchestration that runs, first, and those that may be nested inside.
    pub orchestrations: Vec<Orchestration>,
    /// Their agents.
    pub agents: Vec<Agent>,
}

impl Pinned {
    /// Gathers an orchestration with everything that it names.
    pub(crate) fn gather(orchestration: &Orchestration, orchestrations: &[Arc<Orchestration>], agents: &[Arc<Agent>]) -> Self {
        let mut pinned = Self { orchestrations: vec![orchestration.clone()], agents: Vec::new() };
        let mut at = 0;
        while at < pinned.orchestrations.len() {
            let named: Vec<String> = pinned.orchestrations[at].steps.iter().filter_map(|step| step.agent_id.clone()).collect();
            for agent in agents.iter().filter(|agent| named.contains(&agent.id)) {
                pinned.add(agent, orchestrations);
            }
            at += 1;
        }
        pinned
    }

    fn add(&mut self, agent: &Agent, orchestrations: &[Arc<Orchestration>]) {
        if self.agents.iter().any(|known| known.id == agent.id) {
            return;
        }
        self.agents.push(agent.clone());
        let Some(id) = agent.orchestration_id.as_ref().filter(|_| agent.kind == "orchestrator") else { return };
        if !self.orchestrations.iter().any(|known| known.id == *id) {
            self.orchestrations.extend(orchestrations.iter().find(|orchestration| orchestration.id == *id).map(|found| (**found).clone()));
        }
    }
}

/// The graph of a run.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    flows: HashMap<String, Flow>,
    agents: HashMap<String, Arc<Agent>>,
    root: String,
}

/// One orchestration of a graph.
#[derive(Debug)]
pub(crate) struct Flow {
    /// The orchestration.
    pub orchestration: Orchestration,
    steps: HashMap<String, Arc<Step>>,
}

impl Graph {
    /// Makes the graph of what was pinned.
    pub(crate) fn new(pinned: Pinned) -> Self {
        let root = pinned.orchestrations.first().map(|first| first.id.clone()).unwrap_or_default();
        let flows = pinned.orchestrations.into_iter().map(|orchestration| (orchestration.id.clone(), Flow::new(orchestration)));
        let agents = pinned.agents.into_iter().map(|agent| (agent.id.clone(), Arc::new(agent)));
        Self { flows: flows.collect(), agents: agents.collect(), root }
    }

    /// Makes the graph of a chat: a single step of an agent.
    pub(crate) fn chat() -> Self {
        let step = Step {
            id: CHAT_STEP.to_owned(),
            kind: "agent".to_owned(),
            work: Work::Agent { allowed_tools: None, include_full_history: true },
            ..Step::default()
        };
        let orchestration =
            Orchestration { steps: vec![step], entry_step_id: CHAT_STEP.to_owned(), max_total_turns: u32::MAX, ..Orchestration::default() };
        Self::new(Pinned { orchestrations: vec![orchestration], agents: Vec::new() })
    }

    /// Returns the id of the orchestration that runs.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// Returns an orchestration.
    pub(crate) fn flow(&self, id: &str) -> Option<&Flow> {
        self.flows.get(id)
    }

    /// Returns an agent.
    pub(crate) fn agent(&self, id: &str) -> Option<&Arc<Agent>> {
        self.agents.get(id)
    }
}

/// The only step of a chat.
pub(crate) const CHAT_STEP: &str = "chat";

impl Flow {
    /// Makes one of its definition.
    pub(crate) fn new(orchestration: Orchestration) -> Self {
        // Where an id is used twice the last one counts, as existing runs had it.
        let steps = orchestration.steps.iter().map(|step| (step.id.clone(), Arc::new(step.clone()))).collect();
        Self { orchestration, steps }
    }

    /// Returns a step.
    pub(crate) fn step(&self, id: &str) -> Option<&Arc<Step>> {
        self.steps.get(id)
    }

    /// Returns the first step that writes a key of the state.
    pub(crate) fn producer(&self, key: &str) -> Option<&Step> {
        self.orchestration.steps.iter().find(|step| step.output_key.as_deref() == Some(key))
    }
}
