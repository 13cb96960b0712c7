//! A stream of a chat or a run as either protocol tells it, and the promises that every stream keeps.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::Response;
use serde_json::Value;
use tokio::time::timeout;
use tonic::Status;

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

/// The events of a chat or a run. Dropping them is going away.
pub(crate) struct Events {
    source: Source,
    /// The number of the newest event, 0 for a hint.
    id: u64,
}

enum Source {
    Rest { response: Response, unread: Vec<u8> },
    Grpc(BoxStream<'static, Result<(u64, Value), Status>>),
}

impl Events {
    pub(super) fn rest(response: Response) -> Self {
        Self { source: Source::Rest { response, unread: Vec::new() }, id: 0 }
    }

    pub(super) fn grpc(stream: BoxStream<'static, Result<(u64, Value), Status>>) -> Self {
        Self { source: Source::Grpc(stream), id: 0 }
    }

    /// Returns the number of the newest event, 0 for a hint.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Returns what is told next; nothing after the end.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        let next = async {
            match &mut self.source {
                Source::Rest { response, unread } => next_frame(response, unread).await,
                Source::Grpc(stream) => next_message(stream).await,
            }
        };
        let (id, told) = timeout(PATIENCE, next).await.unwrap_or_else(|_| panic!("the stream is silent"))?;
        if matches!(told, Told::Event(_)) {
            self.id = id;
        }
        Some(told)
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

    /// Reads the rest of a stream with the numbers of its events, and checks what every stream promises: they grow, for runs one by one, hints
    /// have none, and `done` is the last event, exactly once.
    pub(crate) async fn numbered(mut self) -> Vec<(u64, Value)> {
        let mut events: Vec<(u64, Value)> = Vec::new();
        let mut last = None;
        while let Some(told) = self.next().await {
            let Some(event) = told.event() else { continue };
            let kind = event["type"].as_str().unwrap().to_owned();
            assert!(events.last().is_none_or(|(_, event)| event["type"] != "done"), "`{kind}` comes after `done`");
            match kind.as_str() {
                "text_delta" | "reasoning_delta" => assert_eq!(self.id, 0, "{event}"),
                "done" => assert!(last.is_none_or(|last| self.id >= last), "{last:?}, and then {} for `done`", self.id),
                "status" if self.id == 0 => {} // of a chat in front of an orchestration, whose events have the numbers of the run
                _ => {
                    let of_chat = events.first().is_some_and(|(_, event)| event["type"] == "session");
                    let grows = |last| self.id == last + 1 || of_chat && self.id > last;
                    assert!(last.is_none_or(grows), "after {last:?} came {} with {event}", self.id);
                    last = Some(self.id);
                }
            }
            events.push((self.id, event));
        }
        assert_eq!(events.last().unwrap().1["type"], "done");
        events
    }

    /// Reads the whole stream of a chat and checks its promises.
    pub(crate) async fn whole(self) -> Vec<Value> {
        let events: Vec<Value> = self.numbered().await.into_iter().map(|(_, event)| event).collect();
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

async fn next_message(stream: &mut BoxStream<'static, Result<(u64, Value), Status>>) -> Option<(u64, Told)> {
    match stream.next().await? {
        Ok((id, event)) => Some((id, Told::Event(event))),
        Err(status) => {
            let Outcome::Refused { status: code, detail } = grpc::refusal(&status) else { unreachable!() };
            assert_eq!(code, 503, "{detail}");
            Some((0, Told::ComeAgain))
        }
    }
}

async fn next_frame(response: &mut Response, unread: &mut Vec<u8>) -> Option<(u64, Told)> {
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

/// Reads a frame: a line with its number, except before hints, and one line of ASCII with an event, its type first.
fn read_frame(frame: &str) -> (u64, Told) {
    let (id, frame) = match frame.strip_prefix("id: ").and_then(|numbered| numbered.split_once('\n')) {
        Some((id, frame)) => (id.parse().unwrap(), frame),
        None => (0, frame),
    };
    assert!(frame.is_ascii() && !frame.contains(['\n', '\r']), "{frame}");
    let told = match frame {
        ": ping" => Told::Ping,
        "retry: 2000" => Told::ComeAgain,
        _ => {
            let data = frame.strip_prefix("data: ").unwrap_or_else(|| panic!("unknown frame `{frame}`"));
            assert!(data.starts_with("{\"type\": \""), "{data}");
            Told::Event(serde_json::from_str(data).unwrap())
        }
    };
    (id, told)
}
