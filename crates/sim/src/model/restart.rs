//! What the model forgets when the broker is gone, and what it counts anew when it is back.

use super::rules::nanos;
use super::session::{Events, Fence};
use super::{Book, Model, Place};
use trunkline_types::Sequence;

impl Model {
    /// The broker stopped, and what it had written up to `survived` is still there.
    pub(crate) fn crashed(&mut self, survived: Sequence) {
        self.journal.retain(|(at, _)| *at <= survived);
        self.book = Book { most_letters: self.book.most_letters, ..Book::default() };
        for (at, fact) in &self.journal {
            self.book.enter(*at, fact);
        }
        self.written = survived;
        self.synced = survived;
        self.connections.clear();
        self.fleeting.clear();
        self.replies.clear();
        self.guards.clear();
        self.numbers.clear();
        self.passed.clear();
        self.choices.clear();
        self.full.clear();
        self.weighed = [0.0; 3];
        self.continued.clear();
        // A sender may send again what the crash took, and it may go to another member.
        self.grouped.clear();
        self.gatherings.clear();
        self.completed.clear();
        self.cancels.clear();
        self.loading.clear();
        self.read.clear();
        self.unread.clear();
        self.owed_news.clear();
        self.to_hand.clear();
        self.handed.clear();
        self.ample = true;
        self.congested = false;
        self.draining = None;
        self.sent_away.clear();
        for session in self.sessions.values_mut() {
            session.connection = None;
            session.lost_at = None;
            session.restarted = true;
            session.dismissed = false;
            session.watches.clear();
            session.directory = None;
            session.followed = false;
            session.pressed.clear();
            session.events = Events::default();
            for asked in session.asked.values_mut() {
                asked.handled = false;
                asked.refused = false;
                asked.done = false;
                asked.fence = Fence::Open;
                asked.record = asked.record.filter(|at| *at <= survived);
                asked.recovered = asked.record.is_some();
            }
        }
        self.told.retain(|id, _| self.lasting.contains(id));
    }

    /// The broker is up again: every lease and every lost session has the full lease.
    pub(crate) fn started(&mut self) {
        let (now, absent) = (self.now, self.absent);
        self.book.entries.values_mut().for_each(|entry| entry.begin_delay(now));
        self.back = None;
        for grant in self.granted.values_mut() {
            grant.renewed = now.mono;
            grant.touched = now.mono;
            grant.absent = absent;
            // How long handlers have run goes on from what records tell.
            let entry = grant.entry.and_then(|entry| self.book.entries.get(&entry));
            grant.granted = (now.mono, absent);
            grant.before = entry.map_or(0, |entry| nanos(entry.ran));
            grant.runs = entry.is_some_and(|entry| entry.place == Place::Leased);
            grant.overran = entry.is_some_and(|entry| entry.called_off);
        }
        for session in self.sessions.values_mut() {
            session.lost_at = Some(now);
            session.lost_absent = absent;
            session.lease = self.rules.lease;
        }
    }
}
