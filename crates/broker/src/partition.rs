//! A partition: one engine behind a combining lock, with no thread of its own.

use crate::broker::BrokerState;
use crate::combine::{Combining, Worked};
use crate::core::{Core, Input};
use crate::filters::FilterTable;
use crate::port::{Handed, Port};
use crate::timer::Alarm;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use trunkline_engine::{ConnectionKey, Mono};
use trunkline_log::Progress;
use trunkline_types::Sequence;

/// Turns that one caller takes before it hands over to a task of its own.
const TURNS: usize = 32;

/// One engine behind a combining lock.
pub(crate) struct Partition {
    pub(crate) core: Combining<Vec<Input>, Core>,
    pub(crate) filters: Arc<FilterTable>,
    pub(crate) alarm: Arc<Alarm>,
    pub(crate) state: watch::Sender<BrokerState>,
    /// What sessions were handed.
    pub(crate) handed: Arc<Handed>,
    /// Told whenever a connection is closed.
    pub(crate) closed: Notify,
    runtime: Handle,
    next_connection: AtomicU64,
    /// The sequence of the last record that the log was opened with: its positions count from there.
    base: Sequence,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").finish_non_exhaustive()
    }
}

impl Partition {
    pub(crate) fn new(
        core: Core,
        filters: Arc<FilterTable>,
        base: Sequence,
        runtime: Handle,
    ) -> Arc<Self> {
        Arc::new(Self {
            filters,
            handed: core.handed.clone(),
            core: Combining::new(Vec::new(), core),
            alarm: Arc::default(),
            state: watch::Sender::new(BrokerState::Ready),
            closed: Notify::new(),
            runtime,
            next_connection: AtomicU64::new(1),
            base,
        })
    }

    /// A number for a new connection.
    pub(crate) fn connection_key(&self) -> ConnectionKey {
        ConnectionKey(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// Brings something, and does it unless somebody is at work who will.
    pub(crate) fn bring(self: &Arc<Self>, input: Input) {
        self.core.bring(|queue| queue.push(input));
        self.work();
    }

    /// Takes note of the log's progress, on the log's thread.
    pub(crate) fn progress(self: &Arc<Self>, progress: Progress) {
        match progress {
            Progress::Advanced { written, synced, space } => {
                let at = |position: u64| Sequence(self.base.0 + position);
                let (written, synced) = (at(written.0), at(synced.0));
                self.bring(Input::Durable { written, synced, space });
            }
            Progress::Failed { reason } => self.bring(Input::Failed { reason }),
        }
    }

    /// Looks at the core, waiting for whoever is at work.
    pub(crate) fn look<R>(self: &Arc<Self>, look: impl FnOnce(&mut Core) -> R) -> R {
        let result = look(&mut self.core.state());
        self.work();
        result
    }

    /// Lets go of a partition on the log's thread, which must not be the one to close the log.
    pub(crate) fn let_go(self: Arc<Self>) {
        if let Some(last) = Arc::into_inner(self) {
            // Not on the runtime, which may be gone already and would drop it here and now.
            std::thread::spawn(move || drop(last));
        }
    }

    fn note_failure(&self, reason: &str) {
        self.state.send_if_modified(|state| {
            let news = !matches!(state, BrokerState::Failed(_) | BrokerState::Closed);
            if news {
                *state = BrokerState::Failed(reason.to_owned());
            }
            news
        });
    }

    fn work(self: &Arc<Self>) {
        let mut dirty = Vec::new();
        let mut wake = None;
        let connections = |core: &Core| core.connections();
        let worked = {
            let dirty = std::cell::RefCell::new(&mut dirty);
            self.core.work(
                TURNS,
                |core, queue| {
                    std::mem::swap(&mut core.inputs, &mut *queue.lock());
                    let before = connections(core);
                    wake = turn(core, &mut dirty.borrow_mut());
                    if let Some(reason) = core.failure() {
                        self.note_failure(reason);
                    }
                    if connections(core) < before {
                        self.closed.notify_waiters();
                    }
                    // Under the lock, so that an older turn never sets a later time.
                    self.alarm.set(wake);
                },
                || {
                    for port in dirty.borrow_mut().drain(..) {
                        port.flush();
                    }
                },
            )
        };
        if worked == Worked::More {
            let partition = self.clone();
            self.runtime.spawn(async move { partition.work() });
        }
    }
}

/// A turn of the core. A panic in it is a defect, after which the engine may be half changed: the
/// broker then fails as it does when its log fails, rather than going on with that.
fn turn(core: &mut Core, dirty: &mut Vec<Arc<Port>>) -> Option<Mono> {
    let turned = std::panic::catch_unwind(AssertUnwindSafe(|| core.turn(dirty)));
    turned.unwrap_or_else(|_| {
        core.fail("the engine panicked; its message is on stderr");
        core.take_dirty(dirty);
        None
    })
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.alarm.look();
    }
}
