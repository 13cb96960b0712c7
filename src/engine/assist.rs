//! Agents that work for other agents: `delegate_to_agent` asks one that a user wrote, `spawn_subtask` one that is made for a single task.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::Engine;
use super::scope::Scope;
use super::teller::Teller;
use super::turn::{self, Stop};
use crate::definition::Agent;
use crate::provider::{Message, Role, ToolDescription};
use crate::tool::{Call, Failure, Origin, Output, Tool};
use crate::wire::v1::chat_event::{Delegate, Event, Thinking};

/// The tool that asks another agent.
const DELEGATE: &str = "delegate_to_agent";

/// The tool that makes an agent for a task.
pub(super) const SUBTASK: &str = "spawn_subtask";

/// How many agents may stand between the caller and the one that works.
const DEPTH: usize = 4;

/// The rounds of an agent that was made for a task.
const SUBTASK_ROUNDS: u32 = 10;

/// The tools of an agent that was made for a task, where none were named that its maker has.
const SUBTASK_TOOLS: usize = 5;

/// The agents of which one works for the other, beginning with the one that the caller asked.
#[derive(Clone)]
pub(super) struct Chain {
    before: Vec<Arc<Agent>>,
    last: Arc<Agent>,
    /// The same in every attempt of the last one's work: for a sub-agent the idempotency id of the call that it works for. Nothing where work is
    /// never done again.
    effect_id: Option<String>,
}

impl Chain {
    /// Begins a chain.
    pub(super) fn new(agent: Arc<Agent>, effect_id: Option<String>) -> Self {
        Self { before: Vec::new(), last: agent, effect_id }
    }

    fn with(&self, agent: Arc<Agent>, effect_id: String) -> Self {
        let before = self.agents().cloned().collect();
        Self { before, last: agent, effect_id: Some(effect_id) }
    }

    /// Returns the agent that works.
    pub(super) const fn last(&self) -> &Arc<Agent> {
        &self.last
    }

    /// Returns what tells its work from all other, the same in every attempt.
    pub(super) fn effect_id(&self) -> Option<&str> {
        self.effect_id.as_deref()
    }

    fn agents(&self) -> impl Iterator<Item = &Arc<Agent>> {
        self.before.iter().chain([&self.last])
    }

    /// Tells whether the last one may let others work.
    fn may_go_on(&self) -> bool {
        self.before.len() + 1 < DEPTH
    }

    /// Returns the agents that the last one may ask: none that waits for it already, or the chain would be a circle.
    fn may_ask(&self, agents: &[Arc<Agent>]) -> Vec<Arc<Agent>> {
        let asker = &self.last;
        if asker.kind != "delegate" || !self.may_go_on() {
            return Vec::new();
        }
        let named = |agent: &Agent| asker.delegate_agent_ids.is_empty() || asker.delegate_agent_ids.contains(&agent.id);
        let waits = |agent: &Agent| self.agents().any(|other| other.id == agent.id);
        // Orchestrators run no orchestration yet, and what the server itself uses is nobody's sub-agent.
        let able = |agent: &Agent| !matches!(agent.kind.as_str(), "builder" | "orchestrator");
        agents.iter().filter(|agent| named(agent) && able(agent) && !waits(agent)).cloned().collect()
    }
}

/// What every tool needs that lets another agent work.
struct Desk {
    engine: Arc<Engine>,
    scope: Arc<Scope>,
    chain: Chain,
    teller: Teller,
}

impl Desk {
    /// Makes another desk for another call.
    fn again(&self) -> Self {
        Self { engine: self.engine.clone(), scope: self.scope.clone(), chain: self.chain.clone(), teller: self.teller.again() }
    }

    /// Lets an agent do a piece of work and returns its answer. What it does is told with its name beside it.
    async fn let_work(mut self, agent: Arc<Agent>, question: String, call: Call, announced: String) -> Result<Output, Failure> {
        let gone = |_| Failure::new("nobody listens any more");
        self.teller.tell(Event::Thinking(Thinking { message: announced, delegate: None })).await.map_err(gone)?;
        let tag = Delegate { agent_id: agent.id.clone(), agent_name: agent.name.clone(), call_id: call.id };
        let mut teller = self.teller.of(tag);
        teller.tell(turn::thinking()).await.map_err(gone)?;
        let chain = self.chain.with(agent, call.idempotency_id);
        let turn = self.engine.turn(self.scope, chain, None, vec![Message::text(Role::User, question)], &teller).await;
        let outcome = match turn {
            Ok(turn) => self.engine.take(turn, &mut teller).await,
            Err(error) => Err(Stop::Failed(error)),
        };
        match outcome {
            Ok(outcome) => Ok(Output::text(outcome.content)),
            Err(Stop::Gone) => Err(Failure::new("nobody listens any more")),
            Err(Stop::Failed(error)) => {
                tracing::warn!(agent = self.chain.last.id, cause = error.chain(), "a sub-agent failed");
                Err(Failure::new(error.detail()))
            }
        }
    }
}

/// Makes the tools with which an agent lets others work, as far as it may.
pub(super) fn tools(
    engine: &Arc<Engine>,
    scope: &Arc<Scope>,
    chain: &Chain,
    others: &[Arc<dyn Tool>],
    teller: &Teller,
) -> Vec<Arc<dyn Tool>> {
    let desk = || Desk { engine: engine.clone(), scope: scope.clone(), chain: chain.clone(), teller: teller.again() };
    let mut tools: Vec<Arc<dyn Tool>> = Vec::new();
    let agents = chain.may_ask(&scope.definitions.agents);
    if !agents.is_empty() {
        let description = Arc::new(delegate_description(&agents));
        tools.push(Arc::new(DelegateTool { desk: desk(), agents, description }));
    }
    let spawns = chain.may_go_on() && chain.last.tools.iter().any(|name| name == SUBTASK);
    if spawns {
        let names: Vec<String> = others.iter().map(|tool| tool.description().name.clone()).collect();
        let description = Arc::new(subtask_description(&names));
        tools.push(Arc::new(SubtaskTool { desk: desk(), names, description }));
    }
    tools
}

struct DelegateTool {
    desk: Desk,
    agents: Vec<Arc<Agent>>,
    description: Arc<ToolDescription>,
}

impl Tool for DelegateTool {
    fn description(&self) -> &Arc<ToolDescription> {
        &self.description
    }

    fn origin(&self) -> Origin {
        Origin::Agent
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Output, Failure>> {
        let asked = text(&call, "agent_id");
        let Some(agent) = self.agents.iter().find(|agent| agent.id == asked).cloned() else {
            let unknown = format!("Agent '{asked}' not found or not available for delegation.");
            return async { Err(Failure(unknown)) }.boxed();
        };
        let announced = format!("Delegating to {}...", agent.name);
        self.desk.again().let_work(agent, text(&call, "task"), call, announced).boxed()
    }
}

struct SubtaskTool {
    desk: Desk,
    /// The names of the tools of the agent that spawns.
    names: Vec<String>,
    description: Arc<ToolDescription>,
}

impl Tool for SubtaskTool {
    fn description(&self) -> &Arc<ToolDescription> {
        &self.description
    }

    fn origin(&self) -> Origin {
        Origin::Agent
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Output, Failure>> {
        let asked = call.arguments.get("tools").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
        let mut tools: Vec<String> = self.names.iter().filter(|name| asked.iter().any(|other| other == name.as_str())).cloned().collect();
        if tools.is_empty() {
            tools = self.names.iter().take(SUBTASK_TOOLS).cloned().collect();
        }
        let name = Some(text(&call, "name")).filter(|name| !name.is_empty()).unwrap_or_else(|| "Sub-agent".to_owned());
        let maker = self.desk.chain.last();
        // Under the id of its maker, whose databases and whose bill it shares.
        let agent = Agent {
            id: maker.id.clone(),
            db_configs: maker.db_configs.clone(),
            name,
            kind: "conversational".to_owned(),
            system_prompt: "Do the task that you are given, completely, and answer with its result alone.".to_owned(),
            tools,
            max_turns: SUBTASK_ROUNDS,
            ..Agent::default()
        };
        self.desk.again().let_work(Arc::new(agent), text(&call, "task"), call, "Spawning 1 sub-agent...".to_owned()).boxed()
    }
}

fn text(call: &Call, name: &str) -> String {
    call.arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn delegate_description(agents: &[Arc<Agent>]) -> ToolDescription {
    let roster: Vec<String> = agents.iter().map(|agent| format!("- `{}`: {}. {}", agent.id, agent.name, agent.description)).collect();
    let ids: Vec<&str> = agents.iter().map(|agent| agent.id.as_str()).collect();
    ToolDescription {
        name: DELEGATE.to_owned(),
        description: format!(
            "Gives a task to another agent and returns its answer. It knows nothing of this conversation. The agents:\n{}",
            roster.join("\n")
        ),
        schema: json!({
            "type": "object",
            "properties": {
                "agent_id": {"type": "string", "enum": ids, "description": "the id of the agent"},
                "task": {"type": "string", "description": "what it is to do, with everything that it has to know"},
            },
            "required": ["agent_id", "task"],
        }),
    }
}

fn subtask_description(names: &[String]) -> ToolDescription {
    let mut properties = json!({
        "task": {"type": "string", "description": "what it is to do, with everything that it has to know"},
        "name": {"type": "string", "description": "what it is called"},
    });
    if !names.is_empty() {
        properties["tools"] =
            json!({"type": "array", "items": {"type": "string", "enum": names}, "description": "the tools that it needs"});
    }
    ToolDescription {
        name: SUBTASK.to_owned(),
        description:
            "Makes an agent for one task and returns its answer. It knows nothing of this conversation. Several at once work side by side."
                .to_owned(),
        schema: json!({
            "type": "object",
            "properties": properties,
            "required": ["task"],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(id: &str, kind: &str, asks: &[&str]) -> Arc<Agent> {
        let delegate_agent_ids = asks.iter().map(|id| (*id).to_owned()).collect();
        Arc::new(Agent { id: id.to_owned(), kind: kind.to_owned(), delegate_agent_ids, ..Agent::default() })
    }

    fn ids(agents: &[Arc<Agent>]) -> Vec<&str> {
        agents.iter().map(|agent| agent.id.as_str()).collect()
    }

    #[test]
    fn a_delegate_asks_those_that_it_names_and_nobody_that_waits_for_it() {
        let all = [
            agent("a", "delegate", &[]),
            agent("b", "delegate", &["a", "c"]),
            agent("c", "conversational", &[]),
            agent("d", "builder", &[]),
        ];
        let chain = Chain::new(all[0].clone(), None);
        assert_eq!(ids(&chain.may_ask(&all)), ["b", "c"]);
        assert_eq!(ids(&chain.with(all[1].clone(), String::new()).may_ask(&all)), ["c"]);
        assert_eq!(ids(&chain.with(all[2].clone(), String::new()).may_ask(&all)), [""; 0], "it is no delegate");
    }

    #[test]
    fn a_chain_has_an_end() {
        let all: Vec<Arc<Agent>> = ["a", "b", "c", "d", "e"].iter().map(|id| agent(id, "delegate", &[])).collect();
        let chain = all[1..DEPTH].iter().fold(Chain::new(all[0].clone(), None), |chain, next| chain.with(next.clone(), String::new()));
        assert_eq!(ids(&chain.may_ask(&all)), [""; 0]);
    }
}
