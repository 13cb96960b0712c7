//! `fetch_url`: pages as text, and what is no page.

use serde_json::json;
use synapse::tool::fetch_url;

use crate::service::{Service, ok, redirect, response};
use crate::{OUTPUT_BYTES, allowing, call, network};

async fn fetch(service: &Service, path: &str) -> Result<String, String> {
    let tool = fetch_url::tool(fetch_url::FETCH_URL, &network().reach(&allowing(["127.0.0.1"].as_slice())));
    call(&tool, json!({"url": service.url(path)})).await
}

#[tokio::test]
async fn a_page_begins_with_its_final_address_and_its_title() {
    let page = "<html><head><title>Tides</title></head><body><p>High at <a href=\"/t\">14:05</a>.</p><script>x()</script></body></html>";
    let service = Service::start("127.0.0.1:0", move |asked| match asked.line.as_str() {
        "GET /old" => redirect("/new"),
        _ => ok("text/html; charset=utf-8", page),
    })
    .await;
    let told = fetch(&service, "/old").await.unwrap();
    assert_eq!(told, format!("{}\nTides\n\nHigh at [14:05][1].\n\n[1]: /t", service.url("/new")));
    assert!(service.asked()[0].head.contains("accept: text/html"));
}

#[tokio::test]
async fn json_and_plain_text_stay_as_they_are() {
    for (media_type, body) in [
        ("application/json", r#"{"a":  1}"#),
        ("text/plain", "a <b> c"),
        ("application/problem+json", "{}"),
        ("text/csv", "a,b"),
        ("", "a"),
    ] {
        let service = Service::always(ok(media_type, body)).await;
        assert_eq!(fetch(&service, "/").await.unwrap(), format!("{}\n\n{body}", service.url("/")), "{media_type}");
    }
}

#[tokio::test]
async fn a_page_may_name_its_encoding_itself() {
    let page = [b"<meta charset=\"iso-8859-2\"><p>" as &[u8], &[0xb1, 0xe6]].concat();
    let service = Service::always(ok("text/html", page)).await;
    assert!(fetch(&service, "/").await.unwrap().ends_with("\n\nąć"));
}

#[tokio::test]
async fn what_cannot_be_read_is_told() {
    let service = Service::always(ok("application/pdf", "%PDF")).await;
    assert!(fetch(&service, "/").await.unwrap_err().contains("`application/pdf` and has 4 bytes"));
    let service = Service::always(response("404 Not Found", &[("content-type", "text/html")], "<h1>gone</h1>")).await;
    assert_eq!(fetch(&service, "/").await.unwrap_err(), "the answer is 404 Not Found: <h1>gone</h1>");
    let service = Service::always(ok("text/html", vec![b'x'; OUTPUT_BYTES + 1])).await;
    assert!(fetch(&service, "/").await.unwrap_err().contains("is larger than"));
    let service = Service::always(ok("text/html", [0xff, 0xfe, 0xfd])).await;
    assert!(fetch(&service, "/").await.is_err());
}

#[tokio::test]
async fn the_old_name_is_the_same_tool() {
    let tool = fetch_url::tool(fetch_url::SCRAPE_URL, &network().reach(&allowing(true)));
    assert_eq!(tool.description().name, "scrape_url");
}
