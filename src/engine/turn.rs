//! A turn: the model gets the conversation, its answer is told as it comes, and what was said is kept.

use futures_util::StreamExt;
use tokio::time::Instant;

use super::Engine;
use super::chat::{Chat, failed};
use super::teller::{Gone, Teller};
use super::turnstile::Passage;
use crate::error::{Error, Result};
use crate::provider::{Chunk, Image, Kind, Message, ModelError, ModelRequest, Role, Usage};
use crate::store::{self, NewTurn, Turn};
use crate::wire::v1;
use crate::wire::v1::chat_event::{Event, LlmThought, Response, Thinking};

/// What an agent says when its model had nothing to say.
const NOTHING_TO_SAY: &str = "I completed the requested actions.";

/// A model's whole answer.
struct Answer {
    text: String,
    usage: Usage,
}

impl Engine {
    /// Lets the agent answer, and keeps the turn before its answer is told.
    pub(super) async fn turn(&self, chat: &Chat, alone: Passage, teller: &mut Teller) -> Result<Result<Response>, Gone> {
        teller.tell(Event::Thinking(Thinking { message: "Analyzing your request...".to_owned() })).await?;
        let (message, answer) = match self.ask(chat, teller).await {
            Ok(answered) => answered,
            Err(error) => return Ok(Err(error)),
        };
        let silent = answer.text.trim().is_empty();
        if !silent {
            teller.tell(Event::LlmThought(LlmThought { thought: answer.text.clone(), turn: 1 })).await?;
        }
        let content = if silent { NOTHING_TO_SAY.to_owned() } else { answer.text };
        if let Err(error) = self.keep(new_turn(chat, message, &content, answer.usage), alone).await {
            return Ok(Err(error));
        }
        let usage = (answer.usage != Usage::default()).then(|| usage(answer.usage));
        Ok(Ok(Response { content, intent: "chat".to_owned(), session_id: chat.session_id.clone(), usage }))
    }

    /// Keeps a turn. The next chat of the conversation waits for it, also if the caller of this one has left meanwhile.
    async fn keep(&self, turn: NewTurn, alone: Passage) -> Result<()> {
        let sessions = self.sessions.clone();
        let kept = tokio::spawn(async move {
            let _alone = alone;
            sessions.append(turn).await
        });
        kept.await.map_err(Error::internal)?
    }

    /// Asks the model and tells its answer as it comes. Returns the message as the model got it as well.
    async fn ask(&self, chat: &Chat, teller: &mut Teller) -> Result<(String, Answer)> {
        let message = self.vault.expand(&chat.message).await?;
        let mut messages = Vec::new();
        if chat.continued {
            let earlier = self.sessions.recent(&chat.session_id, &chat.agent.id, chat.history_tokens).await?;
            messages = earlier.into_iter().flat_map(said).collect();
        }
        messages.push(Message { images: chat.images.clone(), ..Message::text(Role::User, message.clone()) });
        let request = ModelRequest {
            model: chat.model.name.clone(),
            system: chat.agent.system_prompt.clone(),
            messages,
            tools: Vec::new().into(),
            deadline: Instant::now() + chat.model_time,
        };
        let started = Instant::now();
        let outcome = listen(chat, request, teller).await;
        self.metrics.model_call(chat.model.family, started.elapsed(), outcome.as_ref().ok().map(|answer| answer.usage));
        if let Ok(Answer { usage, .. }) = &outcome {
            let (model, input, output) = (&chat.model_name, usage.input_tokens, usage.output_tokens);
            tracing::info!(
                model,
                agent = chat.agent.id,
                input_tokens = input,
                output_tokens = output,
                seconds = started.elapsed().as_secs_f64(),
                "the model answered"
            );
        }
        Ok((message, outcome.map_err(failed)?))
    }
}

async fn listen(chat: &Chat, request: ModelRequest, teller: &mut Teller) -> Result<Answer, ModelError> {
    let mut chunks = chat.model.provider.stream(request);
    let mut text = String::new();
    while let Some(chunk) = chunks.next().await {
        match chunk? {
            Chunk::Text(more) => {
                text.push_str(&more);
                teller.text(more);
            }
            Chunk::Reasoning(more) => teller.reasoning(more),
            Chunk::Call(_) => {}
            Chunk::End(usage) => return Ok(Answer { text, usage }),
        }
    }
    Err(ModelError::new(Kind::Garbled, "the answer broke off"))
}

/// Turns a kept turn into the two messages that it was.
fn said(turn: Turn) -> [Message; 2] {
    let images = turn.images.into_iter().map(|image| Image { media_type: image.media_type, base64: image.base64 }).collect();
    [Message { images, ..Message::text(Role::User, turn.user) }, Message::text(Role::Assistant, turn.assistant)]
}

fn new_turn(chat: &Chat, user: String, assistant: &str, usage: Usage) -> NewTurn {
    let images = chat.images.iter().map(|image| store::Image { media_type: image.media_type.clone(), base64: image.base64.clone() });
    NewTurn {
        session_id: chat.session_id.clone(),
        agent_id: chat.agent.id.clone(),
        agent_name: chat.agent.name.clone(),
        user,
        images: images.collect(),
        assistant: assistant.to_owned(),
        model: chat.model_name.clone(),
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
    }
}

fn usage(usage: Usage) -> v1::Usage {
    v1::Usage { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens, cached_tokens: usage.cached_tokens }
}
