//! Stopping: nothing new is taken, what goes on may end, and what takes too long is told to come again.

use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{ModelService, Setup, Told, eventually, refused};

async fn refuses_connections(address: std::net::SocketAddr) {
    eventually("the closed port", async || TcpStream::connect(address).await.err()).await;
}

#[rstest]
#[tokio::test]
async fn what_goes_on_comes_to_its_end(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let mut server = Setup::new().setting("model", "locv1.m").setting("local_compatible_base_url", service.url()).start();
    let client = server.client(dialect);
    let chat = tokio::spawn(async move { client.chat(json!({"message": "hi", "session_id": "s"})).await });
    let mut chat_call = service.called().await;
    let events = server.client(dialect).stream(json!({"message": "hi"})).await.unwrap();
    let mut stream_call = service.called().await;
    server.process.terminate();
    refuses_connections(server.address).await;
    assert!(server.process.runs());
    chat_call.answer("Hello.").await;
    stream_call.answer("Good bye.").await;
    assert_eq!(chat.await.unwrap().answer()["response"], "Hello.");
    let events = events.whole().await;
    assert_eq!(events[events.len() - 2]["content"], "Good bye.");
    assert_eq!(server.process.ended().await, Some(0));
}

#[rstest]
#[tokio::test]
async fn a_stream_that_takes_too_long_is_told_to_come_again(#[values(Rest, Grpc)] dialect: Dialect) {
    let setup = Setup::new().script(json!({"text": "a b c d e f g h", "chunk_chars": 2, "chunk_delay_ms": 5000}));
    let mut server = setup.environment("SYNAPSE_SHUTDOWN_TIMEOUT", 0.5).start();
    let mut events = server.client(dialect).stream(json!({"message": "hi", "session_id": "s"})).await.unwrap();
    let client = server.client(dialect);
    let chat = tokio::spawn(async move { client.chat(json!({"message": "hi", "session_id": "other"})).await });
    events.until("text_delta").await;
    server.logged("synapse::access").await; // the stream's head
    server.process.terminate();
    assert_eq!(events.rest_of().await, [Told::ComeAgain]);
    assert_eq!(chat.await.unwrap(), refused(503, "the server is stopping; try again in a moment"));
    assert_eq!(server.process.ended().await, Some(0));
}

#[rstest]
#[tokio::test]
async fn an_idle_server_stops_at_once(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut server = Setup::new().start();
    let client = server.client(dialect);
    client.say(json!({"message": "this connection stays open"})).await;
    let started = std::time::Instant::now();
    server.process.terminate();
    assert_eq!(server.process.ended().await, Some(0));
    assert!(started.elapsed().as_secs() < 2, "{:?}", started.elapsed());
    drop(client);
}

#[tokio::test]
async fn a_stopping_server_is_not_ready() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let service = ModelService::new().await;
    let server = Setup::new().setting("model", "locv1.m").setting("local_compatible_base_url", service.url()).start();
    // A request that has begun before the stop and ends after it is answered as the server then is.
    let mut late = TcpStream::connect(server.address).await.unwrap();
    late.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let _chat = server.client(Rest).stream(json!({"message": "hi"})).await.unwrap();
    let _call = service.called().await;
    server.process.terminate();
    server.logged("stopping: no new work is taken").await;
    refuses_connections(server.address).await;
    late.write_all(b"\r\n").await.unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with(r#"{"detail":"the server is stopping"}"#), "{answer}");
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused() {
    let server = Setup::new().start();
    let failed = server.second();
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.errors.contains("another synapse serves"), "{}", failed.errors);
    let ready: Value = server.request("GET", "/readyz").send().await.unwrap().json().await.unwrap();
    assert_eq!(ready["status"], "ready");
}
