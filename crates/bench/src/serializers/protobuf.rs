//! A JSON value in protobuf: the message `google.protobuf.Value`, which is made for it.
//!
//! The value is turned into the message once, before anything is measured: a program that speaks
//! protobuf has its data in messages, as one that speaks JSON has it in values. Numbers are what
//! they are in that message, 64-bit floats.

use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as Message};
use serde_json::Value;
use trunkline_content::{ContentError, Format};
use trunkline_types::Payload;

/// Readers of protobuf go 100 messages deep, and an object in an object is three: the value, the
/// object, and the entry in it.
const DEEPEST: usize = 32;

/// The message for a value; none if it is nested so deeply that nobody would read it.
pub(super) fn message(value: &Value) -> Option<Message> {
    nested(value, DEEPEST)
}

fn nested(value: &Value, left: usize) -> Option<Message> {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(is) => Kind::BoolValue(*is),
        Value::Number(number) => Kind::NumberValue(number.as_f64()?),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            let left = left.checked_sub(1)?;
            let values = items.iter().map(|item| nested(item, left)).collect::<Option<_>>()?;
            Kind::ListValue(ListValue { values })
        }
        Value::Object(entries) => {
            let left = left.checked_sub(1)?;
            let entry = |(name, item): (&String, _)| Some((name.clone(), nested(item, left)?));
            let fields = entries.iter().map(entry).collect::<Option<_>>()?;
            Kind::StructValue(Struct { fields })
        }
    };
    Some(Message { kind: Some(kind) })
}

/// What a sender does.
pub(super) fn encode(message: &Message) -> Payload {
    Payload::new(Format::Protobuf.content_type(), message.encode_to_vec())
}

/// What a receiver does.
///
/// # Errors
/// It is no such message.
pub(super) fn decode(payload: &Payload) -> Result<Message, ContentError> {
    Message::decode(payload.data.as_ref())
        .map_err(|error| ContentError::Decode { what: "protobuf", reason: error.to_string() })
}
