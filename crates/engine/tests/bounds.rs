//! What clients may not do to an engine, and what it remembers of them across a restart.

use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::{
    Command, ConnectionKey, Effect, Engine, EngineConfig, Mono, Now, Output, Record,
};
use trunkline_types::session::{
    ClientFrame, Credit, Delivery, Hello, Operation, SessionItem, Subscription, Update, UpdateBody,
};
use trunkline_types::{
    AgentCard, ArtifactChunk, Destination, Envelope, IdSource, Kind, MessageId, Outcome, Partition,
    PauseReason, Principal, Publish, Refusal, RefusalCode, Sequence, SessionId, Settle, Token,
    WallTime,
};

/// An engine whose log is always fast.
struct World {
    engine: Engine,
    now: Now,
    out: Output,
    records: Vec<(Sequence, Record)>,
    ids: IdSource,
    connections: u64,
}

/// A session as the world sees it.
struct Peer {
    connection: ConnectionKey,
    next: u64,
}

impl World {
    fn new(config: EngineConfig) -> Self {
        Self::on(config, Vec::new())
    }

    /// An engine that has replayed some records.
    fn on(config: EngineConfig, records: Vec<(Sequence, Record)>) -> Self {
        let mut engine = Engine::new(config);
        for (sequence, record) in records.clone() {
            engine.replay(sequence, record).unwrap();
        }
        let ids = IdSource::new(records.len() as u64);
        let mut world = Self {
            engine,
            now: Now::default(),
            out: Output::default(),
            records,
            ids,
            connections: 0,
        };
        world.engine.start(world.now, &mut world.out);
        world.commit();
        world
    }

    /// Writes and flushes everything, and returns the effects.
    fn commit(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        loop {
            effects.append(&mut self.out.effects);
            if self.out.records.is_empty() {
                return effects;
            }
            self.records.append(&mut self.out.records);
            let latest = self.records.last().unwrap().0;
            self.engine.durable(self.now, latest, latest, &mut self.out);
        }
    }

    fn handle(&mut self, command: Command) -> Vec<Effect> {
        self.engine.handle(self.now, command, &mut self.out);
        self.commit()
    }

    fn pass(&mut self, span: Duration) -> Vec<Effect> {
        let nanos = u64::try_from(span.as_nanos()).unwrap();
        self.now = Now { mono: Mono(self.now.mono.0 + nanos), wall: self.now.wall.after(span) };
        self.engine.tick(self.now, &mut self.out);
        self.commit()
    }

    fn connect(&mut self, hello: Hello) -> Result<(Peer, Vec<Effect>), Refusal> {
        self.connections += 1;
        let connection = ConnectionKey(self.connections);
        let (principal, next) = (Principal::default(), hello.next_operation);
        let effects =
            self.handle(Command::Connect { connection, principal, hello: Box::new(hello) });
        for effect in &effects {
            if let Effect::Welcome { result: Err(refusal), .. } = effect {
                return Err(refusal.clone());
            }
        }
        Ok((Peer { connection, next }, effects))
    }

    fn send(&mut self, peer: &mut Peer, operations: Vec<Operation>) -> Vec<Effect> {
        let first = peer.next;
        peer.next += operations.len() as u64;
        let frame = ClientFrame::Operations { first, operations };
        self.handle(Command::Frame { connection: peer.connection, frame, verdicts: Vec::new() })
    }

    /// One operation and how it was answered.
    fn ask(&mut self, peer: &mut Peer, operation: Operation) -> Result<Vec<Effect>, Refusal> {
        let number = peer.next;
        let effects = self.send(peer, vec![operation]);
        for effect in &effects {
            match effect {
                Effect::Item { item: SessionItem::Refused { operation, refusal }, .. }
                    if *operation == number =>
                {
                    return Err(refusal.clone());
                }
                _ => {}
            }
        }
        Ok(effects)
    }

    fn request(&mut self, task: bool) -> Publish {
        let id = self.ids.next(1, Partition(0));
        let to = Destination::skill("s").unwrap();
        let mut publish = Publish::new(Envelope::new(id, Kind::Request, to, "x".into()));
        publish.options.task = task;
        publish
    }
}

fn hello(session: u128, agent: Option<&str>) -> Hello {
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

fn deliveries(effects: Vec<Effect>) -> Vec<Delivery> {
    let delivery = |effect| match effect {
        Effect::Item { item: SessionItem::Delivery(delivery), .. } => Some(delivery),
        _ => None,
    };
    effects.into_iter().filter_map(delivery).collect()
}

fn settle(token: Token, outcome: Outcome) -> Operation {
    Operation::Settle(Settle { token, outcome })
}

fn done() -> Outcome {
    Outcome::Complete { reply: None }
}

fn durable(pattern: &str) -> Subscription {
    Subscription { durable: true, ..Subscription::new(pattern.parse().unwrap()) }
}

#[test]
fn a_long_chain_of_entries_with_one_ordering_key_may_expire_at_once() {
    let mut world = World::new(EngineConfig { logged: false, ..EngineConfig::default() });
    let (mut sender, _) = world.connect(hello(1, None)).unwrap();
    for _ in 0..2 {
        let operations = (0..4096).map(|_| {
            let mut publish = world.request(false);
            publish.envelope.ordering_key = Some("k".parse().unwrap());
            publish.envelope.ttl = Some(Duration::from_millis(5));
            Operation::Publish(Arc::new(publish))
        });
        let operations = operations.collect();
        world.send(&mut sender, operations);
    }
    world.pass(Duration::from_millis(10));
    world.engine.conservation().unwrap();
    let letters = world.engine.durable_state();
    assert!(letters.keys().all(|name| !name.starts_with("entry")));
}

/// A task that an agent holds, and what the broker wrote about it.
fn held_task() -> (World, Peer, Delivery) {
    let mut world = World::new(EngineConfig::default());
    let (agent, _) = world.connect(hello(2, Some("a"))).unwrap();
    let (mut sender, _) = world.connect(hello(1, None)).unwrap();
    let publish = world.request(true);
    let effects = world.send(&mut sender, vec![Operation::Publish(Arc::new(publish))]);
    let delivery = deliveries(effects).pop().unwrap();
    (world, agent, delivery)
}

fn restarted(world: World) -> World {
    World::on(EngineConfig::default(), world.records)
}

#[test]
fn a_settlement_said_again_after_a_restart_is_done_and_only_that_one() {
    let (mut world, mut agent, delivery) = held_task();
    world.ask(&mut agent, settle(delivery.token, done())).unwrap();
    let mut world = restarted(world);
    let (mut agent, _) = world.connect(hello(2, Some("a"))).unwrap();
    world.ask(&mut agent, settle(delivery.token, done())).unwrap();
    let other = world.ask(&mut agent, settle(delivery.token, Outcome::Release));
    assert_eq!(other.unwrap_err().code, RefusalCode::StaleToken);
    let (mut stranger, _) = world.connect(hello(3, Some("b"))).unwrap();
    let theirs = world.ask(&mut stranger, settle(delivery.token, done()));
    assert_eq!(theirs.unwrap_err().code, RefusalCode::StaleToken);
}

#[test]
fn a_late_result_of_a_canceled_task_is_stale_after_a_restart_too() {
    let (mut world, _, delivery) = held_task();
    let (mut caller, _) = world.connect(hello(4, None)).unwrap();
    let task = delivery.publish.envelope.id;
    world
        .ask(
            &mut caller,
            Operation::Cancel { id: task, reason: "enough".into(), descendants: false },
        )
        .unwrap();
    let mut world = restarted(world);
    let (mut agent, _) = world.connect(hello(2, Some("a"))).unwrap();
    let late = world.ask(&mut agent, settle(delivery.token, done()));
    assert_eq!(late.unwrap_err().code, RefusalCode::StaleToken);
    let (mut caller, _) = world.connect(hello(4, None)).unwrap();
    world
        .ask(
            &mut caller,
            Operation::Cancel { id: task, reason: "enough".into(), descendants: false },
        )
        .unwrap();
}

#[test]
fn a_full_disk_refuses_artifacts_and_takes_settlements() {
    let (mut world, mut agent, delivery) = held_task();
    world.handle(Command::Space { ample: false });
    let chunk =
        ArtifactChunk { name: "notes".into(), append: true, last: false, payload: "words".into() };
    let body = UpdateBody::Artifact(chunk);
    let artifact = Operation::Update(Update { token: delivery.token, body });
    let refusal = world.ask(&mut agent, artifact).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::DiskFull);
    world.ask(&mut agent, settle(delivery.token, done())).unwrap();
}

#[test]
fn what_a_caller_may_send_to_a_paused_task_is_bounded() {
    let (mut world, mut agent, delivery) = held_task();
    let task: MessageId = delivery.publish.envelope.id;
    let (mut caller, _) = world.connect(hello(4, None)).unwrap();
    let mut token = delivery.token;
    let refusal = (0..1000).find_map(|_| {
        let pause = Outcome::Pause { reason: PauseReason::Input, message: None };
        world.ask(&mut agent, settle(token, pause)).unwrap();
        let payload = "more".into();
        match world.ask(&mut caller, Operation::Continue { task, payload }) {
            Ok(effects) => {
                token = deliveries(effects).pop().unwrap().token;
                None
            }
            Err(refusal) => Some(refusal),
        }
    });
    let refusal = refusal.unwrap();
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    assert!(refusal.message.contains("has 256 messages"), "{refusal}");
}

#[test]
fn a_hello_is_refused_rather_than_half_heard() {
    let mut config = EngineConfig { logged: false, ..EngineConfig::default() };
    config.limits.subscriptions = 1;
    config.limits.credit = 10;
    let mut world = World::new(config);
    let mut first = hello(1, Some("a"));
    first.subscriptions = vec![durable("x.a")];
    world.connect(first).unwrap();
    let mut second = hello(2, Some("a"));
    second.subscriptions = vec![durable("x.b")];
    let refusal = world.connect(second).err().unwrap();
    assert!(refusal.message.contains("2 durable subscriptions, the limit is 1"), "{refusal}");
    let mut greedy = hello(3, Some("b"));
    greedy.held = vec![Token::default(); 11];
    let refusal = world.connect(greedy).err().unwrap();
    assert!(refusal.message.contains("holds 11 deliveries, the limit is 10"), "{refusal}");
}

#[test]
fn unknown_skills_make_no_inbox_for_a_sender_that_does_not_want_to_wait() {
    let mut config = EngineConfig { logged: false, ..EngineConfig::default() };
    config.inboxes = 3;
    let mut world = World::new(config);
    let (mut sender, _) = world.connect(hello(1, None)).unwrap();
    for number in 0..10 {
        let mut publish = world.request(false);
        publish.envelope.destination = Destination::skill(&format!("typo-{number}")).unwrap();
        publish.options.absent = Some(trunkline_types::Absent::Fail);
        let refusal = world.ask(&mut sender, Operation::Publish(Arc::new(publish))).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::NobodyThere);
    }
    world.connect(hello(2, Some("a"))).unwrap();
    let mut many = hello(3, Some("b"));
    let card = many.card.as_mut().unwrap();
    card.skills = (0..5).map(|number| format!("skill-{number}").parse().unwrap()).collect();
    let refusal = world.connect(many).err().unwrap();
    assert!(refusal.message.contains("the limit is 3"), "{refusal}");
}

#[test]
fn of_too_many_sessions_the_ones_heard_of_last_are_remembered() {
    let config = || EngineConfig { remembered_sessions: 10, ..EngineConfig::default() };
    let mut world = World::new(config());
    let mut sent = Vec::new();
    for number in 1..=100 {
        world.now.wall = WallTime(number);
        let (mut sender, _) = world.connect(hello(u128::from(200 - number), None)).unwrap();
        let publish = Arc::new(world.request(true));
        world.ask(&mut sender, Operation::Publish(publish.clone())).unwrap();
        sent.push(publish);
    }
    let mut world = World::on(config(), world.records);
    let tasks = |world: &World| {
        world.engine.durable_state().keys().filter(|name| name.starts_with("task")).count()
    };
    assert_eq!(tasks(&world), 100);
    let (mut latest, _) = world.connect(hello(100, None)).unwrap();
    let again = sent.pop().unwrap();
    world.ask(&mut latest, Operation::Publish(again)).unwrap();
    assert_eq!(tasks(&world), 100, "it was accepted once");
}

#[test]
fn a_session_holds_no_more_bytes_than_it_may() {
    let mut world =
        World::new(EngineConfig { logged: false, session_bytes: 1000, ..EngineConfig::default() });
    let mut reader = hello(1, Some("a"));
    reader.subscriptions.push(Subscription::new("t".parse().unwrap()));
    let (mut reader, _) = world.connect(reader).unwrap();
    let (mut sender, _) = world.connect(hello(2, None)).unwrap();
    let mut told = Vec::new();
    for to in ["topic:t", "skill:s"] {
        for _ in 0..4 {
            let id = world.ids.next(1, Partition(0));
            let to: Destination = to.parse().unwrap();
            let large = vec![0; 600].into();
            let publish = Publish::new(Envelope::new(id, Kind::Event, to, large));
            told.extend(world.send(&mut sender, vec![Operation::Publish(Arc::new(publish))]));
        }
    }
    let events = |effects: &[Effect]| {
        let event =
            |effect: &&Effect| matches!(effect, Effect::Item { item: SessionItem::Event(_), .. });
        effects.iter().filter(event).count()
    };
    assert_eq!(events(&told), 2, "the second goes over the bound, the third would be beyond it");
    let held = deliveries(told);
    assert_eq!(held.len(), 2);
    let frame = ClientFrame::Acknowledge { through: 1 };
    let connection = reader.connection;
    let more = world.handle(Command::Frame { connection, frame, verdicts: Vec::new() });
    assert_eq!(events(&more), 1);
    let more = world.send(&mut reader, vec![settle(held[0].token, done())]);
    assert_eq!(deliveries(more).len(), 1);
}

#[test]
fn a_higher_bound_on_what_a_session_holds_acts_at_once() {
    let config = EngineConfig { logged: false, session_bytes: 1, ..EngineConfig::default() };
    let mut world = World::new(config.clone());
    let (_agent, _) = world.connect(hello(1, Some("a"))).unwrap();
    let (mut sender, _) = world.connect(hello(2, None)).unwrap();
    let operations =
        (0..2).map(|_| Operation::Publish(Arc::new(world.request(false)))).collect::<Vec<_>>();
    assert_eq!(deliveries(world.send(&mut sender, operations)).len(), 1);
    let config = Box::new(EngineConfig { session_bytes: 1000, ..config });
    let effects = world.handle(Command::Configure(config));
    assert_eq!(deliveries(effects).len(), 1);
}
