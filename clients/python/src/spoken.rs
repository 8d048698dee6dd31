//! Sessions over the network, and the workers of their agents, for once driven by the thread of a
//! Python loop.
//!
//! The runtime drives them, and is woken when something was said or a handler is done. For what
//! comes alone that would be a hop between threads for nothing but a write to a socket: who says it
//! drives them itself, see [`here`]. What comes in bursts is left to the runtime, which gathers it
//! while Python goes on.

use crate::guard;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use tokio::runtime::Handle;
use trunkline_agent::WorkerFuture;

thread_local! {
    /// What was woken by what this thread does, if it is to drive that itself.
    static WOKEN: RefCell<Option<Vec<Arc<Spoken>>>> = const { RefCell::new(None) };
}

/// Most turns after something was said. A worker takes one to settle, and a session two to write,
/// because it lets others speak before it does.
const TURNS: usize = 8;

/// What is driven by the runtime, and by who speaks.
struct Spoken {
    /// `None` once it has ended.
    driven: Mutex<Option<WorkerFuture>>,
    /// What has the runtime drive it, once that has begun to.
    task: OnceLock<Waker>,
}

/// Has the runtime drive a session or a worker.
pub(crate) fn drive(driven: WorkerFuture, runtime: &Handle) {
    let spoken = Arc::new(Spoken { driven: Mutex::new(Some(driven)), task: OnceLock::new() });
    runtime.spawn(poll_fn(move |context| {
        spoken.task.get_or_init(|| context.waker().clone());
        spoken.poll(&mut spoken.driven.lock())
    }));
}

/// Whether this thread drives what it wakes by itself, further up. Handlers must not begin then: what
/// drives is locked, and would be asked to drive itself.
pub(crate) fn is_here() -> bool {
    WOKEN.with_borrow(Option::is_some)
}

/// Does something, and then drives what it has woken. Tells whether there was any of that.
pub(crate) fn here<T>(what: impl FnOnce() -> T) -> (T, bool) {
    if is_here() {
        // It is driven further up.
        return (what(), false);
    }
    let _woken = Collecting::begin();
    let (done, mut drove) = (what(), false);
    for _ in 0..TURNS {
        let woken = WOKEN.with_borrow_mut(|woken| woken.as_mut().map(std::mem::take));
        let Some(woken) = woken.filter(|woken| !woken.is_empty()) else { break };
        drove = true;
        for spoken in woken {
            spoken.drive_here();
        }
    }
    (done, drove)
}

/// This thread collects what it wakes, however that ends.
struct Collecting;

impl Collecting {
    fn begin() -> Self {
        WOKEN.set(Some(Vec::new()));
        Self
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        // The runtime drives those that have more to do.
        for spoken in WOKEN.take().into_iter().flatten() {
            spoken.wake_task();
        }
    }
}

impl Spoken {
    fn poll(self: &Arc<Self>, driven: &mut Option<WorkerFuture>) -> Poll<()> {
        let Some(future) = driven else { return Poll::Ready(()) };
        let waker = Waker::from(Arc::clone(self));
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            *driven = None;
        }
        polled
    }

    /// Drives it on this thread, unless the runtime is at it. How much a session takes in by that is
    /// bounded by its credit. It must not wait for the interpreter's lock, because the runtime waits
    /// for it.
    fn drive_here(self: &Arc<Self>) {
        let Some(mut driven) = self.driven.try_lock() else { return self.wake_task() };
        let polled = guard::caught(|| self.poll(&mut driven));
        if polled.is_err() {
            // A mistake of the runtime, which ends it alone, as it would a task.
            *driven = None;
        }
        if driven.is_none() {
            drop(driven);
            self.wake_task();
        }
    }

    fn wake_task(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

impl std::task::Wake for Spoken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let collected = WOKEN.try_with(|woken| {
            let Ok(mut woken) = woken.try_borrow_mut() else { return false };
            let Some(woken) = woken.as_mut() else { return false };
            if !woken.iter().any(|known| Arc::ptr_eq(known, self)) {
                woken.push(Arc::clone(self));
            }
            true
        });
        if collected != Ok(true) {
            self.wake_task();
        }
    }
}
