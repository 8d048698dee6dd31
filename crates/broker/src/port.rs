//! A session's port: its outbox, and the way to its sink.

use crate::combine::{Combining, Queue, Worked};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;
use trunkline_types::Refusal;
use trunkline_types::session::{SessionItem, Sink, Welcome};

/// How often a flush looks for more before it starts over.
const TURNS: usize = 64;

/// How the answer to a hello is handed over.
pub(crate) type Welcomer = oneshot::Sender<Result<Box<Welcome>, Refusal>>;

/// Where items for a session gather until they are handed to its sink in one batch.
pub(crate) struct Port {
    sink: Arc<dyn Sink>,
    /// The outbox, and beside it the buffer that the sink empties; the second one's holder is
    /// the one that calls the sink, so that it is never called twice at once.
    items: Combining<Outbox, Vec<SessionItem>>,
    handed: Arc<Handed>,
    welcome: Mutex<Option<Welcomer>>,
}

/// What all sessions of a partition were handed. Atomics, because ports are flushed outside of the
/// partition's lock, several at once.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    /// How often.
    pub(crate) times: AtomicU64,
    /// How many items in all.
    pub(crate) items: AtomicU64,
}

/// What a session is to be told.
#[derive(Debug, Default)]
struct Outbox {
    items: Vec<SessionItem>,
    /// Why nothing more will come after the items.
    closing: Option<Refusal>,
}

impl Queue for Outbox {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.closing.is_none()
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").finish_non_exhaustive()
    }
}

impl Port {
    pub(crate) fn new(sink: Arc<dyn Sink>, welcome: Welcomer, handed: Arc<Handed>) -> Self {
        Self {
            sink,
            handed,
            items: Combining::new(Outbox::default(), Vec::new()),
            welcome: Mutex::new(Some(welcome)),
        }
    }

    /// Answers the hello.
    pub(crate) fn welcome(&self, result: Result<Box<Welcome>, Refusal>) {
        if let Some(sender) = self.welcome.lock().take() {
            // Whoever said hello may have given up waiting.
            let _ = sender.send(result);
        }
    }

    /// Nothing more will come: the sink is told so by the next flush.
    pub(crate) fn close(&self, refusal: Refusal) {
        self.welcome(Err(refusal.clone()));
        self.items.bring(|outbox| outbox.closing = Some(refusal));
    }

    /// Puts items into the outbox. Consecutive confirmations become one.
    pub(crate) fn push(&self, item: SessionItem) {
        self.items.bring(|outbox| {
            if let (SessionItem::Done { first, last }, Some(SessionItem::Done { last: end, .. })) =
                (&item, outbox.items.last_mut())
                && *end + 1 == *first
            {
                *end = *last;
                return;
            }
            outbox.items.push(item);
        });
    }

    /// Hands the outbox to the sink, unless somebody is doing so and will see it.
    pub(crate) fn flush(&self) {
        loop {
            let worked = self.items.work(
                TURNS,
                |batch, outbox| {
                    let closing = {
                        let mut outbox = outbox.lock();
                        std::mem::swap(&mut **batch, &mut outbox.items);
                        outbox.closing.take()
                    };
                    if !batch.is_empty() {
                        self.handed.times.fetch_add(1, Ordering::Relaxed);
                        self.handed.items.fetch_add(batch.len() as u64, Ordering::Relaxed);
                        self.sink.accept(batch);
                        batch.clear();
                    }
                    if let Some(refusal) = closing {
                        self.sink.closed(&refusal);
                    }
                },
                || {},
            );
            if worked == Worked::Done {
                return;
            }
        }
    }
}
