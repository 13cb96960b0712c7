//! References that lead from one file to another.

use std::sync::Arc;

use super::{AGENTS_FILE, Agent, ORCHESTRATIONS_FILE, Orchestration, Problem};

/// Finds agents that name an orchestration or an agent that does not exist, and steps that name such an agent.
pub fn broken_references(agents: &[Arc<Agent>], orchestrations: &[Arc<Orchestration>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for agent in agents {
        of_agent(agent, agents, orchestrations, &mut problems);
    }
    for orchestration in orchestrations {
        for step in &orchestration.steps {
            if let Some(id) = step.agent_id.as_deref().filter(|id| !id.is_empty() && !exists(agents, id)) {
                let field = format!("steps.{}.agent_id", step.id);
                problems.push(Problem::of_record(ORCHESTRATIONS_FILE, &orchestration.id, no_agent(id)).in_field(field));
            }
        }
    }
    problems
}

fn of_agent(agent: &Agent, agents: &[Arc<Agent>], orchestrations: &[Arc<Orchestration>], problems: &mut Vec<Problem>) {
    let mut report = |field: &str, text: String| problems.push(Problem::of_record(AGENTS_FILE, &agent.id, text).in_field(field));
    if agent.kind == "orchestrator" {
        match agent.orchestration_id.as_deref().unwrap_or_default() {
            "" => report("orchestration_id", "is missing, but the agent's type is `orchestrator`; name an orchestration".to_owned()),
            id if orchestrations.iter().all(|orchestration| orchestration.id != id) => {
                report("orchestration_id", format!("orchestration `{id}` does not exist"));
            }
            _ => {}
        }
    }
    for id in agent.delegate_agent_ids.iter().filter(|id| !exists(agents, id)) {
        report("delegate_agent_ids", no_agent(id));
    }
}

fn exists(agents: &[Arc<Agent>], id: &str) -> bool {
    agents.iter().any(|agent| agent.id == id)
}

fn no_agent(id: &str) -> String {
    format!("agent `{id}` does not exist")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{agents, orchestrations};

    #[test]
    fn references_to_what_does_not_exist_are_named() {
        let agents = agents(
            r#"[{"id": "a", "type": "orchestrator", "orchestration_id": "o1"}, {"id": "b", "type": "orchestrator"},
                {"id": "c", "type": "orchestrator", "orchestration_id": "o2"}, {"id": "d", "type": "delegate", "delegate_agent_ids": ["a", "x"]}]"#,
        );
        let orchestrations = orchestrations(
            r#"[{"id": "o1", "entry_step_id": "s", "steps": [{"id": "s", "type": "agent", "agent_id": "y"}, {"id": "t", "type": "agent", "agent_id": "a"}]}]"#,
        );
        let problems = broken_references(&agents.unwrap().0, &orchestrations.unwrap().0);
        assert_eq!(
            problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "`user_agents.json`, `b`, `orchestration_id`: is missing, but the agent's type is `orchestrator`; name an orchestration",
                "`user_agents.json`, `c`, `orchestration_id`: orchestration `o2` does not exist",
                "`user_agents.json`, `d`, `delegate_agent_ids`: agent `x` does not exist",
                "`orchestrations.json`, `o1`, `steps.s.agent_id`: agent `y` does not exist",
            ]
        );
    }
}
