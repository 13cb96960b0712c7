//! The document and the schema: what is checked in is what is served, and everything in it is implemented.

use std::path::Path;

use serde_json::Value;
use synapse::grpc::METHODS;
use synapse::wire::OPENAPI;
use tonic::Code;
use tonic_prost::ProstCodec;

use crate::support::Dialect::{Grpc, Rest};
use crate::support::{Server, Setup};

#[test]
#[expect(clippy::disallowed_methods, reason = "`UPDATE=1 cargo test` writes the document")]
fn the_document_that_is_checked_in_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/synapse.v1.json");
    if std::env::var("UPDATE").is_ok() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, OPENAPI).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == OPENAPI, "openapi/synapse.v1.json is stale; run `UPDATE=1 cargo test --test it openapi`");
}

#[test]
fn the_document_has_every_route_and_no_other() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let verbs = |item: &Value| item.as_object().unwrap().keys().filter(|key| *key != "parameters").map(String::clone).collect::<Vec<_>>();
    let mut told: Vec<(String, String)> =
        paths.iter().flat_map(|(path, item)| verbs(item).into_iter().map(|verb| (verb.to_uppercase(), path.clone()))).collect();
    let mut there: Vec<(String, String)> =
        METHODS.iter().filter_map(|method| method.rest).map(|(verb, path)| (verb.into(), path.into())).collect();
    told.sort();
    there.sort();
    assert_eq!(told, there);
}

/// Calls an rpc with an empty message, and returns the code that it ends with.
async fn code(server: &Server, path: &'static str) -> Code {
    let client = server.admin(Grpc);
    let mut grpc = tonic::client::Grpc::new(client.channel.clone());
    grpc.ready().await.unwrap();
    let mut request = tonic::Request::new(());
    request.metadata_mut().insert("authorization", client.authorization.unwrap().parse().unwrap());
    let path = http::uri::PathAndQuery::from_static(path);
    match grpc.server_streaming(request, path, ProstCodec::<(), ()>::default()).await {
        Err(status) => status.code(),
        Ok(answer) => answer.into_inner().message().await.err().map_or(Code::Ok, |status| status.code()),
    }
}

#[tokio::test]
async fn every_rpc_is_implemented() {
    let server = Setup::new().start();
    assert_eq!(METHODS.len(), 26);
    for method in METHODS {
        let code = code(&server, method.grpc).await;
        assert!(matches!(code, Code::Ok | Code::InvalidArgument), "{}: {code:?}", method.grpc);
    }
    for unknown in ["/synapse.v1.ChatService/Nothing", "/synapse.v1.NoService/Chat"] {
        assert_eq!(code(&server, unknown).await, Code::Unimplemented, "{unknown}");
    }
}

#[tokio::test]
async fn every_route_is_implemented() {
    let server = Setup::new().start();
    for (verb, path) in METHODS.iter().filter_map(|method| method.rest) {
        let path = path.replace(['{', '}'], "");
        let request = server.client(Rest).http.request(verb.parse().unwrap(), server.url(&path)).bearer_auth(&server.admin);
        let response = request.json(&serde_json::json!({})).send().await.unwrap();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        assert!(matches!(status, 200 | 400) || status == 404 && !text.contains("Not Found"), "{verb} {path}: {status} {text}");
    }
}

#[tokio::test]
async fn the_api_page_asks_no_other_host() {
    let server = Setup::new().start();
    for file in ["", "swagger-initializer.js", "index.css"] {
        let text = server.request("GET", &format!("/docs/{file}")).send().await.unwrap().text().await.unwrap();
        assert!(!text.contains("src=\"http") && !text.contains("href=\"http"), "{file}: {text}");
    }
    let settings = server.request("GET", "/docs/swagger-initializer.js").send().await.unwrap().text().await.unwrap();
    assert!(settings.contains("\"url\": \"/openapi.json\"") && settings.contains("\"validatorUrl\": \"none\""), "{settings}");
}
