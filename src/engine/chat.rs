//! A chat: an agent is chosen, answers in its own task, and what happens is told until the one who asked goes away.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use tracing::Instrument;

use super::teller::{self, ChatEvents, Gone, Teller};
use super::{Engine, images};
use crate::clock;
use crate::definition::{Agent, resolve_agent};
use crate::error::{Error, Reason, Result};
use crate::provider::{Image, Kind, Model, ModelError};
use crate::wire::v1::chat_event::{Done, Error as ErrorEvent, Event, Session, Status};
use crate::wire::v1::{ChatEvent, ChatRequest, ChatResponse};

/// What a caller reads when the agent failed; why stands in the log.
const AGENT_FAILED: &str = "The agent encountered an error processing your request.";

/// A chat that was accepted.
pub(super) struct Chat {
    pub agent: Arc<Agent>,
    pub model: Model,
    /// The model as the agent or the settings name it.
    pub model_name: String,
    pub session_id: String,
    /// Whether the caller named the session, so that there may be earlier turns.
    pub continued: bool,
    pub message: String,
    pub images: Vec<Image>,
    /// How much of the conversation the model gets, in tokens.
    pub history_tokens: u64,
    /// How long the model may take.
    pub model_time: Duration,
}

impl Engine {
    /// Starts a chat. What can be refused is refused here, before anything happens.
    ///
    /// `patience` is how long the caller waits, if it said so.
    pub fn chat(self: &Arc<Self>, request: ChatRequest, patience: Option<Duration>) -> Result<ChatEvents> {
        let chat = self.accept(request, patience)?;
        let (mut teller, events, gone) = teller::channel(self.stop.clone());
        let engine = self.clone();
        let work = async move {
            let told = gone.run_until_cancelled(engine.run(&chat, &mut teller)).await;
            if !matches!(told, Some(Ok(()))) {
                tracing::info!("the caller went away; the chat is cancelled");
            }
        };
        tokio::spawn(work.in_current_span());
        Ok(events)
    }

    fn accept(&self, request: ChatRequest, patience: Option<Duration>) -> Result<Chat> {
        let definitions = self.definitions.current();
        let settings = &definitions.settings;
        if definitions.agents.is_empty() {
            return Err(Error::new(Reason::FailedPrecondition, "No agents configured"));
        }
        let asked = request.agent.unwrap_or_default();
        let agent = resolve_agent(&definitions.agents, &asked, settings.flag("strict_agents", false))
            .ok_or_else(|| Error::not_found(format!("Agent '{asked}' not found")))?;
        if agent.kind == "orchestrator" {
            let detail = format!("agent `{}` runs an orchestration, which this server cannot do yet; choose another agent", agent.id);
            return Err(Error::new(Reason::FailedPrecondition, detail));
        }
        let model_name = model_of(agent).or_else(|| settings.text("model")).unwrap_or("ollama.mistral").to_owned();
        let model = self.models.resolve(&model_name, settings).map_err(failed)?;
        let session_id = request.session_id.filter(|id| !id.is_empty());
        Ok(Chat {
            agent: agent.clone(),
            model,
            model_name,
            continued: session_id.is_some(),
            session_id: session_id.unwrap_or_else(clock::session_id),
            message: request.message.unwrap_or_default(),
            images: images::read(&request.images)?,
            history_tokens: settings.count("history_tokens", 16_000),
            model_time: patience.map_or(self.model_time, |patience| patience.min(self.model_time)),
        })
    }

    /// Does the work of a chat and tells it.
    async fn run(&self, chat: &Chat, teller: &mut Teller) -> Result<(), Gone> {
        let Agent { id, name, .. } = &*chat.agent;
        let session = Session { session_id: chat.session_id.clone(), agent_id: id.clone(), agent_name: name.clone() };
        teller.tell(Event::Session(session)).await?;
        teller.tell(Event::Status(Status { message: "Processing your request...".to_owned() })).await?;
        let alone = self.turnstile.enter(format!("{}\0{id}", chat.session_id)).await;
        // A panic is a failure like any other: whoever listens hears of it, and `done` is told.
        let turn = AssertUnwindSafe(self.turn(chat, alone, teller)).catch_unwind().await;
        match turn.unwrap_or_else(|_| Ok(Err(Error::internal("the turn panicked"))))? {
            Ok(response) => teller.tell(Event::Response(response)).await?,
            Err(error) => {
                tracing::error!(agent = id, model = chat.model_name, cause = error.chain(), "the agent failed");
                let (message, reason) = (error.detail().to_owned(), error.reason().name().to_owned());
                teller.tell(Event::Error(ErrorEvent { message, reason })).await?;
            }
        }
        teller.tell(Event::Done(Done {})).await
    }
}

/// Tells a model's failure: what the operator has to do may be read by the caller, of everything else only that it happened.
pub(super) fn failed(error: ModelError) -> Error {
    match error.kind {
        Kind::NotConfigured => Error::new(Reason::ModelNotConfigured, error.detail),
        _ => Error::new(Reason::AgentFailed, AGENT_FAILED).because(error),
    }
}

/// Folds the events of a chat into its answer: the sync call is the outcome of the stream.
pub async fn answer(mut events: impl Stream<Item = Result<ChatEvent>> + Unpin) -> Result<ChatResponse> {
    let mut answer = ChatResponse::default();
    let mut complete = false;
    while let Some(event) = events.next().await {
        match event?.event {
            Some(Event::Session(session)) => {
                (answer.session_id, answer.agent_id, answer.agent_name) = (session.session_id, session.agent_id, session.agent_name);
            }
            Some(Event::Response(response)) => {
                (answer.response, answer.usage) = (response.content, response.usage);
                complete = true;
            }
            Some(Event::Error(error)) => {
                return Err(Error::new(Reason::named(&error.reason).unwrap_or(Reason::AgentFailed), error.message));
            }
            _ => {}
        }
    }
    if complete { Ok(answer) } else { Err(Error::new(Reason::AgentFailed, AGENT_FAILED)) }
}

/// Returns the model that an agent names; null, empty and `default` mean that of the settings.
fn model_of(agent: &Agent) -> Option<&str> {
    agent.model.as_deref().map(str::trim).filter(|model| !model.is_empty() && !model.eq_ignore_ascii_case("default"))
}
