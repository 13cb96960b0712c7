//! HTTP tools: what is sent, and what becomes of every kind of answer.

use std::time::Duration;

use serde_json::{Value, json};

use crate::service::{Reply, Service, ok, redirect, response};
use crate::{OUTPUT_BYTES, call, call_within, http_tool};

/// Calls a tool of these fields on a service, and returns what came of it.
async fn outcome(service: &Service, fields: &Value, arguments: Value) -> Result<String, String> {
    let mut record = json!({"url": service.url("/")});
    record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    call(&http_tool(&record), arguments).await
}

#[tokio::test]
async fn a_get_sends_what_the_url_does_not_use_as_query() {
    let service = Service::always(ok("application/json", r#"{"high": "14:05"}"#)).await;
    let record = json!({"url": service.url("/{harbour}?v=1"), "headers": {"Authorization": "Bearer s", "User-Agent": "mine"}});
    let arguments = json!({"harbour": "a/b", "day": "1 & 2", "n": 3, "list": [1, {"a": 2}], "none": null});
    assert_eq!(call(&http_tool(&record), arguments).await.as_deref(), Ok(r#"{"high": "14:05"}"#));
    let asked = service.asked_once();
    assert_eq!(asked.line, "GET /a%2Fb?v=1&day=1%20%26%202&n=3&list=%5B1%2C%7B%22a%22%3A2%7D%5D");
    assert!(asked.head.contains("authorization: bearer s") && asked.head.contains("user-agent: mine"), "{}", asked.head);
    assert!(asked.head.contains("accept-encoding: identity") && !asked.head.contains("idempotency-key"), "{}", asked.head);
}

#[tokio::test]
async fn a_post_sends_all_arguments_as_json_with_the_idempotency_id() {
    let service = Service::always(ok("text/plain", "made")).await;
    let fields = json!({"method": "POST", "url": service.url("/{id}")});
    assert_eq!(outcome(&service, &fields, json!({"id": 1, "a": {"b": [true]}})).await.as_deref(), Ok("made"));
    let asked = service.asked_once();
    assert_eq!((asked.line.as_str(), asked.body.as_str()), ("POST /1", r#"{"id":1,"a":{"b":[true]}}"#));
    assert!(asked.head.contains("content-type: application/json") && asked.head.contains("idempotency-key: call-1"), "{}", asked.head);
}

#[tokio::test]
async fn a_body_may_be_made_of_some_arguments_only() {
    let service = Service::always(ok("text/plain", "made")).await;
    let fields = json!({"method": "PUT", "url": service.url("/{id}"), "bodyProperties": ["a"]});
    outcome(&service, &fields, json!({"id": 1, "a": 2})).await.unwrap();
    assert_eq!(service.asked_once().body, r#"{"a":2}"#);
}

#[tokio::test]
async fn a_delete_carries_the_idempotency_id_and_no_body() {
    let service = Service::always(response("204 No Content", &[], "")).await;
    let told = outcome(&service, &json!({"method": "DELETE"}), json!({"id": 1})).await;
    assert_eq!(told.as_deref(), Ok(r#"{"error":"Empty response (Status: 204)"}"#));
    let asked = service.asked_once();
    assert_eq!((asked.line.as_str(), asked.body.as_str()), ("DELETE /?id=1", ""));
    assert!(asked.head.contains("idempotency-key: call-1"), "{}", asked.head);
}

#[tokio::test]
async fn a_status_that_is_no_success_is_a_failure_with_the_beginning_of_the_body() {
    for (status, body, told) in [
        ("404 Not Found", "no such harbour".to_owned(), "the answer is 404 Not Found: no such harbour".to_owned()),
        ("500 Internal Server Error", "ä".repeat(20_000), format!("the answer is 500 Internal Server Error: {}…", "ä".repeat(2_000))),
        ("503 Service Unavailable", String::new(), r#"{"error":"Empty response (Status: 503)"}"#.to_owned()),
        ("304 Not Modified", String::new(), r#"{"error":"Empty response (Status: 304)"}"#.to_owned()),
    ] {
        let service = Service::always(response(status, &[], body)).await;
        assert_eq!(outcome(&service, &json!({}), json!({})).await, Err(told), "{status}");
    }
    let service = Service::always(response("500 Broken", &[("content-type", "image/png")], [0xff, 0xfe, 0])).await;
    let failure = outcome(&service, &json!({}), json!({})).await.unwrap_err();
    assert!(failure.contains("500") && failure.contains("`image/png` and has 3 bytes"), "{failure}");
}

#[tokio::test]
async fn only_the_wanted_keys_of_a_json_answer_are_kept_if_it_has_any() {
    let fields = json!({"outputSchema": {"properties": {"high": {}, "low": {}}}});
    for (body, kept) in [
        (r#"{"high": 1, "secret": 2}"#, r#"{"high":1}"#),
        (r#"{"other": 1}"#, r#"{"other": 1}"#),
        (r#"[{"high": 1}]"#, r#"[{"high": 1}]"#),
        ("high: 1", "high: 1"),
    ] {
        let service = Service::always(ok("application/json", body)).await;
        assert_eq!(outcome(&service, &fields, json!({})).await.as_deref(), Ok(kept));
    }
}

#[tokio::test]
async fn an_answer_larger_than_the_limit_is_not_read() {
    let service = Service::always(ok("text/plain", vec![b'x'; 50 << 20])).await;
    let failure = outcome(&service, &json!({}), json!({})).await.unwrap_err();
    assert!(failure.ends_with("is larger than 1048576 bytes; ask for less"), "{failure}");
    let service = Service::always(ok("text/plain", vec![b'x'; OUTPUT_BYTES])).await;
    assert_eq!(outcome(&service, &json!({}), json!({})).await.unwrap().len(), OUTPUT_BYTES);
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n".to_vec();
    let service = Service::always(Reply::Endless(head, &[b'x'; 8_192])).await;
    let failure = outcome(&service, &json!({}), json!({})).await.unwrap_err();
    assert!(failure.contains("is larger than"), "{failure}");
    let service = Service::always(Reply::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"x-more: header\r\n")).await;
    assert!(outcome(&service, &json!({}), json!({})).await.unwrap_err().contains("broke off"));
}

#[tokio::test]
async fn a_host_that_never_answers_costs_no_more_than_the_time() {
    for sent in [b"" as &[u8], b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"] {
        let service = Service::always(Reply::Silence(sent)).await;
        let tool = http_tool(&json!({"url": service.url("/")}));
        let failure = call_within(&tool, json!({}), Duration::from_millis(300)).await.unwrap_err();
        assert!(failure.contains("gave no whole answer within 0.3 s"), "{failure}");
    }
}

#[tokio::test]
async fn a_host_that_breaks_off_or_is_not_there_is_named() {
    let service = Service::always(Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec())).await;
    assert!(outcome(&service, &json!({}), json!({})).await.unwrap_err().contains(&format!("`{}` broke off", service.address)));
    let service = Service::always(Reply::Bytes(b"nonsense".to_vec())).await;
    assert!(outcome(&service, &json!({}), json!({})).await.unwrap_err().contains("broke off"));
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure = call(&http_tool(&json!({"url": format!("http://{gone}/?key=secret")})), json!({})).await.unwrap_err();
    assert!(failure.contains("cannot be reached") && !failure.contains("secret"), "{failure}");
}

#[tokio::test]
async fn what_is_no_text_is_told_with_type_and_size() {
    for (media_type, body, told) in [
        ("image/png", &[0x89, b'P', 0xff][..], "`image/png` and has 3 bytes"),
        ("text/plain", &[b'a', 0xc3][..], "`text/plain` and has 2 bytes"),
        ("text/plain; charset=utf-8", b"a\0b", "`text/plain` and has 3 bytes"),
    ] {
        let service = Service::always(ok(media_type, body)).await;
        let failure = outcome(&service, &json!({}), json!({})).await.unwrap_err();
        assert!(failure.contains(told), "{failure}");
    }
    let service = Service::always(ok("text/plain; charset=iso-8859-1", [b'g', 0xfc])).await;
    assert_eq!(outcome(&service, &json!({}), json!({})).await.as_deref(), Ok("gü"));
}

/// Nothing is ever unpacked, so a bomb stays small, and a header that lies changes nothing.
#[tokio::test]
async fn a_packed_answer_is_not_unpacked() {
    let gzip: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 4, 0, 0x43, 0xbe, 0xb7, 0xe8, 1, 0, 0, 0];
    for encoding in ["gzip", "deflate", "br"] {
        let service = Service::always(response("200 OK", &[("content-encoding", encoding), ("content-type", "text/plain")], gzip)).await;
        assert!(outcome(&service, &json!({}), json!({})).await.unwrap_err().contains("has 21 bytes"));
        let service = Service::always(response("200 OK", &[("content-encoding", encoding)], "plain after all")).await;
        assert_eq!(outcome(&service, &json!({}), json!({})).await.as_deref(), Ok("plain after all"));
    }
}

#[tokio::test]
async fn a_get_follows_five_redirects_and_a_post_none() {
    let service = Service::start("127.0.0.1:0", |asked| match asked.line.split('/').nth(1).unwrap_or_default() {
        "5" => ok("text/plain", "here"),
        "loop" => redirect("/loop"),
        number => redirect(&format!("/{}", number.parse().map_or(1, |number: u32| number + 1))),
    })
    .await;
    assert_eq!(outcome(&service, &json!({}), json!({})).await.as_deref(), Ok("here"));
    assert_eq!(service.asked().len(), 6);
    let failure = outcome(&service, &json!({"url": service.url("/loop")}), json!({})).await.unwrap_err();
    assert!(failure.contains("redirects more than 5 times"), "{failure}");
    let failure = outcome(&service, &json!({"method": "POST"}), json!({})).await.unwrap_err();
    assert_eq!(failure, r#"{"error":"Empty response (Status: 302)"}"#);
}

#[tokio::test]
async fn a_redirect_carries_no_header_to_another_origin_and_none_back() {
    let headers = json!({"headers": {"Authorization": "Bearer s", "X-Key": "k"}});
    let home = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let back = format!("http://{home}/back");
    let other = Service::always(redirect(&back)).await;
    let (there, same) = (other.url("/"), format!("http://{home}/same"));
    let service = Service::start(&home.to_string(), move |asked| match asked.line.as_str() {
        "GET /" => redirect(&same),
        "GET /same" => redirect(&there),
        _ => ok("text/plain", "back"),
    })
    .await;
    assert_eq!(outcome(&service, &headers, json!({})).await.as_deref(), Ok("back"));
    let has = |head: &str| head.contains("authorization") || head.contains("x-key");
    assert_eq!(service.asked().iter().map(|asked| has(&asked.head)).collect::<Vec<_>>(), [true, true, false]);
    assert!(!has(&other.asked_once().head));
}
