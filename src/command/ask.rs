//! Asks a running server over its own REST stream and prints the answer as it comes.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sse_stream::SseStream;

use super::Failure;
use crate::wire::v1::chat_event::Event;
use crate::wire::v1::{ChatEvent, Error};

/// How long a server may be silent; a heartbeat comes every ten seconds.
const SILENCE: Duration = Duration::from_mins(1);

/// What is asked.
#[derive(Debug, Serialize)]
pub(super) struct Question {
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
}

/// Asks, prints, and returns the session.
pub(super) async fn ask(url: &str, key: &SecretString, question: &Question) -> Result<String, Failure> {
    let mut client = reqwest::Client::builder().read_timeout(SILENCE);
    if is_loopback(url) {
        // A proxy for the world is none for this machine, and must not see the key.
        client = client.no_proxy();
    }
    let client = client.build()?;
    let request = client.post(format!("{}/api/v1/chat/stream", url.trim_end_matches('/'))).bearer_auth(key.expose_secret()).json(question);
    let response = request.send().await.map_err(|error| format!("`{url}` does not answer: {error}"))?;
    let status = response.status();
    if !status.is_success() {
        let detail = response.json::<Error>().await.map(|error| error.detail).unwrap_or_default();
        return Err(format!("the server answered {status}: {detail}").into());
    }
    let mut session_id = String::new();
    let mut shown = false;
    let mut frames = SseStream::from_bytes_stream(response.bytes_stream());
    while let Some(frame) = frames.next().await {
        let Some(data) = frame?.data else { continue };
        match serde_json::from_str::<ChatEvent>(&data)?.event {
            Some(Event::Session(session)) => session_id = session.session_id,
            Some(Event::TextDelta(delta)) => {
                print!("{}", delta.text);
                std::io::stdout().flush()?;
                shown = true;
            }
            Some(Event::Response(response)) if !shown => print!("{}", response.content),
            Some(Event::Error(error)) => return Err(error.message.into()),
            Some(Event::Done(_)) => {
                println!();
                return Ok(session_id);
            }
            _ => {}
        }
    }
    Err("the stream ended before the answer was complete".into())
}

fn is_loopback(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
