//! What waits to be sent to one client.
//!
//! Owns the items between the broker, which hands them over from any thread and must not wait,
//! and the response stream, which takes as many as fit a frame when the client has room. It is
//! bounded in bytes: a client that does not read is cut off rather than served from memory.

use crate::session::weight::weight;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use tokio::runtime::Handle;
use tonic::Status;
use trunkline_proto::status::from_refusal;
use trunkline_types::session::{Connection, SessionItem, Sink};
use trunkline_types::{Refusal, RefusalCode};

/// Most items in one frame.
pub(crate) const ITEMS_PER_FRAME: usize = 4_096;
/// Most bytes in one frame, unless its only item is larger.
pub(crate) const BYTES_PER_FRAME: usize = 1 << 20;
/// An idle stream keeps room for this many items; more is given back, so that it costs little
/// after a burst.
const ITEMS_KEPT: usize = 8;
/// For most refused operations of a session it is kept why until the broker has answered.
const REFUSED_KEPT: usize = 65_536;

/// The items that wait for one client, the way to its session, and how the stream ends.
pub(crate) struct Outbox {
    most_bytes: usize,
    /// Where a connection is dropped whose client does not read: the thread that finds out may
    /// hold up other sessions and belongs to no runtime.
    runtime: Handle,
    /// Streams cut off, over all outboxes of the server.
    overflows: Arc<AtomicU64>,
    /// A lock, because the broker's threads and the stream's task meet here; held for moves of
    /// items only, never while one of them is encoded or the broker is called.
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<SessionItem>,
    bytes: usize,
    /// Why operations are refused, by their numbers, until the broker has refused what stands in
    /// for them.
    refused: HashMap<u64, Refusal>,
    waker: Option<Waker>,
    connection: Option<Arc<dyn Connection>>,
    end: Option<Result<(), Status>>,
}

impl Outbox {
    /// An empty outbox that holds at most `most_bytes`. Must be called within a runtime.
    pub(crate) fn new(most_bytes: usize, overflows: Arc<AtomicU64>) -> Self {
        let runtime = Handle::current();
        Self { most_bytes, runtime, overflows, queue: Mutex::default() }
    }

    /// Gives the outbox its connection to keep until the stream ends.
    pub(crate) fn attach(&self, connection: Arc<dyn Connection>) {
        let mut queue = self.queue.lock();
        if queue.end.is_none() {
            queue.connection = Some(connection);
        }
    }

    /// The way to the session; `None` once the stream has ended.
    pub(crate) fn connection(&self) -> Option<Arc<dyn Connection>> {
        self.queue.lock().connection.clone()
    }

    /// Says why the broker will refuse these operations.
    pub(crate) fn refuse(&self, refused: Vec<(u64, Refusal)>) {
        if refused.is_empty() {
            return;
        }
        let mut queue = self.queue.lock();
        for (number, refusal) in refused {
            if queue.refused.len() < REFUSED_KEPT {
                queue.refused.insert(number, refusal);
            }
        }
    }

    /// Ends the stream after what already waits: with a status, or well. The connection is let
    /// go, which loses the session unless it said goodbye before. The first end counts.
    pub(crate) fn end(&self, how: Result<(), Status>) {
        let mut queue = self.queue.lock();
        queue.end.get_or_insert(how);
        let connection = queue.connection.take();
        let waker = queue.waker.take();
        drop(queue);
        drop(connection);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Forgets who waits, so that items which come while the stream itself is at work do not
    /// wake it for nothing.
    pub(crate) fn awake(&self) {
        let waker = self.queue.lock().waker.take();
        drop(waker);
    }

    /// Whether something waits.
    pub(crate) fn has_items(&self) -> bool {
        !self.queue.lock().items.is_empty()
    }

    /// Moves what fits a frame into `items`, which must be empty. `Some(end)` if nothing is left
    /// and the stream has ended; pending, with the waker kept, if there is nothing to take. Then
    /// the room of both queues is given back.
    pub(crate) fn poll_take(
        &self,
        context: &Context<'_>,
        items: &mut Vec<SessionItem>,
    ) -> Poll<Option<Result<(), Status>>> {
        let mut queue = self.queue.lock();
        if queue.items.is_empty() {
            if let Some(end) = queue.end.clone() {
                return Poll::Ready(Some(end));
            }
            queue.waker = Some(context.waker().clone());
            if queue.items.capacity() > ITEMS_KEPT {
                queue.items = VecDeque::new();
            }
            if items.capacity() > ITEMS_KEPT {
                *items = Vec::new();
            }
            return Poll::Pending;
        }
        let mut count = 0;
        let mut bytes = 0;
        for item in queue.items.iter().take(ITEMS_PER_FRAME) {
            let size = weight(item);
            if count > 0 && bytes + size > BYTES_PER_FRAME {
                break;
            }
            count += 1;
            bytes += size;
        }
        items.extend(queue.items.drain(..count));
        queue.bytes -= bytes;
        Poll::Ready(None)
    }
}

impl Queue {
    /// Has refusals say why where that is known.
    fn explain(&mut self, items: &mut [SessionItem]) {
        for item in items {
            if let SessionItem::Refused { operation, refusal } = item
                && let Some(why) = self.refused.remove(operation)
            {
                *refusal = why;
            }
        }
    }
}

/// The broker's end of an outbox. When the broker lets go of it nothing more will come, so the
/// stream ends: its session goes on over another connection, or the broker has stopped.
#[derive(Debug)]
pub(crate) struct BrokerSide(pub(crate) Arc<Outbox>);

impl Drop for BrokerSide {
    fn drop(&mut self) {
        self.0.end(Err(Status::unavailable("the broker has let go of this connection")));
    }
}

impl Sink for BrokerSide {
    fn accept(&self, items: &mut Vec<SessionItem>) {
        self.0.accept(items);
    }
}

impl Outbox {
    /// Takes a batch, or ends the stream if its client has let too much gather.
    fn accept(&self, items: &mut Vec<SessionItem>) {
        let mut bytes: usize = items.iter().map(weight).sum();
        let mut queue = self.queue.lock();
        if !queue.refused.is_empty() {
            queue.explain(items);
            bytes = items.iter().map(weight).sum();
        }
        if queue.end.is_some() {
            drop(queue);
            items.clear();
            return;
        }
        if queue.bytes + bytes > self.most_bytes {
            let message = format!(
                "{} bytes wait for this session because its client does not read them, the limit \
                 is {}",
                queue.bytes + bytes,
                self.most_bytes
            );
            let refusal = Refusal::new(RefusalCode::InboxFull, message);
            queue.end = Some(Err(from_refusal(&refusal)));
            queue.bytes = 0;
            let dropped = std::mem::take(&mut queue.items);
            let connection = queue.connection.take();
            let waker = queue.waker.take();
            drop(queue);
            tracing::warn!("ended a stream: {refusal}");
            self.overflows.fetch_add(1, Ordering::Relaxed);
            items.clear();
            drop(dropped);
            self.runtime.spawn(async move { drop(connection) });
            if let Some(waker) = waker {
                waker.wake();
            }
            return;
        }
        queue.items.extend(items.drain(..));
        queue.bytes += bytes;
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.queue.lock();
        f.debug_struct("Outbox")
            .field("items", &queue.items.len())
            .field("bytes", &queue.bytes)
            .field("end", &queue.end)
            .finish_non_exhaustive()
    }
}
