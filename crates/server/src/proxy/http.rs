//! Calling an agent elsewhere: bounded, never where it is not allowed, and telling what was sent
//! from what was not.

use super::clients::Clients;
use super::grpc;
use super::settings::{cards, place, without_query};
use crate::ServerConfig;
use crate::push::told;
use reqwest::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use std::collections::VecDeque;
use std::time::Duration;
use trunkline_a2a::wire::StreamResponse;
use trunkline_a2a::{
    Ask, Binding, DownstreamCard, EventReader, Interface, Spoken, Trouble, VIA, Why,
};
use trunkline_types::A2aAgentSettings;

/// Most bytes of a card.
const MOST_CARD: usize = 1 << 20;
/// Most bytes of an answer or an event.
pub(super) const MOST: usize = 32 << 20;

/// Calls one agent elsewhere.
pub(super) struct Http {
    clients: Clients,
    headers: HeaderMap,
    /// Where the headers may go.
    home: String,
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
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            let mut value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(Self {
            clients: Clients::new(config, settings),
            headers,
            home: place(&settings.url),
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
        let (url, shown) = (&interface.url, without_query(&interface.url));
        self.clients
            .check(url)
            .map_err(|why| format!("names the interface {shown}, which {why}"))?;
        if !self.headers.is_empty() && place(url) != self.home {
            return Err(format!(
                "names the interface {shown}, which is not at {}: the headers that are set are \
                 sent to no other place; add it by a URL there",
                self.home
            ));
        }
        Ok(())
    }

    /// Reads the card, unless it is the one with this tag.
    pub(super) async fn card(&self, url: &str, tag: Option<&str>) -> Result<Fetched, String> {
        self.clients.check(url).map_err(|why| format!("{} {why}", without_query(url)))?;
        let mut last = String::new();
        for card in cards(url) {
            let fetched = tokio::time::timeout(self.timeout, self.fetch(&card, tag)).await;
            match fetched {
                Err(_late) => {
                    let card = without_query(&card);
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
        let client = self.clients.kept(url).map_err(failed)?;
        let mut request = client.get(url).header("accept", "application/json");
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let besides = self.beside(url, &Beside::default());
        let request = request.headers(besides.map_err(|trouble| failed(trouble.text))?);
        // What it has besides its path may be a secret.
        let url = without_query(url);
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
        let card = DownstreamCard::read(&body, |interface| self.check(interface));
        let card = card.map_err(|why| failed(format!("the card at {url} {why}")))?;
        Ok(Fetched::Card(Box::new(card), tag))
    }

    /// The headers that go with every request: the secret ones only where they belong.
    fn beside(&self, url: &str, beside: &Beside) -> Result<HeaderMap, Trouble> {
        let mut headers = HeaderMap::new();
        let via = match &beside.via {
            Some(via) => format!("{via}, {}", self.ident),
            None => self.ident.clone(),
        };
        let said = [(VIA, Some(&via)), ("a2a-extensions", beside.extensions.as_ref())];
        for (name, value) in said {
            let Some(value) = value else { continue };
            let value = HeaderValue::from_str(value).map_err(|_malformed| {
                Trouble::new(Why::Refused, format!("its header {name} cannot be sent"))
            })?;
            headers.insert(name, value);
        }
        if place(url) == self.home {
            for (name, value) in &self.headers {
                headers.append(name.clone(), value.clone());
            }
        }
        Ok(headers)
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
            if interface.binding == Binding::Grpc {
                return self.grpc(interface, ask, beside)?.one(interface, ask).await;
            }
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
            if interface.binding == Binding::Grpc {
                let stream = self.grpc(interface, ask, beside)?.many(interface, ask).await?;
                return Ok(Opened::Many(Box::new(News::Messages(stream))));
            }
            let response = self.request(interface, ask, beside).await?;
            let kind = response.headers().get("content-type");
            let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            if !response.status().is_success() || !kind.starts_with("text/event-stream") {
                return one(interface, ask, response).await.map(|it| Opened::One(Box::new(it)));
            }
            let (interface, ask) = (interface.clone(), ask.clone());
            let (reader, ready) = (EventReader::new(MOST), VecDeque::new());
            let events = Events { response, reader, ready, interface, ask };
            Ok(Opened::Many(Box::new(News::Events(events))))
        };
        match tokio::time::timeout(within, asked).await {
            Ok(opened) => opened,
            Err(_late) => Err(late(within)),
        }
    }

    fn may_call(&self, interface: &Interface) -> Result<(), Trouble> {
        self.check(interface).map_err(|why| Trouble::new(Why::Refused, format!("the card {why}")))
    }

    /// What calls by gRPC.
    fn grpc(
        &self,
        interface: &Interface,
        ask: &Ask,
        beside: &Beside,
    ) -> Result<grpc::Caller, Trouble> {
        self.may_call(interface)?;
        let client = self.clients.grpc(&interface.url, ask.begins());
        let client = client.map_err(|why| Trouble::new(Why::Refused, why))?;
        grpc::Caller::new(client, &interface.url, ask, self.beside(&interface.url, beside)?)
    }

    async fn request(
        &self,
        interface: &Interface,
        ask: &Ask,
        beside: &Beside,
    ) -> Result<Response, Trouble> {
        self.may_call(interface)?;
        let refused = |why: String| Trouble::new(Why::Refused, why);
        let outgoing = interface.outgoing(ask);
        let outgoing = outgoing.ok_or_else(|| refused("it is called by gRPC".to_owned()))?;
        let url = outgoing.url.as_str();
        let client = if ask.begins() { self.clients.fresh(url) } else { self.clients.kept(url) };
        let client = client.map_err(refused)?;
        let mut request = if outgoing.posted {
            client.post(&outgoing.url).body(outgoing.body)
        } else {
            client.get(&outgoing.url)
        };
        for (name, value) in outgoing.headers {
            request = request.header(name, value);
        }
        let mut request = request.headers(self.beside(&outgoing.url, beside)?);
        if let (Spoken::V03, Some(extensions)) = (interface.spoken, &beside.extensions) {
            // As that version calls it.
            request = request.header("x-a2a-extensions", extensions);
        }
        request.send().await.map_err(unsent)
    }
}

/// What an error of sending says of whether anything was sent.
pub(super) fn unsent(error: reqwest::Error) -> Trouble {
    let why = match &error {
        // It could not even be written.
        error if error.is_builder() => Why::Refused,
        error if error.is_connect() => Why::NotSent,
        _ => Why::Unknown,
    };
    Trouble::new(why, told(&error.without_url()))
}

fn late(within: Duration) -> Trouble {
    Trouble::new(Why::Unknown, format!("it did not answer within {within:?}"))
}

async fn one(
    interface: &Interface,
    ask: &Ask,
    response: Response,
) -> Result<StreamResponse, Trouble> {
    let (status, after) = (response.status().as_u16(), retry_after(&response));
    let body = body(response, MOST).await.map_err(|why| Trouble::new(Why::Unknown, why))?;
    interface.answer(ask, status, after, &body)
}

/// When to try again, if an answer says that in seconds.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let said = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    said.trim().parse().ok().map(Duration::from_secs)
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

/// What a stream tells, as it comes.
pub(super) enum News {
    /// By events over HTTP.
    Events(Events),
    /// By messages of gRPC.
    Messages(grpc::Messages),
}

impl News {
    /// The next one, if there is one within so long of silence; `None` at the end.
    pub(super) async fn next(
        &mut self,
        silence: Duration,
    ) -> Result<Option<StreamResponse>, Trouble> {
        match self {
            Self::Events(events) => events.next(silence).await,
            Self::Messages(messages) => tokio::time::timeout(silence, messages.next())
                .await
                .map_err(|_silent| silent(silence))?,
        }
    }
}

fn silent(span: Duration) -> Trouble {
    Trouble::new(Why::Unknown, format!("it was silent for {span:?}"))
}

/// The events of a stream.
pub(super) struct Events {
    response: Response,
    reader: EventReader,
    ready: VecDeque<Vec<u8>>,
    interface: Interface,
    ask: Ask,
}

impl Events {
    async fn next(&mut self, silence: Duration) -> Result<Option<StreamResponse>, Trouble> {
        let broken = |why: String| Trouble::new(Why::Unknown, why);
        loop {
            if let Some(data) = self.ready.pop_front() {
                return self.interface.event(&self.ask, &data).map(Some);
            }
            // Whatever comes breaks the silence, and be it to say that there is nothing to say.
            let piece = tokio::time::timeout(silence, self.response.chunk()).await;
            let piece = piece.map_err(|_silent| silent(silence))?;
            let piece = piece.map_err(|error| broken(told(&error.without_url())))?;
            let Some(piece) = piece else { return Ok(None) };
            let mut events = Vec::new();
            self.reader.read(&piece, &mut events).map_err(broken)?;
            self.ready.extend(events);
        }
    }
}
