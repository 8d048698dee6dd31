//! An inbox entry: one envelope for one recipient, and everything known of it.

use super::list::Link;
use crate::now::Mono;
use crate::record::EntryId;
use crate::table::{AgentKey, GatherKey, InboxKey, SessionKey, TaskKey};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::NumberRange;
use trunkline_types::{
    AttemptNote, Durability, Payload, Publish, Sequence, SessionId, Token, WallTime,
};

/// One envelope for one recipient.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) publish: Arc<Publish>,
    pub(crate) inbox: InboxKey,
    pub(crate) place: Place,
    /// Its number in the order in which its inbox took envelopes in since the broker started.
    pub(crate) number: u64,
    /// The durability in force, which without a log is always ephemeral.
    pub(crate) durability: Durability,
    /// Attempts that count.
    pub(crate) attempts: u32,
    /// Deliveries, whether they count as attempts or not.
    pub(crate) deliveries: u32,
    /// Deliveries lost with their session before the handler began.
    pub(crate) losses: u32,
    /// Whether it was in its inbox before: it then goes before those that never left it.
    pub(crate) returned: bool,
    /// Whether it was continued and not delivered since: it then does not hold its key.
    pub(crate) rejoined: bool,
    /// Whether its payload was out and came back while it lies in its lane.
    pub(crate) back: bool,
    /// The oldest record that a replay needs to rebuild it. It tells of the payload too.
    pub(crate) base: Sequence,
    pub(crate) accepted_at: WallTime,
    pub(crate) expires_at: Option<WallTime>,
    /// Not to be delivered before.
    pub(crate) due: WallTime,
    /// When its timer is set for, in wall time.
    pub(crate) timer: Option<u64>,
    /// The latest lease, as long as its token is good. It may have run out.
    pub(crate) lease: Option<Lease>,
    /// Neighbours in a lane while ready, in the session's list of leases while leased.
    pub(crate) link: Link,
    pub(crate) task: Option<TaskKey>,
    /// The gathering that its end is told to.
    pub(crate) gather: Option<GatherKey>,
    /// The session that sent it, to which a reply goes.
    pub(crate) sender: SessionId,
    /// What few entries have. Boxed because most have none of it.
    pub(crate) past: Option<Box<Past>>,
}

/// What an entry gathers that is not simply delivered and settled.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// What became of the attempts that did not succeed.
    pub(crate) notes: Vec<AttemptNote>,
    /// What its caller said after it was paused.
    pub(crate) messages: Vec<Payload>,
    /// Which numbers of its inbox its holder was told of as missed, until that has said anything
    /// about the delivery.
    pub(crate) missed: Vec<NumberRange>,
}

/// A lease and its token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) token: Token,
    pub(crate) agent: AgentKey,
    pub(crate) session: SessionId,
    /// The session's row; only valid while the entry is leased.
    pub(crate) holder: SessionKey,
    /// When it runs out, in the engine's own time.
    pub(crate) deadline: Mono,
    /// Whether the handler has begun.
    pub(crate) begun: bool,
    /// Until when the handler may run, in the engine's own time, if that is bounded.
    pub(crate) run_until: Option<Mono>,
    /// When its timer goes off: then, or before that to note how long it has run.
    pub(crate) run_timer: Option<Mono>,
    /// How long the handler has run as far as that was noted, in whole milliseconds; a restart
    /// goes on from there.
    pub(crate) ran: Duration,
    /// Whether its holder was told to stop, because it ran too long.
    pub(crate) called_off: bool,
    /// The round of its circuit breaker's probes that it is one of; 0 for none.
    pub(crate) probe: u32,
}

/// Where an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Place {
    /// Its last record is not yet as durable as promised.
    Staged = 0,
    /// Not due yet.
    Delayed = 1,
    /// Behind another entry with the same ordering key.
    Blocked = 2,
    /// In a lane.
    Ready = 3,
    /// Waits for its caller.
    Paused = 4,
    /// Held by a session.
    Leased = 5,
}

impl Place {
    pub(crate) const COUNT: usize = 6;
}

impl Entry {
    pub(crate) fn is_logged(&self) -> bool {
        self.durability.is_logged()
    }

    /// Whether it is in flight, or was and waits for another attempt: it then holds its ordering
    /// key.
    pub(crate) fn holds_key(&self) -> bool {
        self.place == Place::Leased || (self.returned && !self.rejoined)
    }

    /// What became of the attempts that did not succeed.
    pub(crate) fn notes(&self) -> &[AttemptNote] {
        self.past.as_ref().map_or(&[], |past| &past.notes)
    }

    /// What its caller said after it was paused.
    pub(crate) fn messages(&self) -> &[Payload] {
        self.past.as_ref().map_or(&[], |past| &past.messages)
    }

    /// Adds what became of an attempt that did not succeed, if there is anything to add.
    pub(crate) fn add_note(&mut self, note: Option<AttemptNote>) {
        if let Some(note) = note {
            self.past.get_or_insert_default().notes.push(note);
        }
    }

    pub(crate) fn max_attempts(&self) -> u32 {
        self.publish.attempts()
    }

    pub(crate) fn size(&self) -> u64 {
        self.publish.envelope.payload.data.len() as u64
    }

    /// When its timer should go off: at the end of its time to live, or when it is due.
    pub(crate) fn wake_at(&self) -> Option<u64> {
        let due = (self.place == Place::Delayed).then_some(self.due.0);
        let expires = self.expires_at.map(|at| at.0);
        match (due, expires) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}
