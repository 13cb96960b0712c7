//! Tools of `custom_tools.json` that call something over HTTP.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::network::{Reach, Request};
use super::url_template::{Filling, add_query};
use super::{Call, Failure, Origin, Output, Tool};
use crate::definition::{CustomTool, HttpCall};
use crate::provider::ToolDescription;

/// Tells a host that two requests are the same attempt.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Makes the tool that does an HTTP call.
pub fn tool(tool: &CustomTool, http: &HttpCall, reach: &Arc<Reach>) -> Arc<dyn Tool> {
    let description = ToolDescription { name: tool.name.clone(), description: tool.description.clone(), schema: tool.input_schema.clone() };
    Arc::new(HttpTool { description: Arc::new(description), http: Arc::new(http.clone()), reach: reach.clone() })
}

#[derive(Clone)]
struct HttpTool {
    description: Arc<ToolDescription>,
    http: Arc<HttpCall>,
    reach: Arc<Reach>,
}

impl Tool for HttpTool {
    fn description(&self) -> &Arc<ToolDescription> {
        &self.description
    }

    fn origin(&self) -> Origin {
        Origin::Custom
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Output, Failure>> {
        let tool = self.clone();
        Box::pin(async move {
            let request = request(&tool.http, &tool.description.schema, &call)?;
            let answer = tool.reach.ask(request, call.deadline, call.output_bytes).await?.succeeded()?;
            let text = if answer.body.is_empty() { answer.empty() } else { only(&tool.http.output_keys, answer.text()?) };
            Ok(Output::text(text))
        })
    }
}

/// Makes the request of a call.
fn request(http: &HttpCall, schema: &Value, call: &Call) -> Result<Request, Failure> {
    let method: Method = http.method.parse().map_err(|_| Failure::new(format!("`{}` is no method of HTTP", http.method)))?;
    let mut headers = static_headers(&http.headers)?;
    let mut filling = Filling::new(&call.arguments, schema);
    let mut url = filling.url(&http.url)?;
    let mut body = None;
    if matches!(method, Method::GET | Method::DELETE | Method::HEAD | Method::OPTIONS) {
        add_query(&mut url, call.arguments.iter().filter(|(name, _)| !filling.used.contains(*name)));
    } else {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        body = Some(Value::Object(in_body(http, &call.arguments)).to_string().into_bytes());
    }
    if let Ok(id) = HeaderValue::from_str(&call.idempotency_id)
        && method != Method::GET
    {
        headers.entry(IDEMPOTENCY_KEY).or_insert(id);
    }
    Ok(Request { method, url, headers, body })
}

/// Returns the arguments that go into the body.
fn in_body(http: &HttpCall, arguments: &Map<String, Value>) -> Map<String, Value> {
    let belongs = |name: &String| http.body_keys.as_ref().is_none_or(|keys| keys.contains(name));
    arguments.iter().filter(|(name, _)| belongs(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn static_headers(headers: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let header = |(name, value): &(String, String)| {
        let mut value: HeaderValue = value.parse().ok()?;
        value.set_sensitive(true);
        Some((name.parse::<HeaderName>().ok()?, value))
    };
    let unusable = |name: &str| Failure::new(format!("header `{name}` of the tool cannot be sent; correct it in `custom_tools.json`"));
    headers.iter().map(|pair| header(pair).ok_or_else(|| unusable(&pair.0))).collect()
}

/// Keeps those keys of a JSON answer that are wanted, if it has any of them.
fn only(keys: &[String], text: String) -> String {
    if keys.is_empty() {
        return text;
    }
    let Ok(Value::Object(fields)) = serde_json::from_str(&text) else { return text };
    let kept: Map<String, Value> = fields.into_iter().filter(|(name, _)| keys.contains(name)).collect();
    if kept.is_empty() { text } else { Value::Object(kept).to_string() }
}
