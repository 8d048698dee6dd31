//! Values as payloads: JSON and MessagePack.

use crate::error::ContentError;
use crate::format::Format;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trunkline_types::{Encoding, Payload};

/// How deep values may be nested in MessagePack, as `serde_json` bounds it for JSON: a reader needs
/// stack for each level.
const DEEPEST: usize = 128;

/// A value that travels as JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Json<T>(pub T);

/// A value that travels as MessagePack, its structs as maps by the names of their fields, so that
/// fields may come and go as in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MsgPack<T>(pub T);

impl<T: Serialize> Json<T> {
    /// The value as a payload of type `application/json`, not compressed.
    ///
    /// # Errors
    /// [`ContentError::Encode`] if JSON cannot say it, such as a map whose keys are no texts.
    pub fn encode(&self) -> Result<Payload, ContentError> {
        let encode = |error: serde_json::Error| encode("JSON", &error);
        let data = serde_json::to_vec(&self.0).map_err(encode)?;
        Ok(Payload::new(Format::Json.content_type(), data))
    }
}

impl<T: DeserializeOwned> Json<T> {
    /// Reads a payload that is JSON, text or of no stated type.
    ///
    /// # Errors
    /// [`ContentError`] if it is compressed, says that it is something else, or is not such a
    /// value.
    pub fn decode(payload: &Payload) -> Result<Self, ContentError> {
        expect(payload, Format::Json, Format::Text)?;
        let decode = |error: serde_json::Error| decode("JSON", &error);
        serde_json::from_slice(&payload.data).map(Self).map_err(decode)
    }
}

impl<T: Serialize> MsgPack<T> {
    /// The value as a payload of type `application/msgpack`, not compressed.
    ///
    /// # Errors
    /// [`ContentError::Encode`] if MessagePack cannot say it.
    pub fn encode(&self) -> Result<Payload, ContentError> {
        let encode = |error: rmp_serde::encode::Error| encode("MessagePack", &error);
        let data = rmp_serde::to_vec_named(&self.0).map_err(encode)?;
        Ok(Payload::new(Format::MsgPack.content_type(), data))
    }
}

impl<T: DeserializeOwned> MsgPack<T> {
    /// Reads a payload that is MessagePack, binary or of no stated type.
    ///
    /// # Errors
    /// [`ContentError`] if it is compressed, says that it is something else, is not such a value,
    /// or goes on after it.
    pub fn decode(payload: &Payload) -> Result<Self, ContentError> {
        expect(payload, Format::MsgPack, Format::Binary)?;
        let mut reader = rmp_serde::Deserializer::new(&*payload.data);
        reader.set_max_depth(DEEPEST);
        let failed = |error: rmp_serde::decode::Error| decode("MessagePack", &error);
        let value = T::deserialize(&mut reader).map_err(failed)?;
        match reader.get_ref().len() {
            0 => Ok(Self(value)),
            rest => Err(decode("MessagePack", &format_args!("{rest} bytes follow the value"))),
        }
    }
}

/// Refuses what is compressed, and what says that it is something else.
fn expect(payload: &Payload, format: Format, also: Format) -> Result<(), ContentError> {
    if payload.encoding != Encoding::Identity {
        return Err(ContentError::Compressed(payload.encoding));
    }
    let found = Format::of(&payload.content_type);
    if payload.content_type.is_empty() || found == Some(format) || found == Some(also) {
        return Ok(());
    }
    let found = payload.content_type.chars().take(64).collect();
    Err(ContentError::OtherType { found, wanted: format.content_type() })
}

fn encode(what: &'static str, error: &dyn std::fmt::Display) -> ContentError {
    ContentError::Encode { what, reason: error.to_string() }
}

fn decode(what: &'static str, error: &dyn std::fmt::Display) -> ContentError {
    ContentError::Decode { what, reason: error.to_string() }
}
