//! Events of a session's own subscriptions: no lease, no entry, acknowledged cumulatively.

use super::session::SessionEvents;
use crate::command::ConnectionKey;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::now::Now;
use crate::queue::Place;
use crate::route::Subscriber;
use crate::table::{InboxKey, SessionKey};
use std::sync::Arc;
use trunkline_types::session::{EventDelivery, SessionItem};
use trunkline_types::{Publish, TopicPattern, WallTime};

/// An event that waits for credit.
#[derive(Debug)]
pub(crate) struct EventItem {
    pub(crate) publish: Arc<Publish>,
    expires_at: Option<WallTime>,
    /// How many were dropped right before it.
    missed: u64,
}

impl Engine {
    /// Queues an event for a session, or drops it if the session is over its bound. Returns
    /// whether it was queued.
    pub(crate) fn queue_event(
        &mut self,
        now: Now,
        session: SessionKey,
        publish: &Arc<Publish>,
        out: &mut Output,
    ) -> bool {
        let row = &mut self.sessions[session];
        let bare = self.tenants[row.tenant].bare;
        let inbox = &mut self.inboxes[bare];
        inbox.counters.accepted += 1;
        let events = row.events.get_or_insert_default();
        let size = publish.envelope.payload.data.len() as u64;
        let count = events.waiting.len() + events.unacknowledged.len();
        if count >= self.config.inbox_ephemeral as usize
            || events.waiting_bytes + size > self.config.inbox_ephemeral_bytes
        {
            events.missed += 1;
            inbox.counters.dropped += 1;
            return false;
        }
        inbox.places[Place::Ready as usize] += 1;
        events.waiting_bytes += size;
        events.waiting.push_back(EventItem {
            publish: publish.clone(),
            expires_at: publish.envelope.ttl.map(|ttl| now.wall.after(ttl)),
            missed: std::mem::take(&mut events.missed),
        });
        self.send_events(now, session, out);
        true
    }

    /// Sends events for as long as there is credit.
    pub(crate) fn send_events(&mut self, now: Now, session: SessionKey, out: &mut Output) {
        let row = &mut self.sessions[session];
        let (Some(connection), true) = (row.connection, row.active) else { return };
        let Some(events) = &mut row.events else { return };
        let inbox = &mut self.inboxes[self.tenants[row.tenant].bare];
        while events.unacknowledged.len() < row.credit.events as usize {
            let Some(item) = events.waiting.pop_front() else { return };
            events.waiting_bytes -= item.publish.envelope.payload.data.len() as u64;
            inbox.places[Place::Ready as usize] -= 1;
            if item.expires_at.is_some_and(|at| at <= now.wall) {
                inbox.counters.expired += 1;
                // What was missed before it is still to be told, with the next one.
                match events.waiting.front_mut() {
                    Some(next) => next.missed += item.missed,
                    None => events.missed += item.missed,
                }
                continue;
            }
            inbox.places[Place::Leased as usize] += 1;
            events.sent += 1;
            let number = events.sent;
            events.unacknowledged.push_back((number, item.publish.clone(), item.missed));
            tell(connection, number, item.publish, item.missed, out);
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
        while events.unacknowledged.front().is_some_and(|&(number, ..)| number <= through) {
            events.unacknowledged.pop_front();
            inbox.places[Place::Leased as usize] -= 1;
            inbox.counters.settled += 1;
        }
        self.send_events(now, session, out);
    }

    /// Sets the subscriptions that live as long as the session.
    pub(crate) fn set_session_patterns(&mut self, session: SessionKey, wanted: Vec<TopicPattern>) {
        let row = &mut self.sessions[session];
        if wanted.is_empty() && row.events.is_none() {
            return;
        }
        let topics = &mut self.tenants[row.tenant].topics;
        let events = row.events.get_or_insert_default();
        for pattern in &events.patterns {
            topics.remove(pattern, Subscriber::Session(session));
        }
        for pattern in &wanted {
            topics.add(pattern, Subscriber::Session(session));
        }
        events.patterns = wanted;
    }

    /// Drops what the subscriptions of an ended session still had.
    pub(crate) fn drop_events(&mut self, session: SessionKey) {
        self.set_session_patterns(session, Vec::new());
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
