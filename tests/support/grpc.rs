//! The gRPC dialect of the client.

use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use synapse::error::{Reason, http_status};
use synapse::grpc::reason;
use synapse::wire::v1::agent_service_client::AgentServiceClient;
use synapse::wire::v1::chat_service_client::ChatServiceClient;
use synapse::wire::v1::key_service_client::KeyServiceClient;
use synapse::wire::v1::orchestration_service_client::OrchestrationServiceClient;
use synapse::wire::v1::run_service_client::RunServiceClient;
use synapse::wire::v1::session_service_client::SessionServiceClient;
use synapse::wire::v1::{ChatEvent, RunEvent};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Client, Events, Outcome};

pub(super) async fn call(client: &Client, rpc: &str, body: Value) -> Outcome {
    let channel = client.channel.clone();
    match rpc {
        "Chat" => outcome(ChatServiceClient::new(channel).chat(request(client, body)).await),
        "GetChat" => outcome(ChatServiceClient::new(channel).get_chat(request(client, body)).await),
        "CancelChat" => outcome(ChatServiceClient::new(channel).cancel_chat(request(client, body)).await),
        "ListAgents" => outcome(AgentServiceClient::new(channel).list_agents(request(client, body)).await).part("agents"),
        "GetAgent" => outcome(AgentServiceClient::new(channel).get_agent(request(client, body)).await),
        "ListOrchestrations" => {
            outcome(OrchestrationServiceClient::new(channel).list_orchestrations(request(client, body)).await).part("orchestrations")
        }
        "GetOrchestration" => outcome(OrchestrationServiceClient::new(channel).get_orchestration(request(client, body)).await),
        "ValidateOrchestration" => outcome(OrchestrationServiceClient::new(channel).validate_orchestration(request(client, body)).await),
        "Run" => outcome(RunServiceClient::new(channel).run(request(client, body)).await),
        "Resume" => outcome(RunServiceClient::new(channel).resume(request(client, body)).await),
        "RetryRun" => outcome(RunServiceClient::new(channel).retry_run(request(client, body)).await),
        "CancelRun" => outcome(RunServiceClient::new(channel).cancel_run(request(client, body)).await),
        "GetRun" => outcome(RunServiceClient::new(channel).get_run(request(client, body)).await),
        "ListRuns" => outcome(RunServiceClient::new(channel).list_runs(request(client, body)).await),
        "ListSessions" => outcome(SessionServiceClient::new(channel).list_sessions(request(client, body)).await),
        "GetSession" => outcome(SessionServiceClient::new(channel).get_session(request(client, body)).await),
        "DeleteSession" => outcome(SessionServiceClient::new(channel).delete_session(request(client, body)).await),
        "CreateKey" => outcome(KeyServiceClient::new(channel).create_key(request(client, body)).await),
        "ListKeys" => outcome(KeyServiceClient::new(channel).list_keys(request(client, body)).await).part("keys"),
        "DeleteKey" => outcome(KeyServiceClient::new(channel).delete_key(request(client, body)).await),
        unknown => panic!("no client for `{unknown}`"),
    }
}

pub(super) async fn stream(client: &Client, rpc: &str, body: Value) -> Result<Events, Outcome> {
    let channel = client.channel.clone();
    let chat = |event: &ChatEvent| event.id;
    let run = |event: &RunEvent| event.id;
    match rpc {
        "StreamChat" => events(ChatServiceClient::new(channel).stream_chat(request(client, body)).await, chat),
        "WatchChat" => events(ChatServiceClient::new(channel).watch_chat(request(client, body)).await, chat),
        "StreamRun" => events(RunServiceClient::new(channel).stream_run(request(client, body)).await, run),
        "StreamResume" => events(RunServiceClient::new(channel).stream_resume(request(client, body)).await, run),
        "StreamRetryRun" => events(RunServiceClient::new(channel).stream_retry_run(request(client, body)).await, run),
        "WatchRun" => events(RunServiceClient::new(channel).watch_run(request(client, body)).await, run),
        unknown => panic!("no client for `{unknown}`"),
    }
}

/// Reads a stream as JSON, each event with its number.
fn events<E: Serialize + Send + 'static>(
    answer: Result<Response<Streaming<E>>, Status>,
    id: impl Fn(&E) -> u64 + Send + 'static,
) -> Result<Events, Outcome> {
    let stream = answer.map_err(|status| refusal(&status))?.into_inner();
    Ok(Events::grpc(stream.map(move |event| event.map(|event| (id(&event), serde_json::to_value(event).unwrap()))).boxed()))
}

fn request<M: DeserializeOwned>(client: &Client, body: Value) -> Request<M> {
    let mut request = Request::new(serde_json::from_value(body).unwrap());
    if let Some(authorization) = &client.authorization {
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    }
    for (name, value) in &client.headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
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
