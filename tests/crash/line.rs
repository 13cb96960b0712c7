//! A client whose calls break off when the server dies, and who waits until there is a server again.

use std::net::SocketAddr;

use reqwest::Response;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::PATIENCE;

/// The way to a server that is there, or will be again.
#[derive(Clone)]
pub(crate) struct Line {
    address: watch::Receiver<Option<SocketAddr>>,
    key: String,
    http: reqwest::Client,
}

/// A stream that may break off.
pub(crate) struct Frames {
    response: Response,
    unread: Vec<u8>,
}

impl Line {
    /// Makes the way to the server whose address is told.
    pub(crate) fn new(address: watch::Receiver<Option<SocketAddr>>, key: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        Self { address, key: key.to_owned(), http }
    }

    async fn send(&self, verb: &str, path: &str, body: Option<&Value>, headers: &[(&str, &str)]) -> Option<Response> {
        let mut address = self.address.clone();
        let there = timeout(PATIENCE, address.wait_for(Option::is_some)).await.unwrap_or_else(|_| panic!("no server for `{path}`"));
        let address = (*there.ok()?)?;
        let request = self.http.request(verb.parse().unwrap(), format!("http://{address}/api/v1{path}")).bearer_auth(&self.key);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = body.iter().fold(request, reqwest::RequestBuilder::json);
        timeout(PATIENCE, request.send()).await.unwrap_or_else(|_| panic!("`{path}` is not answered")).ok()
    }

    /// Calls once; nothing where the call broke off, or the server was not yet able to say anything.
    pub(crate) async fn once(&self, verb: &str, path: &str, body: Option<&Value>, headers: &[(&str, &str)]) -> Option<(u16, Value)> {
        let response = self.send(verb, path, body, headers).await?;
        let status = response.status().as_u16();
        let answer = response.json().await.ok()?;
        (status != 503).then_some((status, answer))
    }

    /// Reads something, as often as it takes.
    pub(crate) async fn get(&self, path: &str) -> Value {
        loop {
            if let Some((status, answer)) = self.once("GET", path, None, &[]).await {
                assert_eq!(status, 200, "`{path}`: {answer}");
                return answer;
            }
        }
    }

    /// Opens a stream once; the error is a refusal, nothing where the call broke off.
    pub(crate) async fn open(
        &self,
        verb: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Option<Result<Frames, (u16, Value)>> {
        let response = self.send(verb, path, body, headers).await?;
        match response.status().as_u16() {
            200 => Some(Ok(Frames { response, unread: Vec::new() })),
            503 => None,
            status => Some(Err((status, response.json().await.ok()?))),
        }
    }
}

impl Frames {
    /// Returns the next event and its number, 0 where it has none; nothing once the stream is over, however it ended.
    pub(crate) async fn next(&mut self) -> Option<(u64, Value)> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|bytes| bytes == b"\n\n") {
                let frame: Vec<u8> = self.unread.drain(..end + 2).collect();
                if let Some(event) = event(std::str::from_utf8(&frame).unwrap()) {
                    return Some(event);
                }
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.unwrap_or_else(|_| panic!("the stream is silent"));
            self.unread.extend(chunk.ok()??);
        }
    }
}

fn event(frame: &str) -> Option<(u64, Value)> {
    let id = frame.lines().find_map(|line| line.strip_prefix("id: ")).map_or(0, |id| id.parse().unwrap());
    let data = frame.lines().find_map(|line| line.strip_prefix("data: "))?;
    Some((id, serde_json::from_str(data).unwrap()))
}
