//! Everything that would make a run of an orchestration fail or end too early, found before it runs.

mod nesting;
mod shape;

use std::sync::Arc;

use crate::definition::{Agent, ORCHESTRATIONS_FILE, Orchestration, Problem, Step, Work};
use crate::engine::Engine;
use crate::engine::prepare::{model_name, own_model};
use crate::provider::{Model, ModelError, Models};
use crate::store::Definitions;
use crate::tool::Toolbox;

/// Something that is wrong with an orchestration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepProblem {
    /// The step; nothing for the orchestration itself.
    pub step_id: Option<String>,
    /// The field.
    pub field: String,
    /// What is wrong and the way out.
    pub message: String,
}

/// Looks orchestrations over, with everything that they stand on.
pub struct Inspection<'a> {
    /// The definitions.
    pub definitions: &'a Definitions,
    /// The tools.
    pub toolbox: &'a Toolbox,
    /// The models.
    pub models: &'a Models,
    /// Why Python does not run, if it does not.
    pub python: Option<String>,
}

impl Engine {
    /// Finds what is wrong with an orchestration. Python is tried out where a step needs it.
    pub async fn look_over(&self, definitions: &Definitions, orchestration: &Orchestration) -> Vec<StepProblem> {
        let transforms = orchestration.steps.iter().any(|step| matches!(step.work, Work::Transform { .. }));
        let python = if transforms { self.python.check().await.err().map(|fault| fault.to_string()) } else { None };
        Inspection { definitions, toolbox: &self.toolbox, models: &self.models, python }.problems(orchestration)
    }
}

impl Inspection<'_> {
    /// Finds what is wrong with an orchestration.
    pub fn problems(&self, orchestration: &Orchestration) -> Vec<StepProblem> {
        let mut found = Found::default();
        shape::check(orchestration, &mut found);
        for step in &orchestration.steps {
            self.means(step, &mut found.of(step));
        }
        self.nesting(orchestration, &mut found);
        found.0
    }

    /// Finds the same as problems of the orchestrations file.
    pub fn of_file(&self, orchestration: &Orchestration) -> Vec<Problem> {
        let problem = |StepProblem { step_id, field, message }| {
            let field = step_id.map_or_else(|| field.clone(), |step| format!("steps.{step}.{field}"));
            Problem::of_record(ORCHESTRATIONS_FILE, &orchestration.id, message).in_field(field)
        };
        self.problems(orchestration).into_iter().map(problem).collect()
    }

    /// Looks for the agent, the tool, the model and the Python that a step needs.
    fn means(&self, step: &Step, found: &mut OfStep<'_>) {
        let agent = self.agent(step, found);
        match &step.work {
            Work::Agent { .. } if agent.is_some_and(|agent| agent.kind == "orchestrator") => {}
            Work::Agent { allowed_tools, .. } => {
                for name in allowed_tools.iter().flatten().filter(|name| !self.toolbox.may_have(self.definitions, name)) {
                    found.add("allowed_tools", format!("tool `{name}` does not exist"));
                }
                self.model(step, agent, found);
            }
            Work::Tool { forced_tool: Some(name) } => {
                if !self.toolbox.may_have(self.definitions, name) {
                    found.add("forced_tool", format!("tool `{name}` does not exist"));
                }
                self.model(step, None, found);
            }
            Work::Llm | Work::Evaluator { .. } => self.model(step, None, found),
            Work::Transform { .. } => {
                if let Some(fault) = &self.python {
                    found.add("type", format!("Python does not run: {fault}"));
                }
            }
            _ => {}
        }
    }

    fn agent(&self, step: &Step, found: &mut OfStep<'_>) -> Option<&Arc<Agent>> {
        let id = step.agent_id.as_deref().filter(|id| !id.is_empty());
        let agent = id.and_then(|id| self.definitions.agents.iter().find(|agent| agent.id == id));
        match (id, agent, &step.work) {
            (None, _, Work::Agent { .. }) => found.add("agent_id", "is missing; name the agent that takes the step"),
            (Some(id), None, Work::Agent { .. } | Work::Tool { .. }) => found.add("agent_id", format!("agent `{id}` does not exist")),
            _ => {}
        }
        agent
    }

    fn model(&self, step: &Step, agent: Option<&Arc<Agent>>, found: &mut OfStep<'_>) {
        let own = step.model.as_deref().and_then(own_model).or_else(|| agent?.model.as_deref());
        if let Err(error) = self.resolve(own) {
            found.add("model", error.detail);
        }
    }

    /// Finds a model; one that runs in process is there when a server runs.
    fn resolve(&self, own: Option<&str>) -> Result<Option<Model>, ModelError> {
        let settings = &self.definitions.settings;
        let name = model_name(own, settings);
        let in_process = name == "local" || name.starts_with("local.");
        if in_process { Ok(None) } else { self.models.resolve(name, settings).map(Some) }
    }
}

/// What was found so far.
#[derive(Default)]
struct Found(Vec<StepProblem>);

impl Found {
    fn of<'a>(&'a mut self, step: &'a Step) -> OfStep<'a> {
        OfStep { found: self, step }
    }
}

/// What is found in one step.
struct OfStep<'a> {
    found: &'a mut Found,
    step: &'a Step,
}

impl OfStep<'_> {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        let step_id = Some(self.step.id.clone());
        self.found.0.push(StepProblem { step_id, field: field.to_owned(), message: message.into() });
    }
}
