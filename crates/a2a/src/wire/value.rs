//! Free JSON on the wire: `google.protobuf.Struct` and `Value`.
//!
//! In JSON they are what they are, with integers as integers. In protobuf every number is a double,
//! so that an integer which comes that way is one again where no bit is lost.

use bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType};
use prost::{DecodeError, Message};
use prost_types::value::Kind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number};

/// Whole numbers up to here are exact as doubles.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// `google.protobuf.Value`: any JSON value.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Value(pub serde_json::Value);

/// `google.protobuf.Struct`: a JSON object.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Struct(pub Map<String, serde_json::Value>);

fn to_proto(value: &serde_json::Value) -> prost_types::Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(flag) => Kind::BoolValue(*flag),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(0.0)),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(items) => {
            let values = items.iter().map(to_proto).collect();
            Kind::ListValue(prost_types::ListValue { values })
        }
        serde_json::Value::Object(fields) => Kind::StructValue(struct_to_proto(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn struct_to_proto(fields: &Map<String, serde_json::Value>) -> prost_types::Struct {
    let fields = fields.iter().map(|(name, value)| (name.clone(), to_proto(value))).collect();
    prost_types::Struct { fields }
}

fn of_proto(value: prost_types::Value) -> serde_json::Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(flag)) => serde_json::Value::Bool(flag),
        Some(Kind::NumberValue(number)) => number_of(number),
        Some(Kind::StringValue(text)) => serde_json::Value::String(text),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(of_proto).collect(),
        Some(Kind::StructValue(fields)) => serde_json::Value::Object(struct_of_proto(fields)),
    }
}

fn struct_of_proto(fields: prost_types::Struct) -> Map<String, serde_json::Value> {
    fields.fields.into_iter().map(|(name, value)| (name, of_proto(value))).collect()
}

fn number_of(number: f64) -> serde_json::Value {
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[allow(clippy::cast_possible_truncation, reason = "a whole number within the range")]
        return (number as i64).into();
    }
    // What is no number in JSON either.
    Number::from_f64(number).map_or(serde_json::Value::Null, serde_json::Value::Number)
}

/// Carries a type over the wire in the form of another one.
macro_rules! carried_as {
    ($type:ty, $wire:ty, $to:expr, $add:expr) => {
        impl Message for $type {
            fn encode_raw(&self, buf: &mut impl BufMut) {
                $to(&self.0).encode_raw(buf);
            }

            fn merge_field(
                &mut self,
                tag: u32,
                wire_type: WireType,
                buf: &mut impl Buf,
                context: DecodeContext,
            ) -> Result<(), DecodeError> {
                // Only what came now is converted: fields come one by one.
                let mut wire = <$wire>::default();
                wire.merge_field(tag, wire_type, buf, context)?;
                $add(&mut self.0, wire);
                Ok(())
            }

            fn encoded_len(&self) -> usize {
                $to(&self.0).encoded_len()
            }

            fn clear(&mut self) {
                self.0 = Default::default();
            }
        }
    };
}
carried_as!(Value, prost_types::Value, to_proto, |own: &mut serde_json::Value, wire| {
    *own = of_proto(wire);
});
carried_as!(
    Struct,
    prost_types::Struct,
    struct_to_proto,
    |own: &mut Map<String, serde_json::Value>, wire| own.extend(struct_of_proto(wire))
);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_comes_back_from_protobuf_as_it_was() {
        let value =
            json!({"a": [1, -2, 0.5, null, true, "x"], "b": {"c": 9_007_199_254_740_991_u64}});
        let there = Value(value.clone()).encode_to_vec();
        assert_eq!(Value::decode(&*there).unwrap().0, value);
        let serde_json::Value::Object(fields) = value else { unreachable!() };
        let there = Struct(fields.clone()).encode_to_vec();
        assert_eq!(Struct::decode(&*there).unwrap().0, fields);
    }

    #[test]
    fn an_integer_stays_one_in_json() {
        let text = r#"{"big":18446744073709551615,"n":5,"x":0.5}"#;
        let value: Struct = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
    }
}
