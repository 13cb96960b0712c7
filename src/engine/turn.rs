//! A turn: the model and its tools go back and forth until there is an answer. One model call with the tools that it wants is a round;
//! an agent's `max_turns` counts them.

use std::sync::Arc;

use super::act::Made;
use super::ask::{Answer, Asker};
use super::context::{self, Summary};
use super::effects::Effects;
use super::scope::Scope;
use super::teller::{Gone, Teller};
use super::tool_set::ToolSet;
use super::{Engine, intent, prompt};
use crate::definition::Agent;
use crate::error::{Error, Reason};
use crate::provider::{Image, Message, Model, ModelRequest, Role, ToolCall, ToolResult};
use crate::wire::v1::chat_event::{Event, LlmThought, Thinking};

/// What is told when a round begins.
pub(super) const ANALYZING: &str = "Analyzing your request...";

/// What an agent says when its model had nothing to say.
const NOTHING_TO_SAY: &str = "I completed the requested actions.";

/// What an agent says when a tool wants its user to log in.
const LOGIN_NEEDED: &str = "Authentication required.";

/// The most images that the tools of one round may show to the model.
const IMAGES: usize = 5;

/// What is said with the images that tools return.
const IMAGES_ABOVE: &str = "These images belong to the results of the tools above.";

/// A turn that an agent is to take.
pub(super) struct Turn {
    /// What holds for the chat as a whole.
    pub scope: Arc<Scope>,
    /// The agent.
    pub agent: Arc<Agent>,
    /// Its model.
    pub model: Model,
    /// The model as the agent or the settings name it.
    pub model_name: String,
    /// The tools that it may use, and no others, whatever it hears on the way.
    pub tools: ToolSet,
    /// The conversation; the newest message is the question.
    pub messages: Vec<Message>,
    /// Where the question stands in the conversation.
    pub question: usize,
    /// What stands for the part of the conversation that was summarised.
    pub summary: Summary,
    /// Gives every call of a tool its idempotency id.
    pub effects: Effects,
    /// Calls of tools that must not overtake each other pass here one at a time.
    pub order: tokio::sync::Mutex<()>,
}

/// How a turn came out.
pub(super) struct Outcome {
    /// The answer.
    pub content: String,
    /// What kind of answer it is.
    pub intent: String,
    /// The last tool that was called.
    pub tool_name: Option<String>,
    /// Whether the conversation is to keep it.
    pub kept: bool,
}

/// Why a turn ended without an answer.
pub(super) enum Stop {
    /// Nobody listens any more.
    Gone,
    /// The agent failed.
    Failed(Error),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Engine {
    /// Lets an agent take its turn. That the first round begins was told by whoever lets it.
    pub(super) async fn take(self: &Arc<Self>, mut turn: Box<Turn>, teller: &mut Teller) -> Result<Outcome, Stop> {
        let rounds = turn.agent.max_turns;
        let (mut intent, mut tool_name, mut best) = (intent::CHAT.to_owned(), None, String::new());
        for round in 1..=rounds {
            if round > 1 {
                teller.tell(thinking()).await?;
            }
            // In boxes what is rarely on the way: every chat that waits for its model keeps room for all that is not.
            Box::pin(self.compact(&mut turn, teller)).await?;
            let request = turn.request(prompt::system(&turn, rounds - round));
            let answer = self.ask(turn.asker(), request, Some(&mut *teller)).await?;
            tell_thought(&answer, round, teller).await?;
            if answer.calls.is_empty() {
                let content = if answer.text.trim().is_empty() { NOTHING_TO_SAY.to_owned() } else { answer.text };
                return Ok(Outcome { content, intent, tool_name, kept: true });
            }
            if !answer.text.trim().is_empty() {
                best.clone_from(&answer.text);
            }
            // A call of the last round has no round left in which its result could be told.
            if round < rounds {
                tool_name = answer.calls.last().map(|call| call.name.clone());
                let made = Box::pin(self.act(&turn, &answer.calls, teller)).await?;
                if made.iter().any(Made::wants_login) {
                    return Ok(Outcome { content: LOGIN_NEEDED.to_owned(), intent: intent::LOGIN.to_owned(), tool_name, kept: false });
                }
                intent = intent::after(&made).unwrap_or(intent);
                turn.remember(answer, made);
            }
        }
        if best.is_empty() {
            return Err(Stop::Failed(out_of_rounds(&turn.agent)));
        }
        Ok(Outcome { content: best, intent, tool_name, kept: true })
    }
}

impl Turn {
    /// Returns who asks the model.
    pub(super) fn asker(&self) -> Asker<'_> {
        Asker { scope: &self.scope, agent_id: &self.agent.id, model: &self.model, model_name: &self.model_name }
    }

    /// Returns what the model is asked now.
    fn request(&self, system: String) -> ModelRequest {
        self.scope.request(&self.model, system, self.messages.clone(), self.tools.descriptions())
    }

    /// Adds a round to the conversation: what the model said, and what its tools returned.
    fn remember(&mut self, answer: Answer, made: Vec<Made>) {
        self.messages.push(Message::calls(answer.text, answer.calls));
        let mut images: Vec<Image> = Vec::new();
        let results = made.into_iter().map(|made| {
            images.extend(made.images);
            made.result
        });
        let mut results: Vec<ToolResult> = results.collect();
        context::share(&mut results, &self.scope.definitions.settings);
        self.messages.push(Message::results(results));
        images.truncate(IMAGES);
        if !images.is_empty() {
            // Those of earlier rounds have been seen; sent again with every round they would outweigh everything else.
            self.messages.retain(|message| message.text != IMAGES_ABOVE);
            self.messages.push(Message { images, ..Message::text(Role::User, IMAGES_ABOVE) });
        }
    }
}

/// Tells that a round begins.
pub(super) fn thinking() -> Event {
    Event::Thinking(Thinking { message: ANALYZING.to_owned(), delegate: None })
}

async fn tell_thought(answer: &Answer, round: u32, teller: &mut Teller) -> Result<(), Gone> {
    let thought = thought(&answer.text, &answer.calls);
    if thought.trim().is_empty() {
        return Ok(());
    }
    teller.tell(Event::LlmThought(LlmThought { thought, turn: round, delegate: None })).await
}

/// Writes what a model said as existing clients know it: a call is a JSON object with `tool` and `arguments`.
fn thought(text: &str, calls: &[ToolCall]) -> String {
    let calls =
        calls.iter().map(|call| format!("{{\"tool\":{},\"arguments\":{}}}", serde_json::Value::from(call.name.as_str()), call.arguments));
    let text = (!text.trim().is_empty()).then(|| text.to_owned());
    text.into_iter().chain(calls).collect::<Vec<_>>().join("\n")
}

fn out_of_rounds(agent: &Agent) -> Error {
    let (id, rounds) = (&agent.id, agent.max_turns);
    Error::new(
        Reason::AgentFailed,
        format!("agent `{id}` called tools in all of its {rounds} turns and gave no answer; raise its `max_turns` or ask for less"),
    )
}
