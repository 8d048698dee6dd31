//! A small vocabulary for tests that speak the session protocol to a broker.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod scene;
pub(crate) mod stop;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use trunkline_broker::{Broker, BrokerConfig, LogConfig, Store};
use trunkline_log::MemoryDisk;
use trunkline_types::session::{
    Accepted, ClientFrame, Connected, Connection, Connector, Credit, Delivery, EventDelivery,
    Hello, Operation, SessionItem, Sink, Welcome,
};
use trunkline_types::{
    AgentCard, Answer, Destination, Envelope, IdSource, Kind, LogStats, MessageId, Outcome,
    Partition, Publish, Query, Refusal, SessionId, Settle, Stats, TaskSnapshot, Token,
};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker's settings on a disk in memory, with small segments.
pub(crate) fn on(disk: &MemoryDisk) -> BrokerConfig {
    let mut config = small(BrokerConfig::ephemeral());
    config.store = Store::Custom(Arc::new(disk.clone()));
    config.log.retry_space_after = Duration::from_millis(10);
    config
}

/// A broker's settings in a directory, with small segments.
pub(crate) fn at(data: &Path) -> BrokerConfig {
    small(BrokerConfig::durable(data))
}

/// Settings with small segments, and envelopes no larger than fit into them.
fn small(mut config: BrokerConfig) -> BrokerConfig {
    config.log = LogConfig { segment_bytes: 1 << 16, max_body_bytes: 1 << 15, ..config.log };
    let limits = &mut config.engine.limits;
    limits.payload_bytes = 1 << 13;
    (limits.headers, limits.destinations, limits.card_entries) = (4, 16, 4);
    (limits.reason_bytes, limits.card_schema_bytes) = (1 << 10, 1 << 10);
    config.engine.logged_copies = 16;
    config
}

/// All figures of a broker.
pub(crate) async fn stats(broker: &Broker) -> Stats {
    match broker.query(Query::Stats).await.unwrap() {
        Answer::Stats(stats) => *stats,
        other => panic!("another answer: {other:?}"),
    }
}

/// The figures of its log.
pub(crate) async fn log(broker: &Broker) -> LogStats {
    stats(broker).await.log.unwrap()
}

/// A request for a skill that is a task.
pub(crate) fn task(skill: &str, payload: &str) -> Publish {
    let id = new_id();
    let to = Destination::skill(skill).unwrap();
    let mut publish = Publish::new(Envelope::new(id, Kind::Request, to, payload.into()));
    publish.options.task = true;
    publish
}

/// A message id that no other call has returned.
pub(crate) fn new_id() -> MessageId {
    static IDS: std::sync::Mutex<Option<IdSource>> = std::sync::Mutex::new(None);
    let mut ids = IDS.lock().unwrap();
    ids.get_or_insert_with(|| IdSource::new(u64::from(std::process::id()))).next(1, Partition(0))
}

/// One session and what it was told.
pub(crate) struct Peer {
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) welcome: Welcome,
    items: mpsc::UnboundedReceiver<SessionItem>,
    /// Came before what was asked for.
    aside: Vec<SessionItem>,
    next: u64,
}

struct Channel(mpsc::UnboundedSender<SessionItem>);

impl Sink for Channel {
    fn accept(&self, items: &mut Vec<SessionItem>) {
        for item in items.drain(..) {
            // One by one, so that each can be waited for.
            let singly: Vec<_> = match item {
                SessionItem::Done { first, last } => (first..=last)
                    .map(|number| SessionItem::Done { first: number, last: number })
                    .collect(),
                other => vec![other],
            };
            for item in singly {
                // The test may be over.
                let _ = self.0.send(item);
            }
        }
    }
}

/// A hello with the given card and room for deliveries.
pub(crate) fn hello(session: u128, card: Option<AgentCard>) -> Hello {
    Hello {
        session: SessionId(session),
        card,
        credit: Credit { deliveries: 16, events: 16 },
        subscriptions: Vec::new(),
        next_operation: 1,
        held: Vec::new(),
    }
}

/// A card with one skill.
pub(crate) fn card(id: &str, skill: &str) -> AgentCard {
    let mut card = AgentCard::new(id.parse().unwrap());
    card.skills.push(skill.parse().unwrap());
    card
}

impl Peer {
    pub(crate) async fn open(broker: &impl Connector, hello: Hello) -> Result<Self, Refusal> {
        let next = hello.next_operation;
        let (sender, items) = mpsc::unbounded_channel();
        let Connected { connection, welcome } =
            broker.connect(hello, Arc::new(Channel(sender))).await?;
        Ok(Self { connection, welcome, items, aside: Vec::new(), next })
    }

    /// Sends one operation and returns its number.
    pub(crate) fn send(&mut self, operation: Operation) -> u64 {
        let first = self.next;
        self.next += 1;
        self.connection.send(ClientFrame::Operations { first, operations: vec![operation] });
        first
    }

    pub(crate) fn settle(&mut self, token: Token, outcome: Outcome) -> u64 {
        self.send(Operation::Settle(Settle { token, outcome }))
    }

    /// The next item that `pick` makes something of; others are put aside for later.
    pub(crate) async fn find<T>(&mut self, mut pick: impl FnMut(&SessionItem) -> Option<T>) -> T {
        for index in 0..self.aside.len() {
            if let Some(found) = pick(&self.aside[index]) {
                self.aside.remove(index);
                return found;
            }
        }
        loop {
            let item = tokio::time::timeout(PATIENCE, self.items.recv()).await;
            let item = item.expect("an item comes in time").expect("the broker lives");
            if let Some(found) = pick(&item) {
                return found;
            }
            self.aside.push(item);
        }
    }

    /// The answer to an operation.
    pub(crate) async fn answer(&mut self, number: u64) -> Result<Option<Accepted>, Refusal> {
        self.find(|item| match item {
            SessionItem::Done { first, .. } if *first == number => Some(Ok(None)),
            SessionItem::Accepted(accepted) if accepted.operation == number => {
                Some(Ok(Some(accepted.clone())))
            }
            SessionItem::Refused { operation, refusal } if *operation == number => {
                Some(Err(refusal.clone()))
            }
            _ => None,
        })
        .await
    }

    /// Publishes and waits for the acceptance.
    pub(crate) async fn publish(&mut self, publish: Publish) -> Result<Option<Accepted>, Refusal> {
        let number = self.send(Operation::Publish(Arc::new(publish)));
        self.answer(number).await
    }

    /// The next delivery.
    pub(crate) async fn delivery(&mut self) -> Delivery {
        self.find(|item| match item {
            SessionItem::Delivery(delivery) => Some(delivery.clone()),
            _ => None,
        })
        .await
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> EventDelivery {
        self.find(|item| match item {
            SessionItem::Event(event) => Some(event.clone()),
            _ => None,
        })
        .await
    }

    /// The reason of the next go-away.
    pub(crate) async fn go_away(&mut self) -> String {
        self.find(|item| match item {
            SessionItem::GoAway { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .await
    }
}

/// A task as the broker shows it.
pub(crate) async fn get(broker: &Broker, id: MessageId) -> Result<TaskSnapshot, Refusal> {
    match broker.query(Query::task(id)).await? {
        Answer::Task(task) => Ok(*task),
        other => panic!("a question for a task was answered with {other:?}"),
    }
}
