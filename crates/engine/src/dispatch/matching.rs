//! Matching entries with sessions. A delivery costs the same however many inboxes there are; the
//! search for a session compares a few, and is longer only while most sessions of the inbox have
//! no credit left.

use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::queue::ALL_LANES;
use crate::record::End;
use crate::table::{EntryKey, InboxKey, SessionKey};

/// How many available sessions are compared before the least loaded of them is taken. The search
/// goes round, so that every session is among them in turn.
pub(super) const COMPARED: usize = 4;

impl Engine {
    /// Delivers from an inbox for as long as it has work and somebody would take it.
    pub(crate) fn dispatch_inbox(&mut self, now: Now, inbox: InboxKey, out: &mut Output) {
        if self.replaying || self.congested {
            return;
        }
        loop {
            let row = &self.inboxes[inbox];
            if row.ready() == 0 {
                return;
            }
            if row.ahead.is_some() {
                self.note_ahead(inbox);
                let waits = self.inboxes[inbox].deliverable(&self.entries) == 0;
                if waits && !self.planted(Defect::SpilledOvertaken) {
                    return;
                }
            }
            if self.is_plain(inbox) {
                let Some(session) = self.pick_session(inbox) else { return };
                let Some(key) = self.next_entry_of(inbox, ALL_LANES) else { return };
                self.deliver(now, key, session, out);
            } else {
                let Some((key, session)) = self.pick_routed(inbox) else { return };
                self.deliver(now, key, session, out);
            }
        }
    }

    /// Notes whether a session would take a delivery, and gives it work if it now would.
    pub(crate) fn dispatch_session(&mut self, now: Now, session: SessionKey, out: &mut Output) {
        self.count_available(session);
        while self.sessions[session].counted && !self.congested {
            let Some((inbox, lanes)) = self.pick_inbox(session) else { return };
            let Some(key) = self.next_entry_of(inbox, lanes) else { return };
            self.deliver(now, key, session, out);
        }
    }

    /// Stops deliveries while the log is as far behind as it may be, for each makes it fall
    /// further behind; goes on with them when it has caught up.
    pub(crate) fn set_congested(&mut self, now: Now, congested: bool, out: &mut Output) {
        self.congested = congested && !self.planted(Defect::IgnoredCongestion);
        if !congested {
            let waiting = self.inboxes.iter().filter(|(_, inbox)| inbox.ready() > 0);
            for inbox in waiting.map(|(key, _)| key).collect::<Vec<_>>() {
                self.dispatch_inbox(now, inbox, out);
            }
        }
    }

    /// Looks at every session and every inbox again, for whoever may take work may have changed.
    pub(crate) fn stir_all(&mut self) {
        for session in self.sessions.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            self.count_available(session);
        }
        let waiting = self.inboxes.iter().filter(|(_, inbox)| inbox.ready() > 0);
        self.stirred.extend(waiting.map(|(key, _)| key));
    }

    /// Whether a session holds less of what it is willing to hold than another one does.
    pub(crate) fn is_lighter(&self, session: SessionKey, other: SessionKey) -> bool {
        // Compares in_flight / credit without dividing.
        let (row, other) = (&self.sessions[session], &self.sessions[other]);
        let (row, other) =
            if self.planted(Defect::HeaviestFirst) { (other, row) } else { (row, other) };
        u64::from(row.in_flight) * u64::from(other.credit.deliveries)
            < u64::from(other.in_flight) * u64::from(row.credit.deliveries)
    }

    /// Brings the inboxes' count of available sessions up to date.
    pub(crate) fn count_available(&mut self, session: SessionKey) {
        let most_bytes = self.config.session_bytes;
        let row = &mut self.sessions[session];
        let available = row.is_available(most_bytes);
        if available == row.counted {
            return;
        }
        row.counted = available;
        for &inbox in &row.inboxes {
            let count = &mut self.inboxes[inbox].available;
            *count = if available { *count + 1 } else { *count - 1 };
        }
    }

    fn pick_session(&mut self, key: InboxKey) -> Option<SessionKey> {
        let inbox = &self.inboxes[key];
        if inbox.available == 0 {
            return None;
        }
        if let [only] = inbox.servers[..] {
            return Some(only);
        }
        let count = inbox.servers.len();
        let start = inbox.cursor as usize % count;
        let mut best: Option<SessionKey> = None;
        let mut compared = 0;
        for step in 0..count {
            let candidate = inbox.servers[(start + step) % count];
            if !self.sessions[candidate].counted {
                continue;
            }
            if best.is_none_or(|best| self.is_lighter(candidate, best)) {
                best = Some(candidate);
            }
            compared += 1;
            if compared == COMPARED || compared == inbox.available as usize {
                break;
            }
        }
        let inbox = &mut self.inboxes[key];
        inbox.cursor = inbox.cursor.wrapping_add(1);
        best
    }

    /// The inbox that a session gets work from next, and which lanes it may have it from.
    fn pick_inbox(&mut self, session: SessionKey) -> Option<(InboxKey, u8)> {
        let row = &self.sessions[session];
        let (count, rotation) = (row.inboxes.len(), row.rotation);
        for step in 0..count {
            let row = &self.sessions[session];
            let inbox = row.inboxes[(rotation + step) % count];
            if self.inboxes[inbox].ready() == 0 {
                continue;
            }
            let plain = self.is_plain(inbox);
            let lanes = if plain { ALL_LANES } else { self.lanes_of(inbox, session) };
            if self.inboxes[inbox].ahead.is_some() {
                self.note_ahead(inbox);
            }
            if lanes & self.inboxes[inbox].deliverable(&self.entries) != 0 {
                self.sessions[session].rotation = (rotation + step + 1) % count;
                return Some((inbox, lanes));
            }
        }
        None
    }

    /// Delivers an entry to a session that would take it, unless its time to live has ended.
    pub(crate) fn deliver(
        &mut self,
        now: Now,
        key: EntryKey,
        session: SessionKey,
        out: &mut Output,
    ) {
        if self.entries[key].expires_at.is_over(now.wall) {
            self.end_entry(now, key, End::Expired, out);
        } else {
            self.take_out(key);
            self.grant(now, key, session, out);
        }
    }

    /// What an inbox delivers next out of the lanes in `mask`.
    pub(super) fn next_entry_of(&mut self, inbox: InboxKey, mask: u8) -> Option<EntryKey> {
        let weights = self.config.priority_weights;
        #[cfg(feature = "defects")]
        if self.planted(Defect::LaneOutOfOrder) && self.rng.u8(..) < 32 {
            let (row, entries) = (&mut self.inboxes[inbox], &self.entries);
            return row.last(entries, mask, weights).or_else(|| row.next(entries, mask, weights));
        }
        #[cfg(feature = "defects")]
        if self.planted(Defect::SpilledOvertaken) && self.inboxes[inbox].ahead.is_some() {
            return self.inboxes[inbox].first_there(&self.entries, mask);
        }
        if self.planted(Defect::UnfairWhenSpilled) && self.inboxes[inbox].ahead.is_some() {
            let row = &self.inboxes[inbox];
            let lanes = row.deliverable(&self.entries) & mask;
            return row.first(lanes.checked_ilog2()? as usize);
        }
        let _ = (Defect::LaneOutOfOrder, Defect::SpilledOvertaken);
        self.inboxes[inbox].next(&self.entries, mask, weights)
    }
}
