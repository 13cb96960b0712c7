//! Connections that are slow, half open, gone, encrypted, or for gRPC alone.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rstest::rstest;
use serde_json::json;
use synapse::wire::v1::ListAgentsRequest;
use synapse::wire::v1::agent_service_client::AgentServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::Endpoint;

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Certificate, Client, Server, Setup, eventually};

/// Sends bytes, and returns all that comes until the server closes the connection.
async fn until_closed(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open");
    String::from_utf8_lossy(&answer).into_owned()
}

#[rstest]
#[case::nothing(b"")]
#[case::half_a_line(b"GET /healthz HT")]
#[case::half_a_head(b"POST /api/v1/chat HTTP/1.1\r\nhost: x\r\ncontent-")]
#[case::half_a_preface(b"PRI * HTTP/2.0\r\n")]
#[case::a_preface_alone(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")]
#[tokio::test]
async fn a_slow_loris_is_closed(#[case] bytes: &[u8]) {
    let server = Setup::new().environment("SYNAPSE_HEADER_TIMEOUT", 0.3).start();
    until_closed(&server, bytes).await;
    assert_eq!(server.client(Rest).say(json!({"message": "hi"})).await, "hi");
}

#[tokio::test]
async fn a_slow_body_is_refused() {
    let server = Setup::new().environment("SYNAPSE_BODY_TIMEOUT", 0.3).start();
    let answer = until_closed(&server, (head(&server.key, 99, "") + "{").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4") && answer.contains("{\"detail\":\""), "{answer}");
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let server = Setup::new().environment("SYNAPSE_HEADER_TIMEOUT", 0.3).start();
    for bytes in [&b"\x16\x03\x01\x00\x05hello\r\n\r\n"[..], b"HELLO\r\n\r\n", b"GET / HTTP/1.1\r\n\0\r\n\r\n"] {
        let answer = until_closed(&server, bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let long = format!("GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(300_000));
    let answer = until_closed(&server, long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[rstest]
#[case::silence("")]
#[case::half_a_head("GET /healthz HT")]
#[tokio::test]
async fn a_connection_that_was_used_is_closed_as_well(#[case] then: &str) {
    let server = Setup::new().environment("SYNAPSE_HEADER_TIMEOUT", 0.3).start();
    let answer = until_closed(&server, format!("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n{then}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_room() {
    let server = Setup::new().environment("SYNAPSE_MAX_CONNECTIONS", 2).environment("SYNAPSE_HEADER_TIMEOUT", 0.5).start();
    let idle = [TcpStream::connect(server.address).await.unwrap(), TcpStream::connect(server.address).await.unwrap()];
    assert_eq!(server.client(Rest).say(json!({"message": "hi"})).await, "hi", "once the idle ones are closed");
    drop(idle);
}

/// Returns the head of a chat's request.
fn head(key: &str, length: usize, further: &str) -> String {
    format!(
        "POST /api/v1/chat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n{further}\r\n"
    )
}

#[tokio::test]
async fn who_asks_whether_to_go_on_is_told_before_the_body() {
    let server = Setup::new().start();
    let answer = until_closed(&server, head("sk-syn-wrong", 99, "expect: 100-continue\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let body = r#"{"message": "hi"}"#;
    let allowed = head(&server.key, body.len(), "expect: 100-continue\r\nconnection: close\r\n") + body;
    let answer = until_closed(&server, allowed.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_usable() {
    let server = Setup::new().start();
    let body = r#"{"message": "hi"}"#;
    let calls = head("sk-syn-wrong", body.len(), "") + body + &head(&server.key, body.len(), "connection: close\r\n") + body;
    let answer = until_closed(&server, calls.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("HTTP/1.1 200 OK"), "{answer}");
}

async fn connections(server: &Server) -> String {
    let text = server.request("GET", "/metrics").send().await.unwrap().text().await.unwrap();
    text.lines().find_map(|line| line.strip_prefix("synapse_connections ")).unwrap().to_owned()
}

#[tokio::test]
async fn clients_that_vanish_leave_nothing_behind() {
    let server = Setup::new().script(json!({"text": "long", "delay_ms": 60_000})).start();
    let body = r#"{"message": "hi"}"#;
    let whole = head(&server.key, body.len(), "") + body;
    let stream = whole.replace("/chat ", "/chat/stream ");
    for bytes in ["PO".to_owned(), head(&server.key, 99, "") + body, whole, stream] {
        for _ in 0..5 {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(bytes.as_bytes()).await.unwrap();
        }
    }
    // Only the connection that asks is left.
    eventually("the end of all connections", async || (connections(&server).await == "1").then_some(())).await;
}

fn with_tls(setup: Setup) -> (Server, Arc<Certificate>) {
    let certificate = Certificate::new();
    let (chain, key) = (setup.beside("chain.pem"), setup.beside("key.pem"));
    std::fs::write(&chain, &certificate.pem).unwrap();
    std::fs::write(&key, &certificate.key).unwrap();
    let server = setup.environment("SYNAPSE_TLS_CERT", chain.display()).environment("SYNAPSE_TLS_KEY", key.display()).start();
    (server, certificate)
}

fn connector(certificate: &Certificate, protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der.clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn tls_speaks_http_1_and_http_2() {
    let (server, certificate) = with_tls(Setup::new());
    let root = reqwest::Certificate::from_pem(certificate.pem.as_bytes()).unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let url = format!("https://{}/api/v1/agents", server.address);
    assert_eq!(http.get(url).bearer_auth(&server.key).send().await.unwrap().status(), 200);
    for (offered, chosen) in [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)] {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector(&certificate, offered).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol().map(|name| std::str::from_utf8(name).unwrap()), chosen);
    }
}

#[tokio::test]
async fn tls_carries_grpc() {
    let (server, certificate) = with_tls(Setup::new());
    let (tls, address) = (connector(&certificate, &["h2"]), server.address);
    let connect = tower::service_fn(move |_| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            tls.connect(ServerName::try_from("localhost").unwrap(), stream).await.map(TokioIo::new)
        }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connect).await.unwrap();
    let mut request = tonic::Request::new(ListAgentsRequest {});
    request.metadata_mut().insert("authorization", format!("Bearer {}", server.key).parse().unwrap());
    let agents = AgentServiceClient::new(channel).list_agents(request).await.unwrap().into_inner().agents;
    assert_eq!(agents[0].id, "a1");
}

#[tokio::test]
async fn a_silent_client_of_tls_is_closed() {
    let (server, _certificate) = with_tls(Setup::new().environment("SYNAPSE_HEADER_TIMEOUT", 0.3));
    for bytes in [&b""[..], b"\x16\x03\x01"] {
        assert_eq!(until_closed(&server, bytes).await, "");
    }
}

#[test]
fn a_certificate_without_its_key_stops_the_start() {
    let failed = Setup::new().environment("SYNAPSE_TLS_CERT", "chain.pem").try_start().err().unwrap();
    assert!(failed.errors.contains("`SYNAPSE_TLS_CERT` and `SYNAPSE_TLS_KEY` go together"), "{}", failed.errors);
}

#[tokio::test]
async fn a_second_port_speaks_grpc_alone() {
    let server = Setup::new().environment("SYNAPSE_GRPC_PORT", 0).start();
    let address = server.grpc_address();
    let client = |dialect: Dialect| Client::new(dialect, address).bearer(&server.key);
    assert_eq!(client(Grpc).say(json!({"message": "hi"})).await, "hi");
    let url = format!("http://{address}/api/v1/agents");
    let rest = client(Rest).http.get(url).bearer_auth(&server.key).send().await.unwrap();
    assert!(!rest.status().is_success() || rest.headers().get("grpc-status").is_some_and(|status| status == "12"), "{rest:?}");
    assert_eq!(server.client(Grpc).say(json!({"message": "hi"})).await, "hi", "the first port speaks both");
}
