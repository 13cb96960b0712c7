//! Gets a turn ready: the agent's model, its tools, and a conversation that the model can take.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::Engine;
use super::assist::{self, Chain};
use super::chat::failed;
use super::context::Summary;
use super::effects::Effects;
use super::scope::Scope;
use super::teller::Teller;
use super::tool_set::ToolSet;
use super::turn::Turn;
use crate::definition::{Agent, Settings};
use crate::error::{Error, Reason, Result};
use crate::provider::{Message, Model};
use crate::tool::Wanted;

/// The model where neither the agent nor the settings name one.
const DEFAULT_MODEL: &str = "ollama.mistral";

/// A model under the name that users gave it.
pub(super) struct NamedModel {
    /// The model.
    pub model: Model,
    /// The name.
    pub name: String,
}

impl Engine {
    /// Finds the model of an agent; null, empty and `default` mean that of the settings.
    pub(super) fn model_of(&self, agent: &Agent, settings: &Settings) -> Result<NamedModel> {
        if agent.kind == "orchestrator" {
            let detail = format!("agent `{}` runs an orchestration and takes no turns itself; choose another agent", agent.id);
            return Err(Error::new(Reason::FailedPrecondition, detail));
        }
        self.model_named(agent.model.as_deref(), settings)
    }

    /// Finds a model by its name; nothing, an empty text and `default` mean that of the settings.
    pub(super) fn model_named(&self, name: Option<&str>, settings: &Settings) -> Result<NamedModel> {
        let name = model_name(name, settings);
        Ok(NamedModel { model: self.models.resolve(name, settings).map_err(failed)?, name: name.to_owned() })
    }

    /// Gets the turn of the agent at the end of a chain ready; the newest of the messages is the question. `allowed` are the tools that remain
    /// of the agent's.
    pub(super) async fn turn(
        self: &Arc<Self>,
        scope: Arc<Scope>,
        chain: Chain,
        allowed: Option<&[String]>,
        mut messages: Vec<Message>,
        teller: &Teller,
    ) -> Result<Box<Turn>> {
        let agent = chain.last().clone();
        let NamedModel { model, name } = self.model_of(&agent, &scope.definitions.settings)?;
        // As they are now, not as they were when the chat began: a server that the operator took away meanwhile must not be started again.
        let wanted = allowed.iter().fold(Wanted::by(&agent), |wanted, allowed| wanted.narrowed(allowed));
        let others = self.toolbox.tools(&self.definitions.current(), wanted).await;
        let mut tools = assist::tools(self, &scope, &chain, &others, teller);
        if let Some(allowed) = allowed {
            tools.retain(|tool| Wanted::named(allowed).has(&tool.description().name));
        }
        tools.extend(others);
        if !model.sees {
            messages.iter_mut().for_each(hide_images);
        }
        let question = messages.len().saturating_sub(1);
        let effects = Effects::new(chain.effect_id());
        Ok(Box::new(Turn {
            scope,
            effects,
            agent,
            model,
            model_name: name,
            tools: ToolSet::new(tools),
            messages,
            question,
            summary: Summary::default(),
            order: Mutex::default(),
        }))
    }
}

/// Returns the name of the model that is meant.
pub(super) fn model_name<'a>(own: Option<&'a str>, settings: &'a Settings) -> &'a str {
    own.and_then(own_model).or_else(|| settings.text("model")).unwrap_or(DEFAULT_MODEL)
}

/// Returns a model's name where it is one, and does not stand for that of somebody else.
pub(super) fn own_model(name: &str) -> Option<&str> {
    let name = name.trim();
    (!name.is_empty() && !name.eq_ignore_ascii_case("default")).then_some(name)
}

/// Leaves a note where the images of an earlier turn were, which another model had seen.
fn hide_images(message: &mut Message) {
    if !message.images.is_empty() {
        message.images.clear();
        message.text += "\n[images that this model cannot see]";
    }
}
