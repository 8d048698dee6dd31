//! Posting to a webhook: bounded, tried again, and never where it is not allowed.

use super::allow::{Allowed, allows, allows_host};
use crate::ServerConfig;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The setting that allows more addresses.
const ALLOW: &str = "server.a2a_push_allow";
/// How long to wait before the second try. It doubles with each one.
const BACKOFF: Duration = Duration::from_millis(500);
/// How long to wait at most.
const LONGEST: Duration = Duration::from_mins(1);

/// Where something is posted.
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// Calls webhooks.
pub(crate) struct Client {
    http: reqwest::Client,
    allowed: Arc<[Allowed]>,
    attempts: u32,
}

impl Client {
    /// A client that obeys the settings.
    pub(crate) fn new(config: &ServerConfig) -> Result<Self, String> {
        // Another one that was set before does as well.
        let _first = rustls::crypto::ring::default_provider().install_default();
        let allowed: Arc<[Allowed]> = config.a2a_push_allow.clone().into();
        let http = reqwest::Client::builder()
            // A webhook that points elsewhere would be a way around the guard.
            .redirect(Policy::none())
            .no_proxy()
            .http1_only()
            .timeout(config.a2a_push_timeout)
            .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Guarded::new(allowed.clone(), ALLOW)))
            .build()
            .map_err(|error| format!("cannot be called: {}", told(&error)))?;
        Ok(Self { http, allowed, attempts: config.a2a_push_attempts })
    }

    /// Posts a notice, as often as is set until it is taken.
    pub(crate) async fn deliver(&self, to: &Target, body: &str) -> Result<(), String> {
        // Not only when it was set: less may be allowed since then, and who redrives a dead letter
        // may name another URL. An address is not looked up, so that nothing else would stop it.
        check(&self.allowed, &to.url).map_err(|why| format!("the URL {why}"))?;
        let mut wait = BACKOFF;
        let mut attempt = 1;
        loop {
            let why = match self.post(to, body).await {
                Ok(()) => return Ok(()),
                Err(why) => why,
            };
            if attempt >= self.attempts {
                return Err(format!("{why}, at attempt {attempt} of {}", self.attempts));
            }
            tracing::debug!(why, attempt, "a webhook was not reached");
            // Not all at once after a webhook was away.
            tokio::time::sleep(wait.mul_f64(fastrand::f64().mul_add(0.5, 0.75))).await;
            wait = (wait * 2).min(LONGEST);
            attempt += 1;
        }
    }

    async fn post(&self, to: &Target, body: &str) -> Result<(), String> {
        let mut request = self.http.post(&to.url).body(body.to_owned());
        for (name, value) in &to.headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.map_err(|error| told(&error.without_url()))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(answered(status)),
        }
    }
}

fn answered(status: StatusCode) -> String {
    format!("it answered {status}")
}

/// An error with its causes.
pub(crate) fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Says what is wrong with a webhook, as far as that can be told without looking its host up.
pub(crate) fn check(allowed: &[Allowed], url: &str) -> Result<(), String> {
    check_for(allowed, url, ALLOW)
}

/// Says what is wrong with a URL, where a setting of this name could allow it.
pub(crate) fn check_for(
    allowed: &[Allowed],
    url: &str,
    setting: &'static str,
) -> Result<(), String> {
    let url = Url::parse(url).map_err(|error| format!("is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("begins with {}:; only http: and https: are called", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password; say them as authentication".to_owned());
    }
    let Some(host) = url.host_str() else { return Err("has no host".to_owned()) };
    // It is not looked up, so that nothing else would stop it.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) if !allows(allowed, address) => Err(forbidden(host, setting)),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn forbidden(host: &str, setting: &str) -> String {
    format!("leads to {host}, which is no public address; {setting} could allow it")
}

/// Looks names up, and leaves out what must not be called.
pub(crate) struct Guarded {
    allowed: Arc<[Allowed]>,
    /// What could allow more.
    setting: &'static str,
}

impl Guarded {
    /// Leaves out what is neither public nor allowed by the setting of this name.
    pub(crate) fn new(allowed: Arc<[Allowed]>, setting: &'static str) -> Self {
        Self { allowed, setting }
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, setting) = (self.allowed.clone(), self.setting);
        Box::pin(async move {
            let name = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            let trusted = allows_host(&allowed, name);
            let left: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| trusted || allows(&allowed, address.ip()))
                .collect();
            if left.is_empty() {
                let why = io::Error::new(io::ErrorKind::PermissionDenied, forbidden(name, setting));
                return Err(why.into());
            }
            let addresses: Addrs = Box::new(left.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_be_called_is_told_before_it_is() {
        let allowed = ["10.0.0.0/8".parse().unwrap()];
        for (url, why) in [
            ("hooks", "is no URL"),
            ("ftp://example.com", "only http: and https:"),
            ("http://a:b@example.com", "say them as authentication"),
            ("http://127.0.0.1:7420/", "no public address"),
            ("http://[::1]/", "no public address"),
            // Other ways to write the same address.
            ("http://2130706433/", "no public address"),
            ("http://0x7f.1/", "no public address"),
            ("http://[::ffff:7f00:1]/", "no public address"),
        ] {
            let told = check(&allowed, url).unwrap_err();
            assert!(told.contains(why), "{url}: {told}");
        }
        for url in ["https://example.com/a?b", "http://10.1.1.1:8080", "http://1.1.1.1"] {
            assert_eq!(check(&allowed, url), Ok(()), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_is_not_called() {
        let look_up = async |allowed: &[Allowed]| {
            let name = "localhost".parse().unwrap();
            Guarded::new(allowed.into(), ALLOW).resolve(name).await.map(Iterator::count)
        };
        let why = look_up(&[]).await.unwrap_err().to_string();
        assert!(why.contains("leads to localhost"), "{why}");
        assert!(look_up(&["localhost".parse().unwrap()]).await.unwrap() > 0);
        let networks = ["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        assert!(look_up(&networks).await.unwrap() > 0);
    }
}
