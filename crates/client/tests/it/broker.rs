//! A broker that says what a test tells it to, and the values that tests are made of.

use crate::sink::{Ear, PATIENCE, sink};
use futures_util::Stream;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use trunkline_client::{Client, ClientConfig};
use trunkline_proto::v1::broker_server::{Broker, BrokerServer};
use trunkline_proto::{metadata, v1};
use trunkline_types::session::{
    ClientFrame, Connection, Connector, Credit, Hello, Operation, SessionItem, Subscription,
    Welcome,
};
use trunkline_types::{
    Destination, Envelope, Epoch, Kind, Limits, MessageId, Partition, Publish, SessionId, Token,
    WallTime,
};

type Stream_<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

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
    pub(crate) watched: Mutex<Vec<(MessageId, u64)>>,
}

/// One connection of a session, as the broker sees it.
pub(crate) struct Conversation {
    pub(crate) hello: Hello,
    frames: Streaming<v1::ClientFrame>,
    says: UnboundedSender<Result<v1::ServerFrame, Status>>,
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

struct Service {
    sender: UnboundedSender<Conversation>,
    script: Arc<Script>,
}

impl Service {
    fn note<T>(&self, request: &Request<T>) {
        let principal = request.metadata().get(metadata::PRINCIPAL);
        let principal = principal.map(|value| value.to_str().unwrap().to_owned());
        self.script.principals.lock().push(principal);
    }
}

#[tonic::async_trait]
impl Broker for Service {
    type ConnectStream = Stream_<v1::ServerFrame>;
    type WatchTaskStream = Stream_<v1::TaskUpdate>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ClientFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        self.note(&request);
        let mut frames = request.into_inner();
        let hello = frames.message().await?.expect("a hello");
        let hello = Hello::try_from(hello).expect("the first frame is a hello");
        let (says, said) = mpsc::unbounded_channel();
        let _ = self.sender.send(Conversation { hello, frames, says });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(said))))
    }

    async fn send(
        &self,
        _: Request<v1::SendRequest>,
    ) -> Result<Response<v1::SendResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn request(&self, _: Request<v1::RequestRequest>) -> Result<Response<v1::Reply>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn get_task(
        &self,
        request: Request<v1::GetTaskRequest>,
    ) -> Result<Response<v1::TaskSnapshot>, Status> {
        self.note(&request);
        let id = MessageId::try_from(request.into_inner()).unwrap();
        let mut tasks = self.script.tasks.lock();
        let answers = tasks.get_mut(&id).ok_or_else(|| {
            let message = format!("task {id} is unknown");
            let code = trunkline_types::RefusalCode::NotFound;
            trunkline_proto::status::from_refusal(&trunkline_types::Refusal::new(code, message))
        })?;
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        answer.unwrap().map(Response::new)
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksResponse>, Status> {
        self.note(&request);
        let filter = trunkline_types::TaskFilter::try_from(request.into_inner()).unwrap();
        let page = trunkline_types::TaskPage { tasks: Vec::new(), next: filter.before };
        Ok(Response::new(page.into()))
    }

    async fn watch_task(
        &self,
        request: Request<v1::WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        let watched = <(MessageId, u64)>::try_from(request.into_inner()).unwrap();
        self.script.watched.lock().push(watched);
        Ok(Response::new(Box::pin(futures_util::stream::empty())))
    }

    async fn cancel_task(
        &self,
        _: Request<v1::CancelTaskRequest>,
    ) -> Result<Response<v1::Nothing>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn continue_task(
        &self,
        _: Request<v1::ContinueTaskRequest>,
    ) -> Result<Response<v1::Nothing>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn list_agents(
        &self,
        _: Request<v1::ListAgentsRequest>,
    ) -> Result<Response<v1::ListAgentsResponse>, Status> {
        Ok(Response::new(trunkline_types::AgentPage::default().into()))
    }

    async fn get_stats(
        &self,
        _: Request<v1::GetStatsRequest>,
    ) -> Result<Response<v1::Stats>, Status> {
        let stats = trunkline_types::Stats { epoch: 7, ..Default::default() };
        Ok(Response::new(stats.into()))
    }

    async fn list_dead_letters(
        &self,
        _: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        Ok(Response::new(trunkline_types::DeadLetterPage::default().into()))
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
    Subscription { pattern: pattern.parse().unwrap(), durable: false }
}

pub(crate) fn operations(
    first: u64,
    operations: impl IntoIterator<Item = Operation>,
) -> ClientFrame {
    ClientFrame::Operations { first, operations: operations.into_iter().collect() }
}
