//! What cleaning says again: each record holds all that is known of one thing, so that the older
//! records that tell of it may go. Replaying one replaces what is known of the thing, or makes it.
//!
//! A thing whose texts and payloads might not fit into one record is followed at once by
//! [`Carried::Parts`], which add to it.

use super::kinds::{AgentRecord, EntryId};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::Subscription;
use trunkline_types::{
    AgentControl, AgentId, AttemptNote, CopyState, Counters, Epoch, IdempotencyKey, InboxAddress,
    InboxSettings, MessageId, Payload, Publish, Schedule, Sequence, SessionId, TaskEvent,
    TaskState, TenantId, Token, WallTime,
};

use crate::key_index::KeyRow;

/// One thing, said again.
#[derive(Clone, PartialEq, Debug)]
pub enum Carried {
    /// An inbox entry.
    Entry(CarriedEntry),
    /// A task that has ended.
    Ended(CarriedEnded),
    /// More of the entry, task or letter that was said before.
    Parts {
        /// Of which thing.
        of: PartOf,
        /// In order.
        parts: Vec<Part>,
    },
    /// A dead letter.
    Letter(CarriedLetter),
    /// An agent; its subscriptions follow.
    Agent {
        /// Its registration.
        record: AgentRecord,
        /// What operators have set about it.
        control: AgentControl,
        /// How many subscriptions follow, at once.
        subscriptions: u32,
    },
    /// A subscription of an agent.
    Subscribed {
        /// Whose agent.
        tenant: TenantId,
        /// Which agent.
        agent: AgentId,
        /// Which topics, and which of their events.
        subscription: Subscription,
    },
    /// How an inbox is run, and what happened in it so far.
    Inbox {
        /// Whose inbox.
        tenant: TenantId,
        /// Which inbox; `None` for events that wait for their time or for a first subscriber.
        inbox: Option<InboxAddress>,
        /// All that is set.
        settings: Box<InboxSettings>,
        /// What records have told of it.
        counters: Counters,
    },
    /// What is counted of a tenant.
    Tenant {
        /// Which tenant.
        tenant: TenantId,
        /// What records have told of it.
        tally: CarriedTally,
        /// How many idempotency keys expire by the latest at which times.
        keys: Vec<(WallTime, u64)>,
    },
    /// A schedule.
    Schedule(CarriedSchedule),
    /// The operations of a session that records have told of.
    Window {
        /// Which session.
        session: SessionId,
        /// The numbers of its operations, as ranges in ascending order.
        ranges: Vec<(u64, u64)>,
        /// When it was heard of last.
        at: WallTime,
    },
    /// An idempotency key that the index does not have.
    Key {
        /// Whose.
        tenant: TenantId,
        /// Which.
        key: IdempotencyKey,
        /// What was accepted under it.
        row: KeyRow,
    },
    /// Tokens that their holders used up before the broker started.
    Tokens(Vec<CarriedToken>),
    /// All things have been said again that were there when this sweep began; the figures follow.
    Marks(CarriedMarks),
}

/// An inbox entry.
#[derive(Clone, PartialEq, Debug)]
pub struct CarriedEntry {
    /// Which.
    pub entry: EntryId,
    /// Its inbox; `None` if it waits for its time or for a first subscriber.
    pub inbox: Option<InboxAddress>,
    /// What was sent.
    pub publish: Arc<Publish>,
    /// The session that sent it.
    pub session: SessionId,
    /// When it was accepted.
    pub accepted_at: WallTime,
    /// Attempts that count.
    pub attempts: u32,
    /// Deliveries.
    pub deliveries: u32,
    /// Deliveries lost before the handler began.
    pub losses: u32,
    /// When it is due.
    pub due: WallTime,
    /// Whether it was in its inbox before.
    pub returned: bool,
    /// Whether it was continued and not delivered since.
    pub rejoined: bool,
    /// Whether it waits for its caller.
    pub paused: bool,
    /// Its latest lease, as long as the token is good.
    pub lease: Option<CarriedLease>,
    /// The task that it is.
    pub task: Option<CarriedTask>,
    /// How many parts follow, at once. Without all of them nothing was said.
    pub parts: u32,
}

/// A lease whose token is good.
#[derive(Clone, PartialEq, Debug)]
pub struct CarriedLease {
    /// Its token.
    pub token: Token,
    /// The session that got it.
    pub session: SessionId,
    /// That session's agent.
    pub agent: AgentId,
    /// Whether the handler has begun.
    pub begun: bool,
    /// Whether the holder was told to stop.
    pub called_off: bool,
    /// How long the handler has run as far as that was noted, in whole milliseconds.
    pub ran: Duration,
    /// Whether it is held, and has not run out.
    pub held: bool,
}

/// What a task is besides its entry. Its notes, events and result follow as parts.
#[derive(Clone, PartialEq, Debug)]
pub struct CarriedTask {
    /// Its state.
    pub state: TaskState,
    /// Why, where there is a reason.
    pub reason: Option<String>,
    /// Who had it last.
    pub agent: Option<AgentId>,
    /// How often it was delivered.
    pub deliveries: u32,
    /// The number of its latest event.
    pub last_event: u64,
    /// When it was accepted.
    pub created_at: WallTime,
    /// When its state changed last.
    pub updated_at: WallTime,
}

/// A task that has ended.
#[derive(Clone, PartialEq, Debug)]
pub struct CarriedEnded {
    /// What was sent.
    pub publish: Arc<Publish>,
    /// What it is.
    pub task: CarriedTask,
    /// In which inbox it ended, and how; `None` for that if it has no address.
    pub ended: Option<(InboxAddress, CopyState)>,
    /// The place of the record that ended it: ended tasks are forgotten in that order.
    pub place: Sequence,
    /// How many parts follow, at once. Without all of them nothing was said.
    pub parts: u32,
}

/// A dead letter. The notes of its attempts follow as parts.
#[derive(Clone, PartialEq, Debug)]
pub struct CarriedLetter {
    /// What was sent.
    pub publish: Arc<Publish>,
    /// Where it died.
    pub inbox: InboxAddress,
    /// Why.
    pub reason: String,
    /// When.
    pub at: WallTime,
    /// When it was accepted.
    pub accepted_at: WallTime,
    /// The place of the record by which it died: letters are forgotten in that order.
    pub place: Sequence,
    /// How many parts follow, at once. Without all of them nothing was said.
    pub parts: u32,
}

/// Which thing parts belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartOf {
    /// An entry, and the task that it is.
    Entry(EntryId),
    /// A task that has ended.
    Task(MessageId),
    /// The dead letter that the record at this place made.
    Letter(Sequence),
}

/// A part of a thing.
#[derive(Clone, PartialEq, Debug)]
pub enum Part {
    /// What became of an attempt at an entry or letter.
    Note(AttemptNote),
    /// What the caller said after the entry was paused.
    Message(Payload),
    /// What a task shows of an attempt.
    TaskNote(AttemptNote),
    /// An event of a task.
    Event(TaskEvent),
    /// The result of a task.
    Result(Payload),
}

/// What is counted of a tenant. How much was forgotten is not said: time passes without records,
/// and what has ended and is not kept was forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CarriedTally {
    /// Publishes accepted.
    pub accepted: u64,
    /// Tasks completed.
    pub completed: u64,
    /// Tasks failed.
    pub failed: u64,
    /// Tasks cancelled or rejected.
    pub canceled: u64,
    /// Dead letters sent again.
    pub redriven: u64,
    /// Dead letters deleted.
    pub purged: u64,
    /// Messages made by schedules.
    pub scheduled: u64,
}

impl CarriedTally {
    /// The sum of all, which changes whenever one of them does.
    pub(crate) fn sum(&self) -> u64 {
        let Self { accepted, completed, failed, canceled, redriven, purged, scheduled } = self;
        let ended = [completed, failed, canceled];
        [accepted, redriven, purged, scheduled]
            .into_iter()
            .chain(ended)
            .fold(0, |sum, count| sum.wrapping_add(*count))
    }
}

/// A schedule and what it has made.
#[derive(Clone, PartialEq, Debug)]
pub struct CarriedSchedule {
    /// Whose.
    pub tenant: TenantId,
    /// The subject of the principal that set it.
    pub owner: String,
    /// What was asked for.
    pub schedule: Schedule,
    /// When it is due next.
    pub next: Option<WallTime>,
    /// How often it was due.
    pub fired: u64,
    /// Its latest message, and when that was due.
    pub last: Option<(MessageId, WallTime)>,
}

/// A token that was used up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CarriedToken {
    /// Whose agent.
    pub tenant: TenantId,
    /// The agent that used it.
    pub agent: AgentId,
    /// Which.
    pub token: Token,
    /// For what: 1 completed, 2 failed, 3 rejected, 4 dead-lettered, 5 given back, 6 paused.
    pub used: u8,
}

/// What else a replay must know that starts in the middle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CarriedMarks {
    /// How often the broker has been started.
    pub epoch: Epoch,
    /// When it was started for the first time, which tells this log from others.
    pub born: WallTime,
    /// The next entry's id.
    pub next_entry: EntryId,
    /// Of the ended tasks in the log, those that ended before this are forgotten.
    pub oldest_task: Sequence,
    /// Of the dead letters in the log, those that died before this are gone.
    pub oldest_letter: Sequence,
}

impl Carried {
    /// The fixed number by which the log knows the kind. Those below 64 are of decisions.
    pub(super) const fn tag(&self) -> u8 {
        match self {
            Self::Entry(_) => 64,
            Self::Ended(_) => 65,
            Self::Parts { .. } => 66,
            Self::Letter(_) => 67,
            Self::Agent { record, .. } if record.has_schemas() => 78,
            Self::Agent { .. } => 68,
            Self::Subscribed { .. } => 69,
            Self::Inbox { settings, .. } if settings.ttl.is_some() => 77,
            Self::Inbox { .. } => 70,
            Self::Tenant { .. } => 71,
            Self::Schedule(_) => 72,
            Self::Window { .. } => 73,
            Self::Key { .. } => 74,
            Self::Tokens(_) => 75,
            Self::Marks(_) => 76,
        }
    }
}
