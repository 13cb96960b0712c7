//! Agent steps: an agent takes a turn, as in a chat, with the task of the step as its message.

use std::sync::Arc;

use super::{Attempt, Done, Failure, FailureKind, prompt};
use crate::definition::{Agent, Step};
use crate::engine::assist::Chain;
use crate::engine::chat::said;
use crate::engine::prepare::own_model;
use crate::engine::run::Told;
use crate::engine::teller::Gone;
use crate::engine::turn::{Outcome, Stop};
use crate::provider::{Message, Role};
use crate::store::NewTurn;

/// Lets the agent take its turn. What its conversation is to keep is handed out, not kept here.
pub(super) async fn perform(attempt: &mut Attempt, allowed: Option<&[String]>) -> Result<Done, Failure> {
    let agent = Arc::new(in_step(attempt.agent()?, &attempt.step, &prompt::system(&attempt.place())));
    let task = prompt::message(&attempt.place())?;
    let mut messages = earlier(attempt, &agent).await?;
    messages.push(Message::text(Role::User, task.clone()));
    let (engine, scope) = (attempt.engine.clone(), attempt.scope.clone());
    let chain = Chain::new(agent.clone(), Some(attempt.effect_id.clone()));
    let turn = engine.turn(scope, chain, allowed, messages, &attempt.teller).await.map_err(Failure::model)?;
    let model = turn.model_name.clone();
    let Outcome { content, intent, tool_name, kept } = match engine.take(turn, &mut attempt.teller).await {
        Ok(outcome) => outcome,
        Err(Stop::Failed(error)) => return Err(Failure { kind: FailureKind::Model, error }),
        Err(Stop::Gone) => return Err(Gone.into()),
    };
    let turn = kept.then(|| new_turn(attempt, &agent, task, content.clone(), model));
    Ok(Done { output: Some(content.clone().into()), told: Told::Answer { text: content, intent, tool_name }, turn, ..Done::default() })
}

/// Returns the agent as it is in a step, which may have another model and has rounds of its own.
fn in_step(agent: &Agent, step: &Step, workflow: &str) -> Agent {
    let system_prompt = [&*agent.system_prompt, workflow].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n");
    let model = step.model.as_deref().and_then(own_model).map(str::to_owned).or_else(|| agent.model.clone());
    Agent { system_prompt, model, max_turns: step.max_turns, ..agent.clone() }
}

/// Returns what the same agent said before in the conversation.
async fn earlier(attempt: &Attempt, agent: &Agent) -> Result<Vec<Message>, Failure> {
    let budget = attempt.scope.definitions.settings.count("history_tokens", 16_000);
    let turns = attempt.engine.sessions.recent(&attempt.scope.session_id, &agent.id, budget).await.map_err(Failure::model)?;
    Ok(turns.into_iter().flat_map(said).collect())
}

fn new_turn(attempt: &Attempt, agent: &Agent, user: String, assistant: String, model: String) -> NewTurn {
    let usage = attempt.scope.usage();
    NewTurn {
        session_id: attempt.scope.session_id.clone(),
        agent_id: agent.id.clone(),
        agent_name: agent.name.clone(),
        user,
        images: Vec::new(),
        assistant,
        model,
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
    }
}
