//! The sink of a session: what the broker says, told to whom it concerns.
//!
//! Runs on whichever thread drives the broker. It never blocks, never sends, and tells waiters
//! only after it has let go of the book.

use super::book::Told;
use super::connection::Core;
use std::sync::Arc;
use trunkline_types::session::{
    Delivery, EventDelivery, Operation, SessionItem, Sink, Subscription, Welcome,
};
use trunkline_types::{Refusal, RefusalCode};

/// Buffers that are reused from batch to batch.
#[derive(Default)]
pub(super) struct Scratch {
    told: Vec<Told>,
    deliveries: Vec<Delivery>,
    events: Vec<EventDelivery>,
}

/// The sink as the broker holds it.
impl Sink for Core {
    fn accept(&self, items: &mut Vec<SessionItem>) {
        let mut scratch = self.scratch.lock();
        let Scratch { told, deliveries, events } = &mut *scratch;
        let mut freed = 0;
        let mut quiet = false;
        let mut items = items.drain(..).peekable();
        while let Some(item) = items.next() {
            match item {
                SessionItem::Done { .. }
                | SessionItem::Accepted(_)
                | SessionItem::Refused { .. }
                | SessionItem::Reply(_) => {
                    let mut book = self.book.lock();
                    let mut item = Some(item);
                    while let Some(answer) = item {
                        freed += match answer {
                            SessionItem::Done { first, last } => book.done(first, last, told),
                            SessionItem::Accepted(accepted) => book.accepted(&accepted, told),
                            SessionItem::Refused { operation, refusal } => {
                                book.refused(operation, &refusal, told)
                            }
                            SessionItem::Reply(reply) => {
                                book.replied(reply, told);
                                0
                            }
                            _ => 0,
                        };
                        item = items.next_if(is_answer);
                    }
                    quiet |= book.is_quiet();
                }
                SessionItem::Delivery(delivery) => deliveries.push(delivery),
                SessionItem::Event(event) => events.push(event),
                SessionItem::Task { task, update } => self.watchers.update(task, &update),
                SessionItem::Cancel { token, reason } => {
                    if let Some(pool) = &self.pool {
                        pool.deliver(self, deliveries);
                        self.tell_later(pool.cancel(token, &reason).into_iter().collect());
                    }
                }
                SessionItem::GoAway { reason, reconnect } => {
                    let refusal = Refusal::new(RefusalCode::Unavailable, reason);
                    if !reconnect {
                        self.ended(&refusal);
                    } else if self.comes_back() {
                        tracing::info!(
                            reason = refusal.message,
                            "the broker sends the session away"
                        );
                    } else if let Some(core) = self.own() {
                        self.runtime.spawn(async move { core.leave(&refusal).await });
                    }
                }
            }
        }
        drop(items);
        if freed > 0 {
            self.room.add_permits(freed);
        }
        told.drain(..).for_each(Told::tell);
        if quiet {
            self.quiet.notify_waiters();
        }
        if let Some(pool) = &self.pool
            && !deliveries.is_empty()
        {
            pool.deliver(self, deliveries);
        }
        deliveries.clear();
        if !events.is_empty() && self.hub.deliver(events) {
            self.acknowledge_later();
        }
    }

    fn closed(&self, refusal: &Refusal) {
        self.ended(refusal);
    }

    fn reconnected(&self, welcome: &Welcome) {
        self.welcomed(welcome);
        if let Some(pool) = &self.pool {
            for &token in &welcome.revoked {
                // What is no longer the session's need not be given back.
                let _ = pool.cancel(token, "it is no longer the session's");
            }
        }
        if welcome.resumed {
            return;
        }
        let mut told = Vec::new();
        self.book.lock().forgotten(&mut told);
        told.into_iter().for_each(Told::tell);
        self.hub.forgotten();
        let watched = self.watchers.resume();
        let again = watched.into_iter().map(|(task, after)| Operation::Watch { task, after });
        let wanted = self
            .hub
            .patterns()
            .into_iter()
            .map(|pattern| Operation::Subscribe(Subscription { pattern, durable: false }));
        self.tell_later(again.chain(wanted).collect());
    }
}

impl Core {
    /// Acknowledges from another thread's stack, because the sink itself never sends.
    fn acknowledge_later(&self) {
        if let Some(core) = self.own() {
            self.runtime.spawn(async move { core.acknowledge(&mut Vec::new(), true) });
        }
    }

    fn tell_later(&self, operations: Vec<Operation>) {
        if let Some(core) = self.own()
            && !operations.is_empty()
        {
            self.runtime.spawn(async move { core.tell(operations) });
        }
    }

    /// The core as something that can be kept.
    pub(crate) fn own(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }
}

fn is_answer(item: &SessionItem) -> bool {
    matches!(
        item,
        SessionItem::Done { .. }
            | SessionItem::Accepted(_)
            | SessionItem::Refused { .. }
            | SessionItem::Reply(_)
    )
}
