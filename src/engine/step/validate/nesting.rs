//! Orchestrations inside orchestrations: circles, and what is nested too deep.

use super::{Found, Inspection};
use crate::definition::{Orchestration, Step, Work};
use crate::engine::run::DEPTH;

impl Inspection<'_> {
    /// Follows the orchestrations that the agents of steps run.
    pub(super) fn nesting(&self, orchestration: &Orchestration, found: &mut Found) {
        for step in &orchestration.steps {
            let Some(inner) = self.nested(step) else { continue };
            let mut chain = vec![&*orchestration.id];
            if let Some(message) = self.descend(inner, &mut chain) {
                found.of(step).add("agent_id", message);
            }
        }
    }

    /// Returns the orchestration that a step runs.
    fn nested(&self, step: &Step) -> Option<&Orchestration> {
        let id = step.agent_id.as_ref().filter(|_| matches!(step.work, Work::Agent { .. }))?;
        let agent = self.definitions.agents.iter().find(|agent| agent.id == *id && agent.kind == "orchestrator")?;
        let inner = agent.orchestration_id.as_ref()?;
        self.definitions.orchestrations.iter().find(|orchestration| orchestration.id == *inner).map(|found| &**found)
    }

    /// Says what is wrong below an orchestration: a circle, or too many inside each other.
    fn descend<'b>(&'b self, orchestration: &'b Orchestration, chain: &mut Vec<&'b str>) -> Option<String> {
        if chain.contains(&&*orchestration.id) {
            return Some(format!("orchestration `{}` runs itself, by way of `{}`; break the circle", orchestration.id, chain.join("`, `")));
        }
        chain.push(&orchestration.id);
        if chain.len() > DEPTH as usize + 1 {
            return Some(format!("orchestrations are nested deeper than {DEPTH}: `{}`; flatten them", chain.join("`, `")));
        }
        let problem = orchestration.steps.iter().filter_map(|step| self.nested(step)).find_map(|inner| self.descend(inner, chain));
        chain.pop();
        problem
    }
}
