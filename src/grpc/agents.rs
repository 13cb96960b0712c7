//! `AgentService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::refuse;
use crate::definition;
use crate::error::Error;
use crate::store::DefinitionFiles;
use crate::wire::JsonValue;
use crate::wire::v1::agent_service_server::AgentService;
use crate::wire::v1::{Agent, AgentSummary, GetAgentRequest, ListAgentsRequest, ListAgentsResponse};

/// Answers `AgentService` from the agents file.
pub struct Agents(pub Arc<DefinitionFiles>);

#[tonic::async_trait]
impl AgentService for Agents {
    async fn list_agents(&self, _request: Request<ListAgentsRequest>) -> Result<Response<ListAgentsResponse>, Status> {
        let agents = self.0.current().agents.iter().map(|agent| summary(agent)).collect();
        Ok(Response::new(ListAgentsResponse { agents }))
    }

    async fn get_agent(&self, request: Request<GetAgentRequest>) -> Result<Response<Agent>, Status> {
        let id = request.into_inner().agent_id;
        let definitions = self.0.current();
        let agent = definitions.agents.iter().find(|agent| agent.id == id);
        agent.map(|agent| Response::new(whole(agent))).ok_or_else(|| refuse(Error::not_found(format!("Agent '{id}' not found"))))
    }
}

fn summary(agent: &definition::Agent) -> AgentSummary {
    let Agent { id, name, r#type, model, capabilities, .. } = whole(agent);
    AgentSummary { id, name, r#type, model, capabilities }
}

fn whole(agent: &definition::Agent) -> Agent {
    Agent {
        id: agent.id.clone(),
        name: agent.name.clone(),
        r#type: agent.kind.clone(),
        model: agent.model.clone(),
        capabilities: agent.capabilities.iter().cloned().map(JsonValue).collect(),
        description: agent.description.clone(),
    }
}
