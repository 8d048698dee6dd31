//! A stage for tests: an engine whose log is fast, or as far behind as a test wants it, sessions, and
//! a clock to turn. A call returns what it led to.

use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::{
    Command, ConnectionKey, Effect, Engine, EngineConfig, Mono, Now, Output, QueryKey, Record,
    Rules,
};
use trunkline_types::session::{
    Accepted, ClientFrame, Credit, Delivery, EventDelivery, Hello, Operation, Reply, SessionItem,
};
use trunkline_types::{
    AgentCard, Answer, Destination, Envelope, Filter, Gathered, IdSource, Kind, MessageId, Outcome,
    Partition, Principal, Publish, Query, Refusal, Sequence, SessionId, Settle, Stats, Token,
    WallTime,
};

/// Cron expressions such as `every 1000`: whenever the time is a multiple of so many
/// milliseconds. `until 5000 every 1000` ends at 5,000 ms.
#[derive(Debug)]
pub(crate) struct Every;

impl Rules for Every {
    fn check_filter(&self, _: &Filter) -> Result<(), String> {
        Ok(())
    }

    fn matches(&self, _: &Filter, _: &Publish) -> bool {
        true
    }

    fn next_due(
        &self,
        cron: &str,
        zone: &str,
        after: WallTime,
    ) -> Result<Option<WallTime>, String> {
        if !zone.is_empty() && zone != "UTC" {
            return Err(format!("unknown zone '{zone}'"));
        }
        let (until, every) = match cron.strip_prefix("until ").and_then(|it| it.split_once(' ')) {
            Some((until, every)) => (until.parse().unwrap(), every),
            None => (u64::MAX, cron),
        };
        let every = every.strip_prefix("every ").and_then(|text| text.parse::<u64>().ok());
        let every = every.ok_or_else(|| format!("'{cron}' is no expression"))?;
        let next = (after.0 / every + 1) * every;
        Ok((next <= until).then_some(WallTime(next)))
    }
}

pub(crate) fn config() -> EngineConfig {
    EngineConfig { rules: Arc::new(Every), ..EngineConfig::default() }
}

pub(crate) struct Stage {
    pub(crate) engine: Engine,
    pub(crate) config: EngineConfig,
    pub(crate) now: Now,
    pub(crate) out: Output,
    /// What is on disk.
    pub(crate) records: Vec<(Sequence, Record)>,
    /// Whether the log writes and flushes at once.
    pub(crate) is_fast: bool,
    ids: IdSource,
    /// How many there have been.
    pub(crate) connections: u64,
}

/// A session as the stage sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) connection: ConnectionKey,
    pub(crate) next: u64,
}

impl Stage {
    pub(crate) fn new(config: EngineConfig) -> Self {
        Self::on(config, Vec::new(), Now::default(), Sequence(0))
    }

    /// An engine that has replayed some records, of which the index has the keys up to a place.
    pub(crate) fn on(
        config: EngineConfig,
        records: Vec<(Sequence, Record)>,
        now: Now,
        indexed: Sequence,
    ) -> Self {
        Self::started(config, records, now, indexed).0
    }

    /// The same, and what its start led to.
    pub(crate) fn started(
        config: EngineConfig,
        records: Vec<(Sequence, Record)>,
        now: Now,
        indexed: Sequence,
    ) -> (Self, Vec<Effect>) {
        let mut engine = Engine::new(config.clone());
        engine.indexed(indexed);
        for (sequence, record) in records.clone() {
            engine.replay(sequence, record).unwrap();
        }
        let ids = IdSource::new(records.last().map_or(0, |(at, _)| at.0));
        let out = Output::default();
        let mut stage =
            Self { engine, config, now, out, records, is_fast: true, ids, connections: 0 };
        stage.engine.start(now, &mut stage.out);
        let effects = stage.commit();
        (stage, effects)
    }

    /// The broker stops without a word and starts again on what is on disk, some time later.
    pub(crate) fn restarted(self, after: Duration) -> Self {
        let now = later(self.now, after);
        let mut stage = Self::on(self.config, self.records, now, Sequence(0));
        // Connections are never numbered alike.
        stage.connections = self.connections;
        stage
    }

    /// Everything that must hold at any time.
    pub(crate) fn check(&mut self) {
        self.engine.conservation().unwrap();
    }

    /// Writes and flushes everything if the log is fast, and returns the effects.
    pub(crate) fn commit(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        loop {
            effects.append(&mut self.out.effects);
            if self.out.records.is_empty() || !self.is_fast {
                break;
            }
            self.records.append(&mut self.out.records);
            let latest = self.records.last().unwrap().0;
            self.engine.durable(self.now, latest, latest, &mut self.out);
        }
        self.check();
        effects
    }

    pub(crate) fn handle(&mut self, command: Command) -> Vec<Effect> {
        self.engine.handle(self.now, command, &mut self.out);
        self.commit()
    }

    pub(crate) fn pass(&mut self, span: Duration) -> Vec<Effect> {
        self.now = later(self.now, span);
        self.tick()
    }

    pub(crate) fn tick(&mut self) -> Vec<Effect> {
        self.engine.tick(self.now, &mut self.out);
        self.commit()
    }

    /// Other settings come into force.
    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut EngineConfig)) -> Vec<Effect> {
        change(&mut self.config);
        self.handle(Command::Configure(Box::new(self.config.clone())))
    }

    pub(crate) fn connect(&mut self, hello: Hello) -> (Peer, Vec<Effect>) {
        let (peer, effects) = self.connect_as(Principal::default(), hello);
        (peer.unwrap(), effects)
    }

    /// A session of somebody, or why it is refused.
    pub(crate) fn connect_as(
        &mut self,
        principal: Principal,
        hello: Hello,
    ) -> (Result<Peer, Refusal>, Vec<Effect>) {
        self.connections += 1;
        let (connection, next) = (ConnectionKey(self.connections), hello.next_operation);
        let command = Command::Connect { connection, principal, hello: Box::new(hello) };
        let effects = self.handle(command);
        let refusal = effects.iter().find_map(|effect| match effect {
            Effect::Welcome { result: Err(refusal), .. } => Some(refusal.clone()),
            _ => None,
        });
        (refusal.map_or(Ok(Peer { connection, next }), Err), effects)
    }

    /// A session of an agent that offers the skill `s`.
    pub(crate) fn agent(&mut self, session: u128, id: &str) -> Peer {
        self.connect(hello(session, Some(id))).0
    }

    /// A session that only sends.
    pub(crate) fn client(&mut self, session: u128) -> Peer {
        self.connect(hello(session, None)).0
    }

    pub(crate) fn disconnect(&mut self, peer: &Peer) {
        self.handle(Command::Disconnect { connection: peer.connection });
    }

    /// One operation: what came of it, or how it was refused.
    pub(crate) fn ask(
        &mut self,
        peer: &mut Peer,
        operation: Operation,
    ) -> Result<Vec<Effect>, Refusal> {
        let number = peer.next;
        peer.next += 1;
        self.say(peer, number, operation)
    }

    /// One operation under a number of the test's choice.
    pub(crate) fn say(
        &mut self,
        peer: &Peer,
        number: u64,
        operation: Operation,
    ) -> Result<Vec<Effect>, Refusal> {
        let frame = ClientFrame::Operations { first: number, operations: vec![operation] };
        let (connection, verdicts) = (peer.connection, Vec::new());
        let effects = self.handle(Command::Frame { connection, frame, verdicts });
        for effect in &effects {
            if let Effect::Item { item: SessionItem::Refused { operation, refusal }, .. } = effect
                && *operation == number
            {
                return Err(refusal.clone());
            }
        }
        Ok(effects)
    }

    pub(crate) fn publish(
        &mut self,
        peer: &mut Peer,
        publish: &Publish,
    ) -> Result<Vec<Effect>, Refusal> {
        self.ask(peer, Operation::Publish(Arc::new(publish.clone())))
    }

    pub(crate) fn complete(&mut self, peer: &mut Peer, token: Token, reply: &str) -> Vec<Effect> {
        let reply = Some(reply.into());
        self.ask(peer, settle(token, Outcome::Complete { reply })).unwrap()
    }

    pub(crate) fn query(&mut self, question: Query) -> Result<Answer, Refusal> {
        let command = Command::Ask {
            query: QueryKey(1),
            principal: Principal::default(),
            question: Box::new(question),
        };
        let effects = self.handle(command);
        let answer = effects.into_iter().find_map(|effect| match effect {
            Effect::Answer { result, .. } => Some(result),
            _ => None,
        });
        answer.unwrap()
    }

    pub(crate) fn stats(&mut self) -> Box<Stats> {
        match self.query(Query::Stats) {
            Ok(Answer::Stats(stats)) => stats,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn id(&mut self) -> MessageId {
        self.ids.next(1, Partition(0))
    }

    /// A message of some kind to some destination.
    pub(crate) fn message(&mut self, kind: Kind, to: &str) -> Publish {
        let to: Destination = to.parse().unwrap();
        Publish::new(Envelope::new(self.id(), kind, to, "x".into()))
    }
}

pub(crate) fn later(now: Now, span: Duration) -> Now {
    let nanos = u64::try_from(span.as_nanos()).unwrap();
    Now { mono: Mono(now.mono.0 + nanos), wall: now.wall.after(span) }
}

pub(crate) fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
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

pub(crate) fn settle(token: Token, outcome: Outcome) -> Operation {
    Operation::Settle(Settle { token, outcome })
}

pub(crate) fn items(effects: &[Effect]) -> impl Iterator<Item = &SessionItem> {
    effects.iter().filter_map(|effect| match effect {
        Effect::Item { item, .. } => Some(item),
        _ => None,
    })
}

macro_rules! pick {
    ($name:ident, $variant:ident, $type:ty) => {
        pub(crate) fn $name(effects: &[Effect]) -> Vec<$type> {
            let one = |item: &SessionItem| match item {
                SessionItem::$variant(it) => Some(it.clone()),
                _ => None,
            };
            items(effects).filter_map(one).collect()
        }
    };
}
pick!(deliveries, Delivery, Delivery);
pick!(events, Event, EventDelivery);
pick!(replies, Reply, Reply);
pick!(gathered, Gathered, Gathered);
pick!(accepted, Accepted, Accepted);

/// The tokens of deliveries that were called off, with why.
pub(crate) fn cancels(effects: &[Effect]) -> Vec<(Token, String)> {
    let one = |item: &SessionItem| match item {
        SessionItem::Cancel { token, reason } => Some((*token, reason.clone())),
        _ => None,
    };
    items(effects).filter_map(one).collect()
}
