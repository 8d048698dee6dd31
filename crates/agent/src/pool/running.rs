//! A delivery at work: whether it was called off, whether it has begun, and whose permit it uses.

use super::attend::Cause;
use super::queue::Pool;
use crate::content::Content;
use crate::core::Core;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;
use tokio::sync::oneshot::{self, error::TryRecvError};
use trunkline_content::ContentError;
use trunkline_types::session::{Delivery, Operation, Update, UpdateBody};
use trunkline_types::{Payload, Progress, Publish, Refusal, Token, WallTime};

/// See the module.
pub(crate) struct Running {
    pub(crate) core: Arc<Core>,
    /// As it came: its payloads may be compressed.
    pub(crate) delivery: Delivery,
    /// Its payloads as the handler sees them, if they were compressed, or why they cannot be
    /// read. Found out by the worker that runs the handler, which holds no lock then.
    readable: OnceLock<Option<Result<Readable, ContentError>>>,
    /// The lane in which it waited.
    lane: usize,
    cancelled: AtomicBool,
    cancel: Notify,
    started: AtomicBool,
    /// The answer to progress that was said and not looked at since. Touched by progress only.
    said: Mutex<Option<oneshot::Receiver<Result<(), Refusal>>>>,
    /// Touched once per delivery unless its handler awaits replies.
    permit: Mutex<Permit>,
    /// The first of its batch, whose permit is that of all.
    lead: Option<Arc<Self>>,
    /// Why it was called off, if it was.
    cause: OnceLock<Cause>,
}

/// What a delivery carries, its compression undone.
struct Readable {
    publish: Arc<Publish>,
    messages: Vec<Payload>,
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
    /// A delivery from a lane whose worker holds a permit.
    pub(super) fn new(core: Arc<Core>, delivery: Delivery, lane: usize) -> Self {
        Self {
            core,
            delivery,
            readable: OnceLock::new(),
            lane,
            cancelled: AtomicBool::new(false),
            cancel: Notify::new(),
            started: AtomicBool::new(false),
            said: Mutex::new(None),
            permit: Mutex::new(Permit { held: true, awaiting: 0, over: false }),
            lead: None,
            cause: OnceLock::new(),
        }
    }

    /// A delivery that is handled together with another.
    pub(super) fn beside(lead: &Arc<Self>, delivery: Delivery) -> Self {
        Self {
            lead: Some(Arc::clone(lead)),
            ..Self::new(Arc::clone(&lead.core), delivery, lead.lane)
        }
    }

    /// The permit that it shares with the rest of its batch.
    fn permit(&self) -> &Mutex<Permit> {
        self.lead.as_ref().map_or(&self.permit, |lead| &lead.permit)
    }

    pub(crate) fn token(&self) -> Token {
        self.delivery.token
    }

    fn readable(&self) -> Option<&Result<Readable, ContentError>> {
        let Delivery { publish, messages, .. } = &self.delivery;
        let read = || {
            if !Content::is_packed(&publish.envelope.payload)
                && !messages.iter().any(Content::is_packed)
            {
                return None;
            }
            let (mut publish, mut messages) = (publish.clone(), messages.clone());
            let unpacked = self.core.content.unpack_shared(&mut publish);
            let unpacked = unpacked
                .and_then(|()| messages.iter_mut().try_for_each(|it| self.core.content.unpack(it)));
            Some(unpacked.map(|()| Readable { publish, messages }))
        };
        self.readable.get_or_init(read).as_ref()
    }

    /// Why the handler cannot be given what was sent. What is compressed is unpacked for it, which
    /// takes a while: no lock must be held.
    pub(super) fn unreadable(&self) -> Option<&ContentError> {
        self.readable()?.as_ref().err()
    }

    /// What was sent, as the handler sees it.
    pub(crate) fn publish(&self) -> &Arc<Publish> {
        match self.readable() {
            Some(Ok(readable)) => &readable.publish,
            _ => &self.delivery.publish,
        }
    }

    /// What its caller said since, as the handler sees it.
    pub(crate) fn messages(&self) -> &[Payload] {
        match self.readable() {
            Some(Ok(readable)) => &readable.messages,
            _ => &self.delivery.messages,
        }
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

    /// Calls it off and notes why.
    pub(super) fn call_off(&self, cause: Cause) {
        let _ = self.cause.set(cause);
        self.cancel();
    }

    /// Why it was called off, if the runtime did it or has seen it.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.cause.get().copied()
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

    /// The handler has ended. Tells whether it used the permit, which is the worker's again.
    pub(super) fn finish(&self) -> bool {
        let mut permit = self.permit().lock();
        permit.over = true;
        permit.held
    }

    /// The handler awaits a reply until the loan ends.
    pub(crate) fn lend(running: &Arc<Self>) -> Loan {
        let mut permit = running.permit().lock();
        permit.awaiting += 1;
        let lent = std::mem::take(&mut permit.held);
        drop(permit);
        if lent && let Some(pool) = &running.core.pool {
            pool.lend(&running.core, running.lane);
        }
        Loan { running: Some(Arc::clone(running)) }
    }

    /// One reply fewer is awaited. Tells whether the handler wants a permit again.
    fn stop_waiting(&self) -> bool {
        let mut permit = self.permit().lock();
        permit.awaiting -= 1;
        permit.awaiting == 0 && !permit.held
    }

    /// A permit is here. Tells whether it is not wanted: the handler has ended or waits again.
    fn take_permit(&self) -> bool {
        let mut permit = self.permit().lock();
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
            pool.loan_over(&running.core, running.lane);
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
            pool.loan_over(&running.core, running.lane);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::CoreOptions;
    use tokio::runtime::Handle;
    use trunkline_content::{Compression, compress};
    use trunkline_types::{
        Destination, Encoding, Envelope, Epoch, InboxAddress, Kind, MessageId, Partition,
    };

    #[tokio::test]
    async fn a_delivery_is_unpacked_when_it_is_first_read_and_not_when_it_is_begun() {
        let plain = Payload::text("abc".repeat(1000));
        let packing = Compression { above: 1, ..Compression::new(Encoding::Zstd) };
        let packed = compress(plain.clone(), &packing);
        let id = MessageId::from_parts(1, Partition(0), 1);
        let skill = "s".parse().unwrap();
        let to = Destination::Skill("s".parse().unwrap());
        let delivery = Delivery {
            token: Token { epoch: Epoch(1), counter: 1 },
            publish: Arc::new(Publish::new(Envelope::new(id, Kind::Request, to, packed.clone()))),
            inbox: InboxAddress::Skill(skill),
            attempt: 1,
            accepted_at: WallTime(0),
            expires_at: None,
            backlog: 0,
            backlog_age: std::time::Duration::ZERO,
            messages: vec![packed],
            number: 1,
            missed: Vec::new(),
            max_run: None,
        };
        let content = Content::default();
        let options = CoreOptions { places: 1, events: 1, obey_pressure: true, content };
        let core = Core::new(None, options, None, Handle::current());
        let running = Running::new(core, delivery, 0);
        assert!(running.readable.get().is_none(), "a worker begins with its hands locked");
        assert_eq!(running.unreadable(), None);
        assert_eq!(running.publish().envelope.payload, plain);
        assert_eq!(running.messages(), [plain]);
    }
}
