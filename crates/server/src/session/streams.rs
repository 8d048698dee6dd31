//! The streams that are open, so that all of them can be ended at shutdown.

use super::outbox::Outbox;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tonic::Status;

/// The open streams of a server.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// A lock, because streams come and go on every connection; never held while one is ended.
    open: Mutex<Open>,
    /// Streams ended because their client did not read.
    pub(crate) overflows: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    outboxes: HashMap<u64, Weak<Outbox>>,
    /// Set once all streams have been ended: those that come later end at once.
    ended: Option<Status>,
}

/// A stream's place among the open ones; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    streams: Arc<Streams>,
    number: u64,
}

impl Streams {
    /// Makes an outbox for a new stream and counts it among the open ones.
    pub(crate) fn open(self: &Arc<Self>, most_bytes: usize) -> (Arc<Outbox>, Place) {
        let outbox = Arc::new(Outbox::new(most_bytes, self.overflows.clone()));
        let mut open = self.open.lock();
        open.last += 1;
        let number = open.last;
        open.outboxes.insert(number, Arc::downgrade(&outbox));
        let ended = open.ended.clone();
        drop(open);
        if let Some(status) = ended {
            outbox.end(Err(status));
        }
        (outbox, Place { streams: self.clone(), number })
    }

    /// How many streams are open.
    pub(crate) fn count(&self) -> usize {
        self.open.lock().outboxes.len()
    }

    /// How many streams were ended because their client did not read.
    pub(crate) fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    /// Ends all streams, after what waits in them, and those still to come.
    pub(crate) fn end_all(&self, status: &Status) {
        let outboxes: Vec<_> = {
            let mut open = self.open.lock();
            open.ended = Some(status.clone());
            open.outboxes.values().filter_map(Weak::upgrade).collect()
        };
        for outbox in outboxes {
            outbox.end(Err(status.clone()));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.streams.open.lock().outboxes.remove(&self.number);
    }
}
