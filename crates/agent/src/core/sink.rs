//! The sink of a session: what the broker says, told to whom it concerns.
//!
//! Runs on whichever thread drives the broker. It never blocks, never sends, and tells waiters
//! only after it has let go of the book.

use super::connection::Core;
use super::waiter::Told;
use std::sync::Arc;
use trunkline_types::session::{Delivery, EventDelivery, Operation, SessionItem, Sink, Welcome};
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
        let mut gathered = false;
        let mut items = items.drain(..).peekable();
        while let Some(item) = items.next() {
            match item {
                SessionItem::Done { .. }
                | SessionItem::Accepted(_)
                | SessionItem::Canceled(_)
                | SessionItem::Refused { .. }
                | SessionItem::Reply(_)
                | SessionItem::Gathered(_) => {
                    let mut book = self.book.lock();
                    let mut item = Some(item);
                    let mut refused = false;
                    while let Some(answer) = item {
                        freed += match answer {
                            SessionItem::Done { first, last } => book.done(first, last, told),
                            SessionItem::Accepted(accepted) => book.accepted(&accepted, told),
                            SessionItem::Canceled(canceled) => book.canceled(canceled, told),
                            SessionItem::Refused { operation, refusal } => {
                                refused = true;
                                book.refused(operation, &refusal, told)
                            }
                            SessionItem::Reply(reply) => {
                                book.replied(reply, told);
                                0
                            }
                            SessionItem::Gathered(gathered) => {
                                book.gathered(gathered, told);
                                0
                            }
                            _ => 0,
                        };
                        item = items.next_if(is_answer);
                    }
                    quiet |= book.is_quiet();
                    gathered |= refused && book.is_gathered();
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
                SessionItem::Pressure(pressure) => self.pressures.tell(pressure),
                SessionItem::Agent(news) => self.directory.put(*news),
                SessionItem::Drain { reason } => {
                    let refusal = Refusal::new(RefusalCode::Draining, reason);
                    if let Some(core) = self.own() {
                        self.runtime.spawn(async move { core.leave(&refusal).await });
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
        for told in told.drain(..) {
            told.tell(self);
        }
        if gathered {
            // What is said instead of what was refused.
            self.later(Self::flush);
        }
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
        // What is still so the broker says again.
        self.pressures.forget();
        self.directory.begin_anew();
        self.later(Self::watch_again);
        self.later(Self::follow_again);
        if welcome.resumed {
            return;
        }
        let mut told = Vec::new();
        self.book.lock().forgotten(&mut told);
        for told in told {
            told.tell(self);
        }
        self.hub.forgotten();
        self.later(Self::want_again);
    }
}

impl Core {
    /// Acknowledges from another thread's stack, because the sink itself never sends.
    fn acknowledge_later(&self) {
        self.later(|core| core.acknowledge(&mut Vec::new(), true));
    }

    /// Gives back deliveries that the session is not willing to hold, having said so once more, or
    /// they would come back.
    pub(crate) fn decline_later(&self, releases: Vec<Operation>) {
        self.later(|core| {
            if let Some(pool) = &core.pool {
                pool.adjust_credit(core);
            }
            core.tell(releases);
        });
    }

    fn tell_later(&self, operations: Vec<Operation>) {
        if !operations.is_empty() {
            self.later(|core| core.tell(operations));
        }
    }

    /// Does something on another thread's stack, because the sink itself never sends.
    fn later(&self, what: impl FnOnce(&Self) + Send + 'static) {
        if let Some(core) = self.own() {
            self.runtime.spawn(async move { what(&core) });
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
            | SessionItem::Canceled(_)
            | SessionItem::Refused { .. }
            | SessionItem::Reply(_)
            | SessionItem::Gathered(_)
    )
}
