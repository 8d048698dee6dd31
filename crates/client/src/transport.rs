//! Connections: HTTP/2 settings and who is speaking.

use crate::{ClientConfig, failure};
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use trunkline_proto::v1::broker_client::BrokerClient;
use trunkline_proto::{FRAME_BYTES, metadata};
use trunkline_types::{Refusal, RefusalCode};

/// Room for what the peer may send before it is read. Large, because a session's stream is read
/// at once and a full window costs a round trip.
const STREAM_WINDOW: u32 = 4 << 20;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// How often a connection with an open stream is probed, so that a dead peer is noticed.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// How long the answer to a probe may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(20);

/// The generated client over a channel that says who is speaking.
pub(crate) type Calls = BrokerClient<InterceptedService<Channel, Identity>>;

/// Makes connections.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pub(crate) url: String,
    endpoint: Endpoint,
    identity: Identity,
}

impl Transport {
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
        Ok(Self { url, endpoint, identity: Identity(principal.transpose()?) })
    }

    /// A connection that is dialled now.
    ///
    /// # Errors
    /// A [`Refusal`] with code `unavailable`.
    pub(crate) async fn dial(&self) -> Result<Calls, Refusal> {
        let channel = self.endpoint.connect().await;
        let channel = channel
            .map_err(|error| failure::unreachable(&self.url, failure::root_cause(&error)))?;
        Ok(self.calls(channel))
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
pub(crate) struct Identity(Option<MetadataValue<Ascii>>);

impl Interceptor for Identity {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(principal) = &self.0 {
            request.metadata_mut().insert(metadata::PRINCIPAL, principal.clone());
        }
        Ok(request)
    }
}
