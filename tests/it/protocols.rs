//! What gRPC offers besides our own calls: gRPC-Web, health and reflection.

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use rstest::rstest;
use synapse::wire::v1::{ChatRequest, ChatResponse, ListAgentsRequest, ListAgentsResponse};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::Dialect::Grpc;
use crate::support::{Server, Setup};

/// Makes a frame of gRPC: a flag, the length, the message.
fn frame(message: &impl Message) -> Vec<u8> {
    let mut frame = vec![0];
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut frame).unwrap();
    frame
}

/// Splits an answer into its message and its trailers, which gRPC-Web sends as a last frame.
fn frames(mut bytes: Bytes) -> (Vec<Bytes>, String) {
    let mut messages = Vec::new();
    loop {
        let (flag, length) = (bytes.get_u8(), bytes.get_u32() as usize);
        let frame = bytes.split_to(length);
        if flag == 0x80 {
            assert!(bytes.is_empty(), "the trailers come last");
            return (messages, String::from_utf8(frame.to_vec()).unwrap());
        }
        messages.push(frame);
    }
}

async fn web(server: &Server, method: &str, message: &impl Message) -> (Vec<Bytes>, String) {
    let request = server.request("POST", &format!("/synapse.v1.{method}"));
    let response = request.header("content-type", "application/grpc-web+proto").header("x-grpc-web", "1").body(frame(message));
    let response = response.send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &"application/grpc-web+proto".parse().unwrap()));
    frames(response.bytes().await.unwrap())
}

#[tokio::test]
async fn grpc_web_calls_and_streams() {
    let server = Setup::new().start();
    let (messages, trailers) = web(&server, "AgentService/ListAgents", &ListAgentsRequest {}).await;
    assert_eq!(ListAgentsResponse::decode(messages[0].clone()).unwrap().agents[0].id, "a1");
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
    let hi = ChatRequest { message: Some("hi".to_owned()), ..ChatRequest::default() };
    let (messages, _) = web(&server, "ChatService/Chat", &hi).await;
    assert_eq!(ChatResponse::decode(messages[0].clone()).unwrap().response, "hi");
    let (messages, trailers) = web(&server, "ChatService/StreamChat", &hi).await;
    assert_eq!(messages.len(), 7);
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
}

#[tokio::test]
async fn grpc_web_wants_a_key_too() {
    let server = Setup::new().start();
    let request = crate::support::Client::new(Grpc, server.address).http.post(server.url("/synapse.v1.AgentService/ListAgents"));
    let response = request.header("content-type", "application/grpc-web").body(frame(&ListAgentsRequest {})).send().await.unwrap();
    let status = response.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
    let told = match status {
        Some(status) => status,
        None => frames(response.bytes().await.unwrap()).1,
    };
    assert!(told.contains("16"), "{told}");
}

#[tokio::test]
async fn health_is_told_without_a_key() {
    let server = Setup::new().start();
    let mut health = HealthClient::new(server.client(Grpc).channel);
    let status = health.check(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner().status();
    assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving);
}

macro_rules! services {
    ($server:expr, $version:ident) => {{
        use tonic_reflection::pb::$version::ServerReflectionRequest;
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
        let ask = |question| ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let questions = [
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol("synapse.v1.ChatService".to_owned())),
        ];
        let mut client = ServerReflectionClient::new($server.client(Grpc).channel);
        let mut answers = client.server_reflection_info(futures_util::stream::iter(questions)).await.unwrap().into_inner();
        let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response else {
            panic!("no list")
        };
        let Some(MessageResponse::FileDescriptorResponse(files)) = answers.message().await.unwrap().unwrap().message_response else {
            panic!("no file")
        };
        (list.service.into_iter().map(|service| service.name).collect::<Vec<_>>(), files.file_descriptor_proto)
    }};
}

#[rstest]
#[tokio::test]
async fn reflection_tells_every_service(#[values("v1", "v1alpha")] version: &str) {
    let server = Setup::new().start();
    let (services, files) = if version == "v1" { services!(server, v1) } else { services!(server, v1alpha) };
    for method in synapse::grpc::METHODS {
        let name = method.grpc.trim_start_matches('/').split('/').next().unwrap();
        assert!(services.iter().any(|service| service == name), "{name}: {services:?}");
    }
    assert!(services.iter().any(|service| service == "grpc.health.v1.Health"), "{services:?}");
    let file = prost_types::FileDescriptorProto::decode(files[0].as_slice()).unwrap();
    assert_eq!(file.name(), "synapse/v1/chat.proto");
}
