//! A session without a runtime on a broker in this process, for what the runtime would hide.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use trunkline_agent::Session;
use trunkline_broker::{Broker, BrokerConfig, EngineConfig};
use trunkline_types::session::{
    Accepted, ClientFrame, Connected, Connection, Connector, Credit, Delivery, Hello, Operation,
    SessionItem, Sink, Welcome,
};
use trunkline_types::{
    AgentCard, Destination, Envelope, Kind, MessageId, Outcome, Partition, Publish, Refusal,
    SessionId, Settle, Token,
};

/// How long anything may take before a test gives up; shorter than the lease by default.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A broker in memory with some settings changed.
pub(crate) async fn broker(change: impl FnOnce(&mut EngineConfig)) -> Broker {
    let mut config = BrokerConfig::ephemeral();
    change(&mut config.engine);
    Broker::open(config).await.unwrap()
}

/// What must happen, or the test gives up.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens in time")
}

/// Waits until every session but this one has left or was given up.
pub(crate) async fn given_up(session: &Session) {
    soon(async {
        while session.stats().await.unwrap().sessions > 1 {
            tokio::time::sleep(millis(1)).await;
        }
    })
    .await;
}

pub(crate) fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// A task for skill `s`.
pub(crate) fn task() -> Publish {
    let mut task = message(Kind::Request, "skill:s");
    task.options.task = true;
    task
}

pub(crate) fn message(kind: Kind, to: &str) -> Publish {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = MessageId::from_parts(1, Partition(0), NEXT.fetch_add(1, Ordering::Relaxed));
    let to: Destination = to.parse().unwrap();
    Publish::new(Envelope::new(id, kind, to, "x".into()))
}

/// The hello of a client, or of an agent that offers skill `s`.
pub(crate) fn hello(session: u128, agent: Option<&str>) -> Hello {
    let card = agent.map(|id| {
        let mut card = AgentCard::new(id.parse().unwrap());
        card.skills.push("s".parse().unwrap());
        card
    });
    Hello {
        session: SessionId(session),
        card,
        credit: Credit { deliveries: 100, events: 100 },
        subscriptions: Vec::new(),
        next_operation: 1,
        held: Vec::new(),
    }
}

struct Channel(mpsc::UnboundedSender<SessionItem>);

impl Sink for Channel {
    fn accept(&self, items: &mut Vec<SessionItem>) {
        for item in items.drain(..) {
            // The test may be over.
            let _ = self.0.send(item);
        }
    }
}

/// One session and what it was told. Dropped, its connection is lost; [`Peer::leave`] says
/// goodbye.
pub(crate) struct Peer {
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) welcome: Welcome,
    items: mpsc::UnboundedReceiver<SessionItem>,
    aside: Vec<SessionItem>,
    next: u64,
}

impl Peer {
    pub(crate) async fn open(broker: &Broker, hello: Hello) -> Result<Self, Refusal> {
        let next = hello.next_operation;
        let (sender, items) = mpsc::unbounded_channel();
        let Connected { connection, welcome } =
            broker.connect(hello, Arc::new(Channel(sender))).await?;
        Ok(Self { connection, welcome, items, aside: Vec::new(), next })
    }

    pub(crate) fn leave(self) {
        self.connection.send(ClientFrame::Goodbye);
    }

    /// The next item that `pick` makes something of; others are put aside for later.
    pub(crate) async fn find<T>(&mut self, mut pick: impl FnMut(&SessionItem) -> Option<T>) -> T {
        if let Some(at) = self.aside.iter().position(|item| pick(item).is_some()) {
            return pick(&self.aside.remove(at)).unwrap();
        }
        loop {
            let item = soon(self.items.recv()).await.expect("the broker lives");
            if let Some(found) = pick(&item) {
                return found;
            }
            self.aside.push(item);
        }
    }

    /// Sends operations in one frame and returns the answer to each.
    pub(crate) async fn ask_all(
        &mut self,
        operations: Vec<Operation>,
    ) -> Vec<Result<Option<Accepted>, Refusal>> {
        let first = self.next;
        self.next += operations.len() as u64;
        self.connection.send(ClientFrame::Operations { first, operations });
        let mut answers = Vec::new();
        for number in first..self.next {
            answers.push(self.answer(number).await);
        }
        answers
    }

    async fn answer(&mut self, number: u64) -> Result<Option<Accepted>, Refusal> {
        // One answer may be to several operations, so it is found again for the next one.
        let pick = |item: &SessionItem| match item {
            SessionItem::Done { first, last } if (*first..=*last).contains(&number) => {
                Some(Ok(None))
            }
            SessionItem::Accepted(it) if it.operation == number => Some(Ok(Some(it.clone()))),
            SessionItem::Refused { operation, refusal } if *operation == number => {
                Some(Err(refusal.clone()))
            }
            _ => None,
        };
        loop {
            if let Some(found) = self.aside.iter().find_map(pick) {
                return found;
            }
            let item = soon(self.items.recv()).await.expect("the broker lives");
            self.aside.push(item);
        }
    }

    pub(crate) async fn ask(&mut self, operation: Operation) -> Result<Option<Accepted>, Refusal> {
        self.ask_all(vec![operation]).await.remove(0)
    }

    pub(crate) async fn publish(&mut self, publish: Publish) -> Result<Option<Accepted>, Refusal> {
        self.ask(Operation::Publish(Arc::new(publish))).await
    }

    pub(crate) async fn settle(&mut self, token: Token, outcome: Outcome) -> Result<(), Refusal> {
        self.ask(Operation::Settle(Settle { token, outcome })).await.map(|_| ())
    }

    pub(crate) async fn delivery(&mut self) -> Delivery {
        self.find(|item| match item {
            SessionItem::Delivery(delivery) => Some(delivery.clone()),
            _ => None,
        })
        .await
    }
}
