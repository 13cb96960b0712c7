//! A chat: an agent is chosen, answers in its own task, and what happens is told until the one who asked goes away.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use tracing::Instrument;

use super::assist::Chain;
use super::scope::Scope;
use super::teller::{self, ChatEvents, Gone, Teller};
use super::turn::{self, Outcome, Stop};
use super::turnstile::Passage;
use super::{Engine, images};
use crate::clock;
use crate::definition::{Agent, resolve_agent};
use crate::error::{Error, Reason, Result};
use crate::provider::{Image, Kind, Message, ModelError, Role, Usage};
use crate::store::{self, NewTurn, Turn};
use crate::wire::v1;
use crate::wire::v1::chat_event::{Done, Error as ErrorEvent, Event, Response, Session, Status};
use crate::wire::v1::{ChatEvent, ChatRequest, ChatResponse};

/// What a caller reads when the agent failed; why stands in the log.
const AGENT_FAILED: &str = "The agent encountered an error processing your request.";

/// A chat that was accepted.
struct Chat {
    scope: Arc<Scope>,
    agent: Arc<Agent>,
    /// Whether the caller named the session, so that there may be earlier turns.
    continued: bool,
    message: String,
    images: Vec<Image>,
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
        self.tasks.spawn(work.in_current_span());
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
            .ok_or_else(|| Error::not_found(format!("Agent '{asked}' not found")))?
            .clone();
        let model = self.model_of(&agent, settings)?;
        let images = images::read(&request.images)?;
        if !images.is_empty() && !model.model.sees {
            let (agent, model) = (&agent.id, &model.name);
            return Err(Error::invalid(format!(
                "`images` cannot be taken: model `{model}` of agent `{agent}` does not see images; choose another agent"
            )));
        }
        let session_id = request.session_id.filter(|id| !id.is_empty());
        let continued = session_id.is_some();
        let session_id = session_id.unwrap_or_else(clock::session_id);
        let scope = Arc::new(Scope::new(definitions, session_id, self.model_time, patience));
        Ok(Chat { scope, agent, continued, message: request.message.unwrap_or_default(), images })
    }

    /// Does the work of a chat and tells it.
    async fn run(self: &Arc<Self>, chat: &Chat, teller: &mut Teller) -> Result<(), Gone> {
        let Agent { id, name, .. } = &*chat.agent;
        let session_id = &chat.scope.session_id;
        let session = Session { session_id: session_id.clone(), agent_id: id.clone(), agent_name: name.clone(), run_id: String::new() };
        teller.tell(Event::Session(session)).await?;
        teller.tell(Event::Status(Status { message: "Processing your request...".to_owned() })).await?;
        let alone = self.turnstile.enter(format!("{session_id}\0{id}")).await;
        // A panic is a failure like any other: whoever listens hears of it, and `done` is told.
        let answered = AssertUnwindSafe(self.answer(chat, alone, teller)).catch_unwind().await;
        match answered.unwrap_or_else(|_| Err(Stop::Failed(Error::internal("the turn panicked")))) {
            Ok(response) => teller.tell(Event::Response(response)).await?,
            Err(Stop::Gone) => return Err(Gone),
            Err(Stop::Failed(error)) => {
                tracing::error!(agent = id, cause = error.chain(), "the agent failed");
                let (message, reason) = (error.detail().to_owned(), error.reason().name().to_owned());
                teller.tell(Event::Error(ErrorEvent { message, reason })).await?;
            }
        }
        teller.tell(Event::Done(Done {})).await
    }

    /// Lets the agent take its turn, and keeps it before its answer is told.
    async fn answer(self: &Arc<Self>, chat: &Chat, alone: Passage, teller: &mut Teller) -> Result<Response, Stop> {
        let (scope, message) = (&chat.scope, self.vault.expand(&chat.message).await?);
        let mut messages = Vec::new();
        if chat.continued {
            let budget = scope.definitions.settings.count("history_tokens", 16_000);
            let earlier = self.sessions.recent(&scope.session_id, &chat.agent.id, budget).await?;
            messages = earlier.into_iter().flat_map(said).collect();
        }
        messages.push(Message { images: chat.images.clone(), ..Message::text(Role::User, message.clone()) });
        let chain = Chain::new(chat.agent.clone(), None);
        let turn = Box::pin(self.turn(scope.clone(), chain, None, messages, teller)).await?;
        let model_name = turn.model_name.clone();
        teller.tell(turn::thinking()).await?;
        let Outcome { content, intent, kept, .. } = self.take(turn, teller).await?;
        let usage = scope.usage();
        if kept {
            self.keep(new_turn(chat, message, &content, model_name, usage), alone).await?;
        }
        let usage = (usage != Usage::default()).then(|| told(usage));
        Ok(Response { content, intent, session_id: scope.session_id.clone(), usage })
    }

    /// Keeps a turn. The next chat of the conversation waits for it, also if the caller of this one has left meanwhile.
    async fn keep(&self, turn: NewTurn, alone: Passage) -> Result<()> {
        let sessions = self.sessions.clone();
        let kept = self.tasks.spawn(async move {
            let _alone = alone;
            sessions.append(turn).await
        });
        kept.await.map_err(Error::internal)?
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

/// Turns a kept turn into the two messages that it was.
pub(super) fn said(turn: Turn) -> [Message; 2] {
    let images = turn.images.into_iter().map(|image| Image { media_type: image.media_type, base64: image.base64 }).collect();
    [Message { images, ..Message::text(Role::User, turn.user) }, Message::text(Role::Assistant, turn.assistant)]
}

fn new_turn(chat: &Chat, user: String, assistant: &str, model: String, usage: Usage) -> NewTurn {
    let images = chat.images.iter().map(|image| store::Image { media_type: image.media_type.clone(), base64: image.base64.clone() });
    NewTurn {
        session_id: chat.scope.session_id.clone(),
        agent_id: chat.agent.id.clone(),
        agent_name: chat.agent.name.clone(),
        user,
        images: images.collect(),
        assistant: assistant.to_owned(),
        model,
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
    }
}

fn told(usage: Usage) -> v1::Usage {
    v1::Usage { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens, cached_tokens: usage.cached_tokens }
}
