//! Why a frame is no frame, and the checks that fields share.

use crate::TEXT_BYTES;
use bytes::Bytes;
use smol_str::SmolStr;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;
use trunkline_types::{MessageId, Name, NameError, Payload, Refusal, RefusalCode, SessionId};

/// A field that breaks a rule of the protocol.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field} is {value}; {rule}")]
pub struct DecodeError {
    /// The message and its field, such as `envelope.kind`.
    pub field: &'static str,
    /// What was there, cut to a readable length.
    pub value: String,
    /// What would have been right.
    pub rule: Cow<'static, str>,
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::new(RefusalCode::Invalid, error.to_string())
    }
}

impl DecodeError {
    /// An error that shows the start of a value.
    pub(crate) fn new(
        field: &'static str,
        value: impl fmt::Display,
        rule: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut value = value.to_string();
        if let Some((end, _)) = value.char_indices().nth(64) {
            value.truncate(end);
            value.push('…');
        }
        Self { field, value, rule: rule.into() }
    }

    /// An error about a name, whose own message already shows the value.
    pub(crate) fn name(field: &'static str, text: &str, error: &NameError) -> Self {
        Self::new(field, format_args!("'{text}'"), error.to_string())
    }
}

/// The value of a required field.
pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or_else(|| DecodeError::new(field, "missing", "it is required"))
}

/// A message id from its bytes.
pub(crate) fn message_id(field: &'static str, bytes: &[u8]) -> Result<MessageId, DecodeError> {
    MessageId::from_bytes(sixteen(field, bytes)?).ok_or_else(|| {
        let value = format!("{:032x}", sixteen(field, bytes).map_or(0, u128::from_be_bytes));
        DecodeError::new(field, value, "a message id is a UUID of version 7")
    })
}

/// A message id that may be absent.
pub(crate) fn optional_id(
    field: &'static str,
    bytes: Option<&Bytes>,
) -> Result<Option<MessageId>, DecodeError> {
    bytes.map(|bytes| message_id(field, bytes)).transpose()
}

/// A session id from its bytes.
pub(crate) fn session_id(field: &'static str, bytes: &[u8]) -> Result<SessionId, DecodeError> {
    sixteen(field, bytes).map(|bytes| SessionId(u128::from_be_bytes(bytes)))
}

fn sixteen(field: &'static str, bytes: &[u8]) -> Result<[u8; 16], DecodeError> {
    bytes.try_into().map_err(|_length| {
        DecodeError::new(field, format_args!("{} bytes long", bytes.len()), "an id has 16 bytes")
    })
}

/// An id's bytes.
pub(crate) fn id_bytes(id: MessageId) -> Bytes {
    Bytes::copy_from_slice(&id.to_bytes())
}

/// A name.
pub(crate) fn name<N: Name>(field: &'static str, text: &str) -> Result<N, DecodeError> {
    text.parse().map_err(|error| DecodeError::name(field, text, &error))
}

/// A name that may be absent.
pub(crate) fn optional_name<N: Name>(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<N>, DecodeError> {
    text.map(|text| name(field, text)).transpose()
}

/// Checks the length of a free text.
pub(crate) fn text_within(field: &'static str, length: usize) -> Result<(), DecodeError> {
    if length > TEXT_BYTES {
        let value = format!("{length} bytes long");
        return Err(DecodeError::new(field, value, format!("the bound is {TEXT_BYTES} bytes")));
    }
    Ok(())
}

/// A free text within the bound.
pub(crate) fn text(field: &'static str, text: String) -> Result<String, DecodeError> {
    text_within(field, text.len())?;
    Ok(text)
}

/// A free text within the bound, kept inline if it is short.
pub(crate) fn small_text(field: &'static str, given: String) -> Result<SmolStr, DecodeError> {
    text(field, given).map(SmolStr::from)
}

/// A free text within the bound that may be absent.
pub(crate) fn optional_text(
    field: &'static str,
    given: Option<String>,
) -> Result<Option<String>, DecodeError> {
    given.map(|given| text(field, given)).transpose()
}

/// A free text within the bound that may be absent, kept inline if it is short.
pub(crate) fn optional_small_text(
    field: &'static str,
    given: Option<String>,
) -> Result<Option<SmolStr>, DecodeError> {
    given.map(|given| small_text(field, given)).transpose()
}

/// Free texts within the bound.
pub(crate) fn small_texts(
    field: &'static str,
    given: Vec<String>,
) -> Result<Vec<SmolStr>, DecodeError> {
    given.into_iter().map(|given| small_text(field, given)).collect()
}

/// A payload; an absent one is empty.
pub(crate) fn payload(given: Option<crate::v1::Payload>) -> Result<Payload, DecodeError> {
    given.map(Payload::try_from).transpose().map(Option::unwrap_or_default)
}

/// A span in whole milliseconds, rounded up so that a limit never becomes none.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Converts a list, keeping its order.
pub(crate) fn all<T, U>(given: Vec<T>) -> Result<Vec<U>, DecodeError>
where
    U: TryFrom<T, Error = DecodeError>,
{
    given.into_iter().map(U::try_from).collect()
}

/// Converts a list into its wire form, keeping its order.
pub(crate) fn each<T, U: From<T>>(given: Vec<T>) -> Vec<U> {
    given.into_iter().map(U::from).collect()
}
