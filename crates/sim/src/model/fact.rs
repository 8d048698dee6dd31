//! Facts: what a record says, in the model's own words.

use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::Subscription;
use trunkline_types::{
    AgentCard, AgentControl, AgentId, Epoch, InboxAddress, InboxSettings, MessageId, Payload,
    Publish, Schedule, ScheduleName, SessionId, Token, WallTime,
};

/// What one record says. Entries are named by the numbers that the records use.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    Boot {
        epoch: Epoch,
    },
    Agent(Box<AgentCard>),
    Subscribed {
        agent: AgentId,
        subscription: Subscription,
    },
    Unsubscribed {
        agent: AgentId,
        subscription: Subscription,
    },
    Accepted(Box<AcceptedFact>),
    Leased {
        entry: u64,
        token: Token,
        session: SessionId,
    },
    Begun {
        entry: u64,
    },
    /// So long the handler has run, without the broker's absence.
    Ran {
        entry: u64,
        ran: Duration,
    },
    Returned(ReturnedFact),
    Paused {
        entry: u64,
    },
    Continued {
        entry: u64,
        session: SessionId,
        operation: u64,
    },
    Ended {
        entry: u64,
        how: Ending,
        /// Bytes of the reasons that it gives.
        said: u64,
    },
    Artifact {
        session: SessionId,
        operation: u64,
    },
    Lost,
    /// Something that was told is said again; which entry, if it is one.
    Carried {
        entry: Option<u64>,
    },
    AgentSet {
        agent: AgentId,
        control: AgentControl,
        session: SessionId,
        operation: u64,
    },
    AgentGone {
        agent: AgentId,
        session: SessionId,
        operation: u64,
    },
    InboxSet {
        inbox: InboxAddress,
        settings: Box<InboxSettings>,
        session: SessionId,
        operation: u64,
    },
    Scheduled {
        schedule: Box<Schedule>,
        next: Option<WallTime>,
        session: SessionId,
        operation: u64,
    },
    Unscheduled {
        name: ScheduleName,
        session: SessionId,
        operation: u64,
    },
    Fired {
        name: ScheduleName,
        due: WallTime,
        next: Option<WallTime>,
        accepted: Box<AcceptedFact>,
    },
    Redriven {
        letter: MessageId,
        inbox: InboxAddress,
        accepted: Box<AcceptedFact>,
    },
    Purged {
        letter: MessageId,
        inbox: InboxAddress,
        session: SessionId,
        operation: u64,
    },
    Routed {
        entry: u64,
        first_entry: u64,
        inboxes: Vec<InboxAddress>,
    },
    /// What the record says is the business of another tenant.
    Elsewhere,
}

/// An envelope was accepted.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedFact {
    pub(crate) publish: Arc<Publish>,
    pub(crate) session: SessionId,
    pub(crate) operation: u64,
    pub(crate) at: WallTime,
    /// The first of as many consecutive entries as there are inboxes.
    pub(crate) first_entry: u64,
    pub(crate) inboxes: Vec<InboxAddress>,
    /// Whether it is one entry that waits for its time or for a first subscriber.
    pub(crate) pending: bool,
}

/// An entry went back to its inbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReturnedFact {
    pub(crate) entry: u64,
    pub(crate) attempts: u32,
    pub(crate) losses: u32,
    pub(crate) due: WallTime,
    /// When it went back.
    pub(crate) at: WallTime,
    pub(crate) token_stays: bool,
    /// Whether its holder was told to stop, and does not get it back by coming back.
    pub(crate) called_off: bool,
    /// Bytes of the reason that it gives.
    pub(crate) said: u64,
}

/// How an entry ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    Completed(Option<Payload>),
    Failed,
    Rejected,
    Expired,
    Canceled,
    DeadLettered,
    Dropped,
}
