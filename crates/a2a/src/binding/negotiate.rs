//! What a client says beside its request: version, extensions, keys, and where it reached us.

use super::query;
use crate::card::{EARLIER, PROTOCOL};
use crate::downstream::VIA;
use crate::endpoint::Endpoint;
use crate::fault::{Fault, FaultKind};
use crate::handler::Call;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use serde_json::Value;
use trunkline_types::{AgentId, Principal};

/// The version that a client speaks, as header and as parameter of a query.
const VERSION: &str = "a2a-version";
/// The extensions that a client declares, and as clients of 0.3 do.
const EXTENSIONS: [&str; 2] = ["a2a-extensions", "x-a2a-extensions"];
/// The version of clients that say none.
const UNSAID: &str = EARLIER;

/// A version that is spoken here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    /// The earlier one.
    V03,
    /// The present one.
    V1,
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// What there is to know of a call before its body is read.
pub(super) fn call(
    principal: Principal,
    endpoint: Endpoint,
    version: Option<Version>,
    request: &Request,
    url: Option<&str>,
) -> Call {
    let headers = request.headers();
    let host = text(headers, header::HOST.as_str());
    let host = host.or(request.uri().authority().map(Authority::as_str));
    let base = match url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", host.unwrap_or("localhost")),
    };
    let declared = EXTENSIONS.iter().flat_map(|name| headers.get_all(*name));
    let mut extensions = Vec::new();
    for uri in declared.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let uri = uri.trim().to_owned();
        // A client may say it under both names.
        if !uri.is_empty() && !extensions.contains(&uri) {
            extensions.push(uri);
        }
    }
    Call {
        principal,
        endpoint,
        base,
        extensions,
        idempotency_key: text(headers, "idempotency-key").map(str::to_owned),
        last_event_id: text(headers, "last-event-id").map(str::to_owned),
        via: via(headers),
        in_03: version == Some(Version::V03),
    }
}

impl Call {
    /// Takes the agent that the field `tenant` of a request names, as `agents/ID` or
    /// `agents/ID/TENANT`, and leaves the tenant.
    pub(super) fn name_agent(&mut self, tenant: &mut String) -> Result<(), Fault> {
        let Some(rest) = tenant.strip_prefix("agents/") else { return Ok(()) };
        let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let id = AgentId::new(id).map_err(|error| Fault::field("tenant", error.to_string()))?;
        if let Some(known) = self.endpoint.agent.as_ref().filter(|known| **known != id) {
            let why = format!("names agent '{id}', but the path names '{known}'");
            return Err(Fault::field("tenant", why));
        }
        self.endpoint.agent = Some(id);
        *tenant = rest.to_owned();
        Ok(())
    }

    /// The same of a request in JSON.
    pub(super) fn name_agent_in(&mut self, request: &mut Value) -> Result<(), Fault> {
        match request.get_mut("tenant") {
            Some(Value::String(tenant)) => self.name_agent(tenant),
            _ => Ok(()),
        }
    }
}

/// The brokers that a message has passed, from however many headers.
fn via(headers: &HeaderMap) -> Option<String> {
    let all: Vec<&str> =
        headers.get_all(VIA).iter().filter_map(|passed| passed.to_str().ok()).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// The version that the client speaks, if it is spoken here, the `earlier` one too if that is set.
/// A patch number is of no account.
pub(super) fn version(request: &Request, earlier: bool) -> Result<Version, Fault> {
    let asked = query::pairs(request.uri().query().unwrap_or_default());
    let in_query = asked
        .into_iter()
        .find(|(name, value)| name.eq_ignore_ascii_case(VERSION) && !value.is_empty())
        .map(|(_, value)| value);
    let version = text(request.headers(), VERSION).map(str::to_owned).or(in_query);
    let version = version.unwrap_or_else(|| UNSAID.to_owned());
    let mut numbers = version.splitn(3, '.');
    let minor = [numbers.next(), numbers.next()].map(Option::unwrap_or_default).join(".");
    match minor.as_str() {
        PROTOCOL => Ok(Version::V1),
        UNSAID if earlier => Ok(Version::V03),
        _ => Err(not_spoken(&version, earlier)),
    }
}

/// What a client of 0.3 is told that wants what there is in 1.0 only.
pub(super) fn only_in_1_0() -> Fault {
    not_spoken(UNSAID, true)
}

fn not_spoken(version: &str, earlier: bool) -> Fault {
    let shown: String = version.chars().take(32).collect();
    let message = format!(
        "version {shown} of A2A is not spoken here for this, but {PROTOCOL}; say so with the \
         header A2A-Version, without which {UNSAID} is meant"
    );
    let fault = Fault::new(FaultKind::VersionNotSupported, message);
    let spoken = if earlier { format!("{PROTOCOL}, {UNSAID}") } else { PROTOCOL.to_owned() };
    fault.with("version", shown).with("supportedVersions", spoken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(uri: &str, version: Option<&str>) -> Request {
        let mut request = Request::builder().uri(uri);
        if let Some(version) = version {
            request = request.header("A2A-Version", version);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn the_version_is_said_by_header_or_query_and_unsaid_is_an_older_one() {
        for (uri, said) in
            [("/tasks", Some("1.0")), ("/tasks", Some("1.0.1")), ("/tasks?A2A-Version=1.0", None)]
        {
            assert_eq!(version(&request(uri, said), true), Ok(Version::V1), "{uri} {said:?}");
        }
        for said in [None, Some(""), Some("0.3"), Some("0.3.0")] {
            assert_eq!(version(&request("/tasks", said), true), Ok(Version::V03), "{said:?}");
        }
        for said in [Some("0.5"), Some("2.0"), Some("1"), Some("x")] {
            let fault = version(&request("/tasks", said), true).unwrap_err();
            assert_eq!(fault.kind, FaultKind::VersionNotSupported, "{said:?}");
        }
        for said in [None, Some("0.3")] {
            let fault = version(&request("/tasks", said), false).unwrap_err();
            assert_eq!(fault.kind, FaultKind::VersionNotSupported, "{said:?}");
        }
    }
}
