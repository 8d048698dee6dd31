//! What a client says beside its request: version, extensions, keys, and where it reached us.

use super::query;
use crate::card::PROTOCOL;
use crate::endpoint::Endpoint;
use crate::fault::{Fault, FaultKind};
use crate::handler::Call;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use trunkline_types::Principal;

/// The version that a client speaks, as header and as parameter of a query.
const VERSION: &str = "a2a-version";
/// The extensions that a client declares.
const EXTENSIONS: &str = "a2a-extensions";
/// The version of clients that say none.
const UNSAID: &str = "0.3";

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// What there is to know of a call before its body is read.
pub(super) fn call(
    principal: Principal,
    endpoint: Endpoint,
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
    let declared = headers.get_all(EXTENSIONS).iter().filter_map(|value| value.to_str().ok());
    let split =
        |value: &str| -> Vec<String> { value.split(',').map(|uri| uri.trim().into()).collect() };
    let extensions = declared.flat_map(split).filter(|uri| !uri.is_empty()).collect();
    Call {
        principal,
        endpoint,
        base,
        extensions,
        idempotency_key: text(headers, "idempotency-key").map(str::to_owned),
        last_event_id: text(headers, "last-event-id").map(str::to_owned),
    }
}

/// Checks that the client speaks a version that is spoken here. A patch number is of no account.
pub(super) fn check_version(request: &Request) -> Result<(), Fault> {
    let asked = query::pairs(request.uri().query().unwrap_or_default());
    let in_query = asked
        .into_iter()
        .find(|(name, value)| name.eq_ignore_ascii_case(VERSION) && !value.is_empty())
        .map(|(_, value)| value);
    let version = text(request.headers(), VERSION).map(str::to_owned).or(in_query);
    let version = version.unwrap_or_else(|| UNSAID.to_owned());
    let mut numbers = version.splitn(3, '.');
    let minor = [numbers.next(), numbers.next()].map(Option::unwrap_or_default).join(".");
    if minor == PROTOCOL {
        return Ok(());
    }
    let shown: String = version.chars().take(32).collect();
    let message = format!(
        "version {shown} of A2A is not spoken here, but {PROTOCOL}; say so with the header \
         A2A-Version, without which {UNSAID} is meant"
    );
    let fault = Fault::new(FaultKind::VersionNotSupported, message);
    Err(fault.with("version", shown).with("supportedVersions", PROTOCOL))
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
        for (uri, version) in
            [("/tasks", Some("1.0")), ("/tasks", Some("1.0.1")), ("/tasks?A2A-Version=1.0", None)]
        {
            assert_eq!(check_version(&request(uri, version)), Ok(()), "{uri} {version:?}");
        }
        for version in [None, Some(""), Some("0.3"), Some("0.5"), Some("2.0"), Some("1"), Some("x")]
        {
            let fault = check_version(&request("/tasks", version)).unwrap_err();
            assert_eq!(fault.kind, FaultKind::VersionNotSupported, "{version:?}");
        }
    }
}
