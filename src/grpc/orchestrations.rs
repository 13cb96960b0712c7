//! `OrchestrationService`.

use std::sync::Arc;

use serde_json::Value;
use tonic::{Request, Response, Status};

use super::refuse;
use crate::definition;
use crate::engine::{Engine, StepProblem};
use crate::error::Error;
use crate::wire::JsonObject;
use crate::wire::v1::orchestration::Step;
use crate::wire::v1::orchestration_service_server::OrchestrationService;
use crate::wire::v1::validate_orchestration_response::Problem;
use crate::wire::v1::{
    GetOrchestrationRequest, ListOrchestrationsRequest, ListOrchestrationsResponse, Orchestration, OrchestrationSummary,
    ValidateOrchestrationRequest, ValidateOrchestrationResponse,
};

/// Answers `OrchestrationService` from the definitions in use.
pub struct Orchestrations(pub Arc<Engine>);

#[tonic::async_trait]
impl OrchestrationService for Orchestrations {
    async fn list_orchestrations(
        &self,
        _request: Request<ListOrchestrationsRequest>,
    ) -> Result<Response<ListOrchestrationsResponse>, Status> {
        let orchestrations = self.0.definitions.current().orchestrations.iter().map(|orchestration| summary(orchestration)).collect();
        Ok(Response::new(ListOrchestrationsResponse { orchestrations }))
    }

    async fn get_orchestration(&self, request: Request<GetOrchestrationRequest>) -> Result<Response<Orchestration>, Status> {
        let id = request.into_inner().orchestration_id;
        let definitions = self.0.definitions.current();
        let found = definitions.orchestrations.iter().find(|orchestration| orchestration.id == id);
        found.map(|found| Response::new(whole(found))).ok_or_else(|| not_found(&id))
    }

    async fn validate_orchestration(
        &self,
        request: Request<ValidateOrchestrationRequest>,
    ) -> Result<Response<ValidateOrchestrationResponse>, Status> {
        let id = request.into_inner().orchestration_id;
        let definitions = self.0.definitions.current();
        let found = definitions.orchestrations.iter().find(|orchestration| orchestration.id == id).ok_or_else(|| not_found(&id))?;
        let problems: Vec<Problem> = self.0.look_over(&definitions, found).await.into_iter().map(problem).collect();
        Ok(Response::new(ValidateOrchestrationResponse { valid: problems.is_empty(), problems }))
    }
}

fn not_found(id: &str) -> Status {
    refuse(Error::not_found(format!("Orchestration '{id}' not found")))
}

fn problem(problem: StepProblem) -> Problem {
    Problem { step_id: problem.step_id, field: problem.field, message: problem.message }
}

fn summary(orchestration: &definition::Orchestration) -> OrchestrationSummary {
    OrchestrationSummary {
        id: orchestration.id.clone(),
        name: orchestration.name.clone(),
        description: orchestration.description.clone(),
        steps: u32::try_from(orchestration.steps.len()).unwrap_or(u32::MAX),
    }
}

fn whole(orchestration: &definition::Orchestration) -> Orchestration {
    let object = |edge: &Value| edge.as_object().cloned().map(JsonObject);
    Orchestration {
        id: orchestration.id.clone(),
        name: orchestration.name.clone(),
        description: orchestration.description.clone(),
        steps: orchestration.steps.iter().map(step).collect(),
        edges: orchestration.edges.iter().filter_map(object).collect(),
    }
}

fn step(step: &definition::Step) -> Step {
    Step {
        id: step.id.clone(),
        label: step.label.clone(),
        r#type: step.kind.clone(),
        agent_id: step.agent_id.clone(),
        depends_on: step.depends_on.clone(),
    }
}
