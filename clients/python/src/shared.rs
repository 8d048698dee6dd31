//! What the thread of an event loop and those of the runtime share: what each has for the other.
//!
//! It owns the calls that are not done, what has become ready, and the workers that the loop's thread
//! is about to run. It decides which thread does what, and wakes the loop once for all of it. How
//! Python sees that is the [`Bridge`](crate::bridge::Bridge)'s.

use crate::job::{self, Beginning, Job, SPAN};
use crate::wake::Wake;
use crate::{errors, guard, runtime, spoken};
use async_task::Runnable;
use parking_lot::Mutex;
use pyo3::prelude::*;
use std::cell::Cell;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;
use tokio::runtime::Handle;
use trunkline_agent::WorkerFuture;

/// What a call comes to, made into a Python object on the loop's thread.
pub(crate) type Finish = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

type Call = Pin<Box<dyn Future<Output = Finish> + Send>>;

/// Most of what has become ready that is handed over before other callbacks of the loop have
/// their turn.
const TURN: usize = 1024;

thread_local! {
    /// The bridge for which this thread does something, if it is the thread of its loop.
    static HERE: Cell<*const Shared> = const { Cell::new(std::ptr::null()) };
}

/// Most turns of workers within one drain.
const ROUNDS: usize = 16;

/// See the module.
pub(crate) struct Shared {
    wake: Wake,
    state: Mutex<State>,
    /// Calls that are not done and not being polled. Not held while one is polled.
    calls: Mutex<HashMap<u64, (Call, std::task::Waker)>>,
    next: AtomicU64,
    /// Workers that the loop's thread is about to run.
    workers: Mutex<Vec<Runnable>>,
    /// Whether the loop's thread looks at the queue by itself before it rests.
    busy: AtomicBool,
    /// Whether what is said next is taken for something that comes alone.
    quiet: AtomicBool,
}

#[derive(Default)]
struct State {
    queue: Vec<Item>,
    /// Whether the loop was woken and has not looked yet.
    woken: bool,
    closed: bool,
}

/// What the loop is to do.
pub(crate) enum Item {
    /// A call is to be polled.
    Poll(u64),
    /// A delivery is to be handled.
    Job(Job),
    /// A delivery is no longer to be handled.
    CallOff { agent: u64, job: u64 },
}

/// What there is for Python.
#[derive(Default)]
pub(crate) struct Ready {
    /// What calls have come to, by their numbers.
    pub(crate) finished: Vec<(u64, Finish)>,
    pub(crate) jobs: Vec<Job>,
    /// The agents and the numbers of deliveries.
    pub(crate) called_off: Vec<(u64, u64)>,
}

/// The loop's thread at work for its bridge, however that ends.
struct Here<'a>(&'a Shared);

impl<'a> Here<'a> {
    fn at(shared: &'a Shared) -> Self {
        shared.busy.store(true, Ordering::Relaxed);
        HERE.set(shared);
        Self(shared)
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        HERE.set(std::ptr::null());
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

struct Waker {
    shared: Weak<Shared>,
    call: u64,
}

impl std::task::Wake for Waker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.push(Item::Poll(self.call));
        }
    }
}

impl Shared {
    /// What is shared with the loop that watches its descriptor.
    ///
    /// # Errors
    /// There is no way to wake it.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            wake: Wake::new()?,
            state: Mutex::default(),
            calls: Mutex::default(),
            next: AtomicU64::new(2),
            workers: Mutex::default(),
            busy: AtomicBool::new(false),
            quiet: AtomicBool::new(true),
        })
    }

    /// The file descriptor that can be read when there is something for the loop.
    pub(crate) fn descriptor(&self) -> i32 {
        self.wake.descriptor()
    }

    /// Has the loop look.
    pub(crate) fn wake(&self) {
        self.wake.wake();
    }

    /// Starts a call, within the runtime: its number, what it comes to if that is known at once, and
    /// whether there is something for the loop.
    pub(crate) fn start(
        self: &Arc<Self>,
        call: impl Future<Output = Finish> + Send + 'static,
    ) -> (u64, Option<Finish>, bool) {
        let number = self.next_number();
        let mut call: Call = Box::pin(call);
        let waker = Arc::new(Waker { shared: Arc::downgrade(self), call: number });
        let waker = std::task::Waker::from(waker);
        // What one call makes ready for others of this loop wakes it once, afterwards. That may be
        // this very call, which is found then.
        let (finished, due) = self.at_work(false, || {
            let polled = self.said(|| poll(&mut call, &waker));
            if polled.is_none() {
                self.calls.lock().insert(number, (call, waker));
            }
            polled
        });
        (number, finished, due)
    }

    /// Nobody waits for a call any longer.
    pub(crate) fn forget(&self, call: u64) {
        let call = self.calls.lock().remove(&call);
        // Outside of the lock, because it may have something to say.
        drop(call);
    }

    /// Takes what is ready, and tells whether there is something again. Deliveries that come to
    /// workers here are given to `begin` instead, if there is one. `woken` says that the descriptor
    /// could be read.
    pub(crate) fn drain(
        self: &Arc<Self>,
        runtime: &Handle,
        begin: Option<Py<PyAny>>,
        woken: bool,
    ) -> (Ready, bool) {
        if woken {
            self.wake.clear();
        }
        let at_once = Beginning::with(begin);
        // With the interpreter's lock, because the handlers that begin here take it each time. What
        // other threads of Python wait for comes as they run.
        let entered = runtime.enter();
        let drained = self.at_work(false, || self.gather());
        drop((entered, at_once));
        drained
    }

    /// Leaves something for the loop. Tells whether it will ever look.
    pub(crate) fn push(&self, item: Item) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        state.queue.push(item);
        let wake = !state.woken && !self.busy.load(Ordering::Relaxed);
        state.woken |= wake;
        drop(state);
        if wake {
            self.wake.wake();
        }
        true
    }

    /// A number for a call or a delivery. The lowest bit is free to say more.
    pub(crate) fn next_number(&self) -> u64 {
        self.next.fetch_add(2, Ordering::Relaxed)
    }

    /// Takes a worker, to be run where it is woken.
    pub(crate) fn employ(self: &Arc<Self>, worker: WorkerFuture, runtime: &Handle) {
        let (shared, runtime) = (Arc::downgrade(self), runtime.clone());
        let schedule = move |worker: Runnable| {
            if std::ptr::eq(HERE.get(), shared.as_ptr())
                && let Some(shared) = shared.upgrade()
            {
                shared.workers.lock().push(worker);
            } else {
                runtime.spawn(async move { worker.run() });
            }
        };
        let (worker, task) = async_task::spawn(worker, schedule);
        task.detach();
        worker.schedule();
    }

    /// Whether this is the loop's thread, at work.
    fn is_here(&self) -> bool {
        std::ptr::eq(HERE.get(), self)
    }

    /// Does something on the loop's thread, on behalf of Python, and then what that made ready for
    /// workers if `all` is said. Tells besides whether there is something for the loop, which is
    /// not woken for it.
    fn at_work<T>(&self, all: bool, what: impl FnOnce() -> T) -> (T, bool) {
        if self.is_here() {
            // Within a drain, which goes on when this is done.
            return (what(), false);
        }
        let here = Here::at(self);
        let done = what();
        if all {
            self.run_workers();
        }
        drop(here);
        (done, self.rest())
    }

    /// Runs the workers that there is something for. Tells whether there were any.
    fn run_workers(&self) -> bool {
        let mut workers = std::mem::take(&mut *self.workers.lock());
        let any = !workers.is_empty();
        for worker in workers.drain(..) {
            // What a worker does not catch itself is a mistake of the runtime, which ends it alone.
            let _ = guard::caught(|| worker.run());
        }
        // The room is used again.
        let mut next = self.workers.lock();
        if next.is_empty() {
            *next = workers;
        }
        any
    }

    /// Has the loop told of something that ended, and the workers who waited for it go on.
    pub(crate) fn told(&self, py: Python<'_>, what: impl FnOnce() + Send) -> PyResult<bool> {
        let runtime = runtime::get(py)?;
        if self.is_here() {
            // The drain within which this is goes on with them.
            what();
            return Ok(false);
        }
        Ok(py.detach(|| {
            let _entered = runtime.enter();
            self.at_work(true, || self.said(what)).1
        }))
    }

    /// Begins the work on a delivery if this thread can do so at once, or leaves it to the loop.
    /// Tells whether the loop will ever look.
    pub(crate) fn begin(&self, job: Job) -> bool {
        // Only a drain begins handlers, and has the interpreter's lock: nobody waits for that here.
        if !self.is_here() || !Beginning::is_on() || spoken::is_here() {
            return self.push(Item::Job(job));
        }
        match job::begin(job) {
            Ok(()) => true,
            Err(later) => self.push(Item::Job(later)),
        }
    }

    fn take(&self, into: &mut Vec<Item>) {
        let mut state = self.state.lock();
        std::mem::swap(&mut state.queue, into);
        state.woken = false;
    }

    /// The loop's thread rests or does something else: whoever has something for it wakes it.
    /// Tells whether there is something already, and nobody has.
    fn rest(&self) -> bool {
        let mut state = self.state.lock();
        self.busy.store(false, Ordering::Relaxed);
        let nothing = state.queue.is_empty() && self.workers.lock().is_empty();
        let due = !state.woken && !nothing;
        state.woken |= due;
        due
    }

    /// Says something on behalf of Python. What comes alone is written by this thread: what is the
    /// first since the loop took at most one thing from the runtime.
    fn said<T>(&self, what: impl FnOnce() -> T) -> T {
        if !self.quiet.load(Ordering::Relaxed) {
            return what();
        }
        let (done, drove) = spoken::here(what);
        if drove {
            self.quiet.store(false, Ordering::Relaxed);
        }
        done
    }

    /// Takes what is ready, and what becomes ready by that.
    fn gather(self: &Arc<Self>) -> Ready {
        let mut ready = Ready::default();
        let (mut items, mut taken, begun) = (Vec::new(), 0, Instant::now());
        for _ in 0..ROUNDS {
            self.take(&mut items);
            taken += items.len();
            self.quiet.store(taken <= 1, Ordering::Relaxed);
            for item in items.drain(..) {
                match item {
                    Item::Poll(number) => {
                        let polled = self.poll(number);
                        ready.finished.extend(polled.map(|finish| (number, finish)));
                    }
                    // One that was called off before it began never does.
                    Item::Job(job) if job.given.is_over() => {}
                    Item::Job(job) => ready.jobs.push(job),
                    Item::CallOff { agent, job } => ready.called_off.push((agent, job)),
                }
            }
            let nothing = !self.run_workers() && self.state.lock().queue.is_empty();
            if nothing || taken >= TURN || begun.elapsed() >= SPAN {
                break;
            }
        }
        ready
    }

    /// Polls a call once.
    fn poll(self: &Arc<Self>, number: u64) -> Option<Finish> {
        let (mut call, waker) = self.calls.lock().remove(&number)?;
        let polled = poll(&mut call, &waker);
        if polled.is_none() {
            self.calls.lock().insert(number, (call, waker));
        }
        polled
    }

    fn close(&self) {
        let queue = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.queue)
        };
        let calls = std::mem::take(&mut *self.calls.lock());
        drop((queue, calls));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Outside of the lock, because what is dropped may have something to say.
        self.close();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Polls a call once. One that panics comes to an exception of ours.
fn poll(call: &mut Call, waker: &std::task::Waker) -> Option<Finish> {
    let finish = guard::poll_caught(call.as_mut(), waker)?;
    Some(finish.unwrap_or_else(|guard::Panicked| {
        Box::new(|py| {
            let message = "the runtime failed within itself; what was asked for may have been done";
            Err(errors::of_kind(py, "InternalError", message))
        })
    }))
}
