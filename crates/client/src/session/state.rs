//! What a session knows, and the rules by which frames leave it and items enter it.

use crate::session::ledger::Ledger;
use crate::session::memory::Memory;
use std::task::Waker;
use std::time::Duration;
use trunkline_proto::check_operation;
use trunkline_types::session::{
    ClientFrame, Credit, Hello, Operation, Reply, SessionItem, Welcome,
};
use trunkline_types::{
    AgentCard, Failure, FailureCode, MessageId, Refusal, RefusalCode, SessionId, Token,
};

/// When to try again after a refusal for want of room here: about the time in which a broker that
/// is there answers a full session's operations.
const ROOM_AGAIN: Duration = Duration::from_millis(100);

/// How many tokens of unsaid heartbeats are kept before repeated ones are weeded out.
const HEARTBEAT: usize = 16_384;

/// What a session knows.
#[derive(Debug)]
pub(super) struct State {
    session: SessionId,
    card: Option<AgentCard>,
    ledger: Ledger,
    memory: Memory,
    credit: Credit,
    operations_per_frame: usize,
    /// The highest event number acknowledged, to be said again after a reconnect.
    acknowledged: u64,
    draining: bool,
    goodbye: bool,
    unsaid: Unsaid,
    phase: Phase,
    /// Which connection may take frames: a stream of an earlier one must not.
    connection: u64,
    /// Who sends, if it found nothing to send.
    pub(super) sender: Option<Waker>,
    /// Items made here rather than by the broker, for the reading task to hand to the sink.
    pub(super) made_here: Vec<SessionItem>,
}

/// What has changed since it was last said.
#[derive(Debug, Default)]
struct Unsaid {
    credit: bool,
    acknowledge: bool,
    drain: bool,
    heartbeat: Vec<Token>,
}

#[derive(Debug)]
enum Phase {
    /// No connection.
    Apart,
    /// The hello is to be sent next.
    Greeting(Box<Hello>),
    /// The welcome is awaited.
    Greeted,
    /// Frames flow.
    Open,
    /// Everything is said.
    Over,
}

/// What a stream is to send.
#[derive(Debug)]
pub(super) enum Outgoing {
    Hello(Box<Hello>),
    Frame(ClientFrame),
    /// Nothing at the moment.
    Wait,
    /// Nothing any more.
    End,
}

/// The broker's wish to end the connection.
#[derive(Debug)]
pub(super) struct Leave {
    pub(super) reason: String,
    pub(super) reconnect: bool,
}

impl State {
    pub(super) fn new(hello: Hello, max_outstanding: usize) -> Self {
        let Hello { session, card, credit, subscriptions, next_operation, held } = hello;
        Self {
            session,
            card,
            ledger: Ledger::new(next_operation.max(1), max_outstanding),
            memory: Memory::new(subscriptions, &held),
            credit,
            operations_per_frame: 1,
            acknowledged: 0,
            draining: false,
            goodbye: false,
            unsaid: Unsaid::default(),
            phase: Phase::Apart,
            connection: 0,
            sender: None,
            made_here: Vec::new(),
        }
    }

    /// Takes in what the layer above wants said. Tells whether the reading task has something to
    /// hand to the sink.
    pub(super) fn say(&mut self, frame: ClientFrame) -> bool {
        if matches!(self.phase, Phase::Over) {
            return false;
        }
        match frame {
            ClientFrame::Operations { first, operations } => {
                for (number, operation) in (first..).zip(operations) {
                    self.operate(number, operation);
                }
            }
            ClientFrame::Heartbeat { tokens } => {
                self.unsaid.heartbeat.extend(tokens);
                if self.unsaid.heartbeat.len() > HEARTBEAT {
                    // The broker is away for long: keep what still matters, each once.
                    let held = self.memory.held();
                    self.unsaid.heartbeat.retain(|token| held.binary_search(token).is_ok());
                    self.unsaid.heartbeat.sort_unstable();
                    self.unsaid.heartbeat.dedup();
                }
            }
            ClientFrame::Credit(credit) => {
                self.credit = credit;
                self.unsaid.credit = true;
            }
            ClientFrame::Acknowledge { through } => {
                self.acknowledged = self.acknowledged.max(through);
                self.unsaid.acknowledge = true;
            }
            ClientFrame::Drain => {
                self.draining = true;
                self.unsaid.drain = true;
            }
            ClientFrame::Goodbye => self.goodbye = true,
        }
        !self.made_here.is_empty()
    }

    fn operate(&mut self, number: u64, operation: Operation) {
        let checked = check_operation(&operation).and_then(|bytes| {
            if self.ledger.admits(&operation) {
                return Ok(bytes);
            }
            let message = "the session has as many unanswered operations as it may";
            Err(Refusal::new(RefusalCode::Unavailable, message).retry_after(ROOM_AGAIN))
        });
        match checked {
            Ok(bytes) => {
                let wire = self.ledger.next_added();
                self.memory.asked(wire, &operation);
                self.ledger.add(number, bytes, operation);
            }
            Err(refusal) => {
                self.made_here.push(SessionItem::Refused { operation: number, refusal });
            }
        }
    }

    /// Whether the layer above has said goodbye.
    pub(super) fn is_leaving(&self) -> bool {
        self.goodbye
    }

    /// Begins a connection with a hello that says how things stand, and returns its number.
    pub(super) fn greet(&mut self) -> u64 {
        self.part();
        self.phase = Phase::Greeting(Box::new(Hello {
            session: self.session,
            card: self.card.clone(),
            credit: self.credit,
            subscriptions: self.memory.subscriptions().to_vec(),
            next_operation: self.ledger.next_operation(),
            held: self.memory.held(),
        }));
        self.unsaid.credit = false;
        self.connection
    }

    /// The connection is gone.
    pub(super) fn part(&mut self) {
        self.connection += 1;
        self.ledger.unsend();
        self.phase = Phase::Apart;
    }

    /// The session is over.
    pub(super) fn finish(&mut self) {
        self.connection += 1;
        self.phase = Phase::Over;
    }

    /// The broker welcomes the session for the first time: frames flow.
    pub(super) fn open(&mut self, welcome: &Welcome) {
        self.operations_per_frame = welcome.limits.operations_per_frame.max(1);
        self.phase = Phase::Open;
    }

    /// The broker welcomes the session again. Adds what the sink must be told to `items`, and
    /// returns the tasks whose outcome is to be looked up. Frames flow after [`Self::open`].
    pub(super) fn welcomed_again(
        &mut self,
        welcome: &Welcome,
        items: &mut Vec<SessionItem>,
    ) -> Vec<MessageId> {
        let orphans = self.memory.welcomed(welcome, &self.ledger);
        items.extend(welcome.revoked.iter().map(|&token| SessionItem::Cancel {
            token,
            reason: "the broker gave it to somebody else meanwhile".to_owned(),
        }));
        items.extend(orphans.lost.into_iter().map(|request| {
            let reason = "the broker went away with the request in its memory".to_owned();
            let result = Err(Failure { code: FailureCode::Lost, reason });
            SessionItem::Reply(Reply { request, agent: None, result })
        }));
        if !welcome.resumed {
            // A session that begins anew counts its events anew.
            self.acknowledged = 0;
        }
        self.unsaid.acknowledge = self.acknowledged > 0;
        self.unsaid.drain = self.draining;
        orphans.tasks
    }

    /// Tasks that turned out to be in need of looking up. Each is given out once.
    pub(super) fn take_stray(&mut self) -> Vec<MessageId> {
        self.memory.take_stray()
    }

    /// A reply found out here: hands it on unless the broker's own came first.
    pub(super) fn found(&mut self, reply: Reply) {
        if self.memory.replied(reply.request) {
            self.made_here.push(SessionItem::Reply(reply));
        }
    }

    /// What the stream of a connection is to send next.
    pub(super) fn next(&mut self, connection: u64) -> Outgoing {
        if connection != self.connection {
            return Outgoing::End;
        }
        match std::mem::replace(&mut self.phase, Phase::Greeted) {
            Phase::Greeting(hello) => return Outgoing::Hello(hello),
            Phase::Greeted => return Outgoing::Wait,
            phase @ (Phase::Apart | Phase::Over) => {
                self.phase = phase;
                return Outgoing::End;
            }
            Phase::Open => self.phase = Phase::Open,
        }
        if std::mem::take(&mut self.unsaid.credit) {
            return Outgoing::Frame(ClientFrame::Credit(self.credit));
        }
        if std::mem::take(&mut self.unsaid.acknowledge) {
            return Outgoing::Frame(ClientFrame::Acknowledge { through: self.acknowledged });
        }
        if !self.unsaid.heartbeat.is_empty() {
            let mut tokens = std::mem::take(&mut self.unsaid.heartbeat);
            tokens.sort_unstable();
            tokens.dedup();
            return Outgoing::Frame(ClientFrame::Heartbeat { tokens });
        }
        if std::mem::take(&mut self.unsaid.drain) {
            return Outgoing::Frame(ClientFrame::Drain);
        }
        if let Some((first, operations)) = self.ledger.take_unsent(self.operations_per_frame) {
            return Outgoing::Frame(ClientFrame::Operations { first, operations });
        }
        if self.goodbye {
            self.phase = Phase::Over;
            return Outgoing::Frame(ClientFrame::Goodbye);
        }
        Outgoing::Wait
    }

    /// Takes note of what the broker says, and makes it what the sink is to be told: with the
    /// layer's numbers, without answers and replies that were there before. Wakes the sender if
    /// answers bring within reach what it must hold back.
    pub(super) fn receive(&mut self, items: &mut Vec<SessionItem>) -> Option<Leave> {
        let Self { ledger, memory, .. } = self;
        let was_out_of_reach = ledger.is_out_of_reach();
        let mut leave = None;
        let mut more = Vec::new();
        items.retain_mut(|item| match item {
            SessionItem::Done { first, last } => {
                let mut ranges = Ranges::new(&mut more);
                ledger.answer(*first, *last, |number, operation| {
                    memory.done(operation);
                    ranges.add(number);
                });
                ranges.first.is_some_and(|range| {
                    (*first, *last) = range;
                    true
                })
            }
            SessionItem::Accepted(accepted) => {
                let wire = accepted.operation;
                let mut mine = false;
                ledger.answer(wire, wire, |number, operation| {
                    if accepted.duplicate {
                        memory.repeated(&operation);
                    }
                    memory.done(operation);
                    accepted.operation = number;
                    mine = true;
                });
                mine
            }
            SessionItem::Canceled(canceled) => {
                let wire = canceled.operation;
                let mut mine = false;
                ledger.answer(wire, wire, |number, operation| {
                    memory.done(operation);
                    canceled.operation = number;
                    mine = true;
                });
                mine
            }
            SessionItem::Refused { operation: wire, refusal } => {
                let mut mine = None;
                ledger.answer(*wire, *wire, |number, operation| {
                    memory.refused(&operation, refusal);
                    mine = Some(number);
                });
                mine.is_some_and(|number| {
                    *wire = number;
                    true
                })
            }
            SessionItem::Delivery(delivery) => {
                memory.delivered(delivery.token);
                true
            }
            SessionItem::Reply(reply) => memory.replied(reply.request),
            SessionItem::Gathered(gathered) => memory.replied(gathered.request),
            SessionItem::Cancel { token, .. } => {
                memory.revoked(*token);
                true
            }
            SessionItem::GoAway { reason, reconnect } => {
                leave = Some(Leave { reason: reason.clone(), reconnect: *reconnect });
                true
            }
            SessionItem::Event(_)
            | SessionItem::Task { .. }
            | SessionItem::Pressure(_)
            | SessionItem::Agent(_)
            | SessionItem::Drain { .. } => true,
        });
        items.append(&mut more);
        let sender = self.sender.take_if(|_| was_out_of_reach && !self.ledger.is_out_of_reach());
        if let Some(sender) = sender {
            sender.wake();
        }
        leave
    }
}

/// Joins numbers that follow each other. There is one range, unless something in between was
/// refused here or answered before.
struct Ranges<'a> {
    first: Option<(u64, u64)>,
    further: &'a mut Vec<SessionItem>,
    /// Whether the first range still grows.
    only: bool,
}

impl<'a> Ranges<'a> {
    fn new(further: &'a mut Vec<SessionItem>) -> Self {
        Self { first: None, further, only: true }
    }

    fn add(&mut self, number: u64) {
        let last = match (&mut self.first, self.further.last_mut()) {
            (Some((_, last)), _) if self.only => last,
            (Some(_), Some(SessionItem::Done { last, .. })) => last,
            _ => &mut self.first.insert((number, number)).1,
        };
        if *last + 1 >= number {
            *last = number;
        } else {
            self.only = false;
            self.further.push(SessionItem::Done { first: number, last: number });
        }
    }
}
