//! The public card, as a document that caches may keep for a while.

use super::{json, rest};
use crate::compat;
use crate::fault::{Fault, FaultKind};
use crate::handler::{Call, Handler};
use crate::hash::stable;
use crate::wire::AgentCard;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::sync::Arc;

/// How long a card may be kept without asking again. The interfaces name the host that the
/// client used, so that a cache must not mix hosts.
const CACHE: &str = "public, max-age=60";

/// Answers with the card, or that the client's own copy is still right.
pub(super) async fn answer(
    handler: &Arc<Handler>,
    call: Result<Call, Fault>,
    headers: &HeaderMap,
) -> Response {
    match card(handler, call).await {
        Ok(card) => {
            let tag = format!("\"{:016x}\"", stable(card.as_bytes()));
            let mut response = if has(headers, &tag) {
                StatusCode::NOT_MODIFIED.into_response()
            } else {
                json(StatusCode::OK, "application/json", card)
            };
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE));
            headers.insert(header::VARY, HeaderValue::from_static("Host"));
            if let Ok(tag) = HeaderValue::from_str(&tag) {
                headers.insert(header::ETAG, tag);
            }
            response
        }
        Err(fault) => rest::refused(&fault),
    }
}

async fn card(handler: &Arc<Handler>, call: Result<Call, Fault>) -> Result<String, Fault> {
    let card = handler.card(&call?).await?;
    Ok(in_both_versions(&card)?.to_string())
}

/// A card that clients of either version read.
pub(super) fn in_both_versions(card: &AgentCard) -> Result<Value, Fault> {
    let mut json = serde_json::to_value(card)
        .map_err(|error| Fault::new(FaultKind::Internal, error.to_string()))?;
    compat::add_to(&mut json, card);
    Ok(json)
}

/// Whether the client says that it has this version.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    known
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
