//! Calling an agent elsewhere: bounded, never where it is not allowed, and telling what was sent
//! from what was not.

use super::settings::{cards, host, place};
use crate::ServerConfig;
use crate::push::{Allowed, Guarded, check_for, told};
use reqwest::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use trunkline_a2a::wire::StreamResponse;
use trunkline_a2a::{Ask, DownstreamCard, EventReader, Interface, Spoken, Trouble, VIA, Why};
use trunkline_types::A2aAgentSettings;

/// The setting that allows more addresses.
pub(super) const ALLOW: &str = "server.a2a_proxy_allow";
/// Most bytes of a card.
const MOST_CARD: usize = 1 << 20;
/// Most bytes of an answer or an event.
const MOST: usize = 32 << 20;

/// Calls one agent elsewhere.
pub(super) struct Http {
    /// For what may be asked twice.
    kept: Client,
    /// For what must not be: on a connection that was used before, one that is just being closed
    /// cannot be told from one that broke after the message had arrived.
    fresh: Client,
    headers: HeaderMap,
    /// Where the headers may go.
    home: String,
    allowed: Arc<[Allowed]>,
    /// What this broker calls itself where loops are looked for.
    ident: String,
    timeout: Duration,
}

/// A card that was looked for.
pub(super) enum Fetched {
    /// It is as it was.
    Same,
    /// It is this one, known by the tag.
    Card(Box<DownstreamCard>, Option<String>),
}

/// What a request that may be answered by events is answered with.
pub(super) enum Opened {
    One(Box<StreamResponse>),
    Many(Box<News>),
}

/// What goes with a request besides what it asks.
#[derive(Default, Clone)]
pub(super) struct Beside {
    /// The extensions that the client declares.
    pub(super) extensions: Option<String>,
    /// The brokers that the message has passed before this one.
    pub(super) via: Option<String>,
}

impl Http {
    /// What calls an agent, obeying the settings.
    pub(super) fn new(
        config: &ServerConfig,
        ident: &str,
        settings: &A2aAgentSettings,
    ) -> Result<Self, String> {
        // Another one that was set before does as well.
        let _first = rustls::crypto::ring::default_provider().install_default();
        let mut allowed = config.a2a_proxy_allow.clone();
        if settings.allow_private {
            let host = host(&settings.url);
            allowed.extend(host.parse::<Allowed>().ok());
        }
        let allowed: Arc<[Allowed]> = allowed.into();
        let build = |idle: usize| {
            Client::builder()
                // One that points elsewhere would be a way around the guard.
                .redirect(Policy::none())
                .no_proxy()
                .pool_max_idle_per_host(idle)
                .connect_timeout(config.a2a_proxy_timeout)
                .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")))
                .dns_resolver(Arc::new(Guarded::new(allowed.clone(), ALLOW)))
                .build()
                .map_err(|error| format!("cannot be called: {}", told(&error)))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            let mut value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(Self {
            kept: build(8)?,
            fresh: build(0)?,
            headers,
            home: place(&settings.url),
            allowed,
            ident: ident.to_owned(),
            timeout: config.a2a_proxy_timeout,
        })
    }

    /// How long an answer to anything but a message may take, and how long a stream may be silent.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Says whether an interface may be called with what is set.
    pub(super) fn check(&self, interface: &Interface) -> Result<(), String> {
        let Interface { url, .. } = interface;
        check_for(&self.allowed, url, ALLOW)
            .map_err(|why| format!("the card names the interface {url}, which {why}"))?;
        if !self.headers.is_empty() && place(url) != self.home {
            return Err(format!(
                "the card names the interface {url}, which is not at {}: the headers that are set \
                 are sent to no other place; add it by a URL there",
                self.home
            ));
        }
        Ok(())
    }

    /// Reads the card, unless it is the one with this tag.
    pub(super) async fn card(&self, url: &str, tag: Option<&str>) -> Result<Fetched, String> {
        check_for(&self.allowed, url, ALLOW).map_err(|why| format!("{url} {why}"))?;
        let mut last = String::new();
        for card in cards(url) {
            let fetched = tokio::time::timeout(self.timeout, self.fetch(&card, tag)).await;
            match fetched {
                Err(_late) => {
                    return Err(format!("{card} did not answer within {:?}", self.timeout));
                }
                Ok(Err((StatusCode::NOT_FOUND, why))) => last = why,
                Ok(Err((_, why))) => return Err(why),
                Ok(Ok(fetched)) => return Ok(fetched),
            }
        }
        Err(last)
    }

    async fn fetch(&self, url: &str, tag: Option<&str>) -> Result<Fetched, (StatusCode, String)> {
        let failed = |why: String| (StatusCode::OK, why);
        let mut request = self.kept.get(url).header("accept", "application/json");
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let request = self.sent(request, url, &Beside::default());
        let response = request.send().await.map_err(|error| {
            failed(format!("{url} cannot be read: {}", told(&error.without_url())))
        })?;
        let status = response.status();
        match status {
            StatusCode::NOT_MODIFIED if tag.is_some() => return Ok(Fetched::Same),
            StatusCode::LOOP_DETECTED => {
                let why = format!("{url} leads to this broker itself; its agents are here already");
                return Err(failed(why));
            }
            _ if !status.is_success() => {
                return Err((status, format!("{url} answered with status {status}")));
            }
            _ => {}
        }
        let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
        let tag = tag.map(str::to_owned);
        let body = body(response, MOST_CARD).await;
        let body = body.map_err(|why| failed(format!("{url} cannot be read: {why}")))?;
        let card = DownstreamCard::read(&body);
        let card = card.map_err(|why| failed(format!("the card at {url} {why}")))?;
        Ok(Fetched::Card(Box::new(card), tag))
    }

    /// The headers that go with every request: the secret ones only where they belong.
    fn sent(&self, request: RequestBuilder, url: &str, beside: &Beside) -> RequestBuilder {
        let via = match &beside.via {
            Some(via) => format!("{via}, {}", self.ident),
            None => self.ident.clone(),
        };
        let mut request = request.header(VIA, via);
        if let Some(extensions) = &beside.extensions {
            request = request.header("a2a-extensions", extensions);
        }
        if place(url) == self.home { request.headers(self.headers.clone()) } else { request }
    }

    /// Asks something that has one answer.
    pub(super) async fn ask(
        &self,
        interface: &Interface,
        ask: &Ask,
        beside: &Beside,
        within: Duration,
    ) -> Result<StreamResponse, Trouble> {
        let asked = async {
            let response = self.request(interface, ask, beside).await?;
            one(interface, ask, response).await
        };
        match tokio::time::timeout(within, asked).await {
            Ok(answer) => answer,
            Err(_late) => Err(late(within)),
        }
    }

    /// Asks something that is answered by events.
    pub(super) async fn open(
        &self,
        interface: &Interface,
        ask: &Ask,
        beside: &Beside,
        within: Duration,
    ) -> Result<Opened, Trouble> {
        let asked = async {
            let response = self.request(interface, ask, beside).await?;
            let kind = response.headers().get("content-type");
            let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            if !response.status().is_success() || !kind.starts_with("text/event-stream") {
                return one(interface, ask, response).await.map(|it| Opened::One(Box::new(it)));
            }
            let (interface, ask) = (interface.clone(), ask.clone());
            let (reader, ready) = (EventReader::new(MOST), VecDeque::new());
            Ok(Opened::Many(Box::new(News { response, reader, ready, interface, ask })))
        };
        match tokio::time::timeout(within, asked).await {
            Ok(opened) => opened,
            Err(_late) => Err(late(within)),
        }
    }

    async fn request(
        &self,
        interface: &Interface,
        ask: &Ask,
        beside: &Beside,
    ) -> Result<Response, Trouble> {
        self.check(interface).map_err(|why| Trouble::new(Why::Refused, why))?;
        let outgoing = interface.outgoing(ask);
        let client = if ask.begins() { &self.fresh } else { &self.kept };
        let mut request = if outgoing.posted {
            client.post(&outgoing.url).body(outgoing.body)
        } else {
            client.get(&outgoing.url)
        };
        for (name, value) in outgoing.headers {
            request = request.header(name, value);
        }
        let mut request = self.sent(request, &outgoing.url, beside);
        if let (Spoken::V03, Some(extensions)) = (interface.spoken, &beside.extensions) {
            // As that version calls it.
            request = request.header("x-a2a-extensions", extensions);
        }
        request.send().await.map_err(|error| {
            let why = match &error {
                // It could not even be written.
                error if error.is_builder() => Why::Refused,
                error if error.is_connect() => Why::NotSent,
                _ => Why::Unknown,
            };
            Trouble::new(why, told(&error.without_url()))
        })
    }
}

fn late(within: Duration) -> Trouble {
    Trouble::new(Why::Unknown, format!("it did not answer within {within:?}"))
}

async fn one(
    interface: &Interface,
    ask: &Ask,
    response: Response,
) -> Result<StreamResponse, Trouble> {
    let status = response.status().as_u16();
    let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok());
    let after = after.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
    let body = body(response, MOST).await.map_err(|why| Trouble::new(Why::Unknown, why))?;
    interface.answer(ask, status, after, &body)
}

/// A body of at most so many bytes.
async fn body(mut response: Response, most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| told(&error.without_url()))? {
        if body.len() + piece.len() > most {
            return Err(format!("it has more than {most} bytes, the limit"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The events of a stream, as they come.
pub(super) struct News {
    response: Response,
    reader: EventReader,
    ready: VecDeque<Vec<u8>>,
    interface: Interface,
    ask: Ask,
}

impl News {
    /// The next one, if there is one within so long of silence; `None` at the end.
    pub(super) async fn next(
        &mut self,
        silence: Duration,
    ) -> Result<Option<StreamResponse>, Trouble> {
        let broken = |why: String| Trouble::new(Why::Unknown, why);
        loop {
            if let Some(data) = self.ready.pop_front() {
                return self.interface.event(&self.ask, &data).map(Some);
            }
            let piece = tokio::time::timeout(silence, self.response.chunk()).await;
            let piece =
                piece.map_err(|_silent| broken(format!("it was silent for {silence:?}")))?;
            let piece = piece.map_err(|error| broken(told(&error.without_url())))?;
            let Some(piece) = piece else { return Ok(None) };
            let mut events = Vec::new();
            self.reader.read(&piece, &mut events).map_err(broken)?;
            self.ready.extend(events);
        }
    }
}
