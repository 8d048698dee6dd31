//! What is set about an agent elsewhere: checked when it is added, and kept as a task of the broker.

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use trunkline_a2a::{VIA, is_own};
use trunkline_types::{A2aAgentSettings, AgentId, Payload, Refusal, RefusalCode};

/// Most headers that an agent elsewhere is sent.
const MOST_HEADERS: usize = 32;
/// Most bytes of the URL and of a header's value.
const LONGEST: usize = 8 << 10;
/// Where a card is below its agent, and where it was before 0.3.
const WELL_KNOWN: [&str; 2] = ["/.well-known/agent-card.json", "/.well-known/agent.json"];
/// Headers that are ours to set.
const OURS: [&str; 14] = [
    "a2a-version",
    "a2a-extensions",
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "if-none-match",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-a2a-extensions",
    VIA,
];

/// A kept agent elsewhere, as the broker's log has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    id: String,
    url: String,
    idempotent: bool,
    headers: Vec<(String, String)>,
    refresh_ms: u64,
    answer_within_ms: u64,
    allow_private: bool,
}

impl Kept {
    /// What is kept of an agent.
    pub(super) fn new(id: &AgentId, settings: &A2aAgentSettings) -> Self {
        Self {
            id: id.to_string(),
            url: settings.url.clone(),
            idempotent: settings.idempotent,
            headers: settings
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            refresh_ms: millis(settings.refresh),
            answer_within_ms: millis(settings.answer_within),
            allow_private: settings.allow_private,
        }
    }

    /// As it is kept.
    pub(super) fn payload(&self) -> Payload {
        let data = serde_json::to_vec(self).expect("settings are made of what JSON has");
        Payload::new("application/json", data)
    }

    /// What was kept, if that is what a payload is.
    pub(super) fn read(payload: &Payload) -> Option<(AgentId, A2aAgentSettings)> {
        let kept: Self = serde_json::from_slice(&payload.data).ok()?;
        let id = AgentId::new(&kept.id).ok()?;
        let headers = kept.headers.iter();
        let settings = A2aAgentSettings {
            url: kept.url,
            id: Some(id.clone()),
            idempotent: kept.idempotent,
            headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
            refresh: Duration::from_millis(kept.refresh_ms),
            answer_within: Duration::from_millis(kept.answer_within_ms),
            allow_private: kept.allow_private,
        };
        check(&settings).ok()?;
        Some((id, settings))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Invalid, message)
}

/// Checks what is set, but not where it leads.
pub(super) fn check(settings: &A2aAgentSettings) -> Result<(), Refusal> {
    let A2aAgentSettings { url, id, headers, refresh, answer_within, .. } = settings;
    if url.len() > LONGEST {
        return Err(invalid(format!("the URL has {} bytes, the limit is {LONGEST}", url.len())));
    }
    if let Some(id) = id.as_ref().filter(|id| is_own(id.as_str())) {
        return Err(invalid(format!("the agent {id} is the broker's own; choose another id")));
    }
    let day = Duration::from_hours(24);
    for (what, span, least) in [
        ("refresh", *refresh, Duration::from_secs(1)),
        ("answer-within", *answer_within, Duration::from_millis(10)),
    ] {
        if span < least || span > day {
            return Err(invalid(format!("{what} is {span:?}, the range is {least:?} to 24h")));
        }
    }
    if headers.len() > MOST_HEADERS {
        let count = headers.len();
        return Err(invalid(format!("there are {count} headers, the limit is {MOST_HEADERS}")));
    }
    for (name, value) in headers {
        let shown: String = name.chars().take(64).collect();
        let known = name.to_ascii_lowercase();
        if OURS.contains(&known.as_str()) {
            return Err(invalid(format!("the header '{shown}' is the broker's own to set")));
        }
        let is_bad = HeaderName::from_bytes(name.as_bytes()).is_err()
            || HeaderValue::from_str(value).is_err();
        // Its value is a secret.
        if is_bad || value.len() > LONGEST {
            return Err(invalid(format!("the header '{shown}' cannot be sent: it is malformed")));
        }
    }
    Ok(())
}

/// Where the card of an agent may be.
pub(super) fn cards(url: &str) -> Vec<String> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let last = path.rsplit('/').next().unwrap_or_default();
    if last.rsplit_once('.').is_some_and(|(_, kind)| kind.eq_ignore_ascii_case("json")) {
        return vec![url.to_owned()];
    }
    let base = path.trim_end_matches('/');
    WELL_KNOWN.iter().map(|known| format!("{base}{known}")).collect()
}

/// A URL without what it may have behind its path, which may be a secret.
pub(super) fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// The host and port of a URL; an empty text for what has none.
pub(super) fn place(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return String::new() };
    let host = url.host_str().unwrap_or_default();
    format!("{}://{host}:{}", url.scheme(), url.port_or_known_default().unwrap_or_default())
}

/// The host of a URL without brackets.
pub(super) fn host(url: &str) -> String {
    let url = Url::parse(url).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// A text as the id of an agent or a skill: what cannot be in one becomes a dash.
pub(super) fn named(text: &str) -> String {
    let fits =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let text: String = text.trim().chars().take(128).map(fits).collect();
    text.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_as_it_was() {
        let id = AgentId::new("x").unwrap();
        let settings = A2aAgentSettings {
            id: Some(id.clone()),
            idempotent: true,
            headers: vec![("authorization".into(), "Bearer s3cret".into())],
            refresh: Duration::from_secs(5),
            answer_within: Duration::from_millis(500),
            allow_private: true,
            ..A2aAgentSettings::new("https://example.com")
        };
        let kept = Kept::new(&id, &settings).payload();
        assert_eq!(Kept::read(&kept), Some((id, settings.clone())));
        assert_eq!(Kept::read(&Payload::text("{}")), None);
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_out_of_range_is_named_without_secrets() {
        let good = || A2aAgentSettings::new("https://example.com");
        let header = |name: &str, value: &str| A2aAgentSettings {
            headers: vec![(name.into(), value.into())],
            ..good()
        };
        assert!(check(&good()).is_ok());
        for (settings, why) in [
            (
                A2aAgentSettings { refresh: Duration::ZERO, ..good() },
                "refresh is 0ns, the range is 1s to 24h",
            ),
            (A2aAgentSettings { answer_within: Duration::ZERO, ..good() }, "answer-within is 0ns"),
            (
                A2aAgentSettings { id: Some(AgentId::new("a2a-proxy").unwrap()), ..good() },
                "the broker's own",
            ),
            (header("Host", "x"), "'Host' is the broker's own to set"),
            (header("a b", "s3cret"), "'a b' cannot be sent"),
            (header("x", "s3\ncret"), "'x' cannot be sent"),
            (
                A2aAgentSettings { headers: vec![("x".into(), "y".into()); 33], ..good() },
                "33 headers",
            ),
            (A2aAgentSettings::new("x".repeat(9_000)), "9000 bytes"),
        ] {
            let refusal = check(&settings).unwrap_err();
            assert!(refusal.message.contains(why), "{refusal}");
            assert!(!refusal.message.contains("cret"), "{refusal}");
        }
    }

    #[test]
    fn a_card_is_below_its_agent_unless_the_url_is_that_of_a_card() {
        assert_eq!(
            cards("http://a/x/"),
            ["http://a/x/.well-known/agent-card.json", "http://a/x/.well-known/agent.json"]
        );
        assert_eq!(cards("http://a/card.json?v=1"), ["http://a/card.json?v=1"]);
        assert_eq!(
            (place("https://A.example/x"), host("http://[::1]:1/")),
            ("https://a.example:443".into(), "::1".into())
        );
        assert_eq!(named(" Count Words! "), "Count-Words");
    }
}
