//! Session timers: leases that run out and lost sessions that do not come back.

use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::settle::Loss;
use crate::table::SessionKey;

impl Engine {
    /// Sets the session's timer for whatever comes first, unless it goes off early enough anyway.
    pub(crate) fn arm_session(&mut self, session: SessionKey) {
        let row = &self.sessions[session];
        let lease = row.leases.front().and_then(|key| self.entries[key].lease);
        let lease = lease.map(|lease| lease.deadline.0);
        let lost = row.lost_until.map(|at| at.0);
        let Some(wanted) = lease.into_iter().chain(lost).min() else { return };
        if row.timer.is_none_or(|at| wanted < at) {
            self.disarm_session(session);
            let row = &mut self.sessions[session];
            row.timer = Some(wanted);
            self.session_timers.arm(wanted, (row.serial, session));
        }
    }

    pub(crate) fn disarm_session(&mut self, session: SessionKey) {
        if self.sessions[session].timer.take().is_some() {
            let sessions = &self.sessions;
            self.session_timers.disarm(|at, (serial, key)| {
                sessions.get(key).is_some_and(|row| row.serial == serial && row.timer == Some(at))
            });
        }
    }

    /// Handles every session whose time has come.
    pub(crate) fn fire_session_timers(&mut self, now: Now, out: &mut Output) {
        let present = self.present(now);
        while let Some((at, (serial, session))) = self.session_timers.pop_due(present.0) {
            let wanted = |row: &super::Session| row.serial == serial && row.timer == Some(at);
            if !self.sessions.get(session).is_some_and(wanted) {
                continue;
            }
            self.session_timers.fired();
            self.sessions[session].timer = None;
            self.on_session_timer(now, session, out);
        }
    }

    fn on_session_timer(&mut self, now: Now, session: SessionKey, out: &mut Output) {
        let present = self.present(now);
        if self.sessions[session].lost_until.is_some_and(|at| at <= present) {
            self.end_session(now, session, Loss::Session, out);
            return;
        }
        while let Some(key) = self.sessions[session].leases.front() {
            if self.entries[key].lease.is_some_and(|lease| lease.deadline > present) {
                break;
            }
            self.lose(now, key, Loss::Lease, out);
        }
        self.arm_session(session);
        self.dispatch_session(now, session, out);
    }
}
