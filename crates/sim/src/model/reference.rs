//! The model itself: what it holds between observations.

use super::{Book, Fact, Moment, Rules, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use trunkline_types::{
    Durability, InboxAddress, MessageId, Publish, Sequence, SessionId, TaskEvent, Token,
};

/// What the broker is handling while it makes records.
#[derive(Clone, Debug, Default)]
pub(crate) enum Cause {
    /// Its own start, the log's progress, or something that concerns no session.
    #[default]
    Other,
    /// These operations of a session, each for the first time.
    Frame { session: SessionId, handled: Vec<u64> },
    /// A session introduces itself.
    Hello,
    /// A goodbye.
    Goodbye(SessionId),
    /// The passing of time.
    Tick,
}

/// A delivery that was made.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) id: MessageId,
    pub(crate) inbox: InboxAddress,
    pub(crate) session: SessionId,
    pub(crate) connection: Option<u64>,
    /// The number of the entry if it is logged.
    pub(crate) entry: Option<u64>,
    /// When the lease began to run, was last renewed, or began anew with the broker.
    pub(crate) renewed: u64,
    /// How long the broker had been away in all by then.
    pub(crate) absent: u64,
    /// When it may have been renewed last.
    pub(crate) touched: u64,
    /// Whether something final was said about it.
    pub(crate) settled: bool,
}

/// An ephemeral entry, of which no record tells.
#[derive(Clone, Debug)]
pub(crate) struct Fleeting {
    pub(crate) publish: Arc<Publish>,
    pub(crate) order: u64,
    pub(crate) accepted: bool,
    pub(crate) over: bool,
    pub(crate) latest: Option<Token>,
}

/// What was told of a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) events: BTreeMap<u64, TaskEvent>,
}

/// The reference model.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) rules: Rules,
    pub(crate) now: Moment,
    pub(crate) book: Book,
    /// Every fact so far that no crash has taken back.
    pub(crate) journal: Vec<(Sequence, Fact)>,
    /// What the broker has been told of the log.
    pub(crate) written: Sequence,
    pub(crate) synced: Sequence,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) connections: BTreeMap<u64, SessionId>,
    pub(crate) cause: Cause,
    pub(crate) granted: BTreeMap<Token, Grant>,
    pub(crate) fleeting: BTreeMap<(MessageId, InboxAddress), Fleeting>,
    pub(crate) arrivals: u64,
    /// Everything that was ever sent.
    pub(crate) published: BTreeMap<MessageId, Arc<Publish>>,
    pub(crate) told: BTreeMap<MessageId, Told>,
    /// Tasks of which everything told was durable, so that no crash may change it.
    pub(crate) lasting: BTreeSet<MessageId>,
    /// Replies that connected requesters are owed.
    pub(crate) replies: BTreeSet<(SessionId, MessageId)>,
    /// Cancels that connected holders are owed.
    pub(crate) cancels: BTreeSet<(SessionId, Token)>,
    /// How long the broker was away in all, in nanoseconds, where that was long enough to tell.
    pub(crate) absent: u64,
    /// Whether the wall clock was ever set.
    pub(crate) jumped: bool,
    /// Whether the broker knows of room on the disk.
    pub(crate) ample: bool,
    /// Whether the broker was ever told that there is none.
    pub(crate) was_full: bool,
}

impl Model {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            now: Moment::default(),
            book: Book::default(),
            journal: Vec::new(),
            written: Sequence(0),
            synced: Sequence(0),
            sessions: BTreeMap::new(),
            connections: BTreeMap::new(),
            cause: Cause::Other,
            granted: BTreeMap::new(),
            fleeting: BTreeMap::new(),
            arrivals: 0,
            published: BTreeMap::new(),
            told: BTreeMap::new(),
            lasting: BTreeSet::new(),
            replies: BTreeSet::new(),
            cancels: BTreeSet::new(),
            absent: 0,
            jumped: false,
            ample: true,
            was_full: false,
        }
    }

    /// Whether a record is as durable as a level promises.
    pub(crate) fn reached(&self, at: Sequence, level: Durability) -> bool {
        match level {
            Durability::Ephemeral => true,
            Durability::Buffered => at <= self.written,
            Durability::Synced => at <= self.synced,
        }
    }

    /// The session behind a connection, if it is the session's present one.
    pub(crate) fn session_on(&self, connection: u64) -> Option<&Session> {
        let session = self.sessions.get(self.connections.get(&connection)?)?;
        (session.connection == Some(connection)).then_some(session)
    }

    /// How much of a lease has run since it was renewed, not counting the broker's absence.
    pub(crate) fn elapsed(&self, since: u64, absent: u64) -> u64 {
        self.now.mono.saturating_sub(since).saturating_sub(self.absent - absent)
    }
}
