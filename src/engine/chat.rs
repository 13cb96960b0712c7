//! A chat: an agent is chosen and answers in a run of its own, and what happens is told until it ends.

use std::sync::Arc;

use futures_util::{Stream, stream};

use super::assist::Chain;
use super::facade::{Facade, Speaker, asking};
use super::run::{Began, Chat, Close, Command, Graph, Loaded, Public, Told, Until, Watch, question_list};
use super::runs::{Caller, Start, new_run, status};
use super::step::{Attempt, Done as StepDone, Failure, FailureKind};
use super::turn::{Outcome, Stop};
use super::{Engine, images};
use crate::clock;
use crate::definition::{Agent, resolve_agent};
use crate::error::{Error, Reason, Result};
use crate::provider::{Image, Kind, Message, ModelError, Role};
use crate::store::{self, Definitions, NewRun, NewTurn, RunKind, RunStatus, RunSummary, Turn};
use crate::wire::v1::chat_event::{Done, Event};
use crate::wire::v1::{self, CancelChatRequest, ChatEvent, ChatRequest, ChatResponse, WatchChatRequest};

/// What a caller reads when the agent failed; why stands in the log.
pub(super) const AGENT_FAILED: &str = "The agent encountered an error processing your request.";

/// What a caller reads when somebody cancelled the chat.
pub(super) const CANCELLED: &str = "the chat was cancelled";

/// A chat that may begin.
struct Accepted {
    agent: Arc<Agent>,
    session_id: String,
    /// Whether the caller named the session, so that there may be earlier turns.
    continued: bool,
    message: String,
    images: Vec<Image>,
}

impl Engine {
    /// Starts a chat. What can be refused is refused here, before anything happens.
    pub async fn chat(self: &Arc<Self>, request: ChatRequest, caller: Caller) -> Result<ChatEvents> {
        let mark = caller.mark("chat", &request);
        if let Some(watch) = self.repeated(mark.as_ref(), Until::Rest).await? {
            return self.chat_again(watch).await;
        }
        // A caller with a key may come back for the answer.
        let background = request.background || mark.is_some();
        let definitions = self.definitions.current();
        let accepted = self.accept(&definitions, request)?;
        if accepted.agent.kind == "orchestrator" {
            return self.orchestrated(&definitions, accepted, caller.principal.to_string(), mark).await;
        }
        let Accepted { agent, session_id, continued, message, images } = accepted;
        let images = images.into_iter().map(|image| store::Image { media_type: image.media_type, base64: image.base64 }).collect();
        let (agent_id, agent_name) = (agent.id.clone(), agent.name.clone());
        let chat = Chat { agent_id: agent_id.clone(), agent_name: agent_name.clone(), continued, images, background };
        let run_id = clock::run_id();
        let at = clock::now().as_millisecond();
        let began = Began { run_id: run_id.clone(), at, message, session_id: session_id.clone(), chat: Some(chat) };
        let present = (!background).then(|| Presence { engine: self.clone(), run_id: run_id.clone() });
        let new = NewRun {
            agent_id: Some(agent_id.clone()),
            session_id: Some(session_id.clone()),
            name: agent_name.clone(),
            background,
            ..new_run(run_id, caller.principal.to_string(), mark)
        };
        let watch = self.begin(new, Graph::of_chats(), began, caller.patience).await?;
        let speaker = Speaker { agent_id, agent_name, session_id };
        Ok(ChatEvents { watch, caller: present, speaker, facade: None, over: false })
    }

    /// Sits down in front of the chat that the same request began before.
    async fn chat_again(&self, watch: Watch) -> Result<ChatEvents> {
        let summary = self.known_chat(watch.run_id()).await?;
        Ok(self.chat_events(&summary, watch))
    }

    fn accept(&self, definitions: &Definitions, request: ChatRequest) -> Result<Accepted> {
        let settings = &definitions.settings;
        if definitions.agents.is_empty() {
            return Err(Error::new(Reason::FailedPrecondition, "No agents configured"));
        }
        let asked = request.agent.unwrap_or_default();
        let agent = resolve_agent(&definitions.agents, &asked, settings.flag("strict_agents", false))
            .ok_or_else(|| Error::not_found(format!("Agent '{asked}' not found")))?
            .clone();
        let images = images::read(&request.images)?;
        if agent.kind == "orchestrator" {
            if !images.is_empty() {
                let detail = format!("`images` cannot be taken: agent `{}` runs an orchestration; choose another agent", agent.id);
                return Err(Error::invalid(detail));
            }
        } else {
            let model = self.model_of(&agent, settings)?;
            if !images.is_empty() && !model.model.sees {
                let (agent, model) = (&agent.id, &model.name);
                return Err(Error::invalid(format!(
                    "`images` cannot be taken: model `{model}` of agent `{agent}` does not see images; choose another agent"
                )));
            }
        }
        let session_id = request.session_id.filter(|id| !id.is_empty());
        let continued = session_id.is_some();
        let session_id = session_id.unwrap_or_else(clock::session_id);
        Ok(Accepted { agent, session_id, continued, message: request.message.unwrap_or_default(), images })
    }

    /// Starts the orchestration of an agent. It goes on when the caller leaves, as every orchestration does.
    async fn orchestrated(
        self: &Arc<Self>,
        definitions: &Arc<Definitions>,
        accepted: Accepted,
        principal: String,
        mark: Option<store::Repeat>,
    ) -> Result<ChatEvents> {
        let Accepted { agent, session_id, message, .. } = accepted;
        let id = agent.orchestration_id.clone().unwrap_or_default();
        let found = definitions.orchestrations.iter().find(|orchestration| orchestration.id == id);
        let orchestration = found.ok_or_else(|| {
            let detail =
                format!("agent `{}` runs orchestration `{id}`, which does not exist; name one in its `orchestration_id`", agent.id);
            Error::new(Reason::FailedPrecondition, detail)
        })?;
        let message = self.vault.expand(&message).await?;
        let start = Start { orchestration, message, session_id: Some(session_id.clone()), agent_id: Some(agent.id.clone()) };
        let keyed = mark.is_some();
        let watch = self.orchestrate(definitions, start, principal, mark).await?;
        if keyed {
            return self.chat_again(watch).await; // of two equal requests at once, one began it, with a session of its own
        }
        let speaker = Speaker { agent_id: agent.id.clone(), agent_name: agent.name.clone(), session_id };
        Ok(ChatEvents { watch, caller: None, speaker, facade: Some(Box::default()), over: false })
    }

    /// Lets the agent of a chat take its turn.
    pub(super) async fn chat_turn(self: &Arc<Self>, began: &Began, mut attempt: Attempt) -> Result<StepDone, Failure> {
        let failed = |error| Failure { kind: FailureKind::Model, error };
        let Began { session_id, chat: Some(chat), .. } = began else { return Err(failed(Error::internal("no chat"))) };
        let scope = attempt.scope.clone();
        let found = scope.definitions.agents.iter().find(|agent| agent.id == chat.agent_id);
        let gone = || failed(Error::new(Reason::FailedPrecondition, format!("agent `{}` does not exist any more", chat.agent_id)));
        let agent = found.ok_or_else(gone)?.clone();
        // The next chat of the conversation waits until this one is kept.
        let alone = self.turnstile.enter(format!("{session_id}\0{}", agent.id)).await;
        attempt.hold(alone);
        let message = self.vault.expand(&began.message).await.map_err(failed)?;
        let mut messages = Vec::new();
        if chat.continued {
            let budget = scope.definitions.settings.count("history_tokens", 16_000);
            let earlier = self.sessions.recent(session_id, &agent.id, budget).await.map_err(failed)?;
            messages = earlier.into_iter().flat_map(said).collect();
        }
        let images = chat.images.iter().map(|image| Image { media_type: image.media_type.clone(), base64: image.base64.clone() }).collect();
        messages.push(Message { images, ..Message::text(Role::User, message.clone()) });
        let chain = Chain::new(agent, Some(attempt.effect_id.clone()));
        let turn = Box::pin(self.turn(scope.clone(), chain, None, messages, &attempt.teller)).await.map_err(failed)?;
        let model = turn.model_name.clone();
        let taken = self.take(turn, &mut attempt.teller).await;
        let Outcome { content, intent, kept, tool_name } = taken.map_err(|stop| match stop {
            Stop::Gone => failed(Error::new(Reason::Cancelled, CANCELLED)),
            Stop::Failed(error) => failed(error),
        })?;
        let usage = scope.usage();
        let turn = NewTurn {
            session_id: session_id.clone(),
            agent_id: chat.agent_id.clone(),
            agent_name: chat.agent_name.clone(),
            user: message,
            images: chat.images.clone(),
            assistant: content.clone(),
            model,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
        };
        let told = Told::Answer { text: content, intent, tool_name };
        Ok(StepDone { told, turn: kept.then_some(turn), ..StepDone::default() })
    }

    /// Watches a chat.
    pub async fn watch_chat(self: &Arc<Self>, request: WatchChatRequest, last_event_id: Option<u64>) -> Result<ChatEvents> {
        let after = request.after.filter(|after| *after > 0).or(last_event_id).unwrap_or_default();
        let summary = self.known_chat(&request.run_id).await?;
        let watch = self.watch(&summary.run_id, after, Until::End, false);
        Ok(self.chat_events(&summary, watch))
    }

    fn chat_events(&self, summary: &RunSummary, watch: Watch) -> ChatEvents {
        let facade = (summary.kind() == RunKind::Orchestration).then(Box::default);
        ChatEvents { watch, caller: None, speaker: self.speaker(summary), facade, over: false }
    }

    /// Returns who speaks in a chat.
    fn speaker(&self, summary: &RunSummary) -> Speaker {
        let agent_id = summary.agent_id.clone().unwrap_or_default();
        let known = || {
            let definitions = self.definitions.current();
            definitions.agents.iter().find(|agent| agent.id == agent_id).map(|agent| agent.name.clone())
        };
        let agent_name = match summary.kind() {
            RunKind::Chat => summary.name.clone(),
            RunKind::Orchestration => known().unwrap_or_else(|| agent_id.clone()),
        };
        Speaker { agent_id, agent_name, session_id: summary.session_id.clone().unwrap_or_default() }
    }

    /// Returns how a chat came out, or that it goes on.
    pub async fn get_chat(self: &Arc<Self>, run_id: &str) -> Result<ChatResponse> {
        let summary = self.known_chat(run_id).await?;
        if summary.facts.status == RunStatus::Completed {
            let watch = self.watch(run_id, 0, Until::End, false);
            return self.chat_events(&summary, watch).outcome().await;
        }
        let standing = self.speaker(&summary).answer(run_id, status(summary.facts.status));
        if summary.facts.status != RunStatus::Paused {
            return Ok(standing);
        }
        let log = self.logs.of(run_id);
        let Loaded { graph, .. } = log.loaded(summary).await?;
        let (state, ..) = log.fold(&graph).await?;
        Ok(asking(standing, &question_list(&graph, &state)))
    }

    /// Cancels a chat and returns how it stands then.
    pub async fn cancel_chat(self: &Arc<Self>, request: CancelChatRequest) -> Result<ChatResponse> {
        self.known_chat(&request.run_id).await?;
        let mut watch = self.command(&request.run_id, None, Until::End, |reply, _| Command::Cancel { reply }).await?;
        while watch.next().await?.is_some() {}
        self.get_chat(&request.run_id).await
    }

    async fn known_chat(&self, run_id: &str) -> Result<RunSummary> {
        let found = self.logs.store.get(run_id).await?.filter(|summary| summary.agent_id.is_some());
        found.ok_or_else(|| Error::not_found(format!("Run '{run_id}' not found")))
    }
}

/// The caller of a chat. When it leaves, the chat is cancelled.
struct Presence {
    engine: Arc<Engine>,
    run_id: String,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let Some(driver) = self.engine.live.driver(&self.run_id) else { return };
        tracing::info!(run = self.run_id, "the caller went away; the chat is cancelled");
        let (reply, _) = tokio::sync::oneshot::channel();
        let _ = driver.try_send(Box::new(Command::Cancel { reply })); // nobody else commands such a run so often that its queue is full
    }
}

/// The events of a chat.
pub struct ChatEvents {
    watch: Watch,
    caller: Option<Presence>,
    speaker: Speaker,
    /// Tells the events of an orchestration as those of a chat.
    facade: Option<Box<Facade>>,
    over: bool,
}

impl ChatEvents {
    /// Returns the run.
    pub fn run_id(&self) -> &str {
        self.watch.run_id()
    }

    /// Returns the next event; `done` is the last.
    async fn next(&mut self) -> Result<Option<ChatEvent>> {
        while !self.over {
            if let Some(event) = self.facade.as_mut().and_then(|facade| facade.pop()) {
                return Ok(Some(self.told(event)));
            }
            match (self.watch.next().await?, &mut self.facade) {
                (Some(Public::Chat(event)), _) => return Ok(Some(self.told(*event))),
                (Some(Public::Run(event)), Some(facade)) => facade.take(*event, &self.speaker),
                (Some(Public::Run(_)), None) => {}
                (None, facade) => {
                    self.over = true;
                    self.caller = None;
                    let last = self.watch.last();
                    return Ok(facade.is_some().then(|| ChatEvent { event: Some(Event::Done(Done {})), id: last }));
                }
            }
        }
        Ok(None)
    }

    fn told(&mut self, event: ChatEvent) -> ChatEvent {
        if matches!(event.event, Some(Event::Done(_))) {
            // Whoever has heard the end may leave without ending anything.
            if let Some(caller) = self.caller.take() {
                caller.goodbye();
            }
        }
        event
    }

    /// Returns the events as a stream. One that breaks off has an error for its last item.
    pub fn into_stream(self) -> impl Stream<Item = Result<ChatEvent>> + Send + 'static {
        stream::unfold(Some(self), |events| async {
            let mut events = events?;
            match events.next().await {
                Ok(Some(event)) => Some((Ok(event), Some(events))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// Folds the events into the chat's answer: the sync call is the outcome of the very stream.
    pub async fn outcome(mut self) -> Result<ChatResponse> {
        let mut answer = self.speaker.answer(self.run_id(), v1::RunStatus::Completed);
        // A run that failed may have been retried: what was told last counts.
        let mut outcome = Err(Error::new(Reason::AgentFailed, AGENT_FAILED));
        while let Some(event) = self.next().await? {
            match event.event {
                Some(Event::Response(response)) => {
                    (answer.response, answer.usage) = (response.content, response.usage);
                    outcome = Ok(());
                }
                Some(Event::Error(error)) => {
                    outcome = Err(Error::new(Reason::named(&error.reason).unwrap_or(Reason::AgentFailed), error.message));
                }
                _ => {}
            }
        }
        match self.watch.close() {
            Some(Close::Rest(questions)) => Ok(asking(answer, questions)),
            _ => outcome.map(|()| answer),
        }
    }

    /// Returns the answer of a call that does not wait.
    pub fn begun(self) -> ChatResponse {
        self.speaker.answer(self.run_id(), v1::RunStatus::Running)
    }
}

impl Presence {
    /// Lets the caller go without cancelling anything.
    fn goodbye(mut self) {
        self.run_id.clear();
    }
}

/// Tells a model's failure: what the operator has to do may be read by the caller, of everything else only that it happened.
pub(super) fn failed(error: ModelError) -> Error {
    match error.kind {
        Kind::NotConfigured => Error::new(Reason::ModelNotConfigured, error.detail),
        _ => Error::new(Reason::AgentFailed, AGENT_FAILED).because(error),
    }
}

/// Turns a kept turn into the two messages that it was.
pub(super) fn said(turn: Turn) -> [Message; 2] {
    let images = turn.images.into_iter().map(|image| Image { media_type: image.media_type, base64: image.base64 }).collect();
    [Message { images, ..Message::text(Role::User, turn.user) }, Message::text(Role::Assistant, turn.assistant)]
}
