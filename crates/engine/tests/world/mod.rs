//! An engine with a log that is always fast, and sessions that talk to it.

#![allow(dead_code, reason = "each test file needs some of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use trunkline_engine::{
    Command, ConnectionKey, Effect, Engine, EngineConfig, Mono, Now, Output, QueryKey, Record,
    Rules, Verdicts,
};
use trunkline_types::session::{
    Accepted, ClientFrame, Credit, Delivery, EventDelivery, Hello, Operation, Pressure,
    SessionItem, Subscription,
};
use trunkline_types::{
    AgentCard, Answer, CopyState, Destination, Envelope, Filter, IdSource, Kind, MessageId,
    MessageStatus, Outcome, Partition, Principal, Publish, Query, Refusal, Sequence, SessionId,
    Settle, Stats, Token, WallTime,
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
    pub(crate) engine: Engine,
    pub(crate) now: Now,
    pub(crate) records: Vec<(Sequence, Record)>,
    /// What the latest call led to.
    pub(crate) effects: Vec<Effect>,
    config: EngineConfig,
    out: Output,
    ids: IdSource,
    connections: u64,
}

/// A session as the world sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) connection: ConnectionKey,
    pub(crate) next: u64,
}

impl World {
    pub(crate) fn new(config: EngineConfig) -> Self {
        Self::on(config, Vec::new(), Now::default())
    }

    /// An engine that has replayed some records.
    pub(crate) fn on(config: EngineConfig, records: Vec<(Sequence, Record)>, now: Now) -> Self {
        let mut engine = Engine::new(config.clone());
        for (sequence, record) in records.clone() {
            engine.replay(sequence, record).unwrap();
        }
        let ids = IdSource::new(records.last().map_or(0, |(at, _)| at.0));
        let (out, effects) = (Output::default(), Vec::new());
        let mut world = Self { engine, now, records, effects, config, out, ids, connections: 0 };
        world.engine.start(world.now, &mut world.out);
        world.commit();
        world
    }

    /// The broker was killed and started again on its log.
    pub(crate) fn killed(self) -> Self {
        Self::on(self.config, self.records, self.now)
    }

    /// The broker was stopped and started again on its log.
    pub(crate) fn restarted(mut self) -> Self {
        self.handle(Command::Stop);
        self.killed()
    }

    /// Writes and flushes everything, checks the books and keeps the effects.
    fn commit(&mut self) {
        self.effects.clear();
        loop {
            self.effects.append(&mut self.out.effects);
            if self.out.records.is_empty() {
                return self.engine.conservation().unwrap();
            }
            self.records.append(&mut self.out.records);
            let latest = self.records.last().unwrap().0;
            self.engine.durable(self.now, latest, latest, &mut self.out);
        }
    }

    pub(crate) fn handle(&mut self, command: Command) {
        self.engine.handle(self.now, command, &mut self.out);
        self.commit();
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap();
        self.now = Now { mono: Mono(self.now.mono.0 + nanos), wall: self.now.wall.after(span) };
        self.engine.tick(self.now, &mut self.out);
        self.commit();
    }

    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut EngineConfig)) {
        change(&mut self.config);
        self.handle(Command::Configure(Box::new(self.config.clone())));
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
        self.connections += 1;
        let (connection, next) = (ConnectionKey(self.connections), hello.next_operation);
        self.handle(Command::Connect { connection, principal, hello: Box::new(hello) });
        for effect in &self.effects {
            if let Effect::Welcome { result: Err(refusal), .. } = effect {
                return Err(refusal.clone());
            }
        }
        Ok(Peer { connection, next })
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

    /// An envelope of a kind to a destination.
    pub(crate) fn envelope(&mut self, kind: Kind, to: &str) -> Publish {
        let id = self.ids.next(1, Partition(0));
        let to: Destination = to.parse().unwrap();
        Publish::new(Envelope::new(id, kind, to, "x".into()))
    }

    pub(crate) fn event(&mut self, to: &str) -> Publish {
        self.envelope(Kind::Event, to)
    }

    fn query(&mut self, question: Query) -> Result<Answer, Refusal> {
        let principal = Principal::default();
        self.handle(Command::Ask { query: QueryKey(1), principal, question });
        match self.effects.pop() {
            Some(Effect::Answer { result, .. }) => result,
            other => panic!("no answer but {other:?}"),
        }
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

    pub(crate) fn stats(&mut self) -> Stats {
        match self.query(Query::Stats).unwrap() {
            Answer::Stats(stats) => *stats,
            other => panic!("another answer: {other:?}"),
        }
    }
}

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
