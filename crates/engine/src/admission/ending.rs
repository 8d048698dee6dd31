//! Connections that break and sessions that end.

use crate::command::ConnectionKey;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::now::Now;
use crate::queue::{Owner, Place};
use crate::record::Record;
use crate::settle::Loss;
use crate::table::{InboxKey, Maybe, SessionKey, Table};
use std::collections::BTreeMap;

impl Engine {
    /// A connection broke: its session may come back within the grace.
    pub(crate) fn disconnect(&mut self, now: Now, connection: ConnectionKey, out: &mut Output) {
        let Some(session) = self.session_of(connection) else { return };
        let agent = self.sessions[session].agent;
        let before = self.standing(agent);
        self.leave_connection(session, out);
        self.tell_standing(now, agent, before, out);
        let present = self.present(now);
        // Whoever gave a broker up that was away is as far from coming back as after a restart.
        let lease = self.sessions[session].lease;
        let is_back = self.back_at.is_some_and(|at| present < at.after(lease));
        let grace = self.config.resume_grace;
        let grace = if is_back { grace.max(lease) } else { grace };
        self.sessions[session].lost_until = Some(present.after(grace));
        self.arm_session(session);
    }

    /// Parts a session from its connection, if it has one.
    pub(crate) fn leave_connection(&mut self, session: SessionKey, out: &mut Output) {
        let row = &mut self.sessions[session];
        row.active = false;
        if let Some(connection) = row.connection.take() {
            self.connections.remove(&connection);
            out.effects.push(Effect::Closed { connection });
        }
        self.count_available(session);
        self.unwatch_all(session);
        self.unfollow_agents(session);
        self.leave_outside(session);
        self.forget_pressure(session);
    }

    /// A session is over: what it holds goes back, what is its own goes with it.
    pub(crate) fn end_session(
        &mut self,
        now: Now,
        session: SessionKey,
        loss: Loss,
        out: &mut Output,
    ) {
        let agent = self.sessions[session].agent;
        let before = self.standing(agent);
        self.leave_connection(session, out);
        self.tell_standing(now, agent, before, out);
        self.stop_serving(session);
        while let Some(key) = self.sessions[session].leases.front() {
            self.lose(now, key, loss, out);
        }
        self.disarm_session(session);
        self.drop_events(now, session, out);
        let row = self.sessions.remove(session);
        self.session_keys.remove(&row.id);
        if let Some(agent) = row.agent {
            let sessions = &mut self.agents[agent].sessions;
            sessions.retain(|&other| other != session);
            if sessions.is_empty() {
                *sessions = Vec::new();
            }
        }
        let tally = &mut self.tenants[row.tenant].tally;
        tally.sessions -= 1;
        tally.replies_dropped += row.pending.len() as u64;
        if loss != Loss::Goodbye {
            self.remember_window(now, row.id, (row.window, row.lasting));
        }
    }

    /// The broker stops: what is ephemeral is lost, and that is counted and recorded.
    pub(crate) fn stop(&mut self, now: Now, out: &mut Output) {
        self.note_runs(now, out);
        let sessions: Vec<_> = self.sessions.iter().map(|(key, _)| key).collect();
        for session in sessions {
            self.leave_connection(session, out);
            self.drop_events(now, session, out);
        }
        let ephemeral: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.is_logged())
            .map(|(key, _)| key)
            .collect();
        let mut lost: BTreeMap<InboxKey, u64> = BTreeMap::new();
        for key in ephemeral {
            self.unqueue(key);
            self.clear_timer(key);
            self.forget_token(key);
            self.key_leave(key);
            let entry = self.entries.remove(key);
            self.unlist_copy(key, &entry);
            if let Some(task) = entry.task.get() {
                let row = &mut self.tasks.rows[task];
                row.entry = Maybe::NONE;
                row.more_mut().sent = Some(entry.sent().cloned());
            }
            let inbox = &mut self.inboxes[entry.inbox];
            inbox.places[Place::Staged as usize] -= 1;
            inbox.ephemeral -= 1;
            inbox.ephemeral_bytes -= entry.size();
            inbox.fleeting.lost += 1;
            *lost.entry(entry.inbox).or_default() += 1;
        }
        // Nobody is there any longer to be told of them.
        self.gathers = Table::new();
        self.tenants.iter_mut().for_each(|tenant| tenant.gathered_bytes = 0);
        if !self.config.logged {
            return;
        }
        for (inbox, count) in lost {
            let tenant = self.tenants[self.inboxes[inbox].tenant].id.clone();
            let address = self.address(inbox);
            self.emit(Record::Lost { tenant, inbox: address, count }, out);
            let row = &mut self.inboxes[inbox];
            row.fleeting.accepted -= count;
            row.fleeting.lost -= count;
            self.apply_lost(inbox, count);
        }
        out.flush = true;
    }

    /// The state after a record tells of ephemeral entries that a stop took.
    pub(crate) fn apply_lost(&mut self, inbox: InboxKey, count: u64) {
        let row = &mut self.inboxes[inbox];
        debug_assert!(row.owner != Owner::Bare, "bare subscriptions have no entries");
        row.counters.accepted += count;
        row.counters.lost += count;
    }
}
