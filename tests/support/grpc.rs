//! The gRPC dialect of the client.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use synapse::error::{Reason, http_status};
use synapse::grpc::reason;
use synapse::wire::v1::agent_service_client::AgentServiceClient;
use synapse::wire::v1::chat_service_client::ChatServiceClient;
use synapse::wire::v1::key_service_client::KeyServiceClient;
use synapse::wire::v1::orchestration_service_client::OrchestrationServiceClient;
use synapse::wire::v1::session_service_client::SessionServiceClient;
use tonic::{Code, Request, Response, Status};

use super::{Client, Events, Outcome};

pub(super) async fn call(client: &Client, rpc: &str, body: Value) -> Outcome {
    let channel = client.channel.clone();
    match rpc {
        "Chat" => outcome(ChatServiceClient::new(channel).chat(request(client, body)).await),
        "ListAgents" => outcome(AgentServiceClient::new(channel).list_agents(request(client, body)).await).part("agents"),
        "GetAgent" => outcome(AgentServiceClient::new(channel).get_agent(request(client, body)).await),
        "ListOrchestrations" => {
            outcome(OrchestrationServiceClient::new(channel).list_orchestrations(request(client, body)).await).part("orchestrations")
        }
        "GetOrchestration" => outcome(OrchestrationServiceClient::new(channel).get_orchestration(request(client, body)).await),
        "ValidateOrchestration" => outcome(OrchestrationServiceClient::new(channel).validate_orchestration(request(client, body)).await),
        "ListSessions" => outcome(SessionServiceClient::new(channel).list_sessions(request(client, body)).await),
        "GetSession" => outcome(SessionServiceClient::new(channel).get_session(request(client, body)).await),
        "DeleteSession" => outcome(SessionServiceClient::new(channel).delete_session(request(client, body)).await),
        "CreateKey" => outcome(KeyServiceClient::new(channel).create_key(request(client, body)).await),
        "ListKeys" => outcome(KeyServiceClient::new(channel).list_keys(request(client, body)).await).part("keys"),
        "DeleteKey" => outcome(KeyServiceClient::new(channel).delete_key(request(client, body)).await),
        unknown => panic!("no client for `{unknown}`"),
    }
}

pub(super) async fn stream(client: &Client, body: Value) -> Result<Events, Outcome> {
    let answer = ChatServiceClient::new(client.channel.clone()).stream_chat(request(client, body)).await;
    answer.map(|answer| Events::grpc(answer.into_inner())).map_err(|status| refusal(&status))
}

fn request<M: DeserializeOwned>(client: &Client, body: Value) -> Request<M> {
    let mut request = Request::new(serde_json::from_value(body).unwrap());
    if let Some(authorization) = &client.authorization {
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    }
    request
}

fn outcome<M: Serialize>(answer: Result<Response<M>, Status>) -> Outcome {
    match answer {
        Ok(answer) => Outcome::Answered(serde_json::to_value(answer.into_inner()).unwrap()),
        Err(status) => refusal(&status),
    }
}

/// Reads a refusal. It has a reason that agrees with its code, unless tonic refuses by itself what is too large to be read.
pub(crate) fn refusal(status: &Status) -> Outcome {
    let reason = reason(status);
    let expected = reason.map_or(Code::OutOfRange, Reason::grpc);
    assert_eq!(status.code(), expected, "{status:?}");
    let code = reason.map_or_else(|| http_status(status.code()), Reason::http);
    Outcome::Refused { status: code, detail: status.message().to_owned() }
}

impl Outcome {
    /// Takes the part of an answer that is REST's whole body.
    fn part(self, field: &str) -> Self {
        match self {
            Self::Answered(mut answer) => Self::Answered(answer[field].take()),
            refused @ Self::Refused { .. } => refused,
        }
    }
}
