//! Timers in the engine's own time: leases that run out, lost sessions that do not come back,
//! handlers that run too long, circuit breakers.

use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::settle::Loss;
use crate::table::{AgentKey, EntryKey, InboxKey, SessionKey};
use crate::timer::Timers;
use trunkline_types::Token;

/// What a timer that is no session's is set for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Alarm {
    /// An open circuit breaker becomes half-open.
    Breaker(AgentKey, InboxKey),
    /// The handler of this delivery has run for as long as it may, or for long enough to note it.
    Run(EntryKey, Token),
}

impl Engine {
    /// Sets the session's timer for whatever comes first, unless it goes off early enough anyway.
    pub(crate) fn arm_session(&mut self, session: SessionKey) {
        let row = &self.sessions[session];
        let lease = row.leases.front().and_then(|key| self.lease(key));
        let lease = lease.filter(|_| !row.waits_for_welcome()).map(|lease| lease.deadline.0);
        let lost = row.lost_until.map(|at| at.0);
        let outside = row.outside.first().map(|&(until, ..)| until.0);
        let Some(wanted) = lease.into_iter().chain(lost).chain(outside).min() else { return };
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

    /// When the next timer in the engine's own time is due.
    pub(crate) fn next_alarm(&self) -> Option<u64> {
        self.session_timers.next().into_iter().chain(self.alarms.next()).min()
    }

    /// Handles every alarm whose time has come.
    pub(crate) fn fire_alarms(&mut self, now: Now, out: &mut Output) {
        let present = self.present(now);
        while let Some((at, alarm)) = self.alarms.pop_due(present.0) {
            if !self.is_wanted(at, alarm) {
                continue;
            }
            self.alarms.fired();
            match alarm {
                Alarm::Breaker(agent, inbox) => self.half_open(now, agent, inbox, out),
                Alarm::Run(key, _) => self.run_due(now, key, out),
            }
        }
    }

    /// One alarm is no longer wanted.
    pub(crate) fn disarm_alarm(&mut self) {
        let mut alarms = std::mem::replace(&mut self.alarms, Timers::new());
        alarms.disarm(|at, alarm| self.is_wanted(at, alarm));
        self.alarms = alarms;
    }

    fn is_wanted(&self, at: u64, alarm: Alarm) -> bool {
        match alarm {
            Alarm::Breaker(agent, inbox) => self.is_open_until(agent, inbox, at),
            Alarm::Run(key, token) => self.runs_until(key, token, at),
        }
    }

    fn on_session_timer(&mut self, now: Now, session: SessionKey, out: &mut Output) {
        let present = self.present(now);
        if self.sessions[session].lost_until.is_some_and(|at| at <= present) {
            self.end_session(now, session, Loss::Session, out);
            return;
        }
        while let Some(key) = self.sessions[session].leases.front() {
            if self.sessions[session].waits_for_welcome()
                || self.lease(key).is_some_and(|lease| lease.deadline > present)
            {
                break;
            }
            self.lose(now, key, Loss::Lease, out);
        }
        self.expire_outside(now, session, out);
        self.arm_session(session);
        self.dispatch_session(now, session, out);
    }
}
