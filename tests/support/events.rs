//! A chat's stream as either protocol tells it, and the promises that every stream keeps.

use reqwest::Response;
use serde_json::Value;
use synapse::wire::v1::ChatEvent;
use tokio::time::timeout;
use tonic::Streaming;

use super::{Outcome, PATIENCE, grpc};

/// Something that a stream tells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// An event.
    Event(Value),
    /// The heartbeat, which only REST has.
    Ping,
    /// The stream ends because the server stops: REST's hint to come again, or the status of gRPC.
    ComeAgain,
}

/// The events of a chat. Dropping them is going away.
pub(crate) enum Events {
    Rest { response: Response, unread: Vec<u8> },
    Grpc(Box<Streaming<ChatEvent>>),
}

impl Events {
    pub(super) fn rest(response: Response) -> Self {
        Self::Rest { response, unread: Vec::new() }
    }

    pub(super) fn grpc(stream: Streaming<ChatEvent>) -> Self {
        Self::Grpc(Box::new(stream))
    }

    /// Returns what is told next; nothing after the end.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        let next = async {
            match self {
                Self::Rest { response, unread } => next_frame(response, unread).await,
                Self::Grpc(stream) => next_message(stream).await,
            }
        };
        timeout(PATIENCE, next).await.unwrap_or_else(|_| panic!("the stream is silent"))
    }

    /// Reads up to the first event of a type, and returns it.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            match self.next().await {
                Some(Told::Event(event)) if event["type"] == kind => return event,
                Some(_) => {}
                None => panic!("no `{kind}` came"),
            }
        }
    }

    /// Reads everything that is still to come.
    pub(crate) async fn rest_of(mut self) -> Vec<Told> {
        let mut all = Vec::new();
        while let Some(told) = self.next().await {
            all.push(told);
        }
        all
    }

    /// Reads the whole stream and checks its promises.
    pub(crate) async fn whole(self) -> Vec<Value> {
        let told = self.rest_of().await;
        let events: Vec<Value> = told.into_iter().filter_map(Told::event).collect();
        let of_type = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
        assert_eq!(events.first().unwrap()["type"], "session");
        assert_eq!(events.last().unwrap()["type"], "done");
        assert_eq!((of_type("session"), of_type("done")), (1, 1));
        assert_eq!(of_type("response") + of_type("error"), 1, "a chat is answered or fails: {events:?}");
        events
    }
}

impl Told {
    fn event(self) -> Option<Value> {
        match self {
            Self::Event(event) => Some(event),
            Self::Ping => None,
            Self::ComeAgain => panic!("the server stops"),
        }
    }
}

/// Returns the texts of all deltas of a type, joined.
pub(crate) fn joined(events: &[Value], kind: &str) -> String {
    events.iter().filter(|event| event["type"] == kind).map(|event| event["text"].as_str().unwrap()).collect()
}

/// Returns the types of events in order, those of deltas once for a row of them.
pub(crate) fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.dedup();
    kinds
}

async fn next_message(stream: &mut Streaming<ChatEvent>) -> Option<Told> {
    match stream.message().await {
        Ok(event) => event.map(|event| Told::Event(serde_json::to_value(event).unwrap())),
        Err(status) => {
            let Outcome::Refused { status: code, detail } = grpc::refusal(&status) else { unreachable!() };
            assert_eq!(code, 503, "{detail}");
            Some(Told::ComeAgain)
        }
    }
}

async fn next_frame(response: &mut Response, unread: &mut Vec<u8>) -> Option<Told> {
    loop {
        if let Some(end) = unread.windows(2).position(|bytes| bytes == b"\n\n") {
            let frame: Vec<u8> = unread.drain(..end + 2).collect();
            return Some(read_frame(std::str::from_utf8(&frame[..end]).unwrap()));
        }
        let Some(chunk) = response.chunk().await.unwrap() else {
            assert!(unread.is_empty(), "half a frame at the end");
            return None;
        };
        unread.extend(chunk);
    }
}

/// Reads a frame: one line below its number, ASCII only, an event's type first.
fn read_frame(frame: &str) -> Told {
    let frame = match frame.strip_prefix("id: ").and_then(|numbered| numbered.split_once('\n')) {
        Some((number, frame)) if number.parse::<u64>().is_ok_and(|number| number > 0) => frame,
        _ => frame,
    };
    assert!(frame.is_ascii() && !frame.contains(['\n', '\r']), "{frame}");
    match frame {
        ": ping" => Told::Ping,
        "retry: 2000" => Told::ComeAgain,
        _ => {
            let data = frame.strip_prefix("data: ").unwrap_or_else(|| panic!("unknown frame `{frame}`"));
            assert!(data.starts_with("{\"type\": \""), "{data}");
            Told::Event(serde_json::from_str(data).unwrap())
        }
    }
}
