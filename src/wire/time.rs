//! A moment: `google.protobuf.Timestamp` on the wire, RFC 3339 in JSON.

use jiff::Timestamp;
use prost::DecodeError;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType};
use serde::{Deserialize, Serialize};

/// A moment. JSON shows it as RFC 3339 in UTC with `Z`, as precise as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub Timestamp);

impl From<Timestamp> for Time {
    fn from(moment: Timestamp) -> Self {
        Self(moment)
    }
}

impl Time {
    fn message(self) -> prost_types::Timestamp {
        let (mut seconds, mut nanos) = (self.0.as_second(), self.0.subsec_nanosecond());
        if nanos < 0 {
            (seconds, nanos) = (seconds - 1, nanos + 1_000_000_000);
        }
        prost_types::Timestamp { seconds, nanos }
    }
}

impl prost::Message for Time {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        self.message().encode_raw(buffer);
    }

    fn merge_field(&mut self, tag: u32, wire_type: WireType, buffer: &mut impl Buf, context: DecodeContext) -> Result<(), DecodeError> {
        let mut message = self.message();
        message.merge_field(tag, wire_type, buffer, context)?;
        // A moment outside of the years -9999 to 9999 stays at the nearer end.
        let end = if message.seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
        self.0 = Timestamp::new(message.seconds, message.nanos).unwrap_or(end);
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.message().encoded_len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_moment_survives_the_wire_and_json() {
        for text in ["1969-12-31T23:59:59.25Z", "1970-01-01T00:00:00Z", "2026-11-23T14:48:07.123Z"] {
            let time = Time(text.parse().unwrap());
            assert_eq!(Time::decode(time.encode_to_vec().as_slice()).unwrap(), time);
            assert_eq!(serde_json::to_string(&time).unwrap(), format!("\"{text}\""));
        }
    }
}
