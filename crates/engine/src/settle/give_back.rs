//! Entries that come back to their inbox: retried, released, lost with a lease or a session.

use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::queue::{AT_ONCE, Moment, Place, Standing};
use crate::record::{End, Record, ReturnedRecord};
use crate::table::{EntryKey, SessionKey};
use std::time::Duration;
use trunkline_types::{AttemptNote, Durability, WallTime};

/// How a delivery was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loss {
    /// Its lease ran out.
    Lease,
    /// Its session was lost and did not come back in time.
    Session,
    /// Its session came back without it.
    Delivery,
    /// Its session said goodbye.
    Goodbye,
    /// Its agent was unregistered.
    Unregistered,
    /// Its handler ran longer than it may.
    Overrun,
}

impl Loss {
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Lease => "the lease ran out without a heartbeat",
            Self::Session => "the session was lost and did not come back in time",
            Self::Delivery => "the session came back without the delivery",
            Self::Goodbye => "the session ended while it held the delivery",
            Self::Unregistered => "its agent was unregistered",
            Self::Overrun => "the handler ran longer than it may",
        }
    }
}

/// What is decided about an entry that comes back.
#[derive(Debug)]
pub(crate) struct GiveBack {
    pub(crate) attempts: u32,
    pub(crate) losses: u32,
    pub(crate) due: WallTime,
    pub(crate) token_stays: bool,
    pub(crate) note: Option<AttemptNote>,
}

impl Engine {
    /// The holder asks for another attempt.
    pub(crate) fn retry(
        &mut self,
        now: Now,
        key: EntryKey,
        reason: String,
        delay: Option<Duration>,
        out: &mut Output,
    ) {
        let entry = &self.entries[key];
        let counted = u32::from(!self.planted(Defect::UncountedAttempt));
        let (attempts, losses) = (entry.attempts + counted, entry.losses());
        let note = Some(self.attempt_note(key, attempts, now.wall, &reason));
        if attempts >= entry.max_attempts() {
            self.end_entry(now, key, End::DeadLettered { reason, note }, out);
            return;
        }
        let delay = delay.unwrap_or_else(|| self.backoff(attempts));
        let due = now.wall.after(delay);
        self.give_back(now, key, GiveBack { attempts, losses, due, token_stays: false, note }, out);
    }

    /// A delivery was lost. It is an attempt if its lease ran out, if its handler had begun, or
    /// if it was lost too often.
    pub(crate) fn lose(&mut self, now: Now, key: EntryKey, loss: Loss, out: &mut Output) {
        self.lose_because(now, key, loss, loss.reason(), out);
    }

    /// A delivery was lost, for a reason that is put into words by the caller.
    pub(crate) fn lose_because(
        &mut self,
        now: Now,
        key: EntryKey,
        loss: Loss,
        reason: &str,
        out: &mut Output,
    ) {
        let entry = &self.entries[key];
        let begun = self.lease_of(entry).is_some_and(|lease| lease.begun);
        let timed_out = matches!(loss, Loss::Lease | Loss::Overrun);
        let counts = timed_out || begun || entry.losses() >= self.config.losses;
        let attempts = entry.attempts + u32::from(counts);
        let losses = entry.losses() + u32::from(!counts);
        let note = counts.then(|| self.attempt_note(key, attempts, now.wall, reason));
        if begun && (timed_out || loss == Loss::Session) {
            self.note_outcome(now, key, false, out);
        }
        let entry = &self.entries[key];
        if counts && attempts >= entry.max_attempts() {
            let reason = reason.to_owned();
            self.end_entry(now, key, End::DeadLettered { reason, note }, out);
            return;
        }
        let due = AT_ONCE;
        // Whoever registers the id next must not speak for what its former owner held.
        let token_stays = loss != Loss::Unregistered;
        self.give_back(now, key, GiveBack { attempts, losses, due, token_stays, note }, out);
    }

    /// Puts a leased entry back into its inbox.
    pub(crate) fn give_back(&mut self, now: Now, key: EntryKey, back: GiveBack, out: &mut Output) {
        let entry = &self.entries[key];
        let (id, level, holder) = (entry.id, entry.durability, self.holder(key));
        let GiveBack { attempts, losses, due, token_stays, note } = back;
        let at = now.wall;
        let called_off = self.lease_of(entry).is_some_and(|lease| lease.called_off);
        let record =
            ReturnedRecord { entry: id, attempts, losses, due, token_stays, called_off, note, at };
        if entry.is_logged() {
            self.emit(Record::Returned(Box::new(record.clone())), out);
        }
        self.apply_returned(key, record);
        self.tell_watchers(now, key, out);
        if !self.planted(Defect::LostRetry) || attempts == 0 {
            self.hold_ready(now, level, (key, id), out);
        }
        self.dispatch_holder(now, holder, out);
    }

    /// The state after an entry came back; shared by live commands and replay.
    pub(crate) fn apply_returned(&mut self, key: EntryKey, record: ReturnedRecord) {
        let ReturnedRecord { entry: _, attempts, losses, due, token_stays, called_off, note, at } =
            record;
        self.unqueue(key);
        if !token_stays {
            self.forget_token(key);
        }
        if let Some(lease) = self.lease_mut(key) {
            lease.called_off = called_off;
        }
        // What is given back without a delay is due at once, whatever the wall shows then.
        let delay_over = match due {
            AT_ONCE => Moment::NONE,
            due => self.delay_over(due.since(at)),
        };
        let entry = &mut self.entries[key];
        entry.set_delay_over(delay_over);
        entry.attempts = attempts;
        entry.set_losses(losses);
        entry.set_due(due);
        entry.standing = Standing::Returned;
        let reason = note.as_ref().map(|note| note.reason.clone());
        entry.add_note(note);
        if let Some(task) = entry.task.get() {
            self.task_returned(task, reason, at);
        }
    }

    /// The session that holds an entry now.
    pub(crate) fn holder(&self, key: EntryKey) -> Option<(SessionKey, u64)> {
        let entry = &self.entries[key];
        let lease = self.lease_of(entry).filter(|_| entry.place == Place::Leased)?;
        Some((lease.holder, self.sessions[lease.holder].serial))
    }

    /// Gives a session that holds one less something new.
    pub(crate) fn dispatch_holder(
        &mut self,
        now: Now,
        holder: Option<(SessionKey, u64)>,
        out: &mut Output,
    ) {
        let Some((session, serial)) = holder else { return };
        if self.sessions.get(session).is_some_and(|row| row.serial == serial) {
            self.dispatch_session(now, session, out);
        }
    }

    /// Lets an entry go on that was blocked, once what unblocked it is durable. It is only noted
    /// here: a chain of entries that end one after the other must not become a chain of calls.
    pub(crate) fn let_go(&mut self, level: Durability, next: Option<EntryKey>) {
        if let Some(key) = next {
            self.unblocked.push_back((level, key, self.entries[key].id));
        }
    }

    /// Works off what was let go, inboxes that somebody may take work from again, and the room
    /// that was made.
    pub(crate) fn work_off_unblocked(&mut self, now: Now, out: &mut Output) {
        loop {
            if let Some((level, key, id)) = self.unblocked.pop_front() {
                self.hold_ready(now, level, (key, id), out);
            } else if let Some(inbox) = self.stirred.pop_front() {
                self.dispatch_inbox(now, inbox, out);
            } else if let Some(inbox) = self.roomy.pop_front() {
                self.use_room(now, inbox, out);
            } else if !self.load_next(out) {
                return;
            }
        }
    }

    /// Full jitter: evenly between nothing and the backoff, which doubles with each attempt.
    fn backoff(&mut self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(32);
        let backoff = self
            .config
            .backoff_base
            .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
        let most =
            u64::try_from(backoff.min(self.config.backoff_cap).as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.rng.u64(0..=most))
    }
}
