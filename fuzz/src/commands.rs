//! Bytes as the commands of agents, callers and operators, some of them out of place.

use crate::world::{Loss, PEERS, Peer, World};
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::Command;
use trunkline_types::session::{
    ClientFrame, Credit, Hello, LetterAddress, Operation, Redrive, Subscription, Update, UpdateBody,
};
use trunkline_types::{
    Absent, AgentCard, AgentChange, AgentFilter, ArtifactChunk, DeadLetterFilter, Destination,
    Durability, Envelope, Gather, GatherRule, InboxChange, Kind, MessageId, Outcome, Partition,
    PauseReason, Payload, Priority, Progress, Publish, Query, Routing, Schedule, ScheduleFilter,
    SessionId, Settle, SkillSchemas, TaskFilter, Token, WallTime, WhenFull,
};

/// The agents of the sessions: two sessions of one agent, another agent, and two callers.
const AGENTS: [Option<&str>; PEERS] = [Some("a"), Some("a"), Some("b"), None, None];
/// Where messages go.
const TO: [&str; 8] =
    ["skill:s", "agent:a", "agent:b", "agent:c", "agents:a,b,c", "all", "topic:t.x", "topic:u"];
/// The most commands of one input, so that none takes long.
const MOST: usize = 300;

/// The rest of an input, from which every choice is taken. Beyond its end everything is zero.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn flag(&mut self) -> bool {
        self.next() & 1 == 1
    }

    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { usize::from(self.next()) % bound }
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Milliseconds: exactly where they are few, up to some weeks otherwise.
    fn span(&mut self) -> Duration {
        let byte = self.next();
        let millis = match byte {
            0..128 => u64::from(byte) * 4,
            _ => 1 << ((byte - 128) / 4),
        };
        Duration::from_millis(millis)
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let some = self.next() & 3 == 3;
        some.then(|| make(self))
    }
}

/// A world, what was sent in it, and what is to come.
struct Run<'a> {
    bytes: Bytes<'a>,
    world: World,
    sent: Vec<MessageId>,
    sessions: u128,
}

/// Plays an input to its end and returns the world that it led to.
///
/// # Panics
/// When something does not hold that must.
pub fn play(data: &[u8]) -> World {
    let mut bytes = Bytes(data);
    let settings = bytes.next();
    let world = World::new(settings & 1 == 0, u64::from(settings >> 1));
    let mut run = Run { bytes, world, sent: Vec::new(), sessions: 0 };
    for at in 0..PEERS {
        run.connect(at, false);
    }
    for _ in 0..MOST {
        if run.bytes.0.is_empty() {
            break;
        }
        run.step();
    }
    run.world.flush();
    run.world
}

impl Run<'_> {
    fn step(&mut self) {
        let at = self.bytes.below(PEERS);
        match self.bytes.next() % 32 {
            0..=5 => {
                let publish = self.task();
                self.publish(at, publish);
            }
            6 | 7 => {
                let publish = self.message();
                self.publish(at, publish);
            }
            8..=12 => self.settle(at),
            13 => self.update(at),
            14 => {
                let (id, reason) = (self.id(), "called off".to_owned());
                let descendants = self.bytes.next() % 2 == 1;
                self.world.send(at, Operation::Cancel { id, reason, descendants });
            }
            15 => {
                let (task, payload) = (self.id(), self.payload());
                self.world.send(at, Operation::Continue { task, payload });
            }
            16 | 17 => {
                let (task, after) = (self.id(), u64::from(self.bytes.next() % 4));
                self.world.send(at, Operation::Watch { task, after });
            }
            18 | 19 => {
                let span = self.bytes.span();
                self.world.pass(span);
            }
            20 => self.world.write(),
            21 | 22 => self.world.flush(),
            23 => self.come_and_go(at),
            24 => self.say(at),
            25 => self.operate(at),
            26 => self.restart(),
            27 => self.subscribe(at),
            28 => self.letter(at),
            29 => self.ask(),
            30 => self.schedule(at),
            _ => self.surround(),
        }
    }

    fn connect(&mut self, at: usize, again: bool) {
        let peer = self.world.peers[at].as_ref().filter(|_| again);
        let session = peer.map_or_else(
            || {
                self.sessions += 1;
                SessionId(self.sessions)
            },
            |peer| peer.hello.session,
        );
        let card = AGENTS[at].map(|id| {
            let mut card = AgentCard::new(id.parse().expect("it is a name"));
            card.skills.push("s".parse().expect("it is a name"));
            if id == "b" {
                let (skill, input) = ("s".parse().expect("a name"), "{}".parse().expect("JSON"));
                card.schemas.push(SkillSchemas { skill, input: Some(input), output: None });
            }
            card
        });
        let deliveries = u32::from(self.bytes.next() % 8);
        let hello = Hello {
            session,
            card,
            credit: Credit { deliveries, events: 3 },
            subscriptions: Vec::new(),
            next_operation: 1,
            held: Vec::new(),
        };
        self.world.connect(at, hello);
    }

    fn come_and_go(&mut self, at: usize) {
        match self.bytes.next() % 4 {
            0 => self.world.disconnect(at, false),
            1 => self.world.disconnect(at, true),
            2 => self.connect(at, true),
            _ => self.connect(at, false),
        }
    }

    /// The id of something that was sent, or of nothing.
    fn id(&mut self) -> MessageId {
        let nth = self.bytes.below(self.sent.len() + 1);
        let nothing = || MessageId::from_parts(1, Partition(0), 0);
        self.sent.iter().rev().nth(nth).copied().unwrap_or_else(nothing)
    }

    fn payload(&mut self) -> Payload {
        let length = usize::from(self.bytes.next() % 64);
        vec![b'x'; length].into()
    }

    fn envelope(&mut self, kind: Kind) -> Publish {
        let low = self.sent.len() as u64 + 1;
        let fresh = MessageId::from_parts(self.world.now.wall.0, Partition(0), low);
        let to: Destination = self.bytes.pick(&TO).parse().expect("it is a destination");
        let mut publish = Publish::new(Envelope::new(fresh, kind, to, self.payload()));
        let envelope = &mut publish.envelope;
        envelope.priority = self.bytes.pick(Priority::ALL);
        envelope.ttl = self.bytes.maybe(Bytes::span);
        let word = |bytes: &mut Bytes<'_>| bytes.pick(&["k", "l"]);
        envelope.ordering_key = self.bytes.maybe(word).and_then(|key| key.parse().ok());
        envelope.idempotency_key = self.bytes.maybe(word).and_then(|key| key.parse().ok());
        envelope.headers = vec![("n".into(), self.bytes.pick(&["1", "2"]).into())];
        publish.options.durability = self.bytes.pick(&[
            None,
            Some(Durability::Synced),
            Some(Durability::Buffered),
            Some(Durability::Ephemeral),
        ]);
        publish.options.attempts = self.bytes.maybe(|bytes| u32::from(bytes.next() % 4));
        publish.options.delay = self.bytes.maybe(Bytes::span);
        publish.options.reply = kind == Kind::Request && self.bytes.flag();
        let absent = [Absent::Park, Absent::Fail, Absent::Discard];
        publish.options.absent = self.bytes.maybe(|bytes| bytes.pick(&absent));
        publish
    }

    /// A task, for the skill more often than not.
    fn task(&mut self) -> Publish {
        let mut publish = self.envelope(Kind::Request);
        publish.options.task = true;
        publish.options.max_run = self.bytes.maybe(Bytes::span);
        if self.bytes.flag() {
            publish.envelope.destination = TO[0].parse().expect("it is a destination");
        }
        publish
    }

    fn message(&mut self) -> Publish {
        let kind = self.bytes.pick(Kind::ALL);
        let mut publish = self.envelope(kind);
        publish.envelope.correlation_id = self.bytes.maybe(|_| ()).map(|()| self.id());
        publish.envelope.causation_id = self.bytes.maybe(|_| ()).map(|()| self.id());
        publish.options.gather = self.bytes.maybe(|bytes| Gather {
            rule: bytes.pick(&[GatherRule::First, GatherRule::All, GatherRule::Quorum(2)]),
            reply_bytes: 64,
        });
        publish
    }

    /// Sends a message, now and then under an id that was there before, and follows it.
    fn publish(&mut self, at: usize, mut publish: Publish) {
        if self.bytes.next() == 255 {
            publish.envelope.id = self.id();
            self.world.reused.insert(publish.envelope.id);
        }
        let (task, is_task) = (publish.envelope.id, publish.is_task());
        self.sent.push(task);
        self.world.send(at, Operation::Publish(Arc::new(publish)));
        if is_task {
            self.world.send(at, Operation::Watch { task, after: 0 });
        }
    }

    /// A token: one that the session holds, or any that was ever granted.
    fn token(&mut self, at: usize) -> Option<Token> {
        let held = self.world.peers[at].as_ref().map_or(&[][..], |peer: &Peer| &peer.held);
        let all = if self.bytes.next() < 240 { held } else { &self.world.tokens };
        all.get(self.bytes.below(all.len())).copied()
    }

    fn settle(&mut self, at: usize) {
        let Some(token) = self.token(at) else { return };
        let reason = "as it is".to_owned();
        let outcome = match self.bytes.next() % 8 {
            0 => Outcome::Complete { reply: None },
            1 => Outcome::Complete { reply: Some(self.payload()) },
            2 => Outcome::Fail { reason },
            3 => Outcome::Reject { reason },
            4 => Outcome::Retry { reason, delay: self.bytes.maybe(Bytes::span) },
            5 => Outcome::Release,
            6 => {
                let reason = self.bytes.pick(PauseReason::ALL);
                Outcome::Pause { reason, message: Some(self.payload()) }
            }
            _ => Outcome::DeadLetter { reason },
        };
        self.world.send(at, Operation::Settle(Settle { token, outcome }));
    }

    fn update(&mut self, at: usize) {
        let Some(token) = self.token(at) else { return };
        let body = match self.bytes.next() % 4 {
            0 | 1 => UpdateBody::Started,
            2 => UpdateBody::Progress(Progress {
                percent: self.bytes.next() % 128,
                text: "on".to_owned(),
            }),
            _ => UpdateBody::Artifact(ArtifactChunk {
                name: self.bytes.pick(&["x", "y"]).into(),
                append: self.bytes.flag(),
                last: self.bytes.flag(),
                payload: self.payload(),
            }),
        };
        self.world.send(at, Operation::Update(Update { token, body }));
    }

    fn say(&mut self, at: usize) {
        let Some(peer) = &self.world.peers[at] else { return };
        let (tokens, through) = (peer.held.clone(), peer.event.unwrap_or(0));
        let frame = match self.bytes.next() % 5 {
            0 => ClientFrame::Heartbeat { tokens },
            1 => ClientFrame::Acknowledge { through },
            2 => ClientFrame::Acknowledge { through: u64::from(self.bytes.next()) },
            3 => ClientFrame::Drain,
            _ => ClientFrame::Credit(Credit {
                deliveries: u32::from(self.bytes.next() % 8),
                events: u32::from(self.bytes.next() % 4),
            }),
        };
        self.world.frame(at, frame);
    }

    fn operate(&mut self, at: usize) {
        let agent = self.bytes.pick(&["a", "b", "c"]).parse().expect("it is a name");
        let operation = match self.bytes.next() % 8 {
            0..=2 => {
                let change = AgentChange {
                    weight: self.bytes.maybe(|bytes| u32::from(bytes.next() % 3)),
                    draining: self.bytes.maybe(Bytes::flag),
                    healthy: self.bytes.maybe(Bytes::flag),
                };
                Operation::SetAgent { agent, change }
            }
            3..=5 => {
                let change = InboxChange {
                    when_full: self.bytes.maybe(|bytes| bytes.pick(WhenFull::ALL)),
                    limit: self.bytes.maybe(|bytes| u32::from(bytes.next() % 4)),
                    routing: self.bytes.maybe(|bytes| bytes.pick(Routing::ALL)),
                    ..InboxChange::default()
                };
                let inbox = self.bytes.pick(&TO[..3]).parse().expect("it is an inbox");
                Operation::SetInbox { inbox, change: Box::new(change) }
            }
            6 => Operation::Unregister { agent },
            _ => Operation::WatchAgents(Box::default()),
        };
        self.world.send(at, operation);
    }

    fn restart(&mut self) {
        match self.bytes.next() % 3 {
            0 => {
                self.world.handle(Command::Stop);
                self.world.flush();
                self.world.restart(Loss::Killed);
            }
            1 => self.world.restart(Loss::Killed),
            _ => self.world.restart(Loss::PowerFailed),
        }
        for at in 0..PEERS {
            self.connect(at, false);
        }
    }

    fn subscribe(&mut self, at: usize) {
        let pattern = self.bytes.pick(&["t.x", "t.*", ">", "u"]).parse().expect("it is a pattern");
        let mut subscription = Subscription::new(pattern);
        subscription.durable = self.bytes.flag();
        let filter = self.bytes.maybe(|bytes| bytes.pick(&["n=1", "n=2", "n"]));
        subscription.filter = filter.and_then(|filter| filter.parse().ok());
        subscription.group = self.bytes.maybe(|_| "g".parse().expect("it is a name"));
        subscription.when_full = self.bytes.pick(WhenFull::ALL);
        let operation = if self.bytes.next() % 4 == 0 {
            Operation::Unsubscribe(subscription)
        } else {
            Operation::Subscribe(subscription)
        };
        self.world.send(at, operation);
    }

    fn letter(&mut self, at: usize) {
        let inbox = self.bytes.maybe(|bytes| bytes.pick(&TO[..3]).parse().expect("it is an inbox"));
        let letter = LetterAddress { id: self.id(), inbox };
        if self.bytes.flag() {
            return self.world.send(at, Operation::Purge(letter));
        }
        let low = self.sent.len() as u64 + 1;
        let id = MessageId::from_parts(self.world.now.wall.0, Partition(0), low);
        self.sent.push(id);
        let payload = self.bytes.maybe(|_| "again".into());
        let redrive = Redrive { letter, id, payload, destination: None, priority: None };
        self.world.send(at, Operation::Redrive(Box::new(redrive)));
        self.world.send(at, Operation::Watch { task: id, after: 0 });
    }

    fn schedule(&mut self, at: usize) {
        let name = self.bytes.pick(&["x", "y", "z"]).parse().expect("it is a name");
        if self.bytes.next() % 4 == 0 {
            return self.world.send(at, Operation::RemoveSchedule { name });
        }
        let cron = self.bytes.pick(&["50", "1000", "0", "x"]).into();
        let publish = Arc::new(self.envelope(Kind::Event));
        let schedule = Schedule { name, cron, zone: "".into(), publish };
        self.world.send(at, Operation::SetSchedule(Box::new(schedule)));
    }

    fn ask(&mut self) {
        let question = match self.bytes.next() % 8 {
            0 => Query::Task { id: self.id(), history_length: None },
            1 => Query::Message(self.id()),
            2 => Query::Tasks(TaskFilter::default()),
            3 => Query::Agents(AgentFilter::default()),
            4 => Query::DeadLetters(DeadLetterFilter::default()),
            5 => Query::Schedules(ScheduleFilter::default()),
            6 => Query::Inbox(self.bytes.pick(&TO[..3]).parse().expect("it is an inbox")),
            _ => Query::Stats,
        };
        self.world.ask(question);
    }

    /// What happens around the broker: its disk, its clock, its end.
    fn surround(&mut self) {
        let command = match self.bytes.next() % 8 {
            0 | 1 => Command::Space { ample: self.bytes.flag() },
            2 | 3 => Command::Congestion { congested: self.bytes.flag() },
            4 => Command::Drain,
            5 | 6 => {
                let (wall, span) = (self.world.now.wall, self.bytes.span());
                let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                let back = self.bytes.flag();
                let wall = if back { wall.0.saturating_sub(millis) } else { wall.0 + millis };
                return self.world.set_wall(WallTime(wall));
            }
            _ => Command::Space { ample: true },
        };
        self.world.handle(command);
    }
}
