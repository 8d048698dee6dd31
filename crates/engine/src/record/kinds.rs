//! The kinds of record. Each carries decisions already taken (targets, due times), so that
//! replaying it needs neither clock nor chance.

use super::carried::Carried;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::Subscription;
use trunkline_types::{
    AgentCard, AgentControl, AgentId, ArtifactChunk, AttemptNote, Epoch, InboxAddress,
    InboxSettings, MessageId, PauseReason, Payload, Publish, Schedule, ScheduleName, SessionId,
    TenantId, Token, WallTime,
};

/// Names an inbox entry for good: counted per partition, in order of acceptance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EntryId(pub u64);

/// One decision, as it is written.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// The broker started.
    Boot {
        /// Counts the starts.
        epoch: Epoch,
        /// When.
        at: WallTime,
    },
    /// An agent registered, or changed its card.
    Agent(Box<AgentRecord>),
    /// An agent wants the events of some topics kept for it.
    Subscribed {
        /// Whose agent.
        tenant: TenantId,
        /// Which agent.
        agent: AgentId,
        /// Which topics, and which of their events.
        subscription: Subscription,
    },
    /// An agent wants them no longer.
    Unsubscribed {
        /// Whose agent.
        tenant: TenantId,
        /// Which agent.
        agent: AgentId,
        /// Which topics; the filter is of no account.
        subscription: Subscription,
    },
    /// An envelope was accepted.
    Accepted(Box<AcceptedRecord>),
    /// An entry was delivered under a lease.
    Leased {
        /// Which entry.
        entry: EntryId,
        /// The lease's token.
        token: Token,
        /// To which session.
        session: SessionId,
        /// Of which agent.
        agent: AgentId,
        /// When.
        at: WallTime,
    },
    /// The handler of a leased entry began.
    Begun {
        /// Which entry.
        entry: EntryId,
    },
    /// How long the handler of a leased entry has run, which bounds how long it may still run
    /// after a restart.
    Ran {
        /// Which entry.
        entry: EntryId,
        /// How long, in whole milliseconds; the time in which the broker was away is not in it.
        ran: Duration,
    },
    /// An entry came back to its inbox.
    Returned(Box<ReturnedRecord>),
    /// A task waits for its caller.
    Paused {
        /// Which entry.
        entry: EntryId,
        /// What for.
        reason: PauseReason,
        /// What the caller is told.
        message: Option<Payload>,
        /// When.
        at: WallTime,
    },
    /// The caller of a paused task answered.
    Continued {
        /// Which entry.
        entry: EntryId,
        /// What it said.
        payload: Payload,
        /// Which agent it is, if it is one.
        from: Option<AgentId>,
        /// The session that said so.
        session: SessionId,
        /// The number of its operation.
        operation: u64,
        /// When.
        at: WallTime,
    },
    /// An entry ended.
    Settled {
        /// Which entry.
        entry: EntryId,
        /// How.
        end: End,
        /// When.
        at: WallTime,
    },
    /// A piece of a task's result.
    Artifact {
        /// Which entry.
        entry: EntryId,
        /// The session that said so.
        session: SessionId,
        /// The number of its operation.
        operation: u64,
        /// The piece.
        chunk: ArtifactChunk,
        /// When.
        at: WallTime,
    },
    /// A stop of the broker took ephemeral entries of an inbox.
    Lost {
        /// Whose inbox.
        tenant: TenantId,
        /// Which inbox; `None` for events that waited for their time or for a first subscriber.
        inbox: Option<InboxAddress>,
        /// How many.
        count: u64,
    },
    /// What operators have set about an agent.
    AgentSet {
        /// Whose agent.
        tenant: TenantId,
        /// Which agent.
        agent: AgentId,
        /// All that is set.
        control: AgentControl,
        /// The session that said so.
        session: SessionId,
        /// The number of its operation.
        operation: u64,
        /// When.
        at: WallTime,
    },
    /// An agent was taken out of the directory.
    AgentGone {
        /// Whose agent.
        tenant: TenantId,
        /// Which agent.
        agent: AgentId,
        /// The session that said so.
        session: SessionId,
        /// The number of its operation.
        operation: u64,
        /// When.
        at: WallTime,
    },
    /// How an inbox is run.
    InboxSet {
        /// Whose inbox.
        tenant: TenantId,
        /// Which inbox.
        inbox: InboxAddress,
        /// All that is set.
        settings: Box<InboxSettings>,
        /// The session that said so.
        session: SessionId,
        /// The number of its operation.
        operation: u64,
        /// When.
        at: WallTime,
    },
    /// A schedule was set.
    Scheduled(Box<ScheduledRecord>),
    /// A schedule was removed.
    Unscheduled {
        /// Whose.
        tenant: TenantId,
        /// Which.
        name: ScheduleName,
        /// The session that said so.
        session: SessionId,
        /// The number of its operation.
        operation: u64,
        /// When.
        at: WallTime,
    },
    /// A schedule was due and made a message.
    Fired {
        /// Which schedule.
        name: ScheduleName,
        /// When it was due.
        due: WallTime,
        /// When it is due next.
        next: Option<WallTime>,
        /// The message; it names no inboxes if it is ephemeral, for then its entries are not kept.
        accepted: Box<AcceptedRecord>,
    },
    /// A dead letter was sent again.
    Redriven {
        /// Which dead letter.
        letter: MessageId,
        /// The inbox it was in.
        inbox: InboxAddress,
        /// The new message.
        accepted: Box<AcceptedRecord>,
    },
    /// A dead letter was deleted on request.
    Purged {
        /// Whose.
        tenant: TenantId,
        /// Which dead letter.
        letter: MessageId,
        /// The inbox it was in.
        inbox: InboxAddress,
        /// The session that said so.
        session: SessionId,
        /// The number of its operation.
        operation: u64,
        /// When.
        at: WallTime,
    },
    /// An event that waited for its time or for its first subscriber went to inboxes; it has then
    /// left where it waited.
    Routed {
        /// The entry that waited.
        entry: EntryId,
        /// The first of as many consecutive entries as there are inboxes.
        first_entry: EntryId,
        /// Where it went.
        inboxes: Vec<InboxAddress>,
        /// When.
        at: WallTime,
    },
    /// What is known of a thing, said again so that older records may go.
    Carried(Box<Carried>),
}

/// A schedule was set.
#[derive(Clone, PartialEq, Debug)]
pub struct ScheduledRecord {
    /// Whose.
    pub tenant: TenantId,
    /// The subject of the principal that set it.
    pub owner: String,
    /// What was asked for.
    pub schedule: Schedule,
    /// When it is due next.
    pub next: Option<WallTime>,
    /// The session that said so.
    pub session: SessionId,
    /// The number of its operation.
    pub operation: u64,
    /// When it was set.
    pub at: WallTime,
}

/// An agent registered, or changed its card.
#[derive(Clone, PartialEq, Debug)]
pub struct AgentRecord {
    /// Whose agent.
    pub tenant: TenantId,
    /// The subject of the principal that owns the id.
    pub owner: String,
    /// What it says of itself.
    pub card: AgentCard,
    /// When.
    pub at: WallTime,
}

impl AgentRecord {
    /// Whether its card has schemas, for which its kinds of record have tags of their own.
    pub(super) const fn has_schemas(&self) -> bool {
        !self.card.schemas.is_empty()
    }
}

/// An envelope was accepted.
#[derive(Clone, PartialEq, Debug)]
pub struct AcceptedRecord {
    /// What was sent.
    pub publish: Arc<Publish>,
    /// The session that sent it.
    pub session: SessionId,
    /// The number of its operation.
    pub operation: u64,
    /// When; times to live count from here.
    pub at: WallTime,
    /// The first of as many consecutive entries as there are inboxes.
    pub first_entry: EntryId,
    /// Where it went.
    pub inboxes: Vec<InboxAddress>,
    /// Whether it went nowhere yet: an event that waits, as one entry, for its time or for its
    /// first subscriber.
    pub pending: bool,
}

/// An entry came back to its inbox.
#[derive(Clone, PartialEq, Debug)]
pub struct ReturnedRecord {
    /// Which entry.
    pub entry: EntryId,
    /// How many attempts count from now on.
    pub attempts: u32,
    /// How often it was lost before its handler began.
    pub losses: u32,
    /// When it is due again.
    pub due: WallTime,
    /// Whether the last token is still good until a newer one is granted: the lease ran out or
    /// the session was lost. Otherwise its holder gave the entry back.
    pub token_stays: bool,
    /// Whether its last holder was told to stop, so that it does not get the entry back by coming
    /// back although the token is good.
    pub called_off: bool,
    /// What became of the attempt, if it was one.
    pub note: Option<AttemptNote>,
    /// When.
    pub at: WallTime,
}

/// How an entry ended.
#[derive(Clone, PartialEq, Debug)]
pub enum End {
    /// Done.
    Completed {
        /// The answer.
        reply: Option<Payload>,
    },
    /// Failed for good.
    Failed {
        /// Why.
        reason: String,
    },
    /// Declined.
    Rejected {
        /// Why.
        reason: String,
    },
    /// Its time to live ended.
    Expired,
    /// Called off.
    Canceled {
        /// Why.
        reason: String,
    },
    /// It became a dead letter.
    DeadLettered {
        /// Why.
        reason: String,
        /// The last attempt, if it was one.
        note: Option<AttemptNote>,
    },
    /// It was dropped to make room for a newer event.
    Dropped,
}

impl Record {
    /// The fixed number by which the log knows the kind.
    pub const fn tag(&self) -> u8 {
        match self {
            Self::Boot { .. } => 1,
            Self::Agent(record) if record.has_schemas() => 25,
            Self::Agent(_) => 2,
            Self::Subscribed { .. } => 3,
            Self::Unsubscribed { .. } => 4,
            Self::Accepted(_) => 5,
            Self::Leased { .. } => 6,
            Self::Begun { .. } => 7,
            Self::Returned(_) => 8,
            Self::Paused { .. } => 9,
            Self::Continued { .. } => 10,
            Self::Settled { .. } => 11,
            Self::Artifact { .. } => 12,
            Self::Lost { .. } => 13,
            Self::AgentSet { .. } => 14,
            Self::AgentGone { .. } => 15,
            Self::InboxSet { settings, .. } if settings.ttl.is_some() => 24,
            Self::InboxSet { .. } => 16,
            Self::Scheduled(_) => 17,
            Self::Unscheduled { .. } => 18,
            Self::Fired { .. } => 19,
            Self::Redriven { .. } => 20,
            Self::Purged { .. } => 21,
            Self::Routed { .. } => 22,
            Self::Ran { .. } => 23,
            Self::Carried(record) => record.tag(),
        }
    }

    /// What was published, if it tells of one thing that was.
    pub fn into_publish(self) -> Option<Arc<Publish>> {
        match self {
            Self::Accepted(accepted)
            | Self::Fired { accepted, .. }
            | Self::Redriven { accepted, .. } => Some(accepted.publish),
            Self::Carried(carried) => match *carried {
                Carried::Entry(entry) => Some(entry.publish),
                Carried::Ended(task) => Some(task.publish),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it only says again what older records have told.
    pub const fn is_carried(&self) -> bool {
        matches!(self, Self::Carried(_))
    }
}
