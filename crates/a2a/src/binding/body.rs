//! Reading bodies: bounded, of the right media type, and with the field named that is wrong.

use crate::fault::{Fault, FaultKind};
use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use trunkline_content::Format;

/// How many bytes of a body that is refused are read all the same, from where that is known, if it
/// does not say its length; otherwise by how much that may be above the limit. Over HTTP/1.1 a
/// connection whose request was not read to its end cannot be used again.
const UNWANTED: usize = 16 << 20;
/// How long that may take.
const UNWANTED_WITHIN: Duration = Duration::from_secs(5);

/// Reads a body of at most so many bytes, which must say that it is JSON unless it says nothing.
pub(super) async fn read(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Fault> {
    let mut body = body.into_data_stream();
    let read = wanted(headers, &mut body, most).await;
    if read.is_err() {
        pass_over(headers, &mut body, most).await;
    }
    read
}

/// Reads a body of a call that is refused whatever it has, within the bounds for those that are too
/// large: a body that is wanted may have `most` bytes.
pub(super) async fn unwanted(headers: &HeaderMap, body: Body, most: usize) {
    pass_over(headers, &mut body.into_data_stream(), most).await;
}

/// The length that a request says of its body.
fn said_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the rest of a body, within bounds, for nothing but to have it read.
async fn pass_over(headers: &HeaderMap, body: &mut BodyDataStream, most: usize) {
    // Who asks first whether the body is wanted is told so by the answer, and does not send it.
    let comes = !headers.contains_key(header::EXPECT);
    let said = said_length(headers);
    if !comes || said.is_some_and(|length| length > most.saturating_add(UNWANTED)) {
        return;
    }
    let reading = async {
        let mut left = said.unwrap_or(UNWANTED);
        while let Some(Ok(piece)) = body.next().await {
            match left.checked_sub(piece.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _in_vain = tokio::time::timeout(UNWANTED_WITHIN, reading).await;
}

async fn wanted(
    headers: &HeaderMap,
    body: &mut BodyDataStream,
    most: usize,
) -> Result<Bytes, Fault> {
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
    let said = said_length(headers);
    if said.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let mut whole = Vec::with_capacity(said.unwrap_or(0).min(64 << 10));
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            Fault::new(FaultKind::InvalidRequest, format!("the body cannot be read: {error}"))
        })?;
        if piece.len() > most - whole.len() {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
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

    #[tokio::test]
    async fn of_a_body_without_end_no_more_is_read_than_the_bound_and_what_is_passed_over() {
        let piece = Bytes::from(vec![b'x'; 1 << 20]);
        let pieces = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = pieces.clone();
        let endless = futures_util::stream::repeat_with(move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, std::io::Error>(piece.clone())
        });
        let body = Body::from_stream(endless);
        let fault = read(&HeaderMap::new(), body, 10).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::TooLarge);
        let most = 2 + (UNWANTED >> 20);
        assert_eq!(pieces.load(std::sync::atomic::Ordering::Relaxed), most);
    }

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
