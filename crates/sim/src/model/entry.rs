//! An inbox entry as the records tell of it.

use super::{Ending, Moment, nanos};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::{
    Destination, Durability, InboxAddress, MessageId, Priority, Publish, Sequence, SessionId,
    Token, WallTime,
};

/// Where an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Waiting,
    Leased,
    Paused,
    Ended,
}

/// One envelope for one inbox.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) publish: Arc<Publish>,
    pub(crate) inbox: InboxAddress,
    pub(crate) sender: SessionId,
    pub(crate) accepted_at: WallTime,
    /// The record that accepted it.
    pub(crate) accepted: Sequence,
    /// The latest record about it.
    pub(crate) latest: Sequence,
    /// The record that has its payload: of its acceptance, or in which it was last said again.
    pub(crate) base: Sequence,
    /// The one before. A crash may have taken the end of what was said again, which then was not.
    pub(crate) older: Option<Sequence>,
    /// Bytes of the reasons that were given when it came back.
    pub(crate) said: u64,
    pub(crate) place: Place,
    pub(crate) attempts: u32,
    pub(crate) losses: u32,
    /// Not to be delivered before, unless it waits for a delay.
    pub(crate) due: WallTime,
    /// The delay that it waits for, or waited for last.
    pub(crate) delay: Option<Duration>,
    /// When that is over, on the clock that never goes back.
    pub(crate) over: u64,
    /// Whether it waits, or waited last, for a time.
    pub(crate) delayed: bool,
    /// The latest token, if it is still good.
    pub(crate) token: Option<Token>,
    /// The latest token, good or not.
    pub(crate) last_token: Option<Token>,
    pub(crate) holder: Option<SessionId>,
    pub(crate) begun: bool,
    /// How long its present or last handler has run, as far as records tell.
    pub(crate) ran: Duration,
    /// Whether its last holder was told to stop.
    pub(crate) called_off: bool,
    /// Whether it ever waited for its caller.
    pub(crate) was_paused: bool,
    /// How often it was delivered.
    pub(crate) leases: u32,
    pub(crate) end: Option<Ending>,
}

impl Entry {
    pub(crate) fn id(&self) -> MessageId {
        self.publish.envelope.id
    }

    pub(crate) fn priority(&self) -> Priority {
        self.publish.envelope.priority
    }

    pub(crate) fn durability(&self) -> Durability {
        self.publish.durability()
    }

    /// Whether it may not be delivered yet.
    pub(crate) fn waits(&self, now: Moment) -> bool {
        self.delay.map_or(self.due > now.wall, |_| self.over > now.mono)
    }

    /// Its delay begins, or goes on after a restart: for what is left of it by the wall, but for
    /// no longer than all of it.
    pub(crate) fn begin_delay(&mut self, now: Moment) {
        if let Some(delay) = self.delay {
            self.over = now.mono + nanos(self.due.since(now.wall).min(delay));
        }
    }

    pub(crate) fn expires_at(&self) -> Option<WallTime> {
        self.publish.envelope.ttl.map(|ttl| self.accepted_at.after(ttl))
    }

    /// Bytes of its payload.
    pub(crate) fn size(&self) -> u64 {
        self.publish.envelope.payload.data.len() as u64
    }

    /// Whether its payload may leave memory: it is logged, and no other entry has the same.
    pub(crate) fn may_leave(&self) -> bool {
        let to = &self.publish.envelope.destination;
        let alone = matches!(to, Destination::Agent(_) | Destination::Skill(_));
        alone && self.durability().is_logged() && self.size() > 0
    }

    pub(crate) fn is_open(&self) -> bool {
        self.place != Place::Ended
    }
}

/// An envelope that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Sequence,
    pub(crate) publish: Arc<Publish>,
    pub(crate) entries: Vec<u64>,
}
