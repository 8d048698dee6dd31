//! Holding back: nothing is told or delivered before what it rests on is durable.

use crate::command::ConnectionKey;
use crate::defect::Defect;
use crate::dispatch::EventCopy;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::now::Now;
use crate::queue::Place;
use crate::record::EntryId;
use crate::table::{EntryKey, SessionKey, TenantKey};
use trunkline_types::session::SessionItem;
use trunkline_types::{Durability, SessionId};

/// An entry that waits for the log, and for which of its records: by the time that one is durable
/// it may have been settled late, and staged again for another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Staged {
    pub(crate) key: EntryKey,
    id: EntryId,
    staging: u8,
}

/// Something that waits for the log.
#[derive(Debug)]
pub(crate) enum Held {
    /// Tell a session that an operation is done, if it is still on the same connection; otherwise
    /// it will ask again. Most of what waits is this, so it is not an item, which is large.
    Done(ConnectionKey, u64),
    /// Tell a session something else, under the same condition.
    Item(ConnectionKey, Box<SessionItem>),
    /// Tell a session how its request ended, over whatever connection it has.
    Reply(TenantKey, SessionId, Box<SessionItem>),
    /// Queue an event for a session; the number tells it from a later one in the same row.
    Event(SessionKey, u64, EventCopy),
    /// Perform an effect that is for no session.
    Effect(Box<Effect>),
    /// Let an entry go on.
    Ready(Staged),
    /// Let an entry go on that its caller continued.
    Continued(Staged),
    /// Welcome a session; the number tells it from a later one in the same row.
    Activate(SessionKey, u64, ConnectionKey),
    /// End a session whose agent was unregistered; the number tells it from a later one in the
    /// same row, the connection from what it is after it came back.
    Dismiss(SessionKey, u64, Option<ConnectionKey>),
}

impl Engine {
    /// Does something as soon as every record so far is as durable as `level` says.
    pub(crate) fn hold(&mut self, now: Now, level: Durability, held: Held, out: &mut Output) {
        let hasty = match &held {
            Held::Done(..) => self.planted(Defect::AcceptBeforeFlush),
            Held::Item(_, item)
                if matches!(**item, SessionItem::Accepted(_) | SessionItem::Canceled { .. }) =>
            {
                self.planted(Defect::AcceptBeforeFlush)
            }
            Held::Ready(..) | Held::Continued(..) => self.planted(Defect::DeliverBeforeFlush),
            Held::Reply(..) => self.planted(Defect::ReplyBeforeFlush),
            Held::Effect(effect) => match **effect {
                Effect::Cleaned { .. } => self.planted(Defect::EarlyRemoval),
                _ => self.planted(Defect::ReadBeforeFlush),
            },
            Held::Item(..) | Held::Event(..) | Held::Activate(..) | Held::Dismiss(..) => false,
        };
        let queue = match level {
            Durability::Buffered if self.written < self.sequence => &mut self.until_written,
            // While what was held is being released, nothing overtakes it.
            Durability::Synced if self.synced < self.sequence || !self.until_synced.is_empty() => {
                out.flush |= self.synced < self.sequence;
                &mut self.until_synced
            }
            _ => return self.perform(now, held, out),
        };
        if hasty {
            return self.perform(now, held, out);
        }
        queue.push_back((self.sequence, held));
    }

    /// Tells a session something as soon as every record so far is as durable as `level` says, if
    /// it is then still on the same connection.
    pub(crate) fn hold_item(
        &mut self,
        now: Now,
        level: Durability,
        (connection, item): (ConnectionKey, SessionItem),
        out: &mut Output,
    ) {
        match item {
            item if !level.is_logged() => self.tell(connection, item, out),
            SessionItem::Done { first, last } if first == last => {
                self.hold(now, level, Held::Done(connection, first), out);
            }
            item => self.hold(now, level, Held::Item(connection, Box::new(item)), out),
        }
    }

    fn tell(&self, connection: ConnectionKey, item: SessionItem, out: &mut Output) {
        if self.connections.contains_key(&connection) {
            out.effects.push(Effect::Item { connection, item });
        }
    }

    /// Lets an entry go on as soon as every record so far is as durable as `level` says. What need
    /// not wait, as hardly anything ephemeral need, is spared the way through the queue.
    #[inline]
    pub(crate) fn hold_ready(
        &mut self,
        now: Now,
        level: Durability,
        (key, id): (EntryKey, EntryId),
        out: &mut Output,
    ) {
        let Some(staged) = self.staged(key).filter(|staged| staged.id == id) else { return };
        if level.is_logged() {
            self.hold(now, level, Held::Ready(staged), out);
        } else {
            self.let_in(now, staged, out);
        }
    }

    /// Does what waited for the log and need wait no longer.
    pub(crate) fn release_held(&mut self, now: Now, out: &mut Output) {
        while self.until_written.front().is_some_and(|&(at, _)| at <= self.written) {
            if let Some((_, held)) = self.until_written.pop_front() {
                self.perform(now, held, out);
            }
        }
        while self.until_synced.front().is_some_and(|&(at, _)| at <= self.synced) {
            if let Some((_, held)) = self.until_synced.pop_front() {
                self.perform(now, held, out);
            }
        }
    }

    fn perform(&mut self, now: Now, held: Held, out: &mut Output) {
        match held {
            Held::Done(connection, number) => {
                let item = SessionItem::Done { first: number, last: number };
                self.tell(connection, item, out);
            }
            Held::Item(connection, item) => self.tell(connection, *item, out),
            Held::Reply(tenant, session, reply) => {
                self.tell_reply(tenant, session, *reply, out);
            }
            Held::Event(session, serial, event) => {
                if self.sessions.get(session).is_some_and(|row| row.serial == serial) {
                    self.queue_event(now, session, event, out);
                }
            }
            Held::Effect(effect) => out.effects.push(*effect),
            Held::Ready(staged) => self.let_in(now, staged, out),
            Held::Continued(staged) if self.is_still(staged) => self.resume(now, staged, out),
            Held::Continued(..) => {}
            Held::Activate(session, serial, connection) => {
                self.activate(now, session, serial, connection, out);
            }
            Held::Dismiss(session, serial, connection) => {
                self.dismiss(now, session, serial, connection, out);
            }
        }
    }

    /// An entry as it is staged now.
    #[inline]
    pub(crate) fn staged(&self, key: EntryKey) -> Option<Staged> {
        let entry = self.entries.get(key)?;
        Some(Staged { key, id: entry.id, staging: entry.staging })
    }

    /// Lets an entry go on, if it still waits for this.
    #[inline]
    fn let_in(&mut self, now: Now, staged: Staged, out: &mut Output) {
        if self.is_still(staged) {
            self.make_ready(now, staged.key, out);
        }
    }

    /// Whether an entry is there and still waits for what was held.
    pub(crate) fn is_still(&self, staged: Staged) -> bool {
        let Staged { key, id, staging } = staged;
        self.entries.get(key).is_some_and(|entry| {
            entry.id == id && entry.place == Place::Staged && entry.staging == staging
        })
    }
}
