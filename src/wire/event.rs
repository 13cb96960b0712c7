//! Events of streams, as REST tells them: numbered, and with `type` first.

use serde::Serialize;

/// An event of a stream.
pub trait StreamEvent {
    /// Returns the number that REST writes as `id:` and clients resume from; 0 is none.
    fn event_id(&self) -> u64;
}

/// What happened, and what stands beside it.
#[allow(dead_code, clippy::allow_attributes, reason = "whether a message is like that depends on the schema")]
#[derive(Serialize)]
struct TypeFirst<E, B> {
    #[serde(flatten)]
    event: E,
    #[serde(flatten)]
    beside: B,
}

/// Tells a message's oneof before its other fields: prost puts it behind them, and `type` must come first. The message has serde's functions as its
/// own (`remote = "Self"`), where its oneof is skipped.
#[allow(unused_macros, clippy::allow_attributes, reason = "whether a message is like that depends on the schema")]
macro_rules! type_first {
    ($message:ty, $oneof:ident) => {
        impl serde::Serialize for $message {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                struct Beside<'a>(&'a $message);
                impl serde::Serialize for Beside<'_> {
                    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                        <$message>::serialize(self.0, serializer)
                    }
                }
                serde::Serialize::serialize(&TypeFirst { event: &self.$oneof, beside: Beside(self) }, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $message {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$message>::deserialize(deserializer)
            }
        }
    };
}

/// The ids of every streamed message, and the order of those that have fields beside their oneof.
#[allow(unused_imports, clippy::pedantic, clippy::allow_attributes, reason = "generated")]
mod generated {
    use super::{StreamEvent, TypeFirst};
    use crate::wire::v1::*;

    include!(concat!(env!("OUT_DIR"), "/events.rs"));
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::TypeFirst;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case")]
    enum Event {
        StepComplete { output: String },
    }

    /// A message as it is generated.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(remote = "Self")]
    struct RunEvent {
        #[serde(skip)]
        id: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step_name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        depth: Option<u32>,
        #[serde(flatten, skip_serializing)]
        event: Option<Event>,
    }

    type_first!(RunEvent, event);

    #[test]
    fn the_type_and_its_fields_come_before_those_beside() {
        let event =
            RunEvent { id: 7, step_name: Some("Ask".into()), depth: None, event: Some(Event::StepComplete { output: "low".into() }) };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(text, r#"{"type":"step_complete","output":"low","step_name":"Ask"}"#);
        assert_eq!(serde_json::from_str::<RunEvent>(&text).unwrap(), RunEvent { id: 0, ..event });
    }
}
