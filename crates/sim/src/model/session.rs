//! A session as the model sees it: what it has sent, and what it has been told.

use super::Moment;
use std::collections::{BTreeMap, BTreeSet};
use trunkline_types::session::{Credit, Operation};
use trunkline_types::{AgentId, MessageId, Sequence, SessionId, TopicPattern};

/// One session across its connections.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) agent: Option<AgentId>,
    pub(crate) connection: Option<u64>,
    /// When it was lost, or when the broker started without it.
    pub(crate) lost_at: Option<Moment>,
    /// How long the broker had been away in all by then.
    pub(crate) lost_absent: u64,
    /// Whether it has the full lease, because the broker was restarted, to come back.
    pub(crate) restarted: bool,
    /// Whether its agent never stalls and always comes back in time.
    pub(crate) steady: bool,
    pub(crate) credit: Credit,
    pub(crate) draining: bool,
    /// The number that the broker expects next.
    pub(crate) next: u64,
    pub(crate) asked: BTreeMap<u64, Asked>,
    /// Every pattern that it ever subscribed to for itself.
    pub(crate) patterns: BTreeSet<TopicPattern>,
    pub(crate) events: Events,
    /// The number that each followed task's next event must have.
    pub(crate) watches: BTreeMap<MessageId, u64>,
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
    /// The record that it led to.
    pub(crate) record: Option<Sequence>,
    /// Whether that record is of an earlier life of the broker.
    pub(crate) recovered: bool,
    /// Whether a copy of it came before its turn.
    pub(crate) early: bool,
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

/// The events of a session's own subscriptions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    /// What was sent under each number.
    pub(crate) sent: Vec<MessageId>,
    pub(crate) acknowledged: u64,
    /// The number that comes next while what was not acknowledged is sent again.
    pub(crate) again: Option<u64>,
}

impl Session {
    pub(crate) fn new(id: SessionId) -> Self {
        Self {
            id,
            agent: None,
            connection: None,
            lost_at: None,
            lost_absent: 0,
            restarted: false,
            steady: false,
            credit: Credit::default(),
            draining: false,
            next: 1,
            asked: BTreeMap::new(),
            patterns: BTreeSet::new(),
            events: Events::default(),
            watches: BTreeMap::new(),
        }
    }
}
