//! The core of a session: joins the book, the subscriptions, the watchers and the worker pool to
//! one connection.
//!
//! Lock order: the lock of the subscriptions or of the watchers may be held while the book's is
//! taken, to number what is decided under it; otherwise nothing here holds one lock while it takes
//! another. No lock is held across [`Connection::send`], because that call may come back through
//! the sink on the same thread.

use super::book::Book;
use super::directory::Directory;
use super::hub::Hub;
use super::pressure::Pressures;
use super::sink::Scratch;
use super::waiter::{Entry, ReplyEntry, ReplySignal, Waiter};
use super::wanting::Answer;
use super::watchers::Watchers;
use crate::content::Content;
use crate::pool::Pool;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot};
use trunkline_types::session::{
    ClientFrame, Connected, Connection, Connector, Credit, Hello, Operation, Sink, Subscription,
    Welcome,
};
use trunkline_types::{
    AgentCard, AgentId, MessageId, Partition, Publish, Refusal, RefusalCode, SessionId, WallTime,
};

/// See the module.
pub(crate) struct Core {
    /// Itself, for what it spawns while the broker calls it.
    pub(super) me: Weak<Self>,
    /// The agent whose session it is.
    pub(crate) agent: Option<AgentId>,
    /// Where tasks of the runtime itself are spawned, whatever thread the broker calls from.
    pub(crate) runtime: Handle,
    /// Set once the broker has welcomed the session; until then operations only gather.
    pub(super) connection: OnceLock<Arc<dyn Connection>>,
    /// Guards numbering and waiters: short and taken by every sender, so a plain lock.
    pub(super) book: Mutex<Book>,
    /// The places for outstanding operations. Fair, so that a large batch is not starved.
    pub(super) room: Semaphore,
    /// How many places there are.
    places: u32,
    /// Told when the book has become quiet or the session has ended.
    pub(super) quiet: Notify,
    /// Told when the session has ended, which is not told with every answer.
    pub(super) over: Notify,
    pub(crate) hub: Hub,
    pub(crate) watchers: Watchers,
    pub(crate) directory: Directory,
    pub(crate) pressures: Pressures,
    pub(crate) content: Content,
    /// The workers, if this is an agent's session.
    pub(crate) pool: Option<Pool>,
    /// Reused by the sink from call to call. Never contended, because the broker calls it once
    /// at a time.
    pub(super) scratch: Mutex<Scratch>,
    operations_per_frame: AtomicUsize,
    /// Longest text of a reason or progress in bytes.
    reason_bytes: AtomicUsize,
    /// How far the broker's wall clock is ahead of this process's, in milliseconds.
    clock_ahead: AtomicI64,
    /// Whether the session has said goodbye.
    pub(super) left: AtomicBool,
    id_high: u64,
    id_low: AtomicU32,
}

/// Bounds and habits of a session.
#[derive(Clone, Copy)]
pub(crate) struct CoreOptions {
    /// The places for outstanding operations.
    pub(crate) places: u32,
    /// Most events held that were not taken.
    pub(crate) events: u32,
    /// Whether senders slow down for inboxes under pressure.
    pub(crate) obey_pressure: bool,
    /// What is done to payloads.
    pub(crate) content: Content,
}

impl Core {
    /// A core that is not connected yet.
    pub(crate) fn new(
        agent: Option<AgentId>,
        options: CoreOptions,
        pool: Option<Pool>,
        runtime: Handle,
    ) -> Arc<Self> {
        let CoreOptions { places, events, obey_pressure, content } = options;
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            agent,
            runtime,
            connection: OnceLock::new(),
            book: Mutex::new(Book::new()),
            room: Semaphore::new(places as usize),
            places,
            quiet: Notify::new(),
            over: Notify::new(),
            hub: Hub::new(events),
            watchers: Watchers::default(),
            directory: Directory::default(),
            pressures: Pressures::new(obey_pressure),
            content,
            pool,
            scratch: Mutex::default(),
            operations_per_frame: AtomicUsize::new(4096),
            reason_bytes: AtomicUsize::new(8 << 10),
            clock_ahead: AtomicI64::new(0),
            left: AtomicBool::new(false),
            id_high: (fastrand::u64(..) & 0x3FFF_FFFF) << 32,
            id_low: AtomicU32::new(0),
        })
    }

    /// What a session beside this one is made with.
    pub(crate) fn sibling_options(&self) -> CoreOptions {
        let (places, events) = (self.places, self.hub.credit());
        let (obey_pressure, content) = (self.pressures.obeyed(), self.content);
        CoreOptions { places, events, obey_pressure, content }
    }

    /// Introduces the session to a broker.
    ///
    /// # Errors
    /// The broker's refusal.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        connector: &dyn Connector,
        card: Option<AgentCard>,
        subscriptions: Vec<Subscription>,
    ) -> Result<(), Refusal> {
        let deliveries = self.pool.as_ref().map_or(0, Pool::first_credit);
        let hello = Hello {
            session: SessionId(fastrand::u128(..)),
            card,
            credit: Credit { deliveries, events: self.hub.credit() },
            subscriptions,
            next_operation: 1,
            held: Vec::new(),
        };
        let sink: Arc<dyn Sink> = Arc::clone(self) as Arc<dyn Sink>;
        let Connected { connection, welcome } = connector.connect(hello, sink).await?;
        self.welcomed(&welcome);
        self.connection.get_or_init(|| connection);
        // Deliveries may have come, and may have been settled, before the welcome did.
        self.flush();
        if let Some(pool) = &self.pool {
            pool.connected(self);
        }
        Ok(())
    }

    pub(super) fn welcomed(&self, welcome: &Welcome) {
        self.operations_per_frame
            .store(welcome.limits.operations_per_frame.max(1), Ordering::Relaxed);
        self.reason_bytes.store(welcome.limits.reason_bytes, Ordering::Relaxed);
        if welcome.now > WallTime(0) {
            // Late by the way of the welcome, so that no deadline is taken to pass too early.
            let ahead = i128::from(welcome.now.0) - i128::from(now().0);
            let ahead = i64::try_from(ahead).unwrap_or(0);
            self.clock_ahead.store(ahead, Ordering::Relaxed);
        }
        if let Some(pool) = &self.pool {
            pool.welcomed(welcome);
        }
    }

    /// A time of the broker's wall clock on this process's.
    pub(crate) fn here(&self, at: WallTime) -> WallTime {
        let ahead = self.clock_ahead.load(Ordering::Relaxed);
        WallTime(at.0.saturating_add_signed(ahead.saturating_neg()))
    }

    /// Longest text of a reason or progress in bytes.
    pub(crate) fn reason_bytes(&self) -> usize {
        self.reason_bytes.load(Ordering::Relaxed)
    }

    /// A new id for an envelope, stamped with the present.
    pub(crate) fn next_id(&self) -> MessageId {
        let low = self.id_low.fetch_add(1, Ordering::Relaxed);
        MessageId::from_parts(now().0, Partition(0), self.id_high | u64::from(low))
    }

    /// Waits for places for so many outstanding operations. They come back with the answers.
    pub(crate) async fn places(&self, count: u32) -> Result<(), Refusal> {
        match self.room.try_acquire_many(count) {
            Ok(permit) => permit.forget(),
            Err(_) => match self.room.acquire_many(count).await {
                Ok(permit) => permit.forget(),
                Err(_) => return Err(self.closed().unwrap_or_else(ended)),
            },
        }
        Ok(())
    }

    /// The most publishes that go out as one piece.
    pub(crate) fn piece(&self) -> usize {
        (self.places as usize / 2).clamp(1, 4096)
    }

    /// Sends operations that nobody waits for and that need no place: they are bounded by what
    /// the session holds.
    pub(crate) fn tell(&self, operations: impl IntoIterator<Item = Operation>) {
        let entry = Entry { bounded: false, waiter: Waiter::Nobody, reply: None };
        // A session that has ended has nobody left to tell.
        let _ = self.submit(operations, entry);
    }

    /// Says how deliveries ended, and something more. What is refused is settled otherwise.
    pub(crate) fn tell_settled(&self, mut settled: Vec<Operation>, more: Option<Operation>) {
        for operation in &mut settled {
            self.content.pack_operation(operation);
        }
        let tokens = settled.iter().filter_map(|operation| match operation {
            Operation::Settle(settle) => Some(settle.token),
            _ => None,
        });
        let waiter = Waiter::Settled(tokens.collect());
        // A session that has ended has nobody left to tell.
        let _ = self.number(settled, Entry { bounded: false, waiter, reply: None });
        let rest = Entry { bounded: false, waiter: Waiter::Nobody, reply: None };
        let _ = self.number(more, rest);
        self.flush();
    }

    /// Sends an operation that holds a place, once there is one, and leaves word for its answer.
    ///
    /// # Errors
    /// The session has ended.
    pub(crate) async fn begin(&self, mut operation: Operation) -> Result<Answer, Refusal> {
        self.content.pack_operation(&mut operation);
        self.places(1).await?;
        let (sender, answer) = oneshot::channel();
        let entry = Entry { bounded: true, waiter: Waiter::Done(sender), reply: None };
        self.submit([operation], entry)?;
        Ok(answer)
    }

    /// Waits for an answer.
    ///
    /// # Errors
    /// The broker's refusal, or that the session has ended.
    pub(crate) async fn answered(&self, answer: Answer) -> Result<(), Refusal> {
        answer.await.unwrap_or_else(|_| Err(self.closed().unwrap_or_else(ended)))
    }

    /// Sends an operation that holds a place and waits until it is done.
    ///
    /// # Errors
    /// The broker's refusal, or that the session has ended.
    pub(crate) async fn ask(&self, operation: Operation) -> Result<(), Refusal> {
        let answer = self.begin(operation).await?;
        self.answered(answer).await
    }

    /// Sends an operation that holds a place and waits until it is done and its count is told.
    ///
    /// # Errors
    /// The broker's refusal, or that the session has ended.
    pub(crate) async fn count(&self, operation: Operation) -> Result<u32, Refusal> {
        self.places(1).await?;
        let (sender, answer) = oneshot::channel();
        let entry = Entry { bounded: true, waiter: Waiter::Count(sender), reply: None };
        self.submit([operation], entry)?;
        answer.await.unwrap_or_else(|_| Err(self.closed().unwrap_or_else(ended)))
    }

    /// Sends one publish, holding a place, and leaves word for its acceptance.
    pub(crate) fn publish(
        &self,
        publish: Publish,
    ) -> Result<oneshot::Receiver<Result<crate::Acceptance, Refusal>>, Refusal> {
        let (sender, acceptance) = oneshot::channel();
        let waiter = Waiter::Acceptance(publish.envelope.id, sender);
        let entry = Entry { bounded: true, waiter, reply: None };
        self.submit([Operation::Publish(Arc::new(publish))], entry)?;
        Ok(acceptance)
    }

    /// Sends one request, holding a place, and leaves word for its reply.
    pub(crate) fn request(
        &self,
        publish: Publish,
    ) -> Result<oneshot::Receiver<ReplySignal>, Refusal> {
        let (sender, signal) = oneshot::channel();
        let request = publish.envelope.id;
        let ephemeral = !publish.durability().is_logged();
        let reply = Some(ReplyEntry { request, sender, ephemeral });
        let entry = Entry { bounded: true, waiter: Waiter::Reply(request), reply };
        self.submit([Operation::Publish(Arc::new(publish))], entry)?;
        Ok(signal)
    }

    /// Numbers operations and sends them.
    ///
    /// # Errors
    /// The session has ended.
    pub(crate) fn submit(
        &self,
        operations: impl IntoIterator<Item = Operation>,
        entry: Entry,
    ) -> Result<(), Refusal> {
        if self.number(operations, entry)? > 0 {
            self.flush();
        }
        Ok(())
    }

    /// Numbers operations, for [`Core::flush`] to send. Tells how many there are.
    ///
    /// # Errors
    /// The session has ended.
    pub(super) fn number(
        &self,
        operations: impl IntoIterator<Item = Operation>,
        entry: Entry,
    ) -> Result<u64, Refusal> {
        let mut book = self.book.lock();
        match book.closed.clone() {
            Some(refusal) => Err(refusal),
            None => Ok(book.enter(operations, entry)),
        }
    }

    /// Hands over what is gathered, in order of the numbers. Whoever finds nobody at it does it
    /// for all; the others' operations go along.
    pub(super) fn flush(&self) {
        let Some(connection) = self.connection.get() else { return };
        let most = self.operations_per_frame.load(Ordering::Relaxed);
        let mut book = self.book.lock();
        if book.flushing {
            return;
        }
        while let Some((first, operations)) = book.take_gathered(most) {
            book.flushing = true;
            drop(book);
            connection.send(ClientFrame::Operations { first, operations });
            book = self.book.lock();
            book.flushing = false;
        }
    }

    /// Sends a frame that is no operation.
    pub(crate) fn send_frame(&self, frame: ClientFrame) {
        if let Some(connection) = self.connection.get() {
            connection.send(frame);
        }
    }

    /// Acknowledges events that a consumer has taken, if it is due or worth a frame.
    pub(crate) fn acknowledge(&self, taken: &mut Vec<(u64, u64)>, due: bool) {
        if let Some(through) = self.hub.taken(taken, due) {
            self.send_frame(ClientFrame::Acknowledge { through });
        }
    }

    /// Waits until every operation is answered.
    pub(crate) async fn wait_quiet(&self) {
        loop {
            let quiet = self.quiet.notified();
            {
                let book = self.book.lock();
                if book.is_quiet() || book.closed.is_some() {
                    return;
                }
            }
            quiet.await;
        }
    }

    /// Waits until the session has ended, and says why.
    pub(crate) async fn wait_over(&self) -> Refusal {
        loop {
            let over = self.over.notified();
            if let Some(refusal) = self.closed() {
                return refusal;
            }
            over.await;
        }
    }

    /// Why the session has ended, if it has.
    pub(crate) fn closed(&self) -> Option<Refusal> {
        self.book.lock().closed.clone()
    }

    /// Nobody waits for this reply any longer.
    pub(crate) fn forget_reply(&self, request: MessageId) {
        let mut book = self.book.lock();
        book.forget_reply(request);
        let rest = book.is_at_rest();
        drop(book);
        if rest {
            self.quiet.notify_waiters();
        }
    }

    /// Whether a lost connection is made anew by itself.
    pub(super) fn comes_back(&self) -> bool {
        self.connection.get().is_some_and(|connection| connection.comes_back())
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// What this process's wall clock shows, for
/// [`Outgoing::not_before`](crate::Outgoing::not_before).
pub fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn ended() -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "the session has ended")
}
