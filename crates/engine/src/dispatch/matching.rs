//! Matching entries with sessions. A delivery costs the same however many inboxes there are; the
//! search for a session compares a few, and is longer only while most sessions of the inbox have
//! no credit left.

use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::record::End;
use crate::table::{EntryKey, InboxKey, SessionKey};

/// How many available sessions are compared before the least loaded of them is taken. The search
/// goes round, so that every session is among them in turn.
const COMPARED: usize = 4;

impl Engine {
    /// Delivers from an inbox for as long as it has work and somebody would take it.
    pub(crate) fn dispatch_inbox(&mut self, now: Now, inbox: InboxKey, out: &mut Output) {
        if self.replaying || self.congested {
            return;
        }
        while self.inboxes[inbox].ready() > 0 {
            let Some(session) = self.pick_session(inbox) else { return };
            self.deliver_next(now, inbox, session, out);
        }
    }

    /// Notes whether a session would take a delivery, and gives it work if it now would.
    pub(crate) fn dispatch_session(&mut self, now: Now, session: SessionKey, out: &mut Output) {
        self.count_available(session);
        while self.sessions[session].counted && !self.congested {
            let Some(inbox) = self.pick_inbox(session) else { return };
            self.deliver_next(now, inbox, session, out);
        }
    }

    /// Stops deliveries while the log is as far behind as it may be, for each makes it fall
    /// further behind; goes on with them when it has caught up.
    pub(crate) fn set_congested(&mut self, now: Now, congested: bool, out: &mut Output) {
        self.congested = congested;
        if !congested {
            let waiting = self.inboxes.iter().filter(|(_, inbox)| inbox.ready() > 0);
            for inbox in waiting.map(|(key, _)| key).collect::<Vec<_>>() {
                self.dispatch_inbox(now, inbox, out);
            }
        }
    }

    /// Brings the inboxes' count of available sessions up to date.
    pub(crate) fn count_available(&mut self, session: SessionKey) {
        let row = &mut self.sessions[session];
        let available = row.is_available();
        if available == row.counted {
            return;
        }
        row.counted = available;
        for &inbox in &row.inboxes {
            let count = &mut self.inboxes[inbox].available;
            *count = if available { *count + 1 } else { *count - 1 };
        }
    }

    fn pick_session(&mut self, inbox: InboxKey) -> Option<SessionKey> {
        let inbox = &mut self.inboxes[inbox];
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
            let row = &self.sessions[candidate];
            if !row.counted {
                continue;
            }
            // Compares in_flight / credit without dividing.
            let lighter = |other: SessionKey| {
                let other = &self.sessions[other];
                u64::from(row.in_flight) * u64::from(other.credit.deliveries)
                    < u64::from(other.in_flight) * u64::from(row.credit.deliveries)
            };
            if best.is_none_or(lighter) {
                best = Some(candidate);
            }
            compared += 1;
            if compared == COMPARED || compared == inbox.available as usize {
                break;
            }
        }
        inbox.cursor = inbox.cursor.wrapping_add(1);
        best
    }

    fn pick_inbox(&mut self, session: SessionKey) -> Option<InboxKey> {
        let row = &mut self.sessions[session];
        let count = row.inboxes.len();
        for step in 0..count {
            let inbox = row.inboxes[(row.rotation + step) % count];
            if self.inboxes[inbox].ready() > 0 {
                row.rotation = (row.rotation + step + 1) % count;
                return Some(inbox);
            }
        }
        None
    }

    fn deliver_next(&mut self, now: Now, inbox: InboxKey, session: SessionKey, out: &mut Output) {
        let Some(key) = self.next_entry_of(inbox) else { return };
        if self.entries[key].expires_at.is_some_and(|at| at <= now.wall) {
            self.end_entry(now, key, End::Expired, out);
        } else {
            self.unqueue(key);
            self.grant(now, key, session, out);
        }
    }

    fn next_entry_of(&mut self, inbox: InboxKey) -> Option<EntryKey> {
        #[cfg(feature = "defects")]
        if self.planted(Defect::LaneOutOfOrder) && self.rng.u8(..) < 32 {
            return self.inboxes[inbox].last().or_else(|| self.inboxes[inbox].next());
        }
        let _ = Defect::LaneOutOfOrder;
        self.inboxes[inbox].next()
    }
}
