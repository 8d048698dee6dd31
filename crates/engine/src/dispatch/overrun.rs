//! Handlers that run longer than they may, however often they say that they are alive.

use super::timers::Alarm;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::now::{Mono, Now};
use crate::queue::Place;
use crate::settle::Loss;
use crate::table::EntryKey;
use std::time::Duration;
use trunkline_types::Token;
use trunkline_types::session::SessionItem;

impl Engine {
    /// How long the handler of an entry may run: what its sender says, or else the broker.
    pub(crate) fn max_run(&self, key: EntryKey) -> Option<Duration> {
        self.entries[key].publish.options.max_run.or(self.config.max_run)
    }

    /// Lets the time run that the handler of a leased entry has, from now.
    pub(crate) fn start_run(&mut self, now: Now, key: EntryKey) {
        let Some(span) = self.max_run(key) else { return };
        let until = self.present(now).after(span);
        self.stop_run(key);
        if let Some(lease) = &mut self.entries[key].lease {
            lease.run_until = Some(until);
            self.alarms.arm(until.0, Alarm::Run(key, lease.token));
        }
    }

    /// Lets the time run on that the handler had when its lease ran out.
    pub(crate) fn resume_run(&mut self, now: Now, key: EntryKey, until: Option<Mono>) {
        match (until, &mut self.entries[key].lease) {
            (Some(until), Some(lease)) => {
                lease.run_until = Some(until);
                self.alarms.arm(until.0, Alarm::Run(key, lease.token));
            }
            _ => self.start_run(now, key),
        }
    }

    /// The timer of an entry that is leased no longer is not wanted. How long its handler had
    /// stays known, for the case that the session comes back for it.
    pub(crate) fn stop_run(&mut self, key: EntryKey) {
        let entry = &self.entries[key];
        let runs = entry.place == Place::Leased
            && entry.lease.is_some_and(|lease| lease.run_until.is_some());
        if runs {
            self.disarm_alarm();
        }
    }

    /// Whether the timer of a handler's longest run is still wanted.
    pub(crate) fn runs_until(&self, key: EntryKey, token: Token, at: u64) -> bool {
        self.entries.get(key).is_some_and(|entry| {
            entry.place == Place::Leased
                && entry
                    .lease
                    .is_some_and(|lease| lease.token == token && lease.run_until == Some(Mono(at)))
        })
    }

    /// A handler has run for as long as it may: it is told to stop, and that was an attempt.
    pub(crate) fn overrun(&mut self, now: Now, key: EntryKey, out: &mut Output) {
        let reason = match self.max_run(key) {
            Some(span) => format!("the handler ran longer than {span:?}"),
            None => Loss::Overrun.reason().to_owned(),
        };
        let entry = &mut self.entries[key];
        let Some(lease) = &mut entry.lease else { return };
        // The timer has gone off, so there is none to disarm.
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
