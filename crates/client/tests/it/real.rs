//! The client against the real server and broker.

use crate::sink::{Ear, Told, sink};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_client::{Client, ClientConfig};
use trunkline_server::{Server, ServerConfig};
use trunkline_types::session::{
    Connection, Connector, Credit, Delivery, Hello, Operation, Reply, SessionItem, Update,
    UpdateBody,
};
use trunkline_types::{
    AgentCard, AgentId, Answer, Destination, Envelope, Gather, GatherRule, InboxAddress,
    InboxChange, Kind, MessageId, Outcome, Partition, Payload, Publish, Query, SessionId, Settle,
    TaskState, WhenFull,
};

/// A broker and its server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(listen: SocketAddr, data: &Path) -> Self {
        let drain_grace = Duration::from_millis(1);
        let config = ServerConfig { listen, drain_grace, ..ServerConfig::default() };
        let bound = Server::bind(config).unwrap();
        let (address, handle) = (bound.local_addr(), bound.handle());
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(bound.serve(shutdown.clone()));
        handle.set_broker(Broker::open(BrokerConfig::durable(data)).await.unwrap());
        Self { address, shutdown, serving }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap();
    }

    pub(crate) fn client(&self) -> Client {
        Self::client_at(self.address)
    }

    /// A client that takes this address for a broker's.
    pub(crate) fn client_at(address: SocketAddr) -> Client {
        let config = ClientConfig {
            backoff_min: Duration::from_millis(1),
            backoff_max: Duration::from_millis(20),
            ..ClientConfig::new(format!("http://{address}"))
        };
        Client::new(&config).unwrap()
    }
}

/// Keeps a free port from everybody but who is told its number. Nobody listens on it yet.
pub(crate) fn kept_port() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(LOOPBACK).unwrap();
    socket
}

async fn session(client: &Client, card: Option<AgentCard>) -> (Arc<dyn Connection>, Ear) {
    let (sink, ear) = sink();
    let hello = Hello {
        session: SessionId(card.is_some().into()),
        card,
        credit: Credit { deliveries: 8, events: 8 },
        subscriptions: Vec::new(),
        next_operation: 1,
        held: Vec::new(),
    };
    (client.connect(hello, sink).await.unwrap().connection, ear)
}

fn worker() -> AgentCard {
    let mut card = AgentCard::new(AgentId::new("worker").unwrap());
    card.skills.push("shout".parse().unwrap());
    card
}

fn request(unique: u64, task: bool) -> Operation {
    let id = MessageId::from_parts(1, Partition(0), unique);
    let to = Destination::skill("shout").unwrap();
    let mut publish = Publish::new(Envelope::new(id, Kind::Request, to, "hello".into()));
    publish.options.reply = true;
    publish.options.task = task;
    Operation::Publish(Arc::new(publish))
}

fn send(connection: &dyn Connection, first: u64, list: impl IntoIterator<Item = Operation>) {
    connection.send(crate::broker::operations(first, list));
}

/// The next delivery, whatever else is told before.
async fn delivery(ear: &mut Ear) -> Delivery {
    loop {
        if let Told::Item(SessionItem::Delivery(delivery)) = ear.next().await {
            return delivery;
        }
    }
}

/// The next reply, whatever else is told before.
async fn reply(ear: &mut Ear) -> Reply {
    loop {
        if let Told::Item(SessionItem::Reply(reply)) = ear.next().await {
            return reply;
        }
    }
}

fn complete(delivery: &Delivery) -> Operation {
    let said = delivery.publish.envelope.payload.to_text().to_uppercase();
    let outcome = Outcome::Complete { reply: Some(Payload::text(said)) };
    Operation::Settle(Settle { token: delivery.token, outcome })
}

pub(crate) const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_there_and_its_reply_comes_back() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(LOOPBACK, data.path()).await;
    let client = running.client();
    let (agent, mut work) = session(&client, Some(worker())).await;
    let (caller, mut answers) = session(&client, None).await;
    send(&*caller, 1, (1..=100).map(|unique| request(unique, false)));
    for number in 1..=100 {
        let delivery = delivery(&mut work).await;
        send(&*agent, number, [complete(&delivery)]);
    }
    for _ in 1..=100 {
        let reply = reply(&mut answers).await;
        assert_eq!(reply.result, Ok(Payload::text("HELLO")));
        assert_eq!(reply.agent, Some(AgentId::new("worker").unwrap()));
    }
    let Ok(Answer::Stats(stats)) = client.query(Query::Stats).await else { panic!("no figures") };
    assert_eq!((stats.messages_accepted, stats.counters.settled), (100, 100));
    agent.close();
    caller.close();
    work.rest().await;
    answers.rest().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_outlives_its_broker_and_its_caller_still_hears_of_it() {
    let data = tempfile::tempdir().unwrap();
    // Nobody else takes the port while the broker is away. Only Linux lets a second socket listen
    // where a first is merely bound.
    let port = cfg!(target_os = "linux").then(kept_port);
    let listen = port.as_ref().map_or(LOOPBACK, |port| port.local_addr().unwrap());
    let running = Running::start(listen, data.path()).await;
    let (address, client) = (running.address, running.client());
    let (caller, mut answers) = session(&client, None).await;
    send(&*caller, 1, [request(1, true), request(2, false)]);
    let mut accepted = 0;
    while accepted < 2 {
        match answers.item().await {
            SessionItem::Done { first, last } => accepted += last - first + 1,
            SessionItem::Accepted(_) => accepted += 1,
            other => panic!("{other:?}"),
        }
    }
    let (agent, mut work) = session(&client, Some(worker())).await;
    let held = [delivery(&mut work).await, delivery(&mut work).await];
    let task = held.iter().find(|delivery| delivery.publish.options.task).unwrap().clone();
    let started = Update { token: task.token, body: UpdateBody::Started };
    send(&*agent, 1, [Operation::Update(started)]);
    while !matches!(work.next().await, Told::Item(SessionItem::Done { .. })) {}
    running.stop().await;

    let running = Running::start(address, data.path()).await;
    // The agent finished while the broker was away, and says so under its old token.
    send(&*agent, 2, [complete(&task)]);
    let mut lost = reply(&mut answers).await;
    let mut ended = reply(&mut answers).await;
    if lost.result.is_ok() {
        std::mem::swap(&mut lost, &mut ended);
    }
    let failure = lost.result.unwrap_err();
    assert_eq!(failure.code, trunkline_types::FailureCode::Lost, "{failure}");
    assert_eq!(ended.request, task.publish.envelope.id);
    assert_eq!(ended.result, Ok(Payload::text("HELLO")));
    let Ok(Answer::Task(snapshot)) = client.query(Query::task(ended.request)).await else {
        panic!("no task")
    };
    assert_eq!((snapshot.state, snapshot.attempts), (TaskState::Completed, 1));
    agent.close();
    caller.close();
    work.rest().await;
    answers.rest().await;
    running.stop().await;
}

/// A publish to the worker's skill with another id; nobody waits for a reply.
fn tell(unique: u64) -> Operation {
    let Operation::Publish(mut publish) = request(unique, false) else { unreachable!() };
    Arc::make_mut(&mut publish).options.reply = false;
    Operation::Publish(publish)
}

/// What a sender was told.
#[derive(Default)]
struct Heard {
    answered: Vec<u64>,
    pressed: Vec<InboxAddress>,
}

impl Heard {
    /// Listens until an operation is answered.
    async fn until(&mut self, ear: &mut Ear, number: u64) {
        while !self.answered.contains(&number) {
            match ear.item().await {
                SessionItem::Done { first, last } => self.answered.extend(first..=last),
                SessionItem::Accepted(accepted) => self.answered.push(accepted.operation),
                SessionItem::Pressure(pressure) => self.pressed.push(pressure.inbox),
                other => panic!("{other:?}"),
            }
        }
        self.pressed.dedup();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_that_waits_outside_is_accepted_after_what_came_later() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(LOOPBACK, data.path()).await;
    let client = running.client();
    let (caller, mut answers) = session(&client, None).await;
    let inbox = InboxAddress::Skill("shout".parse().unwrap());
    let change = InboxChange {
        when_full: Some(WhenFull::Wait),
        wait: Some(Duration::from_hours(1)),
        limit: Some(1),
        ..InboxChange::default()
    };
    let limited = Operation::SetInbox { inbox: inbox.clone(), change: Box::new(change) };
    send(&*caller, 1, [limited, tell(1), tell(2), Operation::UnwatchAgents]);
    let mut heard = Heard::default();
    heard.until(&mut answers, 4).await;
    assert!(!heard.answered.contains(&3), "it waits outside");
    let (agent, mut work) = session(&client, Some(worker())).await;
    let first = delivery(&mut work).await;
    send(&*agent, 1, [complete(&first)]);
    heard.until(&mut answers, 3).await;
    assert_eq!(heard.pressed, [inbox], "who sends is told how full it is");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_several_agents_answer_comes_back_together() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(LOOPBACK, data.path()).await;
    let client = running.client();
    let (agent, mut work) = session(&client, Some(worker())).await;
    let (caller, mut answers) = session(&client, None).await;
    let Operation::Publish(mut publish) = request(1, false) else { unreachable!() };
    let asked = Arc::make_mut(&mut publish);
    asked.envelope.ttl = Some(Duration::from_hours(1));
    asked.options.gather = Some(Gather::new(GatherRule::All));
    send(&*caller, 1, [Operation::Publish(publish)]);
    let delivery = delivery(&mut work).await;
    send(&*agent, 1, [complete(&delivery)]);
    let gathered = loop {
        if let Told::Item(SessionItem::Gathered(gathered)) = answers.next().await {
            break gathered;
        }
    };
    assert!(gathered.complete);
    let all: Vec<_> = gathered.answers().map(|(who, said)| (who.as_str(), said)).collect();
    assert_eq!(all, [("worker", &Payload::text("HELLO"))]);
    running.stop().await;
}
