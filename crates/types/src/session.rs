//! The session protocol: what a session and its broker say to each other, in process or not.
//!
//! A session sends [`ClientFrame`]s and is handed batches of [`SessionItem`]s. Everything that
//! must not be lost or done twice is an [`Operation`]; operations are numbered by the session
//! from 1 without gaps, and each number is answered exactly once: in a [`SessionItem::Done`]
//! range, by [`SessionItem::Accepted`] or by [`SessionItem::Refused`]. Whatever is unanswered
//! when a connection breaks is sent again under its old number, and is done once.
//!
//! [`Connector`] and [`Connection`] are the two sides' meeting point: the broker implements them
//! in process, the client over the network, and the agent runtime needs nothing else.

use crate::{
    AgentCard, AgentChange, AgentFilter, AgentId, AgentNews, Answer, ArtifactChunk, Destination,
    Epoch, Failure, Filter, Gathered, GroupName, InboxAddress, InboxChange, Limits, MessageId,
    Payload, Priority, Progress, Publish, Query, Refusal, Schedule, ScheduleName, SessionId,
    Settle, TaskUpdate, Token, TopicPattern, WallTime, WhenFull,
};
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How far apart the oldest operation of a session without an answer and its latest may be. A
/// broker remembers that far back which operations it has done; a session sends nothing that is
/// further ahead of what is not answered yet, such as a publish that waits outside a full inbox.
pub const REACH: u64 = 65_536;

/// How a session introduces itself, first and after every reconnect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The same for the life of the session, across reconnects.
    pub session: SessionId,
    /// The agent whose session it is; `None` for a client that only sends and asks.
    pub card: Option<AgentCard>,
    /// How much the session is willing to hold.
    pub credit: Credit,
    /// Subscriptions that live as long as the session, and those its agent wants kept.
    pub subscriptions: Vec<Subscription>,
    /// The number of the first operation that it will send (again).
    pub next_operation: u64,
    /// Deliveries that it holds from before and means to keep.
    pub held: Vec<Token>,
}

/// How much a session is willing to hold. Absolute, so that a repeated or late one does no harm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Credit {
    /// Deliveries under a lease.
    pub deliveries: u32,
    /// Events of its own subscriptions that it has not acknowledged.
    pub events: u32,
}

/// The broker's answer to a [`Hello`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The broker's epoch.
    pub epoch: Epoch,
    /// Whether the broker still knew the session; if not, ephemeral requests in flight are lost.
    pub resumed: bool,
    /// How long a lease lasts unless a heartbeat renews it.
    pub lease: Duration,
    /// Which of the held deliveries are no longer the session's.
    pub revoked: Vec<Token>,
    /// The bounds in force.
    pub limits: Limits,
    /// The broker's wall clock when it said this, by which the session translates the times that
    /// it is told; the earliest time if the broker does not say.
    pub now: WallTime,
}

/// What a subscription wants, and whose it is. A session or agent has at most one for each
/// pattern and group; another one replaces it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// Which topics.
    pub pattern: TopicPattern,
    /// Whether it belongs to the agent: kept while the agent is away, events go to its inbox
    /// under a lease. Otherwise it belongs to the session and is gone with it.
    pub durable: bool,
    /// Which events of those topics; `None` for every one.
    pub filter: Option<Filter>,
    /// The group that it shares events with: each event goes to one of the subscriptions in the
    /// group that want it, one that is connected if there is one.
    pub group: Option<GroupName>,
    /// What happens to an event for a session that has as many as it may: `Reject` drops the new
    /// one, `DropOldest` the oldest that waits. `Wait` is refused, and so is anything but `Reject`
    /// for a durable one: its events go by the setting of its agent's inbox.
    pub when_full: WhenFull,
}

impl Subscription {
    /// A subscription of a session to every event of some topics.
    pub const fn new(pattern: TopicPattern) -> Self {
        let when_full = WhenFull::Reject;
        Self { pattern, durable: false, filter: None, group: None, when_full }
    }

    /// Wants only the events that a filter wants.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Shares the events with the other members of a group: each goes to one of them.
    #[must_use]
    pub fn group(mut self, group: GroupName) -> Self {
        self.group = Some(group);
        self
    }

    /// Drops the oldest event that waits, rather than the new one, when there are too many.
    #[must_use]
    pub fn drop_oldest(mut self) -> Self {
        self.when_full = WhenFull::DropOldest;
        self
    }

    /// Whether another subscription of the same owner is replaced by this one.
    pub fn same_place(&self, other: &Self) -> bool {
        self.pattern == other.pattern && self.durable == other.durable && self.group == other.group
    }
}

/// What a session tells its broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientFrame {
    /// Numbered operations; the first has the number `first`, the rest follow without gaps.
    Operations {
        /// The number of the first operation.
        first: u64,
        /// The operations.
        operations: Vec<Operation>,
    },
    /// Renews the leases of these deliveries: the session is alive and works on them.
    Heartbeat {
        /// The deliveries that the session holds.
        tokens: Vec<Token>,
    },
    /// Sets how much the session is willing to hold.
    Credit(Credit),
    /// Events of the session's own subscriptions up to this number are handled.
    Acknowledge {
        /// The highest number handled; everything before it is handled too.
        through: u64,
    },
    /// No new deliveries, please; what is held will be finished.
    Drain,
    /// The session ends now; what it holds goes back at once.
    Goodbye,
}

/// Something a session wants done exactly once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Carry this.
    Publish(Arc<Publish>),
    /// A delivery ends.
    Settle(Settle),
    /// A delivery goes on.
    Update(Update),
    /// Want these topics.
    Subscribe(Subscription),
    /// Want these topics no longer.
    Unsubscribe(Subscription),
    /// Follow a task; every event after the given number is sent, then the next ones.
    Watch {
        /// Which task.
        task: MessageId,
        /// The number of the last event already seen; 0 for none.
        after: u64,
    },
    /// Follow a task no longer.
    Unwatch {
        /// Which task.
        task: MessageId,
    },
    /// Call a message off, whatever its kind: every copy that has not ended.
    Cancel {
        /// Which message.
        id: MessageId,
        /// Why.
        reason: String,
        /// Whether every task is called off too that was made while it, or a descendant of it,
        /// was handled: the answer then says how many messages were called off. These are at most
        /// [`CANCELED_AT_ONCE`]; said again, it goes on with the rest. A descendant is told by its
        /// causation id: where that leads to a message that has ended and was no task, it is found
        /// only if the message called off is the root.
        descendants: bool,
    },
    /// Answer what a paused task waits for.
    Continue {
        /// Which task.
        task: MessageId,
        /// What its caller says.
        payload: Payload,
    },
    /// Send a dead letter again, as a new message.
    Redrive(Box<Redrive>),
    /// Delete a dead letter.
    Purge(LetterAddress),
    /// Change what is set about an agent.
    SetAgent {
        /// Which agent.
        agent: AgentId,
        /// What is to change.
        change: AgentChange,
    },
    /// Take an agent out of the directory: its sessions end, its subscriptions go, what waits in
    /// its own inbox is parked.
    Unregister {
        /// Which agent.
        agent: AgentId,
    },
    /// Change how an inbox is run.
    SetInbox {
        /// Which inbox.
        inbox: InboxAddress,
        /// What is to change.
        change: Box<InboxChange>,
    },
    /// Publish something whenever it is due.
    SetSchedule(Box<Schedule>),
    /// Forget a schedule.
    RemoveSchedule {
        /// Which one.
        name: ScheduleName,
    },
    /// Follow the directory: first who is there, then what changes. Each session follows it once;
    /// another filter replaces the one before. The filter's `presence`, `after` and `limit` are
    /// of no account. It is confirmed after all who were there have been told. An agent whose card
    /// changes so that the filter no longer fits it is told of that once, as changed. Following
    /// ends with the connection.
    WatchAgents(Box<AgentFilter>),
    /// Follow the directory no longer.
    UnwatchAgents,
}

/// How many messages one cancel with its descendants calls off at most.
pub const CANCELED_AT_ONCE: u32 = 10_000;

/// Names a dead letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LetterAddress {
    /// The envelope's id.
    pub id: MessageId,
    /// The inbox it was in; needed only if copies of it died in several.
    pub inbox: Option<InboxAddress>,
}

impl From<MessageId> for LetterAddress {
    fn from(id: MessageId) -> Self {
        Self { id, inbox: None }
    }
}

/// Sends a dead letter again, edited or not. The new message has the same root, says what it was
/// made from, and goes to the inbox in which the letter died unless told otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redrive {
    /// Which dead letter.
    pub letter: LetterAddress,
    /// The id of the new message.
    pub id: MessageId,
    /// Another payload.
    pub payload: Option<Payload>,
    /// Another destination: an agent or a skill.
    pub destination: Option<Destination>,
    /// Another priority.
    pub priority: Option<Priority>,
}

/// What the holder of a delivery says while it works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// Which delivery.
    pub token: Token,
    /// What is new.
    pub body: UpdateBody,
}

/// What is new about a delivery that goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UpdateBody {
    /// The handler has begun: from now on a lost session costs an attempt.
    Started,
    /// How far the work is. Only the latest counts.
    Progress(Progress),
    /// A piece of the result.
    Artifact(ArtifactChunk),
}

/// What a broker tells a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SessionItem {
    /// Operations from `first` to `last` are done, as durably as promised.
    Done {
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
    },
    /// A publish is accepted, and there is more to say of it than "done".
    Accepted(Accepted),
    /// A message and its descendants are called off.
    Canceled(Canceled),
    /// An operation is refused; nothing of it has been done.
    Refused {
        /// The operation's number.
        operation: u64,
        /// Why.
        refusal: Refusal,
    },
    /// Work, under a lease.
    Delivery(Delivery),
    /// An event for one of the session's own subscriptions; no lease, to be acknowledged.
    Event(EventDelivery),
    /// How a request of this session ended.
    Reply(Reply),
    /// News of a watched task.
    Task {
        /// Which task.
        task: MessageId,
        /// What is new.
        update: TaskUpdate,
    },
    /// A delivery that the session holds is called off or no longer its own: stop working on it.
    Cancel {
        /// Which delivery.
        token: Token,
        /// Why.
        reason: String,
    },
    /// How a request to several agents ended.
    Gathered(Gathered),
    /// How full an inbox is that the session sends to.
    Pressure(Pressure),
    /// News of the directory, for a session that follows it.
    Agent(Box<AgentNews>),
    /// The agent is to take no new work, finish what it holds and leave.
    Drain {
        /// Why.
        reason: String,
    },
    /// The broker ends the session; reconnect later if `reconnect` says so.
    GoAway {
        /// Why.
        reason: String,
        /// Whether another attempt makes sense.
        reconnect: bool,
    },
}

/// More about an accepted publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The operation's number.
    pub operation: u64,
    /// The envelope's id: the first one's if this was a repeat under an idempotency key.
    pub id: MessageId,
    /// Whether this was a repeat.
    pub duplicate: bool,
    /// How many inboxes and subscriptions it went to.
    pub targets: u32,
    /// How many were over their bound, so that it was dropped for them; and how many have a filter
    /// that was not evaluated, because there was too much work with the event's filters.
    pub dropped: u32,
    /// How many of the inboxes nobody serves at the moment, so that it is parked there; 1 and no
    /// targets for an event that waits for its time or for its first subscriber.
    pub parked: u32,
}

/// More about a cancel with descendants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Canceled {
    /// The operation's number.
    pub operation: u64,
    /// How many messages were called off by it: the one that was named, if it had not ended, and
    /// descendants of it.
    pub messages: u32,
}

/// How full an inbox is that a session sends to. Told when it gets over the warning threshold, as
/// it fills further, and when it is well below again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pressure {
    /// Which inbox.
    pub inbox: InboxAddress,
    /// How full it is, in percent of its bound; below the warning threshold the pressure is over.
    pub percent: u8,
    /// How long to wait between two publishes to it; zero when the pressure is over.
    pub pace: Duration,
}

/// One envelope handed to one session under a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Must accompany everything said about this delivery.
    pub token: Token,
    /// What was sent. Shared with the broker and with other recipients.
    pub publish: Arc<Publish>,
    /// The inbox it came from: tells which skill is wanted.
    pub inbox: InboxAddress,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When it was accepted.
    pub accepted_at: WallTime,
    /// When its time to live ends: the handler's deadline.
    pub expires_at: Option<WallTime>,
    /// How many more wait in the inbox.
    pub backlog: u32,
    /// How long ago the oldest of them was accepted; zero if there are none.
    pub backlog_age: Duration,
    /// What its caller said since, if it was paused.
    pub messages: Vec<Payload>,
    /// Its number in the order in which its inbox took envelopes in since the broker started,
    /// from 1.
    pub number: u64,
    /// Which numbers of its inbox were dropped to make room or because there was none, as far as
    /// nobody was told yet. Of very many ranges the oldest are told as one.
    pub missed: Vec<NumberRange>,
    /// When the handler has run for as long as it may, if that is bounded.
    pub max_run: Option<Duration>,
}

/// Consecutive numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NumberRange {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// An event for a session's own subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventDelivery {
    /// Its number within the session, from 1. An event that was dropped because the session was
    /// over its bound, or whose time to live ended before it was sent, has used up its number.
    pub number: u64,
    /// What was sent.
    pub publish: Arc<Publish>,
    /// How many events right before this one were dropped or expired: the numbers from
    /// `number - missed`.
    pub missed: u64,
}

/// How a request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The request.
    pub request: MessageId,
    /// The agent that handled it, if one did.
    pub agent: Option<AgentId>,
    /// The answer (empty if the agent gave none) or why there is none.
    pub result: Result<Payload, Failure>,
}

/// A boxed future, because [`Connector`] is used as an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Receives what a broker has for a session.
pub trait Sink: Send + Sync + 'static {
    /// Takes a batch, leaving `items` empty. Called in order and never twice at once,
    /// on whichever thread drives the broker, which holds no lock of the engine then; must not
    /// block.
    fn accept(&self, items: &mut Vec<SessionItem>);

    /// The broker has ended for good and answers nothing more over this connection. Only called
    /// in process: over the network the connection breaks instead, and may be made anew.
    fn closed(&self, refusal: &Refusal) {
        let _ = refusal;
    }

    /// The connection was lost and made anew; what the broker answered is in `welcome`. Never
    /// called in process. Comes before any item of the new connection.
    fn reconnected(&self, welcome: &Welcome) {
        let _ = welcome;
    }
}

/// A session's way to its broker.
pub trait Connection: Send + Sync + 'static {
    /// Hands over a frame. Never blocks; what it leads to arrives at the [`Sink`], possibly
    /// before this call returns.
    fn send(&self, frame: ClientFrame);

    /// Ends the session as [`ClientFrame::Goodbye`] does and releases its resources.
    fn close(&self);

    /// Whether the connection is made anew by itself when it is lost or the broker sends the
    /// session away for a while, as told by [`Sink::reconnected`]. Otherwise a
    /// [`SessionItem::GoAway`] means that the session is to finish and leave.
    fn comes_back(&self) -> bool {
        true
    }
}

/// A connection and how it was welcomed.
pub struct Connected {
    /// The way to the broker.
    pub connection: Arc<dyn Connection>,
    /// The broker's answer to the hello.
    pub welcome: Welcome,
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected").field("welcome", &self.welcome).finish_non_exhaustive()
    }
}

/// A broker, here or elsewhere, to which sessions can be opened.
pub trait Connector: Send + Sync + 'static {
    /// Opens a session. The principal is the connector's own.
    ///
    /// # Errors
    /// A [`Refusal`]: the agent id belongs to another principal, the card is over a limit, the
    /// broker drains or is not there.
    fn connect(
        &self,
        hello: Hello,
        sink: Arc<dyn Sink>,
    ) -> BoxFuture<'_, Result<Connected, Refusal>>;

    /// Asks something.
    ///
    /// # Errors
    /// A [`Refusal`]: the thing asked for does not exist, or the broker is not there.
    fn query(&self, query: Query) -> BoxFuture<'_, Result<Answer, Refusal>>;

    /// Where the layer above keeps what belongs to this connector, such as the session that
    /// its short calls share. `None` if the connector has no such place; each short call then
    /// opens a session of its own.
    fn companion(&self) -> Option<&Companion> {
        None
    }
}

impl<C: Connector + ?Sized> Connector for Arc<C> {
    fn connect(
        &self,
        hello: Hello,
        sink: Arc<dyn Sink>,
    ) -> BoxFuture<'_, Result<Connected, Refusal>> {
        (**self).connect(hello, sink)
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<Answer, Refusal>> {
        (**self).query(query)
    }

    fn companion(&self) -> Option<&Companion> {
        (**self).companion()
    }
}

/// A place beside a connector, shared by its clones, that lives as long as they do. It belongs
/// to the handle that callers hold, not to what the handle leads to: what is kept here may hold
/// a connection, and must not keep itself alive.
#[derive(Clone, Default)]
pub struct Companion(Arc<OnceLock<Arc<dyn Any + Send + Sync>>>);

impl Companion {
    /// What is kept here, made first if nothing is; `None` if it is of another type.
    pub fn get_or_init<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<Arc<T>> {
        let kept = self.0.get_or_init(|| Arc::new(make()));
        Arc::clone(kept).downcast().ok()
    }
}

impl fmt::Debug for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Companion").finish_non_exhaustive()
    }
}
