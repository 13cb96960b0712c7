//! One model call: its answer is told as it comes, counted and recorded.

use futures_util::StreamExt;
use tokio::time::Instant;

use super::Engine;
use super::chat::failed;
use super::scope::Scope;
use super::teller::Teller;
use crate::clock;
use crate::error::Error;
use crate::provider::{Choice, Chosen, Chunk, Kind, Model, ModelError, ModelRequest, Provider, ToolCall, Usage};
use crate::store::{ModelCall, Outcome};

/// A model's whole answer.
pub(super) struct Answer {
    /// The text without reasoning.
    pub text: String,
    /// The tools that it calls, in its order.
    pub calls: Vec<ToolCall>,
    /// What it took.
    pub usage: Usage,
}

/// Who asks a model.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    /// What the call counts against.
    pub scope: &'a Scope,
    /// The agent; empty where there is none.
    pub agent_id: &'a str,
    /// The model.
    pub model: &'a Model,
    /// The model as users name it.
    pub model_name: &'a str,
}

impl Engine {
    /// Asks a model, and tells the answer as it comes where there is somebody to tell.
    pub(super) async fn ask(&self, asker: Asker<'_>, request: ModelRequest, teller: Option<&mut Teller>) -> Result<Answer, Error> {
        asker.scope.count()?;
        let mut call = self.asked(asker);
        let answer = listen(&*asker.model.provider, request, teller).await;
        call.note(answer.as_ref().map(|answer| answer.usage));
        answer.map_err(failed)
    }

    /// Lets a model choose.
    pub(super) async fn choose(&self, asker: Asker<'_>, choice: Choice) -> Result<Chosen, Error> {
        asker.scope.count()?;
        let mut call = self.asked(asker);
        let chosen = asker.model.provider.choose(choice).await;
        call.note(chosen.as_ref().map(|chosen| chosen.usage));
        chosen.map_err(failed)
    }

    fn asked<'a>(&'a self, asker: Asker<'a>) -> Asked<'a> {
        Asked { engine: self, asker, started: Instant::now(), outcome: Outcome::Cancelled, usage: None }
    }
}

/// A model call, recorded when it is over, also where that is because nobody waits for it any more.
struct Asked<'a> {
    engine: &'a Engine,
    asker: Asker<'a>,
    started: Instant,
    outcome: Outcome,
    usage: Option<Usage>,
}

impl Asked<'_> {
    fn note(&mut self, usage: Result<Usage, &ModelError>) {
        (self.outcome, self.usage) = match usage {
            Ok(usage) => (Outcome::Answered, Some(usage)),
            Err(error) if error.kind == Kind::TimedOut => (Outcome::TimedOut, None),
            Err(_) => (Outcome::Failed, None),
        };
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let Asker { scope, agent_id, model, model_name } = self.asker;
        let (time, usage) = (self.started.elapsed(), self.usage.unwrap_or_default());
        self.engine.metrics.model_call(model.family, time, self.usage);
        let price = self.usage.and(scope.definitions.pricing.of(model_name));
        let cost = price.map(|price| price.cost(usage.input_tokens, usage.output_tokens, usage.cached_tokens));
        scope.add(usage, cost.unwrap_or_default());
        tracing::info!(
            model = model_name,
            agent = agent_id,
            input_tokens = usage.input_tokens,
            output_tokens = usage.output_tokens,
            seconds = time.as_secs_f64(),
            outcome = ?self.outcome,
            "the model was asked"
        );
        self.engine.model_calls.record(ModelCall {
            created_at: clock::now(),
            agent_id: agent_id.to_owned(),
            session_id: scope.session_id.clone(),
            model: model_name.to_owned(),
            provider: model.family.to_owned(),
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cached_tokens: usage.cached_tokens,
            cost,
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
