//! The sink of a session: what the broker says, told to whom it concerns.
//!
//! Runs on whichever thread drives the broker. It never blocks, never sends, and tells waiters
//! only after it has let go of the book.

use super::book::Book;
use super::connection::Core;
use super::waiter::Told;
use parking_lot::MutexGuard;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use trunkline_types::session::{Delivery, EventDelivery, Operation, SessionItem, Sink, Welcome};
use trunkline_types::{Refusal, RefusalCode};

thread_local! {
    /// Buffers of whichever thread drives the broker, kept from batch to batch. Each session had its
    /// own once: with many of them, what is told to one found its buffers far from the processor.
    static SCRATCH: Cell<Scratch> = const {
        Cell::new(Scratch { told: Vec::new(), deliveries: VecDeque::new(), events: Vec::new() })
    };
}

/// Empty between two batches.
#[derive(Default)]
struct Scratch {
    told: Vec<Told>,
    deliveries: VecDeque<Delivery>,
    events: Vec<EventDelivery>,
}

/// The sink as the broker holds it.
impl Sink for Core {
    fn accept(&self, items: &mut Vec<SessionItem>) {
        // There are none on a thread that is ending.
        let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
        let Scratch { told, deliveries, events } = &mut scratch;
        let mut news = News::default();
        let mut book = None;
        for item in items.drain(..) {
            match item {
                // Most items are this, and all are large: it goes on as the little that it is.
                SessionItem::Done { first, last } => {
                    let book = book.get_or_insert_with(|| self.book.lock());
                    news.freed += book.done(first, last, told);
                }
                SessionItem::Accepted(_)
                | SessionItem::Canceled(_)
                | SessionItem::Refused { .. }
                | SessionItem::Reply(_)
                | SessionItem::Gathered(_) => {
                    let book = book.get_or_insert_with(|| self.book.lock());
                    news.answered(book, item, told);
                }
                // What is only put aside may be so under the lock.
                SessionItem::Delivery(delivery) => deliveries.push_back(delivery),
                SessionItem::Event(event) => events.push(event),
                item => {
                    news.let_go(&mut book);
                    self.told_otherwise(item, deliveries);
                }
            }
        }
        news.let_go(&mut book);
        let News { freed, quiet, gathered, .. } = news;
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
        let _ = SCRATCH.try_with(|kept| kept.set(scratch));
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
    /// What is neither an answer nor work nor an event.
    fn told_otherwise(&self, item: SessionItem, deliveries: &mut VecDeque<Delivery>) {
        match item {
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
                    tracing::info!(reason = refusal.message, "the broker sends the session away");
                } else if let Some(core) = self.own() {
                    self.runtime.spawn(async move { core.leave(&refusal).await });
                }
            }
            SessionItem::Done { .. }
            | SessionItem::Accepted(_)
            | SessionItem::Canceled(_)
            | SessionItem::Refused { .. }
            | SessionItem::Reply(_)
            | SessionItem::Gathered(_)
            | SessionItem::Delivery(_)
            | SessionItem::Event(_) => {}
        }
    }

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

/// What a batch of answers comes to.
#[derive(Default)]
struct News {
    /// Places that are free again.
    freed: usize,
    refused: bool,
    /// Whether every operation was answered at some time.
    quiet: bool,
    /// Whether there is something to be sent instead of what was refused.
    gathered: bool,
}

impl News {
    fn answered(&mut self, book: &mut Book, item: SessionItem, told: &mut Vec<Told>) {
        self.freed += match item {
            SessionItem::Accepted(accepted) => book.accepted(&accepted, told),
            SessionItem::Canceled(canceled) => book.canceled(canceled, told),
            SessionItem::Refused { operation, refusal } => {
                self.refused = true;
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
    }

    /// Lets go of the book, with a last look at it.
    fn let_go(&mut self, book: &mut Option<MutexGuard<'_, Book>>) {
        if let Some(book) = book.take() {
            self.quiet |= book.is_quiet();
            self.gathered |= self.refused && book.is_gathered();
        }
    }
}
