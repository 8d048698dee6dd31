//! Connections: which transport, its settings, and who is speaking.

use crate::framed::Link;
use crate::parts::{InParts, Part};
use crate::{ClientConfig, Transport, failure};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use trunkline_proto::v1::broker_client::BrokerClient;
use trunkline_proto::{FRAME_BYTES, metadata, v1};
use trunkline_types::{Refusal, RefusalCode, TenantId};

/// Room for what the peer may send before it is read. Large, because a session's stream is read
/// at once and a full window costs a round trip.
const STREAM_WINDOW: u32 = 4 << 20;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// After how much silence a connection with an open stream is probed, so that a dead peer is
/// noticed. Seldom, because a probe is nearly all that an idle agent costs.
const PROBE_EVERY: Duration = Duration::from_secs(20);
/// How long the answer to a probe may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// The generated client over a channel that says who is speaking.
pub(crate) type Calls = BrokerClient<InterceptedService<Channel, Identity>>;

/// What a broker says over one connection of a session.
pub(crate) type Answers = BoxStream<'static, Result<Part, Status>>;

/// Makes connections.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) url: String,
    transport: Transport,
    /// Whether whoever listens there has answered something else when it was asked for framed
    /// connections.
    only_grpc: Arc<AtomicBool>,
    endpoint: Endpoint,
    opening: v1::Opening,
    identity: Identity,
}

impl Dialer {
    /// Checks the settings. Nothing is dialled yet.
    ///
    /// # Errors
    /// A [`Refusal`] with code `invalid`: the URL or the principal is malformed.
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, Refusal> {
        let invalid = |message| Refusal::new(RefusalCode::Invalid, message);
        let url = config.url.clone();
        let endpoint = Endpoint::from_shared(url.clone())
            .ok()
            .filter(|endpoint| endpoint.uri().scheme_str() == Some("http"))
            .ok_or_else(|| {
                invalid(format!("'{url}' is no broker URL; one looks like http://127.0.0.1:7420"))
            })?
            .tcp_nodelay(true)
            .connect_timeout(config.connect_timeout)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_adaptive_window(false)
            .http2_keep_alive_interval(PROBE_EVERY)
            .keep_alive_timeout(PROBE_PATIENCE);
        let principal = config.principal.as_deref().map(|principal| {
            MetadataValue::try_from(principal).map_err(|_malformed| {
                invalid(format!("principal '{principal}' has other than visible ASCII characters"))
            })
        });
        let tenant = Some(config.tenant.as_str()).filter(|_| config.tenant != TenantId::default());
        let opening = v1::Opening {
            principal: config.principal.clone().unwrap_or_default(),
            tenant: tenant.unwrap_or_default().to_owned(),
        };
        // Names of tenants are visible ASCII.
        let tenant = tenant.map(MetadataValue::try_from).transpose();
        let tenant = tenant.map_err(|_malformed| {
            invalid(format!("tenant '{}' has other than visible ASCII characters", config.tenant))
        })?;
        Ok(Self {
            url,
            transport: config.transport,
            only_grpc: Arc::default(),
            endpoint,
            opening,
            identity: Identity { principal: principal.transpose()?, tenant },
        })
    }

    /// Connects a session: dials now, sends what `frames` makes for the new connection, and
    /// returns what is answered.
    ///
    /// # Errors
    /// A [`Refusal`]: nobody is there, nobody who speaks the transport, or it is the broker's.
    pub(crate) async fn connect<F>(&self, frames: impl Fn() -> F) -> Result<Answers, Refusal>
    where
        F: Stream<Item = v1::ClientFrame> + Send + Unpin + 'static,
    {
        match self.transport {
            Transport::Grpc => self.connect_grpc(frames()).await,
            Transport::Framed => self.connect_framed(frames()).await?.map_err(|error| {
                failure::unreachable(&self.url, format_args!("no framed transport: {error}"))
            }),
            Transport::Auto if self.only_grpc.load(Ordering::Relaxed) => {
                self.connect_grpc(frames()).await
            }
            Transport::Auto => match self.connect_framed(frames()).await? {
                Ok(answers) => Ok(answers),
                Err(error) => {
                    tracing::debug!(url = self.url, %error, "no framed transport; trying gRPC");
                    let answers = self.connect_grpc(frames()).await?;
                    // A connection that only broke says nothing about the next one.
                    if error.kind() == io::ErrorKind::InvalidData {
                        self.only_grpc.store(true, Ordering::Relaxed);
                    }
                    Ok(answers)
                }
            },
        }
    }

    async fn connect_grpc<F>(&self, frames: F) -> Result<Answers, Refusal>
    where
        F: Stream<Item = v1::ClientFrame> + Send + 'static,
    {
        let channel = self.endpoint.connect().await;
        let channel = channel
            .map_err(|error| failure::unreachable(&self.url, failure::root_cause(&error)))?;
        let answers = self.calls(channel).connect(frames).await;
        let answers = answers.map_err(|status| failure::refused(&self.url, &status))?;
        Ok(InParts::new(answers.into_inner()).boxed())
    }

    /// The inner error: whoever is there does not speak the transport.
    async fn connect_framed<F>(&self, frames: F) -> Result<io::Result<Answers>, Refusal>
    where
        F: Stream<Item = v1::ClientFrame> + Send + Unpin + 'static,
    {
        let uri = self.endpoint.uri();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let dialled = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await;
        let socket = dialled.and_then(|socket| socket.set_nodelay(true).map(|()| socket));
        let socket = socket.map_err(|error| failure::unreachable(&self.url, error))?;
        let probes = [PROBE_EVERY, PROBE_PATIENCE];
        let link = Link::open(socket, &self.opening, frames, probes).await;
        Ok(link.map(StreamExt::boxed))
    }

    /// A connection that is dialled when it is needed, again if need be. Must be called within a
    /// runtime.
    pub(crate) fn lazy(&self) -> Calls {
        self.calls(self.endpoint.connect_lazy())
    }

    fn calls(&self, channel: Channel) -> Calls {
        BrokerClient::with_interceptor(channel, self.identity.clone())
            .max_decoding_message_size(FRAME_BYTES)
            .max_encoding_message_size(FRAME_BYTES)
    }
}

/// Says in every call who is speaking.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    principal: Option<MetadataValue<Ascii>>,
    tenant: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Identity {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let names = [(metadata::PRINCIPAL, &self.principal), (metadata::TENANT, &self.tenant)];
        for (key, name) in names {
            if let Some(name) = name {
                request.metadata_mut().insert(key, name.clone());
            }
        }
        Ok(request)
    }
}
