//! An inbox entry: one envelope for one recipient, and everything known of it.

use super::list::Link;
use crate::now::{Mono, Now};
use crate::record::EntryId;
use crate::spill::{Body, SentRef, size_of_payload};
use crate::table::{AgentKey, GatherKey, InboxKey, LeaseKey, Maybe, SessionKey, TaskKey};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::NumberRange;
use trunkline_types::{
    AttemptNote, Durability, MessageId, Payload, Priority, Publish, Sequence, SessionId, Token,
    WallTime,
};

/// One envelope for one recipient. There may be millions that wait, so that what few have lies
/// elsewhere.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) message: MessageId,
    pub(crate) body: Body,
    /// Bytes of its payload.
    pub(crate) size: u32,
    /// Its lane.
    pub(crate) priority: Priority,
    /// Whether it has an ordering key.
    pub(crate) ordered: bool,
    /// Whether it is found by its message's id; the only copy of a task is by the table of tasks.
    pub(crate) listed: bool,
    pub(crate) inbox: InboxKey,
    pub(crate) place: Place,
    /// Which time it is staged, around: what was held for an earlier time does not let it go on.
    pub(crate) staging: u8,
    /// Its number in the order in which its inbox took envelopes in since the broker started.
    pub(crate) number: u64,
    /// The durability in force, which without a log is always ephemeral.
    pub(crate) durability: Durability,
    /// Attempts that count.
    pub(crate) attempts: u32,
    /// Deliveries, whether they count as attempts or not.
    pub(crate) deliveries: u32,
    /// Whether it was in its inbox before.
    pub(crate) standing: Standing,
    /// Whether its payload was out and came back while it lies in its lane.
    pub(crate) back: bool,
    /// The oldest record that a replay needs to rebuild it. It tells of the payload too.
    pub(crate) base: Sequence,
    pub(crate) accepted_at: WallTime,
    pub(crate) expires_at: Moment,
    /// When its timer is set for, in wall time.
    pub(crate) timer: Moment,
    /// The latest lease, as long as its token is good. It may have run out.
    pub(crate) lease: Maybe<LeaseKey>,
    /// Neighbours in a lane while ready, in the session's list of leases while leased.
    pub(crate) link: Link,
    pub(crate) task: Maybe<TaskKey>,
    /// The session that sent it, to which a reply goes.
    pub(crate) sender: SessionId,
    /// What few entries have. Boxed because most have none of it.
    pub(crate) past: Option<Box<Past>>,
}

/// What an entry gathers that is not simply delivered and settled.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Deliveries lost with their session before the handler began.
    losses: u32,
    /// Not to be delivered before, as it is recorded. Once the broker runs, this only holds for a
    /// time that its sender named.
    due: WallTime,
    /// The gathering that its end is told to.
    gather: Maybe<GatherKey>,
    /// What became of the attempts that did not succeed.
    pub(crate) notes: Vec<AttemptNote>,
    /// What its caller said after it was paused.
    pub(crate) messages: Vec<Payload>,
    /// When its delay is over, on the monotonic clock. That clock stands at nothing while records
    /// are replayed, so that it then is how long the whole delay is.
    pub(crate) delay_over: Moment,
    /// Which numbers of its inbox its holder was told of as missed, until that has said anything
    /// about the delivery.
    pub(crate) missed: Vec<NumberRange>,
}

/// The due time of what waits for none.
pub(crate) const AT_ONCE: WallTime = WallTime(0);

/// A time that may be missing. Both take eight bytes together, for the last time that there is
/// never comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl Default for Moment {
    fn default() -> Self {
        Self::NONE
    }
}

impl Moment {
    pub(crate) const NONE: Self = Self(u64::MAX);

    pub(crate) fn new(at: Option<u64>) -> Self {
        Self(at.unwrap_or(u64::MAX))
    }

    pub(crate) fn get(self) -> Option<u64> {
        (self != Self::NONE).then_some(self.0)
    }

    /// Whether there is one, and it has come.
    pub(crate) fn is_over(self, now: WallTime) -> bool {
        self.0 <= now.0 && self != Self::NONE
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
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

/// Whether an entry was in its inbox before: it then goes before those that never left it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// It never left it.
    Fresh,
    /// It came back from an attempt, and holds its ordering key while it waits for another.
    Returned,
    /// Its caller continued it and it was not lost since; it does not hold its key while it waits.
    Rejoined,
}

impl Standing {
    /// What is recorded of it: whether it came back, and whether that was its caller's doing.
    pub(crate) fn recorded(returned: bool, rejoined: bool) -> Self {
        match (returned, rejoined) {
            (_, true) => Self::Rejoined,
            (true, false) => Self::Returned,
            (false, false) => Self::Fresh,
        }
    }
}

impl Place {
    pub(crate) const COUNT: usize = 6;
}

impl Entry {
    /// An envelope that has just come into an inbox.
    #[inline]
    pub(crate) fn new(id: EntryId, publish: &Arc<Publish>, inbox: InboxKey, at: WallTime) -> Self {
        let envelope = &publish.envelope;
        let expires_at = envelope.ttl.map(|ttl| at.after(ttl).0);
        let due = publish.due(at);
        let past = (due != AT_ONCE).then(|| Box::new(Past { due, ..Past::default() }));
        Self {
            id,
            message: envelope.id,
            body: Body::Whole(publish.clone()),
            size: size_of_payload(publish),
            priority: envelope.priority,
            ordered: envelope.ordering_key.is_some(),
            listed: false,
            inbox,
            place: Place::Staged,
            staging: 0,
            number: 0,
            durability: Durability::Ephemeral,
            attempts: 0,
            deliveries: 0,
            standing: Standing::Fresh,
            back: false,
            base: Sequence(0),
            accepted_at: at,
            expires_at: Moment::new(expires_at),
            timer: Moment::NONE,
            lease: Maybe::NONE,
            link: Link::default(),
            task: Maybe::NONE,
            sender: SessionId(0),
            past,
        }
    }

    /// What it carries.
    pub(crate) fn sent(&self) -> SentRef<'_> {
        SentRef { id: self.message, size: self.size, body: &self.body }
    }

    /// All of what it carries. Only to be asked for where that is known to be in memory.
    pub(crate) fn whole(&self) -> &Arc<Publish> {
        self.body.whole().expect("what has left memory is read before it is looked at")
    }

    /// Whether its payload has left memory.
    pub(crate) fn is_away(&self) -> bool {
        self.body.is_away()
    }

    pub(crate) fn is_logged(&self) -> bool {
        self.durability.is_logged()
    }

    /// Whether it is in flight, or was and waits for another attempt: it then holds its ordering
    /// key.
    pub(crate) fn holds_key(&self) -> bool {
        self.place == Place::Leased || self.standing == Standing::Returned
    }

    /// Whether it was in its inbox before: it then goes before those that never left it.
    #[inline]
    pub(crate) fn is_back(&self) -> bool {
        self.standing != Standing::Fresh
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

    /// Deliveries lost with their session before the handler began.
    pub(crate) fn losses(&self) -> u32 {
        self.past.as_ref().map_or(0, |past| past.losses)
    }

    pub(crate) fn set_losses(&mut self, losses: u32) {
        if self.losses() != losses {
            self.past.get_or_insert_default().losses = losses;
        }
    }

    /// Not to be delivered before, as it is recorded.
    pub(crate) fn due(&self) -> WallTime {
        self.past.as_ref().map_or(AT_ONCE, |past| past.due)
    }

    pub(crate) fn set_due(&mut self, due: WallTime) {
        if self.due() != due {
            self.past.get_or_insert_default().due = due;
        }
    }

    /// The gathering that its end is told to.
    pub(crate) fn gather(&self) -> Option<GatherKey> {
        self.past.as_ref().and_then(|past| past.gather.get())
    }

    pub(crate) fn set_gather(&mut self, gather: GatherKey) {
        self.past.get_or_insert_default().gather = Maybe::new(gather);
    }

    pub(crate) fn max_attempts(&self) -> u32 {
        self.body.attempts()
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.into()
    }

    /// Whether it is not to be delivered yet.
    pub(crate) fn waits(&self, now: Now) -> bool {
        let Some(past) = &self.past else { return false };
        if past.due == AT_ONCE {
            return false;
        }
        past.delay_over.get().map_or(past.due > now.wall, |over| over > now.mono.0)
    }

    /// When the delay is over that it waits for, on the monotonic clock.
    pub(crate) fn delay_over(&self) -> Moment {
        self.past.as_ref().map_or(Moment::NONE, |past| past.delay_over)
    }

    pub(crate) fn set_delay_over(&mut self, over: Moment) {
        if self.past.is_some() || over != Moment::NONE {
            self.past.get_or_insert_default().delay_over = over;
        }
    }

    /// When its timer on the wall clock should go off: at the end of its time to live, or when the
    /// time has come that its sender named.
    pub(crate) fn wake_at(&self) -> Option<u64> {
        let waits = self.place == Place::Delayed && self.delay_over() == Moment::NONE;
        let due = waits.then_some(self.due().0);
        let expires = self.expires_at.get();
        match (due, expires) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_no_more_room_than_a_million_of_them_may() {
        assert!(size_of::<Entry>() <= 144, "{}", size_of::<Entry>());
    }

    #[test]
    fn a_moment_that_is_missing_never_comes() {
        assert_eq!((Moment::NONE.get(), Moment::new(Some(7)).get()), (None, Some(7)));
        assert!(Moment::new(Some(7)).is_over(WallTime(7)));
        assert!(!Moment::new(Some(7)).is_over(WallTime(6)));
        assert!(!Moment::NONE.is_over(WallTime(u64::MAX)));
    }
}
