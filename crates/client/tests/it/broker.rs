//! A broker that says what a test tells it to, and the values that tests are made of.

use crate::service::Service;
use crate::sink::{Ear, PATIENCE, sink};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Status, Streaming};
use trunkline_client::{Client, ClientConfig, Transport};
use trunkline_proto::v1;
use trunkline_proto::v1::broker_server::BrokerServer;
use trunkline_types::session::{
    ClientFrame, Connection, Connector, Credit, Hello, Operation, SessionItem, Subscription,
    Welcome,
};
use trunkline_types::{
    Destination, Envelope, Epoch, Kind, Limits, MessageId, Partition, Publish, SessionId, Token,
    WallTime,
};

/// A broker on a port of its own.
pub(crate) struct FakeBroker {
    pub(crate) url: String,
    connections: UnboundedReceiver<Conversation>,
    pub(crate) script: Arc<Script>,
}

/// What unary calls are answered, and what they were asked.
#[derive(Default)]
pub(crate) struct Script {
    /// The answers to each look at a task, in order; the last one stays.
    pub(crate) tasks: Mutex<HashMap<MessageId, VecDeque<Result<v1::TaskSnapshot, Status>>>>,
    pub(crate) principals: Mutex<Vec<Option<String>>>,
    pub(crate) tenants: Mutex<Vec<Option<String>>>,
    pub(crate) watched: Mutex<Vec<(MessageId, u64)>>,
}

/// One connection of a session, as the broker sees it.
pub(crate) struct Conversation {
    pub(crate) hello: Hello,
    pub(crate) frames: Streaming<v1::ClientFrame>,
    pub(crate) says: UnboundedSender<Result<v1::ServerFrame, Status>>,
}

impl FakeBroker {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, connections) = mpsc::unbounded_channel();
        let script = Arc::new(Script::default());
        let service = BrokerServer::new(Service { sender, script: script.clone() });
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { url, connections, script }
    }

    /// Settings for a client of this broker that hardly waits.
    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig {
            backoff_min: Duration::from_millis(1),
            backoff_max: Duration::from_millis(5),
            connect_timeout: PATIENCE,
            transport: Transport::Grpc,
            ..ClientConfig::new(&self.url)
        }
    }

    /// The next connection, after its hello.
    pub(crate) async fn accept(&mut self) -> Conversation {
        timeout(PATIENCE, self.connections.recv()).await.expect("a connection").unwrap()
    }

    /// A welcomed session.
    pub(crate) async fn session(
        &mut self,
        config: &ClientConfig,
    ) -> (Arc<dyn Connection>, Ear, Conversation) {
        let (sink, ear) = sink();
        let client = Client::new(config).unwrap();
        let connecting = tokio::spawn(async move { client.connect(hello(), sink).await });
        let conversation = self.accept().await;
        conversation.welcome(&welcome());
        let connected = connecting.await.unwrap().unwrap();
        assert_eq!(connected.welcome, welcome());
        (connected.connection, ear, conversation)
    }
}

impl Conversation {
    pub(crate) fn welcome(&self, welcome: &Welcome) {
        let _ = self.says.send(Ok(welcome.clone().into()));
    }

    pub(crate) fn say(&self, items: impl IntoIterator<Item = SessionItem>) {
        let mut items = items.into_iter().collect();
        self.say_frame(trunkline_proto::server_frame(&mut items));
    }

    pub(crate) fn say_frame(&self, frame: v1::ServerFrame) {
        let _ = self.says.send(Ok(frame));
    }

    pub(crate) fn done(&self, first: u64, last: u64) {
        self.say([SessionItem::Done { first, last }]);
    }

    pub(crate) fn fail(self, status: Status) {
        let _ = self.says.send(Err(status));
    }

    /// The next frame; `None` after the last.
    pub(crate) async fn hear(&mut self) -> Option<ClientFrame> {
        let frame = timeout(PATIENCE, self.frames.message()).await.expect("a frame in time");
        frame.unwrap().map(|frame| ClientFrame::try_from(frame).unwrap())
    }

    /// The next operations, as many as were sent together.
    pub(crate) async fn operations(&mut self) -> (u64, Vec<Operation>) {
        match self.hear().await {
            Some(ClientFrame::Operations { first, operations }) => (first, operations),
            other => panic!("no operations: {other:?}"),
        }
    }

    /// So many operations from `first` on, in however many frames.
    pub(crate) async fn hear_operations(&mut self, first: u64, count: usize) -> Vec<Operation> {
        let mut all = Vec::new();
        while all.len() < count {
            let (number, operations) = self.operations().await;
            assert_eq!(number, first + all.len() as u64, "frames follow each other");
            all.extend(operations);
        }
        assert_eq!(all.len(), count);
        all
    }
}

pub(crate) fn hello() -> Hello {
    Hello {
        session: SessionId(77),
        card: None,
        credit: Credit { deliveries: 4, events: 8 },
        subscriptions: Vec::new(),
        next_operation: 1,
        held: Vec::new(),
    }
}

pub(crate) fn welcome() -> Welcome {
    Welcome {
        epoch: Epoch(1),
        resumed: true,
        lease: Duration::from_secs(30),
        revoked: Vec::new(),
        limits: Limits::default(),
        now: WallTime(1),
    }
}

pub(crate) fn id(unique: u64) -> MessageId {
    MessageId::from_parts(1, Partition(0), unique)
}

pub(crate) fn token(counter: u64) -> Token {
    Token { epoch: Epoch(1), counter }
}

pub(crate) fn publish(unique: u64) -> Publish {
    let to = Destination::skill("count").unwrap();
    Publish::new(Envelope::new(id(unique), Kind::Request, to, format!("{unique}").into()))
}

pub(crate) fn send(unique: u64) -> Operation {
    Operation::Publish(Arc::new(publish(unique)))
}

pub(crate) fn request(unique: u64) -> Operation {
    let mut publish = publish(unique);
    publish.options.reply = true;
    Operation::Publish(Arc::new(publish))
}

pub(crate) fn subscription(pattern: &str) -> Subscription {
    Subscription::new(pattern.parse().unwrap())
}

pub(crate) fn operations(
    first: u64,
    operations: impl IntoIterator<Item = Operation>,
) -> ClientFrame {
    ClientFrame::Operations { first, operations: operations.into_iter().collect() }
}
