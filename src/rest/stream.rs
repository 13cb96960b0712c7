//! A stream of events as server-sent events (WHATWG HTML, section 9.2): one `data:` line a frame, its `id:` above it, and a comment when it is quiet.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::FutureExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Code, Status};

use crate::wire::{StreamEvent, ascii};

/// What keeps an idle connection open.
const HEARTBEAT: Bytes = Bytes::from_static(b": ping\n\n");

/// What a stream says when the server stops: come again in two seconds.
const COME_AGAIN: &[u8] = b"retry: 2000\n\n";

/// Bytes from which on frames that are ready wait for the next chunk.
const CHUNK: usize = 16 << 10;

/// Answers with a stream of events.
pub(super) fn events<E, S>(events: S, heartbeat: Duration) -> Response
where
    E: Serialize + StreamEvent + Send + 'static,
    S: Stream<Item = Result<E, Status>> + Send + 'static,
{
    let frames = Frames { events: Box::pin(events), heartbeat, silence: Box::pin(sleep(heartbeat)), over: false };
    let mut response = Response::new(Body::from_stream(frames));
    headers(response.headers_mut());
    response
}

fn headers(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Some proxies hold a stream back unless they are told not to.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}

/// The frames of a stream.
struct Frames<S> {
    events: Pin<Box<S>>,
    heartbeat: Duration,
    silence: Pin<Box<Sleep>>,
    over: bool,
}

impl<E: Serialize + StreamEvent, S: Stream<Item = Result<E, Status>>> Stream for Frames<S> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        // What is ready at once goes out at once: a chunk for each frame would cost more than the frame.
        let mut frames = Vec::new();
        while !self.over && frames.len() < CHUNK {
            let Poll::Ready(event) = self.events.as_mut().poll_next(context) else { break };
            self.over = !matches!(event, Some(Ok(_)));
            if let Some(event) = event {
                frame(event, &mut frames);
            }
        }
        if !frames.is_empty() {
            let heartbeat = self.heartbeat;
            self.silence.as_mut().reset(Instant::now() + heartbeat);
            return Poll::Ready(Some(Ok(frames.into())));
        }
        if self.over {
            return Poll::Ready(None);
        }
        if self.silence.poll_unpin(context).is_ready() {
            let heartbeat = self.heartbeat;
            self.silence.as_mut().reset(Instant::now() + heartbeat);
            return Poll::Ready(Some(Ok(HEARTBEAT)));
        }
        Poll::Pending
    }
}

/// Writes an event as a frame. Handlers tell failures as events of their own; a stream that breaks off all the same just ends, and one that ends
/// because the server stops asks to come again.
fn frame<E: Serialize + StreamEvent>(event: Result<E, Status>, frames: &mut Vec<u8>) {
    match event {
        Ok(event) => {
            let before = frames.len();
            if event.event_id() > 0 {
                let _ = writeln!(frames, "id: {}", event.event_id()); // a vector takes everything
            }
            frames.extend_from_slice(b"data: ");
            match ascii::write(frames, &event) {
                Ok(()) => frames.extend_from_slice(b"\n\n"),
                Err(error) => {
                    frames.truncate(before);
                    tracing::error!(%error, "an event cannot be written");
                }
            }
        }
        Err(status) if status.code() == Code::Unavailable => frames.extend_from_slice(COME_AGAIN),
        Err(status) => tracing::error!(%status, "a stream broke off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Tide {
        r#type: &'static str,
        #[serde(skip)]
        id: u64,
    }

    impl StreamEvent for Tide {
        fn event_id(&self) -> u64 {
            self.id
        }
    }

    #[test]
    fn an_event_with_a_number_has_it_in_front_and_a_hint_has_none() {
        let mut frames = Vec::new();
        frame(Ok(Tide { r#type: "high", id: 7 }), &mut frames);
        frame(Ok(Tide { r#type: "high", id: 0 }), &mut frames);
        assert_eq!(frames, b"id: 7\ndata: {\"type\": \"high\"}\n\ndata: {\"type\": \"high\"}\n\n");
    }
}
