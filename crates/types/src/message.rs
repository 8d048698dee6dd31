//! Messages as they stand, whatever their kind.

use crate::kind::{UnknownWord, words};
use crate::{AgentId, Destination, InboxAddress, Kind, MessageId, WallTime};
use std::fmt;
use std::str::FromStr;

words!(
    /// Where one copy of a message is, or how it ended.
    CopyState, "copy state",
    "staged, delayed, waiting, parked, paused, leased, completed, failed, rejected, expired, \
     canceled, dead-lettered, dropped",
    {
        /// Accepted, not yet as durable as promised.
        Staged = 1 "staged",
        /// Not due yet.
        Delayed = 2 "delayed",
        /// Waits for a session with credit, or behind its ordering key.
        Waiting = 3 "waiting",
        /// Waits while nobody serves its inbox.
        Parked = 4 "parked",
        /// Waits for its caller.
        Paused = 5 "paused",
        /// Held by a session.
        Leased = 6 "leased",
        /// Done.
        Completed = 7 "completed",
        /// Done and failed.
        Failed = 8 "failed",
        /// Declined.
        Rejected = 9 "rejected",
        /// Its time to live ended.
        Expired = 10 "expired",
        /// Called off.
        Canceled = 11 "canceled",
        /// It became a dead letter.
        DeadLettered = 12 "dead-lettered",
        /// Dropped by rule.
        Dropped = 13 "dropped",
    }
);

impl CopyState {
    /// Whether the copy has left its inbox.
    pub const fn is_ended(self) -> bool {
        self.number() >= Self::Completed.number()
    }
}

/// A message as it stands. What went to the subscriptions of sessions is not among its copies:
/// it is delivered or missed, and the subscriber is told. An event that waits for its time or for
/// a first subscriber is one copy in no inbox; once it is routed, its copies are those that its
/// recipients got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageStatus {
    /// Which message.
    pub id: MessageId,
    /// What it is; `None` if a broker does not say.
    pub kind: Option<Kind>,
    /// Where it was sent; `None` if every copy has ended and only that is remembered.
    pub destination: Option<Destination>,
    /// When it was accepted; `None` if a broker does not say.
    pub accepted_at: Option<WallTime>,
    /// Its copies, one for each inbox it went to.
    pub copies: Vec<CopyStatus>,
}

/// One copy of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyStatus {
    /// In which inbox; `None` for an event that waits, or waited until its end, for its time or for
    /// a first subscriber.
    pub inbox: Option<InboxAddress>,
    /// Where it is, or how it ended.
    pub state: CopyState,
    /// How many attempts count.
    pub attempts: u32,
    /// The agent that holds it.
    pub agent: Option<AgentId>,
}
