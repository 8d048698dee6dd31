//! Reading bodies: bounded, of the right media type, and with the field named that is wrong.

use crate::fault::{Fault, FaultKind};
use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use trunkline_content::Format;

/// Reads a body of at most so many bytes, which must say that it is JSON unless it says nothing.
pub(super) async fn read(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Fault> {
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        let kind = String::from_utf8_lossy(kind.as_bytes());
        if Format::of(&kind) != Some(Format::Json) {
            let shown: String = kind.chars().take(64).collect();
            let message =
                format!("the body is {shown}; send application/a2a+json or application/json");
            return Err(Fault::new(FaultKind::NotJson, message));
        }
    }
    let too_large = || {
        let message = format!("the body has more than {most} bytes, which is the limit");
        Fault::new(FaultKind::TooLarge, message)
    };
    let said =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if said.is_some_and(|length: usize| length > most) {
        return Err(too_large());
    }
    axum::body::to_bytes(body, most).await.map_err(|error| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            // The only bound that a body is read with.
            if error.to_string().contains("length limit") {
                return too_large();
            }
            cause = error.source();
        }
        Fault::new(FaultKind::InvalidRequest, format!("the body cannot be read: {error}"))
    })
}

/// The JSON in a body; an empty one stands for an empty object.
pub(super) fn parsed(body: &[u8]) -> Result<Value, Fault> {
    if body.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    serde_json::from_slice(body)
        .map_err(|error| Fault::new(FaultKind::Parse, format!("the body is no JSON: {error}")))
}

/// A message of the standard out of JSON.
pub(super) fn message<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    if !value.is_object() {
        return Err(Fault::field("params", "is no object"));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "params".to_owned() } else { path };
        Fault::field(field, error.into_inner().to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;
    use serde_json::json;

    fn read_message(value: Value) -> Result<wire::SendMessageRequest, Fault> {
        message(value)
    }

    #[test]
    fn unknown_fields_are_ignored_and_both_spellings_of_a_name_are_read() {
        let request = read_message(json!({
            "novel": {"a": 1},
            "message": {"message_id": "m", "role": "ROLE_USER", "parts": [{"text": "", "b": 2}]},
            "configuration": {"historyLength": "3", "return_immediately": true},
        }))
        .unwrap();
        let configuration = request.configuration.unwrap();
        assert_eq!(
            (configuration.history_length, configuration.return_immediately),
            (Some(3), true)
        );
        let message = request.message.unwrap();
        assert_eq!(message.message_id, "m");
        assert_eq!(message.parts[0].content, Some(wire::part::Content::Text(String::new())));
    }

    #[test]
    fn a_field_of_the_wrong_kind_is_named() {
        for (request, field) in [
            (json!({"message": {"parts": [{"text": 5}]}}), "message.parts[0].text"),
            (json!({"message": {"role": "ROLE_KING"}}), "message.role"),
            (json!({"configuration": {"historyLength": 1.5}}), "configuration.historyLength"),
            (json!({"message": {"parts": [{"text": "a", "url": "b"}]}}), "message.parts[0]"),
            (json!([1]), "params"),
        ] {
            let fault = read_message(request).unwrap_err();
            let told = fault.to_rpc();
            let told = told["data"][1]["fieldViolations"][0]["field"].as_str().unwrap().to_owned();
            assert!(told.starts_with(field), "{told} for {field}");
            assert_eq!(fault.kind, FaultKind::InvalidParams);
        }
    }
}
