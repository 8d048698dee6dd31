//! What an event loop of Python waits for, and what the runtime has for it.
//!
//! A call of Python becomes a future that is polled on the loop's own thread: at once, and again
//! when it was woken. What has become ready on other threads gathers here, and the loop is woken
//! once for all of it. Of a broker in process the workers of agents are run here as well, as long
//! as what they are woken by is done here: between a caller and a handler of one loop nothing goes
//! through another thread. What comes while the loop's thread does something else, such as a time
//! that is up, has the runtime run them, so that no blocked loop holds it up.

use crate::batch::Batch;
use crate::delivery::Delivery;
use crate::fork::Guarded;
use crate::handler::Given;
use crate::wake::Wake;
use crate::{errors, guard, runtime, spoken};
use async_task::Runnable;
use parking_lot::Mutex;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use trunkline_agent::WorkerFuture;

/// What a call comes to, made into a Python object on the loop's thread.
pub(crate) type Finish = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

type List<'py> = Bound<'py, PyList>;

type Call = Pin<Box<dyn Future<Output = Finish> + Send>>;

/// Most of what has become ready that is handed over before other callbacks of the loop have
/// their turn.
const TURN: usize = 1024;

thread_local! {
    /// The bridge for which this thread does something, if it is the thread of its loop.
    static HERE: Cell<*const Shared> = const { Cell::new(std::ptr::null()) };
    /// What begins the work on a delivery at once while this thread drains its bridge, and until
    /// when.
    static BEGIN: RefCell<Option<(Py<PyAny>, Instant)>> = const { RefCell::new(None) };
}

/// Most turns of workers within one drain.
const ROUNDS: usize = 16;

/// How long handlers are begun within one drain. What comes later waits for the next, so that the
/// rest of the loop has its turn.
const SPAN: Duration = Duration::from_millis(5);

/// The bridge between an event loop and the runtime.
#[pyclass(frozen, module = "trunkline._native")]
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) shared: Guarded<Arc<Shared>>,
}

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

/// A delivery for a handler in Python, or a batch of them.
pub(crate) struct Job {
    pub(crate) agent: u64,
    pub(crate) handler: usize,
    pub(crate) number: u64,
    pub(crate) given: Given,
}

impl Job {
    /// As Python knows it.
    fn described(self, py: Python<'_>) -> PyResult<(u64, usize, u64, Py<PyAny>)> {
        let Self { agent, handler, number, given } = self;
        let given = match given {
            Given::One(task, end, begun) => Delivery::alone(task, end, begun).into_py_any(py)?,
            Given::Several(tasks, ends, begun) => {
                Batch::new(py, tasks, ends, begun)?.into_py_any(py)?
            }
        };
        Ok((agent, handler, number, given))
    }
}

/// What there is for Python.
#[derive(Default)]
struct Ready {
    /// What calls have come to, by their numbers.
    finished: Vec<(u64, Finish)>,
    jobs: Vec<Job>,
    /// The agents and the numbers of deliveries.
    called_off: Vec<(u64, u64)>,
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

/// A drain that begins handlers at once, for as long as it lives.
struct Beginning(Option<(Py<PyAny>, Instant)>);

impl Beginning {
    fn with(begin: Option<Py<PyAny>>) -> Self {
        Self(BEGIN.replace(begin.map(|begin| (begin, Instant::now() + SPAN))))
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        BEGIN.set(self.0.take());
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
        if !self.is_here() || BEGIN.with_borrow(Option::is_none) || spoken::is_here() {
            return self.push(Item::Job(job));
        }
        Python::attach(|py| {
            let begin = BEGIN.with_borrow(|begin| {
                let (begin, until) = begin.as_ref()?;
                (Instant::now() < *until).then(|| begin.clone_ref(py))
            });
            let Some(begin) = begin else { return self.push(Item::Job(job)) };
            let called = job.described(py).and_then(|job| begin.bind(py).call1(job));
            if let Err(error) = called {
                // What it was to handle goes back, because nobody holds it any longer.
                error.write_unraisable(py, None);
            }
            true
        })
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

impl Bridge {
    /// Starts a call: what it comes to if that is known at once, else its number, under which
    /// `drain` will tell. The lowest bit of the number says that `drain` is to be called soon.
    pub(crate) fn start(
        &self,
        py: Python<'_>,
        call: impl Future<Output = Finish> + Send + 'static,
    ) -> PyResult<Py<PyAny>> {
        let runtime = runtime::get(py)?;
        let shared = &*self.shared;
        let number = shared.next_number();
        let (finished, due) = py.detach(|| {
            let _entered = runtime.enter();
            let mut call: Call = Box::pin(call);
            let waker = Arc::new(Waker { shared: Arc::downgrade(shared), call: number });
            let waker = std::task::Waker::from(waker);
            // What one call makes ready for others of this loop wakes it once, afterwards. That may
            // be this very call, which is found then.
            shared.at_work(false, || {
                let polled = shared.said(|| poll(&mut call, &waker));
                if polled.is_none() {
                    shared.calls.lock().insert(number, (call, waker));
                }
                polled
            })
        });
        let Some(finish) = finished else {
            return Ok((number | u64::from(due)).into_pyobject(py)?.into_any().unbind());
        };
        if due {
            shared.wake.wake();
        }
        finish(py)
    }
}

#[pymethods]
impl Bridge {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        runtime::get(py)?;
        let wake = Wake::new().map_err(|error| {
            let message = format!("no way to wake the event loop: {error}");
            errors::of_kind(py, "UnavailableError", &message)
        })?;
        let shared = Shared {
            wake,
            state: Mutex::default(),
            calls: Mutex::default(),
            next: AtomicU64::new(2),
            workers: Mutex::default(),
            busy: AtomicBool::new(false),
            quiet: AtomicBool::new(true),
        };
        Ok(Self { shared: Guarded::new(Arc::new(shared)) })
    }

    /// The file descriptor that can be read when there is something to drain.
    fn fileno(&self) -> i32 {
        self.shared.wake.descriptor()
    }

    /// What calls have come to, deliveries to be handled, and those to be called off: three lists;
    /// and whether this is to be called again soon. Deliveries that come to workers here are given
    /// to `begin` instead, if there is one. `woken` says that the descriptor could be read.
    fn drain<'py>(
        &self,
        py: Python<'py>,
        begin: Option<Py<PyAny>>,
        woken: bool,
    ) -> PyResult<(List<'py>, List<'py>, List<'py>, bool)> {
        let runtime = runtime::get(py)?;
        let shared = &*self.shared;
        if woken {
            shared.wake.clear();
        }
        let at_once = Beginning::with(begin);
        // With the interpreter's lock, because the handlers that begin here take it each time. What
        // other threads of Python wait for comes as they run.
        let entered = runtime.enter();
        let (ready, due) = shared.at_work(false, || shared.gather());
        drop((entered, at_once));
        let lists = listed(py, ready);
        if due && lists.is_err() {
            // Whoever is told of the error does not come back by itself.
            shared.wake.wake();
        }
        let (done, jobs, off) = lists?;
        Ok((done, jobs, off, due))
    }

    /// Nobody waits for a call any longer.
    fn forget(&self, py: Python<'_>, call: u64) -> PyResult<()> {
        let Some(runtime) = runtime::to_end(py)? else { return Ok(()) };
        py.detach(|| {
            let _entered = runtime.enter();
            let call = self.shared.calls.lock().remove(&call);
            drop(call);
        });
        Ok(())
    }
}

/// What there is for Python as it takes it.
fn listed(py: Python<'_>, ready: Ready) -> PyResult<(List<'_>, List<'_>, List<'_>)> {
    let (done, jobs, off) = (PyList::empty(py), PyList::empty(py), PyList::empty(py));
    for (number, finish) in ready.finished {
        match finish(py) {
            Ok(value) => done.append((number, true, value))?,
            Err(error) => done.append((number, false, error.into_value(py)))?,
        }
    }
    for job in ready.jobs {
        match job.described(py) {
            Ok(job) => jobs.append(job)?,
            // What it was to handle goes back, and nobody else waits in vain for it.
            Err(error) => error.write_unraisable(py, None),
        }
    }
    for one in ready.called_off {
        off.append(one)?;
    }
    Ok((done, jobs, off))
}
