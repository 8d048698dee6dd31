//! Events of a session's own subscriptions: no lease, no entry, acknowledged cumulatively.

use super::session::SessionEvents;
use crate::command::ConnectionKey;
use crate::defect::Defect;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::now::Now;
use crate::queue::Place;
use crate::table::{InboxKey, SessionKey};
use std::sync::Arc;
use trunkline_types::session::{EventDelivery, SessionItem};
use trunkline_types::{Publish, WallTime, WhenFull};

/// An event on its way to a session.
#[derive(Debug)]
pub(crate) struct EventCopy {
    pub(crate) publish: Arc<Publish>,
    /// When its time to live ends.
    pub(crate) expires_at: Option<WallTime>,
    /// What is to happen if the session has too many.
    pub(crate) when_full: WhenFull,
}

impl EventCopy {
    /// A copy of an event that came at a time.
    pub(crate) fn new(publish: &Arc<Publish>, at: WallTime, when_full: WhenFull) -> Self {
        let expires_at = publish.envelope.ttl.map(|ttl| at.after(ttl));
        Self { publish: publish.clone(), expires_at, when_full }
    }
}

/// An event that waits for credit.
#[derive(Debug)]
pub(crate) struct EventItem {
    number: u64,
    pub(crate) publish: Arc<Publish>,
    expires_at: Option<WallTime>,
    /// How many right before it were dropped or expired.
    missed: u64,
}

impl SessionEvents {
    /// Takes out the event that waits longest.
    fn take_first(&mut self) -> Option<EventItem> {
        let item = self.waiting.pop_front()?;
        self.waiting_bytes -= item.publish.envelope.payload.data.len() as u64;
        Some(item)
    }

    /// Whether there are too many of them for another one, or too large ones.
    fn is_full(&self, size: u64, most: usize, most_bytes: u64) -> bool {
        self.waiting.len() + self.unacknowledged.len() >= most
            || self.waiting_bytes + size > most_bytes
    }

    /// Whether the session would take another one, if it may hold this many bytes.
    fn has_credit(&self, credit: u32, most_bytes: u64) -> bool {
        self.unacknowledged.len() < credit as usize
            && (self.unacknowledged.is_empty() || self.unacknowledged_bytes < most_bytes)
    }

    /// An event that was taken out is not sent: it and what was missed before it are told with
    /// the next one.
    fn note_missed(&mut self, item: &EventItem) {
        let missed = item.missed + 1;
        match self.waiting.front_mut() {
            Some(next) => next.missed += missed,
            None => self.missed += missed,
        }
    }
}

impl Engine {
    /// Whether a session has as many events as it may, or has no room for one more like this.
    pub(crate) fn is_event_full(&self, session: SessionKey, publish: &Publish) -> bool {
        let size = publish.envelope.payload.data.len() as u64;
        let (most, most_bytes) =
            (self.config.inbox_ephemeral as usize, self.config.inbox_ephemeral_bytes);
        match &self.sessions[session].events {
            Some(events) => events.is_full(size, most, most_bytes),
            None => most == 0 || size > most_bytes,
        }
    }

    /// Queues an event for a session. If the session is over its bound, drops it or the oldest
    /// that wait, as the subscription says. Returns whether it was queued.
    pub(crate) fn queue_event(
        &mut self,
        now: Now,
        session: SessionKey,
        event: EventCopy,
        out: &mut Output,
    ) -> bool {
        let EventCopy { publish, expires_at, when_full } = event;
        let told = u64::from(!self.planted(Defect::UntoldDrop));
        let row = &mut self.sessions[session];
        let bare = self.tenants[row.tenant].bare;
        let inbox = &mut self.inboxes[bare];
        inbox.counters.accepted += 1;
        let ready = row.connection.filter(|_| row.active);
        let events = row.events.get_or_insert_default();
        events.last += 1;
        let number = events.last;
        let size = publish.envelope.payload.data.len() as u64;
        let (most, most_bytes) =
            (self.config.inbox_ephemeral as usize, self.config.inbox_ephemeral_bytes);
        let fits = events.unacknowledged.len() < most && size <= most_bytes;
        while when_full == WhenFull::DropOldest && fits && events.is_full(size, most, most_bytes) {
            let Some(item) = events.take_first() else { break };
            if told > 0 {
                events.note_missed(&item);
            }
            inbox.places[Place::Ready as usize] -= 1;
            inbox.counters.dropped += told;
        }
        if events.is_full(size, most, most_bytes) {
            events.missed += 1;
            inbox.counters.dropped += 1;
            return false;
        }
        let missed = std::mem::take(&mut events.missed);
        // What has nothing before it and need not wait goes out at once.
        if let Some(connection) = ready
            && events.waiting.is_empty()
            && events.has_credit(row.credit.events, self.config.session_bytes)
            && expires_at.is_none()
        {
            inbox.places[Place::Leased as usize] += 1;
            events.unacknowledged_bytes += size;
            events.unacknowledged.push_back((number, publish.clone(), missed));
            tell(connection, number, publish, missed, out);
            return true;
        }
        inbox.places[Place::Ready as usize] += 1;
        events.waiting_bytes += size;
        events.waiting.push_back(EventItem { number, publish, expires_at, missed });
        self.send_events(now, session, out);
        true
    }

    /// A session misses an event for which it was not found out whether it wants it.
    pub(crate) fn miss_event(&mut self, session: SessionKey) {
        let row = &mut self.sessions[session];
        let inbox = &mut self.inboxes[self.tenants[row.tenant].bare];
        inbox.counters.accepted += 1;
        inbox.counters.dropped += 1;
        let events = row.events.get_or_insert_default();
        events.last += 1;
        events.missed += 1;
    }

    /// Sends events for as long as there is credit.
    pub(crate) fn send_events(&mut self, now: Now, session: SessionKey, out: &mut Output) {
        let row = &mut self.sessions[session];
        let (Some(connection), true) = (row.connection, row.active) else { return };
        let Some(events) = &mut row.events else { return };
        let inbox = &mut self.inboxes[self.tenants[row.tenant].bare];
        // What a session does not read must not pile up on its way to it.
        let most_bytes = self.config.session_bytes;
        while events.has_credit(row.credit.events, most_bytes) {
            let Some(item) = events.take_first() else { return };
            inbox.places[Place::Ready as usize] -= 1;
            if item.expires_at.is_some_and(|at| at <= now.wall) {
                inbox.counters.expired += 1;
                events.note_missed(&item);
                continue;
            }
            inbox.places[Place::Leased as usize] += 1;
            let EventItem { number, publish, missed, .. } = item;
            events.unacknowledged_bytes += publish.envelope.payload.data.len() as u64;
            events.unacknowledged.push_back((number, publish.clone(), missed));
            tell(connection, number, publish, missed, out);
        }
    }

    /// Sends again, over a new connection, what was not acknowledged.
    pub(crate) fn resend_events(&mut self, session: SessionKey, out: &mut Output) {
        let row = &self.sessions[session];
        let (Some(connection), Some(events)) = (row.connection, &row.events) else { return };
        for (number, publish, missed) in &events.unacknowledged {
            tell(connection, *number, publish.clone(), *missed, out);
        }
    }

    /// Everything up to a number is handled.
    pub(crate) fn acknowledge(
        &mut self,
        now: Now,
        session: SessionKey,
        through: u64,
        out: &mut Output,
    ) {
        let row = &mut self.sessions[session];
        let Some(events) = &mut row.events else { return };
        let inbox = &mut self.inboxes[self.tenants[row.tenant].bare];
        while let Some((_, publish, _)) =
            events.unacknowledged.pop_front_if(|&mut (number, ..)| number <= through)
        {
            events.unacknowledged_bytes -= publish.envelope.payload.data.len() as u64;
            inbox.places[Place::Leased as usize] -= 1;
            inbox.counters.settled += 1;
        }
        self.send_events(now, session, out);
    }

    /// Drops what the subscriptions of an ended session still had.
    pub(crate) fn drop_events(&mut self, now: Now, session: SessionKey, out: &mut Output) {
        self.set_session_subscriptions(now, session, &[], out);
        let row = &mut self.sessions[session];
        let bare: InboxKey = self.tenants[row.tenant].bare;
        let Some(events) = row.events.take() else { return };
        let SessionEvents { waiting, unacknowledged, .. } = *events;
        let inbox = &mut self.inboxes[bare];
        for (place, count) in [(Place::Ready, waiting.len()), (Place::Leased, unacknowledged.len())]
        {
            let count = u32::try_from(count).expect("bounded by the inbox limit");
            inbox.places[place as usize] -= count;
            inbox.counters.dropped += u64::from(count);
        }
    }
}

fn tell(
    connection: ConnectionKey,
    number: u64,
    publish: Arc<Publish>,
    missed: u64,
    out: &mut Output,
) {
    let item = SessionItem::Event(EventDelivery { number, publish, missed });
    out.effects.push(Effect::Item { connection, item });
}
