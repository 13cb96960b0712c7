//! A stream of events as server-sent events (WHATWG HTML, section 9.2): one `data:` line a frame, its `id:` above it, and a comment when it is quiet.

use std::convert::Infallible;
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
const COME_AGAIN: Bytes = Bytes::from_static(b"retry: 2000\n\n");

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
        if let Poll::Ready(event) = self.events.as_mut().poll_next(context) {
            let heartbeat = self.heartbeat;
            self.silence.as_mut().reset(Instant::now() + heartbeat);
            self.over = !matches!(event, Some(Ok(_)));
            return Poll::Ready(event.and_then(|event| frame(event)).map(Ok));
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
fn frame<E: Serialize + StreamEvent>(event: Result<E, Status>) -> Option<Bytes> {
    match event {
        Ok(event) => {
            let json = ascii::to_vec(&event).map_err(|error| tracing::error!(%error, "an event cannot be written")).ok()?;
            let id = Some(event.event_id()).filter(|id| *id > 0).map(|id| format!("id: {id}\n")).unwrap_or_default();
            Some([id.as_bytes(), b"data: ", &json, b"\n\n"].concat().into())
        }
        Err(status) if status.code() == Code::Unavailable => Some(COME_AGAIN),
        Err(status) => {
            tracing::error!(%status, "a stream broke off");
            None
        }
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
        let written = |id| frame(Ok(Tide { r#type: "high", id })).unwrap();
        assert_eq!(written(7), "id: 7\ndata: {\"type\": \"high\"}\n\n");
        assert_eq!(written(0), "data: {\"type\": \"high\"}\n\n");
    }
}
