//! One model call: its answer is told as it comes, counted and recorded.

use futures_util::StreamExt;
use tokio::time::Instant;

use super::Engine;
use super::chat::failed;
use super::teller::Teller;
use super::turn::Turn;
use crate::clock;
use crate::error::Error;
use crate::provider::{Chunk, Kind, ModelError, ModelRequest, Provider, ToolCall, Usage};
use crate::store::{ModelCall, Outcome};

/// A model's whole answer.
pub(super) struct Answer {
    /// The text without reasoning.
    pub text: String,
    /// The tools that it calls, in its order.
    pub calls: Vec<ToolCall>,
    usage: Usage,
}

impl Engine {
    /// Asks the model of a turn, and tells the answer as it comes where there is somebody to tell.
    pub(super) async fn ask(&self, turn: &Turn, request: ModelRequest, teller: Option<&mut Teller>) -> Result<Answer, Error> {
        turn.scope.count()?;
        let mut asked = Asked { engine: self, turn, started: Instant::now(), outcome: Outcome::Cancelled, usage: None };
        let answer = listen(&*turn.model.provider, request, teller).await;
        (asked.outcome, asked.usage) = match &answer {
            Ok(answer) => (Outcome::Answered, Some(answer.usage)),
            Err(error) if error.kind == Kind::TimedOut => (Outcome::TimedOut, None),
            Err(_) => (Outcome::Failed, None),
        };
        answer.map_err(failed)
    }
}

/// A model call, recorded when it is over, also where that is because nobody waits for it any more.
struct Asked<'a> {
    engine: &'a Engine,
    turn: &'a Turn,
    started: Instant,
    outcome: Outcome,
    usage: Option<Usage>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let Turn { scope, agent, model, model_name, .. } = self.turn;
        let (time, usage) = (self.started.elapsed(), self.usage.unwrap_or_default());
        self.engine.metrics.model_call(model.family, time, self.usage);
        scope.add(usage);
        tracing::info!(
            model = model_name,
            agent = agent.id,
            input_tokens = usage.input_tokens,
            output_tokens = usage.output_tokens,
            seconds = time.as_secs_f64(),
            outcome = ?self.outcome,
            "the model was asked"
        );
        let price = self.usage.and(scope.definitions.pricing.of(model_name));
        self.engine.model_calls.record(ModelCall {
            created_at: clock::now(),
            agent_id: agent.id.clone(),
            session_id: scope.session_id.clone(),
            model: model_name.clone(),
            provider: model.family.to_owned(),
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cached_tokens: usage.cached_tokens,
            cost: price.map(|price| price.cost(usage.input_tokens, usage.output_tokens, usage.cached_tokens)),
            latency: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            outcome: self.outcome,
        });
    }
}

async fn listen(provider: &dyn Provider, request: ModelRequest, mut teller: Option<&mut Teller>) -> Result<Answer, ModelError> {
    let mut chunks = provider.stream(request);
    let (mut text, mut calls) = (String::new(), Vec::new());
    while let Some(chunk) = chunks.next().await {
        match (chunk?, teller.as_deref_mut()) {
            (Chunk::Text(more), teller) => {
                text.push_str(&more);
                if let Some(teller) = teller {
                    teller.text(more);
                }
            }
            (Chunk::Reasoning(more), Some(teller)) => teller.reasoning(more),
            (Chunk::Reasoning(_), None) => {}
            (Chunk::Call(call), _) => calls.push(*call),
            (Chunk::End(usage), _) => return Ok(Answer { text, calls, usage }),
        }
    }
    Err(ModelError::new(Kind::Garbled, "the answer broke off"))
}
