//! The REST dialect of the client.

use reqwest::{Response, Url};
use serde_json::Value;
use synapse::grpc::METHODS;

use super::{Client, Events, Outcome};

/// Makes a client that goes through no proxy and follows no redirect.
pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

pub(super) async fn call(client: &Client, rpc: &str, request: Value) -> Outcome {
    let response = send(client, rpc, request).await;
    if !response.status().is_success() {
        return refusal(response).await;
    }
    assert_eq!(response.headers()["content-type"], "application/json");
    let status = response.status().as_u16();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(status, if is_unfinished(rpc, &answer) { 202 } else { 200 }, "{answer}");
    Outcome::Answered(answer)
}

/// Tells whether an answer comes before the work that was asked for is finished.
fn is_unfinished(rpc: &str, answer: &Value) -> bool {
    match rpc {
        "Chat" => answer["status"] != "completed",
        "Run" | "Resume" | "RetryRun" => answer["status"] == "running",
        _ => false,
    }
}

pub(super) async fn stream(client: &Client, rpc: &str, request: Value) -> Result<Events, Outcome> {
    let response = send(client, rpc, request).await;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    for (name, value) in [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"), ("x-accel-buffering", "no")]
    {
        assert_eq!(response.headers()[name], value);
    }
    Ok(Events::rest(response))
}

async fn send(client: &Client, rpc: &str, request: Value) -> Response {
    let method = METHODS.iter().find(|method| method.grpc.ends_with(&format!("/{rpc}"))).unwrap();
    let (verb, pattern) = method.rest.unwrap();
    let Value::Object(mut fields) = request else { panic!("a request is an object") };
    let mut url = Url::parse(&format!("http://{}", client.address)).unwrap();
    for part in pattern.trim_start_matches('/').split('/') {
        let parameter = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        let given = parameter.map(|name| fields.shift_remove(name).unwrap());
        url.path_segments_mut().unwrap().pop_if_empty().push(given.as_ref().map_or(part, |given| given.as_str().unwrap()));
    }
    if verb != "POST" {
        url.query_pairs_mut().extend_pairs(fields.iter().map(|(name, value)| (name, text(value))));
    }
    let builder = client.http.request(verb.parse().unwrap(), url);
    let builder = if verb == "POST" { builder.json(&fields) } else { builder };
    let builder = client.authorization.iter().fold(builder, |builder, authorization| builder.header("authorization", authorization));
    let builder = client.headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
    builder.send().await.unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Reads a refusal, which has exactly one form.
pub(crate) async fn refusal(response: Response) -> Outcome {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers().get("www-authenticate").is_some(), status == 401);
    let body: Value = response.json().await.unwrap();
    let detail = body["detail"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    Outcome::Refused { status, detail }
}
