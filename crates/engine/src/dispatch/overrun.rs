//! Handlers that run longer than they may, however often they say that they are alive.

use super::timers::Alarm;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::now::{Mono, Now};
use crate::queue::Place;
use crate::record::Record;
use crate::settle::Loss;
use crate::table::EntryKey;
use std::time::Duration;
use trunkline_types::session::SessionItem;
use trunkline_types::{Span, Token};

/// Into how many parts a longest run is divided: at the end of each it is noted that the handler
/// has run so far. So much, and no more, a kill of the broker may add to a run.
const NOTES: u32 = 4;

impl Engine {
    /// How long the handler of an entry may run: what its sender says, or else the broker.
    pub(crate) fn max_run(&self, key: EntryKey) -> Option<Duration> {
        self.entries[key].body.options().max_run.or(self.config.max_run)
    }

    /// Lets the time run from now that the handler of a leased entry has, less what it is known to
    /// have run before a restart.
    pub(crate) fn start_run(&mut self, now: Now, key: EntryKey) {
        let Some(span) = self.max_run(key) else { return };
        let Some(ran) = self.lease(key).map(|lease| lease.ran) else { return };
        let until = self.present(now).after(span.saturating_sub(ran));
        self.stop_run(key);
        self.arm_run(now, key, until);
    }

    /// Lets the time run on that the handler had when its lease ran out.
    pub(crate) fn resume_run(&mut self, now: Now, key: EntryKey, until: Option<Mono>) {
        match until {
            Some(until) => self.arm_run(now, key, until),
            None => self.start_run(now, key),
        }
    }

    /// Sets the timer of a handler that may run until then, for that or for the next time to note
    /// how long it has run.
    fn arm_run(&mut self, now: Now, key: EntryKey, until: Mono) {
        let step = self.max_run(key).unwrap_or_default() / NOTES;
        let (present, is_logged) = (self.present(now), self.entries[key].is_logged());
        let Some(lease) = self.lease_mut(key) else { return };
        let note = present.after(step);
        let at = if is_logged && !step.is_zero() { note.min(until) } else { until };
        lease.run_until = Some(until);
        lease.run_timer = Some(at);
        let token = lease.token;
        self.alarms.arm(at.0, Alarm::Run(key, token));
    }

    /// The timer of a handler's longest run has gone off.
    pub(crate) fn run_due(&mut self, now: Now, key: EntryKey, out: &mut Output) {
        let present = self.present(now);
        let Some(lease) = self.lease_mut(key) else { return };
        // There is none to disarm any longer.
        lease.run_timer = None;
        match lease.run_until {
            Some(until) if until > present => {
                self.note_run(now, key, out);
                self.arm_run(now, key, until);
            }
            _ => self.overrun(now, key, out),
        }
    }

    /// Writes how long the handler of a leased entry has run, without the time in which the broker
    /// was away: a restart goes on from there.
    pub(crate) fn note_run(&mut self, now: Now, key: EntryKey, out: &mut Output) {
        let (Some(span), Some(lease)) = (self.max_run(key), self.lease(key).copied()) else {
            return;
        };
        let Some(until) = lease.run_until.filter(|_| self.entries[key].is_logged()) else { return };
        let left = Duration::from_nanos(until.0.saturating_sub(self.present(now).0));
        let millis = span.saturating_sub(left).as_millis();
        let ran = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
        if ran > lease.ran {
            let entry = self.entries[key].id;
            self.emit(Record::Ran { entry, ran }, out);
            self.apply_ran(key, ran);
        }
    }

    /// The state after it was noted how long a handler has run; shared by live commands and
    /// replay.
    pub(crate) fn apply_ran(&mut self, key: EntryKey, ran: Duration) {
        if let Some(lease) = self.lease_mut(key) {
            lease.ran = ran;
        }
    }

    /// Notes of every handler how long it has run, because the broker stops.
    pub(crate) fn note_runs(&mut self, now: Now, out: &mut Output) {
        let leased = self.entries.iter().filter(|(_, entry)| entry.place == Place::Leased);
        let mut leased: Vec<_> = leased.map(|(key, entry)| (entry.id, key)).collect();
        leased.sort_unstable();
        for (_, key) in leased {
            self.note_run(now, key, out);
        }
    }

    /// The timer of an entry that is leased no longer is not wanted. How long its handler had
    /// stays known, for the case that the session comes back for it.
    pub(crate) fn stop_run(&mut self, key: EntryKey) {
        let entry = &self.entries[key];
        let runs = entry.place == Place::Leased
            && self.lease_of(entry).is_some_and(|lease| lease.run_timer.is_some());
        if runs {
            self.disarm_alarm();
        }
    }

    /// Whether the timer of a handler's longest run is still wanted.
    pub(crate) fn runs_until(&self, key: EntryKey, token: Token, at: u64) -> bool {
        self.entries.get(key).is_some_and(|entry| {
            entry.place == Place::Leased
                && self
                    .lease_of(entry)
                    .is_some_and(|lease| lease.token == token && lease.run_timer == Some(Mono(at)))
        })
    }

    /// A handler has run for as long as it may: it is told to stop, and that was an attempt.
    fn overrun(&mut self, now: Now, key: EntryKey, out: &mut Output) {
        let reason = match self.max_run(key) {
            Some(span) => format!("the handler ran longer than {}", Span(span)),
            None => Loss::Overrun.reason().to_owned(),
        };
        let entry = &self.entries[key];
        let Some(lease) = entry.lease.get().map(|lease| &mut self.leases[lease]) else { return };
        lease.run_until = None;
        lease.called_off = true;
        let (token, holder) = (lease.token, lease.holder);
        let tenant = self.inboxes[entry.inbox].tenant;
        self.tenants[tenant].tally.overran += 1;
        if let Some(connection) = self.sessions[holder].connection {
            // Told before the work goes to anybody, for it may go to the same session. It is not
            // held back until the loss is durable, for it rests on no promise: a handler that
            // stops for an attempt which a crash takes back has its delivery taken back with it.
            let item = SessionItem::Cancel { token, reason: reason.clone() };
            out.effects.push(Effect::Item { connection, item });
        }
        self.lose_because(now, key, Loss::Overrun, &reason, out);
    }
}
