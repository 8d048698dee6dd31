//! Keeps web pages of others from talking to a broker through somebody's browser.
//!
//! Owns the rules for `Host` and `Origin`. A broker on loopback is reachable by every page that
//! its user opens: a page whose name was made to point to 127.0.0.1 (DNS rebinding) is told by
//! its `Host`, a page from elsewhere by its `Origin`. It refuses to judge who a caller is.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};

/// The rules of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    listen: SocketAddr,
}

impl Guard {
    /// The rules for a server that listens on `listen`.
    pub(crate) fn new(listen: SocketAddr) -> Self {
        Self { listen }
    }

    /// Says what is wrong with a request, if something is.
    fn objection<B>(&self, request: &axum::http::Request<B>) -> Option<String> {
        let mut hosts = request
            .headers()
            .get_all(header::HOST)
            .iter()
            .map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()))
            .collect::<Option<Vec<_>>>()
            .unwrap_or_default();
        hosts.extend(request.uri().authority().cloned());
        let Some(host) = hosts.first() else {
            return Some("the request has no readable Host".to_owned());
        };
        if self.listen.ip().is_loopback()
            && let Some(foreign) = hosts.iter().find(|host| !self.is_own(host))
        {
            return Some(format!(
                "host '{foreign}' is not this broker's; it listens on {} and answers to localhost \
                 and loopback addresses",
                self.listen
            ));
        }
        let origin = request.headers().get(header::ORIGIN)?;
        let same = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .is_some_and(|(_, from)| from.eq_ignore_ascii_case(host.as_str()));
        (!same).then(|| {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            let origin: String = origin.chars().take(128).collect();
            format!("origin '{origin}' is foreign; only pages from '{host}' itself may call")
        })
    }

    fn is_own(&self, host: &Authority) -> bool {
        let name = host.host();
        let name = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        match name.parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback() || ip == self.listen.ip(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// Lets a request pass, or answers 403 with the reason.
pub(crate) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.objection(&request) {
        None => next.run(request).await,
        Some(reason) => (StatusCode::FORBIDDEN, format!("{reason}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objection(listen: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = axum::http::Request::builder().uri("/metrics");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Guard::new(listen.parse().unwrap()).objection(&request.body(()).unwrap())
    }

    #[test]
    fn on_loopback_only_loopback_hosts_pass() {
        for host in ["localhost:7420", "127.0.0.1", "LOCALHOST", "[::1]:7420", "127.0.0.2:80"] {
            assert_eq!(objection("127.0.0.1:7420", &[("host", host)]), None, "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:7420", "10.0.0.1:7420"] {
            let text = objection("127.0.0.1:7420", &[("host", host)]).unwrap();
            assert!(text.contains(host), "{text}");
        }
        assert!(objection("127.0.0.1:7420", &[]).is_some());
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert!(objection("127.0.0.1:7420", &two).is_some());
        let unreadable = [("host", "localhost"), ("host", "a b")];
        assert!(objection("127.0.0.1:7420", &unreadable).is_some());
    }

    #[test]
    fn beyond_loopback_any_host_passes() {
        assert_eq!(objection("0.0.0.0:7420", &[("host", "broker.example:7420")]), None);
    }

    #[test]
    fn only_the_own_origin_passes() {
        let from =
            |origin| objection("127.0.0.1:7420", &[("host", "localhost:7420"), ("origin", origin)]);
        assert_eq!(from("http://localhost:7420"), None);
        for origin in ["http://evil.example", "http://localhost:3000", "null"] {
            let text = from(origin).unwrap();
            assert!(text.contains(origin), "{text}");
        }
    }
}
