//! A delivery at work: whether it was called off, whether it has begun, and whose permit it uses.

use super::queue::Pool;
use crate::core::Core;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use tokio::sync::oneshot::{self, error::TryRecvError};
use trunkline_types::session::{Delivery, Operation, Update, UpdateBody};
use trunkline_types::{Progress, Refusal, Token, WallTime};

/// See the module.
pub(crate) struct Running {
    pub(crate) core: Arc<Core>,
    pub(crate) delivery: Delivery,
    cancelled: AtomicBool,
    cancel: Notify,
    started: AtomicBool,
    /// The answer to progress that was said and not looked at since. Touched by progress only.
    said: Mutex<Option<oneshot::Receiver<Result<(), Refusal>>>>,
    /// Touched once per delivery unless its handler awaits replies.
    permit: Mutex<Permit>,
}

/// Whether the handler uses one of the pool's permits. It does exactly while it awaits no reply;
/// a handler that gave up waiting goes on without if none is free.
struct Permit {
    held: bool,
    /// How many replies the handler awaits.
    awaiting: u32,
    /// Whether the handler has ended, so that a late reply needs no permit.
    over: bool,
}

impl Running {
    /// A delivery whose worker holds a permit.
    pub(super) fn new(core: Arc<Core>, delivery: Delivery) -> Self {
        Self {
            core,
            delivery,
            cancelled: AtomicBool::new(false),
            cancel: Notify::new(),
            started: AtomicBool::new(false),
            said: Mutex::new(None),
            permit: Mutex::new(Permit { held: true, awaiting: 0, over: false }),
        }
    }

    pub(crate) fn token(&self) -> Token {
        self.delivery.token
    }

    /// When the delivery's time to live ends, on this process's clock.
    pub(crate) fn deadline(&self) -> Option<WallTime> {
        self.delivery.expires_at.map(|at| self.core.here(at))
    }

    /// Says how far the work is, unless a refusal of what was said before is to be told.
    ///
    /// # Errors
    /// That refusal, or that the session has ended.
    pub(crate) async fn progress(&self, progress: Progress) -> Result<(), Refusal> {
        self.refused_before()?;
        let body = UpdateBody::Progress(progress);
        let answer =
            self.core.begin(Operation::Update(Update { token: self.token(), body })).await?;
        self.said.lock().get_or_insert(answer);
        Ok(())
    }

    /// The refusal of progress that was said before, told once.
    fn refused_before(&self) -> Result<(), Refusal> {
        let mut said = self.said.lock();
        let Some(answer) = &mut *said else { return Ok(()) };
        match answer.try_recv() {
            Err(TryRecvError::Empty) => Ok(()),
            Ok(result) => {
                *said = None;
                result
            }
            Err(TryRecvError::Closed) => {
                *said = None;
                Ok(())
            }
        }
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.cancel.notify_waiters();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(crate) async fn cancelled(&self) {
        let cancel = self.cancel.notified();
        if !self.is_cancelled() {
            cancel.await;
        }
    }

    /// What tells the broker that the work has begun; `None` if it was told.
    pub(crate) fn start(&self) -> Option<Operation> {
        let first = !self.started.swap(true, Ordering::AcqRel);
        first.then(|| Operation::Update(Update { token: self.token(), body: UpdateBody::Started }))
    }

    /// The handler has ended. Tells whether it used a permit, which is the worker's again.
    pub(super) fn finish(&self) -> bool {
        let mut permit = self.permit.lock();
        permit.over = true;
        permit.held
    }

    /// The handler awaits a reply until the loan ends.
    pub(crate) fn lend(running: &Arc<Self>) -> Loan {
        let mut permit = running.permit.lock();
        permit.awaiting += 1;
        let lent = std::mem::take(&mut permit.held);
        drop(permit);
        if lent && let Some(pool) = &running.core.pool {
            pool.lend(&running.core);
        }
        Loan { running: Some(Arc::clone(running)) }
    }

    /// One reply fewer is awaited. Tells whether the handler wants a permit again.
    fn stop_waiting(&self) -> bool {
        let mut permit = self.permit.lock();
        permit.awaiting -= 1;
        permit.awaiting == 0 && !permit.held
    }

    /// A permit is here. Tells whether it is not wanted: the handler has ended or waits again.
    fn take_permit(&self) -> bool {
        let mut permit = self.permit.lock();
        let unwanted = permit.over || permit.awaiting > 0 || permit.held;
        if !unwanted {
            permit.held = true;
        }
        unwanted
    }
}

/// A permit that is lent while a reply is awaited.
pub(crate) struct Loan {
    running: Option<Arc<Running>>,
}

impl Loan {
    /// The reply is there: waits for a permit, unless the handler awaits others too.
    pub(crate) async fn end(mut self) {
        let Some(running) = self.running.take() else { return };
        let Some(pool) = &running.core.pool else { return };
        if running.stop_waiting() {
            pool.loan_over(&running.core);
            pool.permit_for_returning().await;
            if running.take_permit() {
                pool.give_back();
            }
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        let Some(pool) = &running.core.pool else { return };
        if running.stop_waiting() {
            pool.loan_over(&running.core);
            if pool.try_permit() && running.take_permit() {
                pool.give_back();
            }
        }
    }
}

impl Pool {
    /// Returns a permit that nobody uses.
    fn give_back(&self) {
        self.permits.add_permits(1);
    }
}
