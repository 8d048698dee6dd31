//! The clients that call an agent elsewhere: never where they must not, and by a connection of its
//! own for what must not be done twice.

use super::settings::{host, place};
use crate::ServerConfig;
use crate::push::{Allowed, Guarded, check_for, told};
use parking_lot::Mutex;
use reqwest::Client;
use reqwest::redirect::Policy;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::A2aAgentSettings;

/// The setting that allows more addresses.
const ALLOW: &str = "server.a2a_proxy_allow";
/// How many connections that nobody uses are kept.
const IDLE: usize = 8;

/// The clients for one agent, each made when it is first needed.
pub(super) struct Clients {
    /// What may be called besides public addresses.
    allowed: Arc<[Allowed]>,
    /// What may be called besides at the place of the URL alone, if that may be private.
    private: Option<Private>,
    timeout: Duration,
    made: Mutex<BTreeMap<Needed, Client>>,
}

/// A place that may be at an address that is not public.
struct Private {
    place: String,
    allowed: Arc<[Allowed]>,
}

/// What a client is needed for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Needed {
    /// Whether the place that it calls may be private.
    private: bool,
    /// On a connection that was used before, one that is just being closed cannot be told from one
    /// that broke after the message had arrived.
    fresh: bool,
    grpc: bool,
}

impl Clients {
    /// What calls an agent, obeying the settings.
    pub(super) fn new(config: &ServerConfig, settings: &A2aAgentSettings) -> Self {
        let allowed = config.a2a_proxy_allow.clone();
        let may_be_private = settings.allow_private && config.lets_be_private();
        let private = may_be_private.then(|| {
            let host = host(&settings.url).parse::<Allowed>().ok();
            let allowed: Vec<Allowed> = allowed.iter().cloned().chain(host).collect();
            Private { place: place(&settings.url), allowed: allowed.into() }
        });
        let made = Mutex::default();
        Self { allowed: allowed.into(), private, timeout: config.a2a_proxy_timeout, made }
    }

    /// What may be called at the place of a URL.
    fn allowed(&self, url: &str) -> (bool, &Arc<[Allowed]>) {
        match &self.private {
            Some(private) if private.place == place(url) => (true, &private.allowed),
            Some(_) | None => (false, &self.allowed),
        }
    }

    /// Says what is wrong with a URL, as far as that can be told without looking its host up.
    pub(super) fn check(&self, url: &str) -> Result<(), String> {
        check_for(self.allowed(url).1, url, ALLOW)
    }

    /// For what may be asked twice.
    pub(super) fn kept(&self, url: &str) -> Result<Client, String> {
        self.client(url, false, false)
    }

    /// For what must not be.
    pub(super) fn fresh(&self, url: &str) -> Result<Client, String> {
        self.client(url, true, false)
    }

    /// For gRPC, and for what must not be asked twice or may be.
    pub(super) fn grpc(&self, url: &str, fresh: bool) -> Result<Client, String> {
        self.client(url, fresh, true)
    }

    fn client(&self, url: &str, fresh: bool, grpc: bool) -> Result<Client, String> {
        let (private, allowed) = self.allowed(url);
        let needed = Needed { private, fresh, grpc };
        let mut made = self.made.lock();
        if let Some(client) = made.get(&needed) {
            return Ok(client.clone());
        }
        // Another one that was set before does as well.
        let _first = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            // One that points elsewhere would be a way around the guard.
            .redirect(Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(if fresh { 0 } else { IDLE })
            .connect_timeout(self.timeout)
            .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Guarded::new(allowed.clone(), ALLOW)));
        let builder = if grpc { builder.http2_prior_knowledge() } else { builder.http1_only() };
        let client = builder.build();
        let client = client.map_err(|error| format!("cannot be called: {}", told(&error)))?;
        made.insert(needed, client.clone());
        Ok(client)
    }
}
