//! A server under test, and clients for it.

use super::scripted::{Script, ScriptedBroker, broker};
use crate::{Server, ServerConfig, ServerHandle};
use futures_util::stream;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use trunkline_proto::v1;
use trunkline_proto::v1::broker_client::BrokerClient;
use trunkline_types::SessionId;
use trunkline_types::session::{ClientFrame, Credit, Hello};

/// A server that is being served.
pub(crate) struct Bench {
    pub(crate) address: SocketAddr,
    pub(crate) handle: ServerHandle,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
    _stop: DropGuard,
}

/// Settings for a test: a free port.
pub(crate) fn config() -> ServerConfig {
    ServerConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..ServerConfig::default() }
}

impl Bench {
    /// A server without a broker.
    pub(crate) fn without_broker(config: ServerConfig) -> Self {
        let bound = Server::bind(config).unwrap();
        let (address, handle) = (bound.local_addr(), bound.handle());
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(bound.serve(shutdown.clone()));
        let stop = shutdown.clone().drop_guard();
        Self { address, handle, shutdown, serving, _stop: stop }
    }

    /// A server in front of a ready broker.
    pub(crate) fn start(config: ServerConfig) -> (Self, ScriptedBroker, Script) {
        let bench = Self::without_broker(config);
        let (broker, script) = broker();
        assert!(bench.handle.set_backend(broker.clone()));
        (bench, broker, script)
    }

    /// A channel to the server.
    pub(crate) async fn channel(&self) -> Channel {
        let url = format!("http://{}", self.address);
        Channel::from_shared(url).unwrap().connect().await.unwrap()
    }

    /// A client of the broker's service.
    pub(crate) async fn client(&self) -> BrokerClient<Channel> {
        BrokerClient::new(self.channel().await)
    }

    /// A stream that has sent these frames and is welcomed, or the status why not.
    pub(crate) async fn connect(
        &self,
        frames: impl IntoIterator<Item = v1::ClientFrame>,
    ) -> Result<Session, Status> {
        Session::open(self.client().await, frames).await
    }

    /// Sends an HTTP/1.1 request with these headers and returns the whole answer.
    pub(crate) async fn http(&self, path: &str, headers: &[(&str, &str)]) -> String {
        self.try_http(path, headers).await.unwrap()
    }

    /// The same; nothing if the server closes the connection.
    pub(crate) async fn http_or_nothing(&self, path: &str) -> String {
        let host = self.address.to_string();
        self.try_http(path, &[("Host", &host)]).await.unwrap_or_default()
    }

    async fn try_http(&self, path: &str, headers: &[(&str, &str)]) -> std::io::Result<String> {
        let mut socket = TcpStream::connect(self.address).await?;
        let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.push_str("\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Makes a unary gRPC call over HTTP/1.1 and returns the start of the answer as text. Unlike
    /// the real client it keeps no clock of its own.
    pub(crate) async fn post(
        &self,
        path: &str,
        header: (&str, &str),
        message: &impl prost::Message,
    ) -> String {
        let mut body = vec![0];
        body.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
        body.extend(message.encode_to_vec());
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let (host, (name, value)) = (self.address, header);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/grpc\r\n\
             {name}: {value}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&body).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends an HTTP/1.1 request of an honest client.
    pub(crate) async fn get(&self, path: &str) -> String {
        self.http(path, &[("Host", &self.address.to_string())]).await
    }
}

/// A client's session.
pub(crate) struct Session {
    frames: mpsc::UnboundedSender<v1::ClientFrame>,
    inbound: Streaming<v1::ServerFrame>,
    pub(crate) welcome: v1::Welcome,
}

impl Session {
    /// Opens a stream and reads the welcome.
    pub(crate) async fn open(
        mut client: BrokerClient<Channel>,
        first: impl IntoIterator<Item = v1::ClientFrame>,
    ) -> Result<Self, Status> {
        let (frames, receiver) = mpsc::unbounded_channel();
        for frame in first {
            frames.send(frame).unwrap();
        }
        let outbound = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|frame| (frame, receiver))
        });
        let mut inbound = client.connect(outbound).await?.into_inner();
        let welcome = inbound.message().await?.and_then(|frame| frame.welcome).unwrap();
        Ok(Self { frames, inbound, welcome })
    }

    pub(crate) fn send(&self, frame: impl Into<v1::ClientFrame>) {
        self.frames.send(frame.into()).unwrap();
    }

    /// The next frame; `None` at a good end.
    pub(crate) async fn next(&mut self) -> Result<Option<v1::ServerFrame>, Status> {
        self.inbound.message().await
    }

    /// The status that ends the stream after whatever still comes.
    pub(crate) async fn error(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended well"),
                Err(status) => return status,
            }
        }
    }
}

/// A hello of a client that is no agent.
pub(crate) fn hello() -> Hello {
    Hello {
        session: SessionId(42),
        card: None,
        credit: Credit::default(),
        subscriptions: Vec::new(),
        next_operation: 1,
        held: Vec::new(),
    }
}

/// Operations that do nothing worth telling.
pub(crate) fn operations(first: u64, count: usize) -> ClientFrame {
    let task = trunkline_types::MessageId::from_parts(1, trunkline_types::Partition(0), 1);
    let cancel = trunkline_types::session::Operation::Unwatch { task };
    ClientFrame::Operations { first, operations: vec![cancel; count] }
}

/// How long something may take that must happen: a test that waits longer has failed.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("it happens in time")
}
