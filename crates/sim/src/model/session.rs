//! A session as the model sees it: what it has sent, and what it has been told.

use super::Moment;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use trunkline_types::session::{Credit, Operation, Subscription};
use trunkline_types::{
    AgentCard, AgentControl, AgentFilter, AgentId, InboxAddress, MessageId, Sequence, SessionId,
    WallTime,
};

/// One session across its connections.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) agent: Option<AgentId>,
    pub(crate) connection: Option<u64>,
    /// When it was lost, or when the broker started without it.
    pub(crate) lost_at: Option<Moment>,
    /// How long the broker had been away in all by then.
    pub(crate) lost_absent: u64,
    /// How long the broker had been back then, if it was away before.
    pub(crate) back_for: Option<u64>,
    /// Whether it has the full lease, because the broker was restarted, to come back.
    pub(crate) restarted: bool,
    /// Whether its agent never stalls and always comes back in time.
    pub(crate) steady: bool,
    /// How long its leases last: what was in force when it introduced itself, for it renews them
    /// by what it was told then; after a start of the broker what is in force at the start.
    pub(crate) lease: Duration,
    pub(crate) credit: Credit,
    pub(crate) draining: bool,
    /// The number of the last command by which it may have become able to take more.
    pub(crate) eased: u64,
    /// Whether it was welcomed over its present connection.
    pub(crate) welcomed: bool,
    /// Whether its agent was unregistered since it said hello.
    pub(crate) dismissed: bool,
    /// The number that the broker expects next.
    pub(crate) next: u64,
    pub(crate) asked: BTreeMap<u64, Asked>,
    /// Everything that it ever subscribed to for itself.
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) events: Events,
    /// The inboxes of which it was told over its present connection that they fill,
    /// and how full they were then in percent.
    pub(crate) pressed: BTreeMap<InboxAddress, u8>,
    /// What it knows of the directory, while it follows it.
    pub(crate) directory: Option<Directory>,
    /// Whether it has followed the directory over its present connection.
    pub(crate) followed: bool,
    /// The number that each followed task's next event must have; behind it those from which on
    /// it asked for them once more, for what was asked before is told first.
    pub(crate) watches: BTreeMap<MessageId, VecDeque<u64>>,
}

/// An operation that was sent.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent things that were seen of it")]
pub(crate) struct Asked {
    pub(crate) operation: Operation,
    /// How often a copy of it reached the broker.
    pub(crate) copies: u32,
    /// How often it was answered.
    pub(crate) answers: u32,
    /// Whether it was refused, for another reason than a gap in the numbers, in this life.
    pub(crate) refused: bool,
    /// Whether it was confirmed in this life.
    pub(crate) done: bool,
    /// Whether the broker, in its present life, has handled it.
    pub(crate) handled: bool,
    /// What the fence says of it.
    pub(crate) fence: Fence,
    /// What the wall clock showed when it was handled first in this life.
    pub(crate) handled_at: WallTime,
    /// The latest record before the command that it was handled with.
    pub(crate) behind: Sequence,
    /// Whether it may have waited for itself when it was handled.
    pub(crate) blocked: bool,
    /// When it came in its turn last: the command, its place among all that came, and over which
    /// connection.
    pub(crate) arrived: Option<Arrival>,
    /// Whether it has waited outside a full inbox.
    pub(crate) waited: bool,
    /// The record that it led to.
    pub(crate) record: Option<Sequence>,
    /// Whether that record is of an earlier life of the broker.
    pub(crate) recovered: bool,
    /// Whether a copy of it came before its turn.
    pub(crate) early: bool,
}

impl Asked {
    /// One that has just reached the broker for the first time, at a time.
    pub(super) fn new(operation: &Operation, at: WallTime) -> Self {
        Self {
            operation: operation.clone(),
            copies: 0,
            answers: 0,
            refused: false,
            done: false,
            handled: false,
            fence: Fence::Open,
            handled_at: at,
            behind: Sequence(0),
            blocked: false,
            arrived: None,
            waited: false,
            record: None,
            recovered: false,
            early: false,
        }
    }
}

/// When something came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// The number of the command that brought it.
    pub(crate) command: u64,
    /// Its place in the order in which operations came in.
    pub(crate) order: u64,
    pub(crate) connection: u64,
    /// When that was, and how long the broker had been away in all by then.
    pub(crate) at: Moment,
    pub(crate) absent: u64,
    /// How long it may wait outside a full inbox, if that was one to wait for.
    pub(crate) wait: Option<Duration>,
}

/// What must become of something said about a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fence {
    /// It must be done: the token is the latest and the lease runs.
    Good,
    /// It must be refused.
    Stale,
    /// Either: the lease ran out, or the operation is about no delivery.
    Open,
}

/// What a session that follows the directory was told.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) filter: AgentFilter,
    /// Whether news of what it followed before may still be on its way.
    pub(crate) again: bool,
    pub(crate) view: BTreeMap<AgentId, (AgentCard, AgentControl)>,
}

/// The events of a session's own subscriptions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    /// What was sent under each number; nothing under the numbers of what was dropped.
    pub(crate) sent: BTreeMap<u64, Option<MessageId>>,
    pub(crate) acknowledged: u64,
    /// The number that comes next while what was not acknowledged is sent again.
    pub(crate) again: Option<u64>,
}

impl Events {
    /// The highest number so far.
    pub(crate) fn last(&self) -> u64 {
        self.sent.last_key_value().map_or(0, |(&number, _)| number)
    }
}

impl Session {
    /// Notes a subscription that it wants for itself.
    pub(crate) fn note(&mut self, subscription: &Subscription) {
        if !self.subscriptions.contains(subscription) {
            self.subscriptions.push(subscription.clone());
        }
    }

    pub(crate) fn new(id: SessionId) -> Self {
        Self {
            id,
            agent: None,
            connection: None,
            lost_at: None,
            lost_absent: 0,
            back_for: None,
            restarted: false,
            steady: false,
            lease: Duration::ZERO,
            credit: Credit::default(),
            draining: false,
            eased: 0,
            welcomed: false,
            dismissed: false,
            next: 1,
            asked: BTreeMap::new(),
            subscriptions: Vec::new(),
            events: Events::default(),
            pressed: BTreeMap::new(),
            directory: None,
            followed: false,
            watches: BTreeMap::new(),
        }
    }
}
