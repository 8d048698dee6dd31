//! A small vocabulary for the tests of the laws: a scene with one sender, two workers and a log.

use super::{AcceptedFact, Fact, Model, Moment, Rules};
use crate::check::Check;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::{ClientFrame, Credit, Hello, Operation};
use trunkline_types::{
    AgentCard, AgentId, Destination, Durability, Envelope, Epoch, History, InboxAddress, Kind,
    MessageId, Outcome, Partition, Payload, Publish, Routing, Sequence, SessionId, Settle,
    SkillName, TaskSnapshot, TaskState, Token, WallTime, WhenFull,
};

/// The session of the sender.
pub(crate) const SENDER: SessionId = SessionId(1);
/// The sessions of two workers of one skill.
pub(crate) const WORKERS: [SessionId; 2] = [SessionId(2), SessionId(3)];

/// A model with a history.
pub(crate) struct Scene {
    pub(crate) model: Model,
    latest: u64,
    entries: u64,
    operations: [u64; 4],
}

impl Scene {
    /// Everybody is connected in the first epoch.
    pub(crate) fn new() -> Self {
        let rules = Rules {
            lease: Duration::from_secs(1),
            resume_grace: Duration::from_millis(200),
            backoff_base: Duration::from_millis(10),
            backoff_cap: Duration::from_millis(100),
            losses: 2,
            inbox_logged: 3,
            inbox_ephemeral: 3,
            waiting_outside: 1,
            pending_events: 1,
            warning: 50,
            pressure_pace: Duration::from_millis(20),
            weights: [1; 4],
            tight: false,
            when_full: WhenFull::Reject,
            wait: Duration::from_millis(100),
            schedules: 1,
            gather_agents: 2,
            max_run: None,
            routing: Routing::LeastLoaded,
            breaker_failures: 2,
            spills: false,
            payload_memory: 0,
            logged_copies: 10,
            dead_letters: (2, 1000),
            breaker_window: Duration::from_millis(200),
            breaker_open: Duration::from_millis(100),
            breaker_probes: 1,
            key_window: Duration::from_secs(1),
            keys: 3,
            ended_tasks: 1000,
            ended_task_keep: Duration::from_secs(1),
            dead_letter_keep: Duration::from_secs(1),
            task_events: 1000,
        };
        let model = Model::new(rules);
        let mut scene = Self { model, latest: 0, entries: 0, operations: [1; 4] };
        scene.at(1000);
        scene.fact(Fact::Boot { epoch: Epoch(1) }).expect("the first epoch");
        for session in [SENDER, WORKERS[0], WORKERS[1]] {
            scene.connect(session, u64::try_from(session.0).expect("small"));
        }
        scene
    }

    pub(crate) fn at(&mut self, millis: u64) {
        self.model.at(Moment { mono: millis * 1_000_000, wall: WallTime(millis) });
    }

    pub(crate) fn connect(&mut self, session: SessionId, connection: u64) {
        let agent = AgentId::new(format!("a{}", session.0)).expect("a name");
        let card = (session != SENDER).then(|| AgentCard::new(agent.clone()));
        if card.is_some() {
            let card = AgentCard { skills: vec![skill()], ..AgentCard::new(agent) };
            self.fact(Fact::Agent(Box::new(card))).expect("registered");
        }
        let hello = Hello {
            session,
            card,
            credit: Credit { deliveries: 2, events: 2 },
            subscriptions: Vec::new(),
            next_operation: self.operations[usize::try_from(session.0).expect("small")],
            held: Vec::new(),
        };
        self.model.connecting(connection, &hello, false);
        self.model.sessions.get_mut(&session).expect("it is there").welcomed = true;
    }

    /// The broker writes the next record.
    pub(crate) fn fact(&mut self, fact: Fact) -> Check {
        let check = self.model.fact(Sequence(self.latest + 1), fact);
        self.latest += u64::from(check.is_ok());
        check
    }

    pub(crate) fn sync(&mut self) {
        self.model.horizon(Sequence(self.latest), Sequence(self.latest));
    }

    /// A session sends an operation; returns its number.
    pub(crate) fn operate(&mut self, session: SessionId, operation: Operation) -> u64 {
        let next = &mut self.operations[usize::try_from(session.0).expect("small")];
        let first = *next;
        *next += 1;
        let frame = ClientFrame::Operations { first, operations: vec![operation] };
        self.model.frame(u64::try_from(session.0).expect("small"), &frame);
        first
    }

    /// The sender sends a task, and the broker writes that it is accepted.
    pub(crate) fn accept(&mut self, number: u64, change: impl FnOnce(&mut Publish)) -> Check {
        let mut publish = publish(number);
        change(&mut publish);
        let publish = Arc::new(publish);
        let operation = self.operate(SENDER, Operation::Publish(publish.clone()));
        self.entries += 1;
        let first_entry = self.entries;
        self.fact(accepted(publish, operation, self.model.now.wall, first_entry))
    }

    /// A task that is accepted and on disk.
    pub(crate) fn accept_synced(&mut self, number: u64) {
        self.accept(number, |_| ()).expect("nothing is wrong with it");
        self.sync();
    }

    pub(crate) fn lease(&mut self, entry: u64, counter: u64, session: SessionId) -> Check {
        self.fact(Fact::Leased { entry, token: token(counter), session })
    }

    pub(crate) fn settle(&mut self, session: SessionId, counter: u64, outcome: Outcome) -> u64 {
        self.operate(session, Operation::Settle(Settle { token: token(counter), outcome }))
    }
}

pub(crate) fn skill() -> SkillName {
    SkillName::new("s").expect("a name")
}

pub(crate) fn token(counter: u64) -> Token {
    Token { epoch: Epoch(1), counter }
}

pub(crate) fn id(number: u64) -> MessageId {
    MessageId::from_parts(1, Partition(0), number)
}

/// A synced task for the skill.
pub(crate) fn publish(number: u64) -> Publish {
    let destination = Destination::Skill(skill());
    let envelope = Envelope::new(id(number), Kind::Request, destination, Payload::text("work"));
    let mut publish = Publish::new(envelope);
    publish.options.task = true;
    publish.options.durability = Some(Durability::Synced);
    publish
}

/// How the broker shows that task while nothing else is known of it.
pub(crate) fn snapshot(number: u64, state: TaskState) -> TaskSnapshot {
    TaskSnapshot {
        id: id(number),
        destination: publish(number).envelope.destination,
        source: None,
        context_id: None,
        causation_id: None,
        root_id: None,
        state,
        reason: None,
        agent: None,
        attempts: 0,
        notes: Vec::new(),
        progress: None,
        result: None,
        last_event: 1,
        created_at: WallTime(0),
        updated_at: WallTime(0),
        history: History::default(),
    }
}

pub(crate) fn accepted(
    publish: Arc<Publish>,
    operation: u64,
    at: WallTime,
    first_entry: u64,
) -> Fact {
    let inboxes = vec![InboxAddress::Skill(skill())];
    let session = SENDER;
    Fact::Accepted(Box::new(AcceptedFact {
        publish,
        session,
        operation,
        at,
        first_entry,
        inboxes,
        pending: false,
    }))
}

/// Checks that a law was broken, and which.
#[track_caller]
pub(crate) fn broken(check: Check, law: &str, part: &str) {
    let violation = check.expect_err("a law should be broken");
    assert_eq!(violation.law, law, "{}", violation.message);
    assert!(violation.message.contains(part), "{}", violation.message);
}
