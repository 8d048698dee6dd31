//! A server with a broker.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_proto::FRAME_BYTES;
use trunkline_proto::v1::broker_client::BrokerClient;
use trunkline_server::{Server, ServerConfig, ServerHandle};

/// A server that is being served.
pub(crate) struct Running {
    address: SocketAddr,
    handle: ServerHandle,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
    _stop: DropGuard,
}

impl Running {
    /// A server without a broker, on a free port.
    pub(crate) fn without_broker() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        // Whatever must end by itself at shutdown would otherwise be ended by the grace.
        let drain_grace = Duration::from_hours(1);
        let config = ServerConfig { listen, drain_grace, ..ServerConfig::default() };
        let bound = Server::bind(config).unwrap();
        let (address, handle) = (bound.local_addr(), bound.handle());
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(bound.serve(shutdown.clone()));
        let stop = shutdown.clone().drop_guard();
        Self { address, handle, shutdown, serving, _stop: stop }
    }

    /// A server in front of an empty broker.
    pub(crate) async fn start() -> Self {
        Self::without_broker().with_broker().await
    }

    /// A server whose agents may fail as often as they like.
    pub(crate) async fn without_breakers() -> Self {
        let mut config = BrokerConfig::ephemeral();
        config.engine.breaker_failures = 0;
        Self::without_broker().with_broker_of(config).await
    }

    /// The same server with an empty broker.
    pub(crate) async fn with_broker(self) -> Self {
        self.with_broker_of(BrokerConfig::ephemeral()).await
    }

    async fn with_broker_of(self, config: BrokerConfig) -> Self {
        let broker = Broker::open(config).await.unwrap();
        assert!(self.handle.set_broker(broker));
        self
    }

    /// A connection.
    pub(crate) async fn channel(&self) -> Channel {
        let url = format!("http://{}", self.address);
        Channel::from_shared(url).unwrap().connect().await.unwrap()
    }

    /// A client of the broker's service.
    pub(crate) async fn client(&self) -> BrokerClient<Channel> {
        BrokerClient::new(self.channel().await).max_decoding_message_size(FRAME_BYTES)
    }

    /// Waits until it says that it drains.
    pub(crate) async fn drains(&self) {
        soon(async { while !self.get("/readyz").await.starts_with("HTTP/1.1 503") {} }).await;
    }

    /// The answer to an HTTP request.
    pub(crate) async fn get(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// How long something may take that must happen: a test that waits longer has failed.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), work).await.expect("it happens in time")
}
