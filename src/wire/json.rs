//! Any JSON inside messages: `google.protobuf.Value` and `Struct` on the wire, exact values in their own order everywhere else.
//!
//! The wire knows doubles only. REST never touches it, so integers keep every digit there; over gRPC whole doubles of at most 2^53 come back as
//! integers, and larger integers are rounded as every protobuf client expects.

use prost::DecodeError;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType};
use prost_types::value::Kind;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Number, Value};

/// Any JSON value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonValue(pub Value);

/// Any JSON object, its keys in their own order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonObject(pub Map<String, Value>);

/// Reads a field that may hold any value, so that a null that is there is not taken for a missing field.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<JsonValue>, D::Error> {
    JsonValue::deserialize(deserializer).map(Some)
}

/// The largest whole number that a double tells from its neighbours: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn to_wire(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(prost_types::ListValue { values: items.iter().map(to_wire).collect() }),
        Value::Object(object) => Kind::StructValue(object_to_wire(object)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn object_to_wire(object: &Map<String, Value>) -> prost_types::Struct {
    prost_types::Struct { fields: object.iter().map(|(key, value)| (key.clone(), to_wire(value))).collect() }
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn from_wire(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::NumberValue(double)) => number(double),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(from_wire).collect(),
        Some(Kind::StructValue(object)) => Value::Object(object_from_wire(object)),
    }
}

fn object_from_wire(object: prost_types::Struct) -> Map<String, Value> {
    object.fields.into_iter().map(|(key, value)| (key, from_wire(value))).collect()
}

/// Lets one of our types stand for a well-known message. What arrives is decoded alone and then added, so that a large object is not converted anew
/// for each of its entries.
macro_rules! stands_for {
    ($own:ty, $to_wire:expr, $add:expr) => {
        impl prost::Message for $own {
            fn encode_raw(&self, buffer: &mut impl BufMut) {
                $to_wire(&self.0).encode_raw(buffer);
            }

            fn merge_field(&mut self, tag: u32, wire: WireType, buffer: &mut impl Buf, context: DecodeContext) -> Result<(), DecodeError> {
                let mut message = Default::default();
                prost::Message::merge_field(&mut message, tag, wire, buffer, context)?;
                $add(&mut self.0, message);
                Ok(())
            }

            fn encoded_len(&self) -> usize {
                $to_wire(&self.0).encoded_len()
            }

            fn clear(&mut self) {
                *self = Self::default();
            }
        }
    };
}

stands_for!(JsonValue, to_wire, |value: &mut Value, more: prost_types::Value| *value = from_wire(more));
stands_for!(JsonObject, object_to_wire, |object: &mut Map<String, Value>, more: prost_types::Struct| object.extend(object_from_wire(more)));

#[cfg(test)]
mod tests {
    use prost::Message;
    use serde_json::json;

    use super::*;

    #[test]
    fn json_keeps_integers_and_the_order_of_keys() {
        let text = r#"{"z":9007199254740993,"a":-5,"m":{"y":1.5,"x":null}}"#;
        let object: JsonObject = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), text);
    }

    #[test]
    fn the_wire_brings_whole_numbers_back_as_integers() {
        let value = JsonValue(json!({"a": [1, 2.5, true, null, "text", {"b": 5}]}));
        assert_eq!(JsonValue::decode(value.encode_to_vec().as_slice()).unwrap(), value);
    }
}
