//! The public card, as a document that caches may keep for a while.

use super::{json, rest};
use crate::compat;
use crate::fault::{Fault, FaultKind};
use crate::handler::{Call, Handler};
use crate::hash::stable;
use crate::wire::AgentCard;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// How long a card may be kept without asking again.
const CACHE: &str = "public, max-age=60";
/// The interfaces name the host that the client used, and agents belong to a tenant, which a client
/// may name beside the path: a cache must mix neither.
const VARY: &str = "Host, trunkline-tenant";

/// Most cards whose versions are remembered; beyond it all are as new.
const REMEMBERED: usize = 4_096;

/// Since when cards are as they are, as far as they were asked for.
#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<HashMap<String, (u64, i64)>>);

impl Versions {
    /// The second since which the card of this place has been seen to be this one. A change within
    /// a second is told as the next one, so that no two versions have the same.
    fn since(&self, place: &str, version: u64, now: i64) -> i64 {
        let mut known = self.0.lock();
        if let Some((seen, since)) = known.get_mut(place) {
            if *seen != version {
                (*seen, *since) = (version, now.max(*since + 1));
            }
            return *since;
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(place.to_owned(), (version, now));
        now
    }
}

/// Answers with the card, or that the client's own copy is still right.
pub(super) async fn answer(
    (handler, versions): (&Arc<Handler>, &Versions),
    call: Result<Call, Fault>,
    headers: &HeaderMap,
) -> Response {
    let place = call.as_ref().ok().map(|call| {
        let Call { principal, endpoint, base, .. } = call;
        format!("{base} {:?} {}", endpoint, principal.tenant)
    });
    let mut response = match card(handler, call).await {
        Ok(card) => {
            let version = stable(card.as_bytes());
            let tag = format!("\"{version:016x}\"");
            let now = i64::try_from(handler.gateway.next_id().millis() / 1000).unwrap_or(0);
            let since = versions.since(&place.unwrap_or_default(), version, now);
            let mut response = if has(headers, &tag, since) {
                StatusCode::NOT_MODIFIED.into_response()
            } else {
                json(StatusCode::OK, "application/json", card)
            };
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE));
            if let Ok(tag) = HeaderValue::from_str(&tag) {
                headers.insert(header::ETAG, tag);
            }
            if let Some(since) = date(since) {
                headers.insert(header::LAST_MODIFIED, since);
            }
            response
        }
        Err(fault) => rest::refused(&fault),
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static(VARY));
    response
}

/// Answers with the keys that cards are signed with.
pub(super) fn keys(handler: &Handler) -> Response {
    let Some(key) = &handler.config.signing_key else {
        let message = "cards are not signed here; server.a2a_signing_key names a key";
        return rest::refused(&Fault::new(FaultKind::MethodNotFound, message));
    };
    let mut response = json(StatusCode::OK, "application/jwk-set+json", key.keys().to_string());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE));
    response
}

/// A second as a date of HTTP.
fn date(second: i64) -> Option<HeaderValue> {
    let at = Timestamp::from_second(second).ok()?;
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()?;
    HeaderValue::from_str(&text).ok()
}

async fn card(handler: &Arc<Handler>, call: Result<Call, Fault>) -> Result<String, Fault> {
    let card = handler.card(&call?).await?;
    let json = if handler.config.earlier { in_both_versions(&card)? } else { json_of(&card)? };
    Ok(json.to_string())
}

fn json_of(card: &AgentCard) -> Result<Value, Fault> {
    serde_json::to_value(card).map_err(|error| Fault::new(FaultKind::Internal, error.to_string()))
}

/// A card that clients of either version read.
pub(super) fn in_both_versions(card: &AgentCard) -> Result<Value, Fault> {
    let mut json = json_of(card)?;
    compat::add_to(&mut json, card);
    Ok(json)
}

/// Whether the client says that it has this version, by its tag or, if it says none, by its date.
fn has(headers: &HeaderMap, tag: &str, since: i64) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH);
    if known.iter().next().is_none() {
        let asked = headers.get(header::IF_MODIFIED_SINCE).and_then(|date| date.to_str().ok());
        let asked = asked.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
        return asked.is_some_and(|asked| asked.as_second() >= since);
    }
    known
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_as_old_as_it_was_seen_first_and_no_two_have_one_date() {
        let versions = Versions::default();
        assert_eq!(versions.since("a", 1, 100), 100);
        assert_eq!(versions.since("a", 1, 200), 100);
        assert_eq!(versions.since("b", 1, 200), 200);
        assert_eq!(versions.since("a", 2, 100), 101);
        assert_eq!(versions.since("a", 3, 300), 300);
        for place in 0..REMEMBERED {
            versions.since(&place.to_string(), 1, 400);
        }
        assert!(versions.0.lock().len() <= REMEMBERED);
        assert_eq!(versions.since("a", 3, 500), 500);
    }
}
