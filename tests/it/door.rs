//! The door: who is let in, what routes there are, and what every answer carries.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Outcome, Server, Setup, refusal, refused};

#[rstest]
#[tokio::test]
async fn only_a_bearer_key_opens_the_door(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    let (client, key) = (server.client(dialect), &server.key);
    let missing = refused(401, "Not authenticated");
    let wrong = refused(401, "Invalid or revoked API key");
    let mut cases = vec![(client.stranger(), missing.clone())];
    for text in ["Basic eDp5", "Bearer", "Bearer ", "Bearer  ", key] {
        cases.push((client.authorization(text), missing.clone()));
    }
    for token in ["sk-syn-wrong", "wrong", &key[..70], &format!("{key}0"), &key.to_uppercase()] {
        cases.push((client.bearer(token), wrong.clone()));
    }
    for (stranger, outcome) in cases {
        assert_eq!(stranger.chat(json!({"message": "hi"})).await, outcome);
        assert_eq!(stranger.stream(json!({"message": "hi"})).await.err(), Some(outcome.clone()));
        for rpc in ["ListAgents", "ListOrchestrations", "ListSessions", "ListKeys"] {
            assert_eq!(stranger.call(rpc, json!({})).await, outcome);
        }
    }
    for text in [format!("bearer {key}"), format!("BEARER   {key} ")] {
        assert_eq!(client.authorization(text.trim_end()).say(json!({"message": "hi"})).await, "hi");
    }
}

#[tokio::test]
async fn a_key_elsewhere_is_no_key() {
    let server = Setup::new().start();
    let http = &server.client(Rest).http;
    let key = &server.key;
    let (query, url) = (server.url(&format!("/api/v1/agents?api_key={key}")), server.url("/api/v1/agents"));
    for request in [http.get(query), http.get(&url).header("x-api-key", key), http.get(&url).header("cookie", format!("key={key}"))] {
        assert_eq!(refusal(request.send().await.unwrap()).await, refused(401, "Not authenticated"));
    }
}

#[rstest]
#[tokio::test]
async fn the_key_is_asked_before_the_body(#[values("{bad", "[]", "{}")] body: &'static str) {
    let server = Setup::new().start();
    for path in ["/api/v1/chat", "/api/v1/chat/stream", "/api/settings/api-keys"] {
        let request = server.client(Rest).http.post(server.url(path)).bearer_auth("sk-syn-wrong").body(body);
        let response = request.header("content-type", "application/json").send().await.unwrap();
        assert_eq!(refusal(response).await, refused(401, "Invalid or revoked API key"));
    }
}

async fn status_and_allow(server: &Server, verb: &str, path: &str) -> (u16, String, String) {
    let response = server.request(verb, path).send().await.unwrap();
    let mut allow: Vec<&str> = response.headers().get("allow").map_or("", |allow| allow.to_str().unwrap()).split(',').collect();
    allow.sort_unstable();
    (response.status().as_u16(), allow.join(","), response.text().await.unwrap())
}

#[rstest]
#[case("GET", "/api/v1/chat", "POST")]
#[case("DELETE", "/api/v1/chat/stream", "POST")]
#[case("POST", "/api/v1/agents", "GET,HEAD")]
#[case("PUT", "/api/v1/sessions/s", "DELETE,GET,HEAD")]
#[case("PATCH", "/api/v1/sessions", "GET,HEAD")]
#[case("POST", "/healthz", "GET,HEAD")]
#[tokio::test]
async fn a_wrong_method_says_which_are_right(#[case] verb: &str, #[case] path: &str, #[case] allow: &str) {
    let server = Setup::new().start();
    let detail = r#"{"detail":"Method Not Allowed"}"#;
    assert_eq!(status_and_allow(&server, verb, path).await, (405, allow.to_owned(), detail.to_owned()));
    assert_eq!(status_and_allow(&server, "OPTIONS", path).await, (204, allow.to_owned(), String::new()));
}

#[rstest]
#[tokio::test]
async fn an_unknown_path_is_not_found(
    #[values("/", "/api/v1", "/api/v1/nope", "/agents/", "/api/v1/agents/a1/x", "/docs/nope.js", "/api/v2/agents")] path: &str,
) {
    let server = Setup::new().start();
    for verb in ["GET", "POST"] {
        let response = server.request(verb, path).send().await.unwrap();
        if verb == "GET" || !path.starts_with("/docs") {
            assert_eq!(refusal(response).await, refused(404, "Not Found"), "{verb} {path}");
        }
    }
}

#[tokio::test]
async fn a_slash_too_many_leads_to_the_right_path() {
    let server = Setup::new().start();
    for (verb, path, right) in
        [("POST", "/api/v1/chat/", "/api/v1/chat"), ("GET", "/api/v1/sessions/?page_size=1", "/api/v1/sessions?page_size=1")]
    {
        let response = server.request(verb, path).send().await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["location"]), (307, &right.parse().unwrap()));
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = Setup::new().start();
    for path in ["/api/v1/agents", "/api/v1/agents/a1", "/healthz", "/openapi.json"] {
        let get = server.request("GET", path).send().await.unwrap();
        let head = server.request("HEAD", path).send().await.unwrap();
        assert_eq!(head.status(), get.status());
        for name in ["content-type", "content-length"] {
            assert_eq!(head.headers().get(name), get.headers().get(name), "{path} {name}");
        }
        assert_eq!(head.bytes().await.unwrap().len(), 0);
    }
    assert_eq!(server.request("HEAD", "/api/v1/agents/x").send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn what_is_public_needs_no_key() {
    let server = Setup::new().start();
    let get = async |path: &str| server.client(Rest).http.get(server.url(path)).send().await.unwrap();
    assert_eq!(get("/healthz").await.json::<Value>().await.unwrap(), json!({"status": "alive"}));
    assert_eq!(get("/readyz").await.json::<Value>().await.unwrap(), json!({"status": "ready", "problems": []}));
    let document = get("/openapi.json").await;
    assert_eq!(document.headers()["content-type"], "application/json");
    assert_eq!(document.text().await.unwrap(), synapse::wire::OPENAPI);
    assert!(get("/docs").await.status().is_redirection());
    let page = get("/docs/").await.text().await.unwrap();
    assert!(page.contains("swagger-ui") && !page.contains("https://"), "the page needs no other host: {page}");
    for file in ["swagger-ui-bundle.js", "swagger-ui.css", "swagger-initializer.js"] {
        assert!(page.contains(file) && get(&format!("/docs/{file}")).await.status().is_success(), "{file}");
    }
}

#[rstest]
#[tokio::test]
async fn what_happens_is_counted(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    server.client(dialect).say(json!({"message": "one two"})).await;
    let response = server.request("GET", "/metrics").send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = response.text().await.unwrap();
    let route = if dialect == Rest { "/api/v1/chat" } else { "/synapse.v1.ChatService/Chat" };
    for line in [
        &format!("synapse_requests_total{{route=\"{route}\",status=\"200\"}} 1"),
        "synapse_model_calls_total{provider=\"scripted\",outcome=\"answered\"} 1",
        "synapse_tokens_total{provider=\"scripted\",direction=\"input\"} 2",
        "# EOF",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
}

#[tokio::test]
async fn every_answer_carries_a_request_id() {
    let server = Setup::new().start();
    let id = async |given: &str| {
        let request = server.request("GET", "/api/v1/agents").header("x-request-id", given);
        request.send().await.unwrap().headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("my-id.1").await, "my-id.1");
    let (first, second) = (id("").await, id("with blanks").await);
    assert!(first.len() == 32 && second.len() == 32 && first != second, "{first} {second}");
    assert_eq!(id(&"x".repeat(129)).await.len(), 32);
    for path in ["/nope", "/api/v1/chat"] {
        let response = server.client(Rest).http.get(server.url(path)).send().await.unwrap();
        assert!(response.headers().contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn a_callers_trace_is_in_the_log() {
    let server = Setup::new().environment("SYNAPSE_LOG_JSON", true).start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = server.request("GET", "/api/v1/agents").header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    request.header("x-request-id", "mine").send().await.unwrap();
    let line: Value = serde_json::from_str(&server.logged("answered").await).unwrap();
    let span = &line["span"];
    assert_eq!((&span["trace_id"], &span["parent_span_id"]), (&json!(trace), &json!("00f067aa0ba902b7")));
    assert_eq!((&span["request_id"], &span["route"]), (&json!("mine"), &json!("/api/v1/agents")));
    assert_eq!((&line["fields"]["status"], &line["fields"]["method"]), (&json!(200), &json!("GET")));
}

#[tokio::test]
async fn pages_of_other_origins_may_call_when_they_are_listed() {
    let server = Setup::new().environment("CORS_ORIGINS", "http://localhost:3000, http://other").start();
    let origin = async |verb: &str, origin: &str| {
        let request = server.request(verb, "/api/v1/chat").header("origin", origin).header("access-control-request-method", "POST");
        let response = request.header("access-control-request-headers", "authorization,content-type").send().await.unwrap();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), header("access-control-allow-origin"), header("access-control-allow-headers"))
    };
    let (status, allowed, headers) = origin("OPTIONS", "http://localhost:3000").await;
    assert_eq!((status, allowed.as_deref()), (200, Some("http://localhost:3000")));
    assert!(headers.unwrap().contains("authorization"));
    assert_eq!(origin("POST", "http://other").await.1.as_deref(), Some("http://other"));
    assert_eq!(origin("OPTIONS", "http://evil").await.1, None);
    let closed = Setup::new().start();
    let response = closed.request("GET", "/api/v1/agents").header("origin", "http://localhost:3000").send().await.unwrap();
    assert!(!response.headers().contains_key("access-control-allow-origin"), "nobody is listed");
}

#[tokio::test]
async fn pages_may_send_what_grpc_web_clients_send() {
    let server = Setup::new().environment("CORS_ORIGINS", "*").start();
    let sent = ["authorization", "content-type", "x-grpc-web", "x-user-agent", "grpc-timeout", "traceparent", "last-event-id"];
    let preflight = server.request("OPTIONS", "/synapse.v1.ChatService/StreamChat").header("origin", "http://page");
    let preflight = preflight.header("access-control-request-method", "POST").header("access-control-request-headers", sent.join(","));
    let response = preflight.send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let allowed: Vec<&str> = response.headers()["access-control-allow-headers"].to_str().unwrap().split(',').collect();
    for name in sent {
        assert!(allowed.contains(&name), "{name}: {allowed:?}");
    }
}

#[rstest]
#[tokio::test]
async fn errors_have_one_form_on_every_route(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    for (rpc, request) in [
        ("GetAgent", json!({"agent_id": "x"})),
        ("GetOrchestration", json!({"orchestration_id": "x"})),
        ("GetSession", json!({"session_id": "x"})),
        ("DeleteSession", json!({"session_id": "x"})),
    ] {
        let outcome = server.client(dialect).call(rpc, request).await;
        assert!(matches!(&outcome, Outcome::Refused { status: 404, detail } if detail.contains("'x' not found")), "{outcome:?}");
    }
}

/// tonic looks at the path of a call alone: no other verb may carry one past the keys.
#[tokio::test]
async fn no_verb_carries_a_call_past_the_keys() {
    let server = Setup::new().environment("SYNAPSE_GRPC_PORT", 0).start();
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for address in [server.address, server.grpc_address()] {
        for method in synapse::grpc::METHODS {
            for verb in ["OPTIONS", "GET", "HEAD", "PUT", "DELETE", "POST"] {
                let request = client.request(verb.parse().unwrap(), format!("http://{address}{}", method.grpc));
                let response = request.header("content-type", "application/grpc").body(vec![0; 5]).send().await.unwrap();
                let refused = response.headers().get("grpc-status").is_some_and(|status| status == "16");
                assert!(refused || response.status() == 405, "{verb} {}: {response:?}", method.grpc);
            }
        }
    }
    assert_eq!(server.admin(Grpc).call("ListKeys", json!({})).await.answer().as_array().unwrap().len(), 1);
}
