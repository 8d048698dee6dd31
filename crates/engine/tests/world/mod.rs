//! A stage that keeps what the latest call led to, to be asked session by session; filters want
//! events by a header.

pub(crate) use crate::stage::{Peer, hello};

use crate::stage::Stage;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use trunkline_engine::{Command, Effect, EngineConfig, Now, Record, Rules, Verdicts};
use trunkline_types::session::{
    Accepted, ClientFrame, Credit, Delivery, EventDelivery, Hello, Operation, Pressure,
    SessionItem, Subscription,
};
use trunkline_types::{
    Answer, CopyState, Filter, Kind, MessageId, MessageStatus, Outcome, Principal, Publish, Query,
    Refusal, Sequence, Settle, Token, WallTime,
};

/// Filters of the form `name=value`, which want events with that header.
#[derive(Debug, Default)]
pub(crate) struct HeaderRules {
    /// How often a filter was evaluated.
    pub(crate) evaluated: AtomicUsize,
}

impl Rules for HeaderRules {
    fn check_filter(&self, filter: &Filter) -> Result<(), String> {
        let known = filter.as_str().contains('=');
        if known { Ok(()) } else { Err("there is no '='; write name=value".to_owned()) }
    }

    fn matches(&self, filter: &Filter, publish: &Publish) -> bool {
        self.evaluated.fetch_add(1, Ordering::Relaxed);
        let (name, value) = filter.as_str().split_once('=').unwrap();
        publish.envelope.headers.iter().any(|(known, is)| known == name && is == value)
    }

    fn next_due(&self, _: &str, _: &str, _: WallTime) -> Result<Option<WallTime>, String> {
        Ok(None)
    }
}

pub(crate) fn config() -> EngineConfig {
    EngineConfig { rules: Arc::new(HeaderRules::default()), ..EngineConfig::default() }
}

pub(crate) fn ephemeral() -> EngineConfig {
    EngineConfig { logged: false, ..config() }
}

pub(crate) struct World {
    pub(crate) stage: Stage,
    /// What the latest call led to.
    pub(crate) effects: Vec<Effect>,
}

impl Deref for World {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Stage {
        &mut self.stage
    }
}

impl World {
    pub(crate) fn new(config: EngineConfig) -> Self {
        Self::on(config, Vec::new(), Now::default())
    }

    /// An engine that has replayed some records.
    pub(crate) fn on(config: EngineConfig, records: Vec<(Sequence, Record)>, now: Now) -> Self {
        let (stage, effects) = Stage::started(config, records, now, Sequence(0));
        Self { stage, effects }
    }

    /// The broker was killed and started again on its log.
    pub(crate) fn killed(self) -> Self {
        Self::on(self.stage.config, self.stage.records, self.stage.now)
    }

    /// The broker was stopped and started again on its log.
    pub(crate) fn restarted(mut self) -> Self {
        self.handle(Command::Stop);
        self.killed()
    }

    pub(crate) fn handle(&mut self, command: Command) {
        self.effects = self.stage.handle(command);
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        self.effects = self.stage.pass(span);
    }

    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut EngineConfig)) {
        self.effects = self.stage.configure(change);
    }

    pub(crate) fn try_connect(&mut self, hello: Hello) -> Result<Peer, Refusal> {
        self.connect_as(Principal::default(), hello)
    }

    /// A client of another tenant.
    pub(crate) fn stranger(&mut self, session: u128, tenant: &str) -> Peer {
        let tenant = tenant.parse().unwrap();
        self.connect_as(Principal { tenant, ..Principal::default() }, hello(session, None)).unwrap()
    }

    fn connect_as(&mut self, principal: Principal, hello: Hello) -> Result<Peer, Refusal> {
        let peer;
        (peer, self.effects) = self.stage.connect_as(principal, hello);
        peer
    }

    /// A client that is no agent.
    pub(crate) fn client(&mut self, session: u128) -> Peer {
        self.try_connect(hello(session, None)).unwrap()
    }

    /// A client with a session of its own.
    pub(crate) fn operator(&mut self) -> Peer {
        self.client(1_000_000 + u128::from(self.connections))
    }

    /// An agent that offers the skill `s`.
    pub(crate) fn agent(&mut self, session: u128, id: &str) -> Peer {
        self.try_connect(hello(session, Some(id))).unwrap()
    }

    pub(crate) fn disconnect(&mut self, peer: Peer) {
        self.handle(Command::Disconnect { connection: peer.connection });
    }

    pub(crate) fn frame(&mut self, peer: Peer, frame: ClientFrame) {
        let verdicts = Verdicts::new();
        self.handle(Command::Frame { connection: peer.connection, frame, verdicts });
    }

    pub(crate) fn credit(&mut self, peer: Peer, deliveries: u32, events: u32) {
        self.frame(peer, ClientFrame::Credit(Credit { deliveries, events }));
    }

    /// Sends an operation and returns its number.
    pub(crate) fn send(&mut self, peer: &mut Peer, operation: Operation) -> u64 {
        let first = peer.next;
        peer.next += 1;
        self.frame(*peer, ClientFrame::Operations { first, operations: vec![operation] });
        first
    }

    /// How the latest call answered an operation: `None` if not at all, or what was accepted if
    /// there was more to say than that it is done.
    pub(crate) fn answer(
        &self,
        peer: Peer,
        number: u64,
    ) -> Option<Result<Option<Accepted>, Refusal>> {
        let mut answers = self.items(peer).into_iter().filter_map(|item| match item {
            SessionItem::Done { first, last } if (first..=last).contains(&number) => Some(Ok(None)),
            SessionItem::Accepted(it) if it.operation == number => Some(Ok(Some(it))),
            SessionItem::Refused { operation, refusal } if operation == number => {
                Some(Err(refusal))
            }
            _ => None,
        });
        let answer = answers.next();
        assert!(answers.next().is_none(), "operation {number} is answered twice");
        answer
    }

    /// Sends an operation that is answered at once.
    pub(crate) fn ask(
        &mut self,
        peer: &mut Peer,
        operation: Operation,
    ) -> Result<Option<Accepted>, Refusal> {
        let number = self.send(peer, operation);
        self.answer(*peer, number).expect("the operation is answered")
    }

    pub(crate) fn publish(
        &mut self,
        peer: &mut Peer,
        publish: &Publish,
    ) -> Result<Option<Accepted>, Refusal> {
        self.ask(peer, Operation::Publish(Arc::new(publish.clone())))
    }

    /// Publishes what is accepted with more to say than that.
    pub(crate) fn accepted(&mut self, peer: &mut Peer, publish: &Publish) -> Accepted {
        self.publish(peer, publish).unwrap().expect("there is more to say of it")
    }

    pub(crate) fn settle(&mut self, peer: &mut Peer, token: Token, outcome: Outcome) {
        self.ask(peer, Operation::Settle(Settle { token, outcome })).unwrap();
    }

    pub(crate) fn complete(&mut self, peer: &mut Peer, delivery: &Delivery) {
        self.settle(peer, delivery.token, Outcome::Complete { reply: None });
    }

    /// What the latest call told a session.
    pub(crate) fn items(&self, peer: Peer) -> Vec<SessionItem> {
        let item = |effect: &Effect| match effect {
            Effect::Item { connection, item } if *connection == peer.connection => {
                Some(item.clone())
            }
            _ => None,
        };
        self.effects.iter().filter_map(item).collect()
    }

    pub(crate) fn deliveries(&self, peer: Peer) -> Vec<Delivery> {
        let delivery = |item| match item {
            SessionItem::Delivery(delivery) => Some(delivery),
            _ => None,
        };
        self.items(peer).into_iter().filter_map(delivery).collect()
    }

    pub(crate) fn events(&self, peer: Peer) -> Vec<EventDelivery> {
        let event = |item| match item {
            SessionItem::Event(event) => Some(event),
            _ => None,
        };
        self.items(peer).into_iter().filter_map(event).collect()
    }

    pub(crate) fn pressure(&self, peer: Peer) -> Vec<Pressure> {
        let pressure = |item| match item {
            SessionItem::Pressure(pressure) => Some(pressure),
            _ => None,
        };
        self.items(peer).into_iter().filter_map(pressure).collect()
    }

    pub(crate) fn event(&mut self, to: &str) -> Publish {
        self.message(Kind::Event, to)
    }

    pub(crate) fn status(&mut self, id: MessageId) -> Result<MessageStatus, Refusal> {
        self.query(Query::Message(id)).map(|answer| match answer {
            Answer::Message(status) => *status,
            other => panic!("another answer: {other:?}"),
        })
    }

    /// Where the copies of a message are.
    pub(crate) fn states(&mut self, id: MessageId) -> Vec<CopyState> {
        self.status(id).unwrap().copies.iter().map(|copy| copy.state).collect()
    }
}

/// A subscription of a session.
pub(crate) fn own(pattern: &str) -> Subscription {
    Subscription::new(pattern.parse().unwrap())
}

/// A subscription of an agent.
pub(crate) fn durable(pattern: &str) -> Subscription {
    Subscription { durable: true, ..own(pattern) }
}

pub(crate) fn filtered(subscription: Subscription, filter: &str) -> Subscription {
    Subscription { filter: Some(filter.parse().unwrap()), ..subscription }
}

pub(crate) fn grouped(subscription: Subscription, group: &str) -> Subscription {
    Subscription { group: Some(group.parse().unwrap()), ..subscription }
}

pub(crate) fn with_header(mut publish: Publish, name: &str, value: &str) -> Publish {
    publish.envelope.headers.push((name.into(), value.into()));
    publish
}

pub(crate) fn with_ttl(mut publish: Publish, millis: u64) -> Publish {
    publish.envelope.ttl = Some(Duration::from_millis(millis));
    publish
}
