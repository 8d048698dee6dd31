//! A stage that keeps what each session was told until the test asks for it, and that wakes the
//! engine whenever it wants to while time passes.

use crate::stage::{self, Stage};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::{Command, ConnectionKey, Effect, Engine, EngineConfig};
use trunkline_types::session::{
    ClientFrame, Credit, Delivery, Hello, Operation, SessionItem, Update, UpdateBody,
};
use trunkline_types::{
    AgentCard, AgentChange, AgentInfo, AgentNews, Answer, InboxAddress, InboxChange, InboxInfo,
    Kind, Outcome, Principal, Priority, Publish, Query, Refusal, Settle, Token,
};

/// A stage and all that sessions were told.
pub(crate) struct World {
    stage: Stage,
    told: Vec<(ConnectionKey, SessionItem)>,
}

/// A session as the world sees it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) connection: ConnectionKey,
    pub(crate) session: u64,
    card: Option<AgentCard>,
    next: u64,
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
        Self { stage: Stage::new(config), told: Vec::new() }
    }

    /// A world without a log, which is what most of these tests need.
    pub(crate) fn plain(change: impl FnOnce(&mut EngineConfig)) -> Self {
        let mut config = EngineConfig { logged: false, ..EngineConfig::default() };
        change(&mut config);
        Self::new(config)
    }

    /// The broker as it comes up again after it was killed.
    pub(crate) fn restarted(self) -> Self {
        Self { stage: self.stage.restarted(Duration::ZERO), told: Vec::new() }
    }

    /// Everything durable as an engine sees it that replays the log, and as this one does.
    pub(crate) fn assert_replays(&self) {
        let mut replayed = Engine::new(self.config.clone());
        for (sequence, record) in self.records.clone() {
            replayed.replay(sequence, record).unwrap();
        }
        let (replayed, live) = (replayed.durable_state(), self.engine.durable_state());
        for name in replayed.keys().chain(live.keys()) {
            assert_eq!(replayed.get(name), live.get(name), "{name}");
        }
    }

    /// The same where there is a log; without one there is nothing to replay.
    pub(crate) fn assert_replays_if_logged(&self) {
        if self.config.logged {
            self.assert_replays();
        }
    }

    fn note(&mut self, effects: Vec<Effect>) {
        self.told.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Item { connection, item } => Some((connection, item)),
            _ => None,
        }));
    }

    /// The log catches up.
    pub(crate) fn flush(&mut self) {
        self.is_fast = true;
        let effects = self.commit();
        self.note(effects);
    }

    pub(crate) fn handle(&mut self, command: Command) {
        let effects = self.stage.handle(command);
        self.note(effects);
    }

    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut EngineConfig)) {
        let effects = self.stage.configure(change);
        self.note(effects);
    }

    /// Time passes, and the broker wakes whenever it wants to meanwhile.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = stage::later(self.now, span);
        while let Some(at) = self.engine.deadline().mono.filter(|at| *at <= end.mono) {
            self.now.mono = self.now.mono.max(at);
            self.tick();
        }
        self.now = end;
        self.tick();
    }

    fn tick(&mut self) {
        let effects = self.stage.tick();
        self.note(effects);
    }

    pub(crate) fn connect(&mut self, card: Option<AgentCard>) -> Result<Peer, Refusal> {
        self.connect_as("", card)
    }

    pub(crate) fn connect_as(
        &mut self,
        subject: &str,
        card: Option<AgentCard>,
    ) -> Result<Peer, Refusal> {
        let session = self.connections + 1;
        let peer = Peer { connection: ConnectionKey(0), session, card, next: 1 };
        self.greet(subject, peer, Vec::new())
    }

    /// A session comes back over a new connection with what it holds.
    pub(crate) fn come_back(&mut self, peer: &Peer, held: Vec<Token>) -> Result<Peer, Refusal> {
        self.greet("", peer.clone(), held)
    }

    /// Connects a session anew.
    fn greet(&mut self, subject: &str, peer: Peer, held: Vec<Token>) -> Result<Peer, Refusal> {
        let mut principal = Principal::default();
        if !subject.is_empty() {
            principal.subject = subject.into();
        }
        let hello = Hello {
            card: peer.card.clone(),
            credit: Credit { deliveries: 1000, events: 100 },
            next_operation: peer.next,
            held,
            ..stage::hello(peer.session.into(), None)
        };
        let (welcomed, effects) = self.stage.connect_as(principal, hello);
        self.note(effects);
        Ok(Peer { connection: welcomed?.connection, ..peer })
    }

    /// An agent that offers the skill `s`.
    pub(crate) fn agent(&mut self, id: &str) -> Peer {
        self.connect(Some(card(id))).unwrap()
    }

    pub(crate) fn client(&mut self) -> Peer {
        self.connect(None).unwrap()
    }

    pub(crate) fn frame(&mut self, peer: &Peer, frame: ClientFrame) {
        let connection = peer.connection;
        self.handle(Command::Frame { connection, frame, verdicts: Vec::new() });
    }

    pub(crate) fn credit(&mut self, peer: &Peer, deliveries: u32) {
        self.frame(peer, ClientFrame::Credit(Credit { deliveries, events: 0 }));
    }

    /// Sends one operation and says under which number.
    pub(crate) fn send(&mut self, peer: &mut Peer, operation: Operation) -> u64 {
        let first = peer.next;
        peer.next += 1;
        self.frame(peer, ClientFrame::Operations { first, operations: vec![operation] });
        first
    }

    /// Sends one operation that must be answered at once.
    pub(crate) fn ask(&mut self, peer: &mut Peer, operation: Operation) -> Result<(), Refusal> {
        let number = self.send(peer, operation);
        let answer = self.told.iter().rev().find_map(|(to, item)| match item {
            _ if *to != peer.connection => None,
            SessionItem::Done { first, last } if (*first..=*last).contains(&number) => Some(Ok(())),
            SessionItem::Accepted(accepted) if accepted.operation == number => Some(Ok(())),
            SessionItem::Refused { operation, refusal } if *operation == number => {
                Some(Err(refusal.clone()))
            }
            _ => None,
        });
        answer.expect("it is answered")
    }

    pub(crate) fn set(
        &mut self,
        peer: &mut Peer,
        agent: &str,
        change: AgentChange,
    ) -> Result<(), Refusal> {
        self.ask(peer, Operation::SetAgent { agent: agent.parse().unwrap(), change })
    }

    /// Sets how the inbox of the skill `s` is run.
    pub(crate) fn set_inbox(&mut self, peer: &mut Peer, change: InboxChange) {
        let (inbox, change) = (skill(), Box::new(change));
        self.ask(peer, Operation::SetInbox { inbox, change }).unwrap();
    }

    pub(crate) fn request(&mut self) -> Publish {
        self.message(Kind::Request, "skill:s")
    }

    /// Sends requests to the skill `s`.
    pub(crate) fn publish(&mut self, peer: &mut Peer, count: usize) {
        for _ in 0..count {
            let publish = self.request();
            self.ask(peer, Operation::Publish(Arc::new(publish))).unwrap();
        }
    }

    pub(crate) fn publish_as(&mut self, peer: &mut Peer, priority: Priority) {
        let mut publish = self.request();
        publish.envelope.priority = priority;
        self.ask(peer, Operation::Publish(Arc::new(publish))).unwrap();
    }

    /// What a session was told since this was asked last.
    pub(crate) fn take(&mut self, peer: &Peer) -> Vec<SessionItem> {
        let told = std::mem::take(&mut self.told);
        let (its, others) = told.into_iter().partition(|(to, _)| *to == peer.connection);
        self.told = others;
        let its: Vec<(ConnectionKey, SessionItem)> = its;
        its.into_iter().map(|(_, item)| item).collect()
    }

    pub(crate) fn deliveries(&mut self, peer: &Peer) -> Vec<Delivery> {
        let delivery = |item| match item {
            SessionItem::Delivery(delivery) => Some(delivery),
            _ => None,
        };
        self.take(peer).into_iter().filter_map(delivery).collect()
    }

    pub(crate) fn news(&mut self, peer: &Peer) -> Vec<AgentNews> {
        let news = |item| match item {
            SessionItem::Agent(news) => Some(*news),
            _ => None,
        };
        self.take(peer).into_iter().filter_map(news).collect()
    }

    pub(crate) fn begin(&mut self, peer: &mut Peer, token: Token) {
        self.ask(peer, Operation::Update(Update { token, body: UpdateBody::Started })).unwrap();
    }

    pub(crate) fn settle(&mut self, peer: &mut Peer, token: Token, outcome: Outcome) {
        self.ask(peer, Operation::Settle(Settle { token, outcome })).unwrap();
    }

    pub(crate) fn info(&mut self, id: &str) -> Option<AgentInfo> {
        let filter =
            trunkline_types::AgentFilter { id: Some(id.parse().unwrap()), ..Default::default() };
        match self.query(Query::Agents(filter)).unwrap() {
            Answer::Agents(page) => page.agents.into_iter().next(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn inbox(&mut self, inbox: InboxAddress) -> Result<InboxInfo, Refusal> {
        match self.query(Query::Inbox(inbox))? {
            Answer::Inbox(info) => Ok(*info),
            other => panic!("{other:?}"),
        }
    }
}

/// The inbox of the skill `s`.
pub(crate) fn skill() -> InboxAddress {
    InboxAddress::Skill("s".parse().unwrap())
}

/// The card of an agent that offers the skill `s`.
pub(crate) fn card(id: &str) -> AgentCard {
    let mut card = AgentCard::new(id.parse().unwrap());
    card.skills.push("s".parse().unwrap());
    card
}

pub(crate) fn labelled(id: &str, key: &str, value: &str) -> AgentCard {
    let mut card = card(id);
    card.labels.push((key.into(), value.into()));
    card
}

pub(crate) fn done() -> Outcome {
    Outcome::Complete { reply: None }
}

pub(crate) fn failed() -> Outcome {
    Outcome::Fail { reason: "broken".to_owned() }
}

pub(crate) fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}
