//! The built-in tool that reads a page of the web.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::answer::Answer;
use super::network::{Reach, Request};
use super::{Call, Failure, Origin, Output, Tool, page};
use crate::provider::ToolDescription;

/// The name of the tool.
pub const FETCH_URL: &str = "fetch_url";

/// The name that existing agents know it by.
pub const SCRAPE_URL: &str = "scrape_url";

/// What we can read, best first.
const ACCEPTED: HeaderValue =
    HeaderValue::from_static("text/html, application/xhtml+xml, text/plain;q=0.9, application/json;q=0.9, text/*;q=0.8");

/// Makes the tool, under one of its names.
pub fn tool(name: &str, reach: &Arc<Reach>) -> Arc<dyn Tool> {
    let description = ToolDescription {
        name: name.to_owned(),
        description: "Reads a page of the web: HTML as readable text with its links, plain text and JSON as they are.".to_owned(),
        schema: json!({
            "type": "object",
            "properties": {"url": {"type": "string", "description": "The address, beginning with `https://` or `http://`."}},
            "required": ["url"],
        }),
    };
    Arc::new(FetchUrl { description: Arc::new(description), reach: reach.clone() })
}

struct FetchUrl {
    description: Arc<ToolDescription>,
    reach: Arc<Reach>,
}

impl Tool for FetchUrl {
    fn description(&self) -> &Arc<ToolDescription> {
        &self.description
    }

    fn origin(&self) -> Origin {
        Origin::BuiltIn
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Output, Failure>> {
        let reach = self.reach.clone();
        Box::pin(async move {
            let address = call.arguments.get("url").and_then(Value::as_str).unwrap_or_default();
            let url = Url::parse(address.trim()).map_err(|_| Failure::new("`url` is no address; write one that begins with `https://`"))?;
            let headers = HeaderMap::from_iter([(ACCEPT, ACCEPTED)]);
            let request = Request { method: Method::GET, url, headers, body: None };
            let answer = reach.ask(request, call.deadline, call.output_bytes).await?.succeeded()?;
            let text = readable(&answer, &call).await?;
            if text.len() > call.output_bytes {
                return Err(Failure::new(format!("the text of the page is larger than {} bytes", call.output_bytes)));
            }
            Ok(Output::text(text))
        })
    }
}

/// Writes an answer for a model to read: first its final address, then its title if it has one, then the text.
async fn readable(answer: &Answer, call: &Call) -> Result<String, Failure> {
    let media_type = answer.media_type();
    let is_html = match media_type.as_str() {
        "text/html" | "application/xhtml+xml" => true,
        "" => answer.page().is_ok_and(|text| text.trim_start().starts_with('<')),
        other if is_text(other) => false,
        _ => return Err(answer.not_text()),
    };
    if !is_html {
        return Ok(format!("{}\n\n{}", answer.url, answer.text()?));
    }
    let page::Page { title, text } = page::read(answer.page()?, call.deadline).await?;
    let title = title.map(|title| title + "\n").unwrap_or_default();
    Ok(format!("{}\n{title}\n{text}", answer.url))
}

fn is_text(media_type: &str) -> bool {
    let (kind, subtype) = media_type.split_once('/').unwrap_or_default();
    kind == "text"
        || kind == "application"
            && (["json", "xml", "javascript", "yaml", "x-yaml", "x-ndjson", "ndjson"].contains(&subtype)
                || ["+json", "+xml", "+yaml"].iter().any(|suffix| subtype.ends_with(suffix)))
}
