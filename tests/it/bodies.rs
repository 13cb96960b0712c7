//! Bodies that are no request: each gets a clear answer, and the server goes on.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::{Grpc, Rest};
use crate::support::{Outcome, Server, Setup, refusal, refused};

const PATHS: [&str; 2] = ["/api/v1/chat", "/api/v1/chat/stream"];

async fn post(server: &Server, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
    let request = server.request("POST", path).header("content-type", "application/json").body(body);
    refusal(request.send().await.unwrap()).await.refusal()
}

#[rstest]
#[case::malformed("{bad", "the body is not valid JSON: key must be a string at line 1 column 2")]
#[case::cut_off(r#"{"message": "hi"#, "the body is not valid JSON: EOF while parsing a string at line 1 column 15")]
#[case::no_json("hello", "the body is not valid JSON: expected value at line 1 column 1")]
#[case::empty("", "the body is empty; send a JSON object")]
#[case::blank(" \n", "the body is empty; send a JSON object")]
#[case::an_array(r#"["hi"]"#, "the body must be a JSON object")]
#[case::a_text(r#""hi""#, "the body must be a JSON object")]
#[case::null("null", "the body must be a JSON object")]
#[case::an_end_that_is_none(r#"{"message": "hi"} x"#, "the body is not valid JSON: trailing characters at line 1 column 19")]
#[case::an_empty_object("{}", "`message` is required")]
#[case::a_null_message(r#"{"message": null}"#, "`message` is required")]
#[case::a_number(r#"{"message": 5}"#, "`message`: invalid type: integer `5`, expected a string at line 1 column 13")]
#[case::an_object(r#"{"message": {}}"#, "`message`: invalid type: map, expected a string at line 1 column 12")]
#[case::no_list(r#"{"message": "hi", "images": "x"}"#, "`images`: invalid type: string \"x\", expected a sequence at line 1 column 31")]
#[case::no_text(r#"{"message": "hi", "images": [5]}"#, "`images[0]`: invalid type: integer `5`, expected a string at line 1 column 30")]
#[case::no_session(
    r#"{"message": "hi", "session_id": true}"#,
    "`session_id`: invalid type: boolean `true`, expected a string at line 1 column 36"
)]
#[tokio::test]
async fn a_wrong_body_says_what_is_wrong(#[case] body: &'static str, #[case] detail: &str) {
    let server = Setup::new().start();
    for path in PATHS {
        assert_eq!(post(&server, path, body).await, (400, detail.to_owned()));
    }
}

#[tokio::test]
async fn text_that_is_no_utf_8_is_refused() {
    let server = Setup::new().start();
    for path in PATHS {
        let (status, detail) = post(&server, path, &b"{\"message\": \"\xff\xfe\"}"[..]).await;
        assert!(status == 400 && detail.starts_with("the body is not valid JSON: "), "{status}: {detail}");
    }
}

#[tokio::test]
async fn what_the_schema_does_not_know_is_ignored() {
    let server = Setup::new().start();
    let body = json!({"message": "hi", "unknown": {"a": [1]}, "stream": true, "usage": null});
    let response = server.request("POST", "/api/v1/chat").json(&body).send().await.unwrap();
    assert_eq!(response.json::<Value>().await.unwrap()["response"], "hi");
}

#[tokio::test]
async fn nesting_without_end_does_no_harm() {
    let server = Setup::new().start();
    for field in ["message", "unknown"] {
        let body = format!(r#"{{"message": "hi", "{field}": {}"#, "[".repeat(200_000));
        let (status, detail) = post(&server, "/api/v1/chat", body).await;
        assert_eq!(status, 400, "{detail}");
    }
    assert_eq!(server.client(Rest).say(json!({"message": "still here"})).await, "still here");
}

#[tokio::test]
async fn a_body_larger_than_the_limit_is_refused() {
    let server = Setup::new().start();
    let large = json!({"message": "x".repeat(20_000_000)}).to_string();
    for path in PATHS {
        let expected = (413, "the body is larger than 16777216 bytes".to_owned());
        assert_eq!(post(&server, path, large.clone()).await, expected);
        let pieces: Vec<Result<Vec<u8>, std::io::Error>> = large.as_bytes().chunks(1 << 20).map(|piece| Ok(piece.to_vec())).collect();
        let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        assert_eq!(post(&server, path, chunked).await, expected, "without a content-length");
    }
    let (status, detail) = server.client(Grpc).chat(json!({"message": "x".repeat(20_000_000)})).await.refusal();
    assert!(status == 400 && detail.contains("too large"), "{status}: {detail}");
    assert_eq!(server.client(Rest).say(json!({"message": "still here"})).await, "still here");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn refused_bodies_take_no_memory() {
    let server = Setup::new().start();
    let before = server.process.peak_memory();
    let large = bytes::Bytes::from(vec![b' '; 20_000_000]);
    let all = (0..16).map(|_| post(&server, "/api/v1/chat", large.clone()));
    for (status, _) in futures_util::future::join_all(all).await {
        assert_eq!(status, 413);
    }
    let grown = server.process.peak_memory() - before;
    assert!(grown < 32 << 20, "16 bodies of 20 MB took {grown} bytes");
}

#[rstest]
#[tokio::test]
async fn a_body_of_another_type_is_refused(
    #[values("text/plain", "application/x-www-form-urlencoded", "", "json", "application/jsonx", "multipart/form-data")] content_type: &str,
) {
    let server = Setup::new().start();
    for path in PATHS {
        let mut request = server.request("POST", path).body(r#"{"message": "hi"}"#);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let detail = format!("the body must be JSON with `content-type: application/json`, not `{content_type}`");
        assert_eq!(refusal(request.send().await.unwrap()).await, refused(415, &detail));
    }
}

#[rstest]
#[tokio::test]
async fn every_json_type_is_taken(
    #[values("application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json")] content_type: &str,
) {
    let server = Setup::new().start();
    let request = server.request("POST", "/api/v1/chat").header("content-type", content_type).body(r#"{"message": "hi"}"#);
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[rstest]
#[case("page_size=x", "`page_size` must be a number")]
#[case("page_size=-1", "`page_size`: invalid value: integer `-1`, expected u32")]
#[case("page_size=201", "`page_size` must be at most 200, not 201")]
#[case("page_size=1&page_size=2", "`page_size` is given twice")]
#[tokio::test]
async fn a_wrong_query_says_what_is_wrong(#[case] query: &str, #[case] detail: &str) {
    let server = Setup::new().start();
    let response = server.request("GET", &format!("/api/v1/sessions?{query}")).send().await.unwrap();
    assert_eq!(refusal(response).await, refused(400, detail));
}

#[tokio::test]
async fn a_detail_does_not_repeat_a_large_input() {
    let server = Setup::new().start();
    let outcome = refusal(server.request("GET", &format!("/api/v1/agents/{}", "x".repeat(20_000))).send().await.unwrap()).await;
    let Outcome::Refused { status: 404, detail } = outcome else { panic!("{outcome:?}") };
    assert!(detail.len() <= 1_000, "{}", detail.len());
}
