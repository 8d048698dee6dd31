//! What waits in front of the workers of one event loop, with an engine that decides about it.
//!
//! The engine is driven on the thread that calls, without a thread or a runtime of its own, and
//! gets bare envelopes: what a message says never leaves Python. It delivers whatever is due at
//! once, under a lease that lasts until the message has ended; the deliveries wait here, because
//! the drop-in promises that the most urgent goes first, where the engine lets none starve.

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use trunkline_engine::{
    Command, ConnectionKey, Effect, Engine, EngineConfig, Mono, Now, Output, Verdicts,
};
use trunkline_types::session::{ClientFrame, Credit, Hello, Operation, SessionItem};
use trunkline_types::{
    AgentCard, Destination, Durability, Envelope, Kind, Limits, MessageId, Outcome, Payload,
    Principal, Priority, Publish, SessionId, Settle, Token, WallTime,
};

const POOL: &str = "agent-message-broker";
const CONNECTION: ConnectionKey = ConnectionKey(1);
/// From how many operations on the engine is told at once. Fewer wait until somebody takes
/// something or the turn of the loop is over.
const FRAME: usize = 64;
/// The longest time to live that the engine knows.
const LONGEST: Duration = Duration::from_hours(365 * 24);
/// The shortest that it tells from none.
const SHORTEST: Duration = Duration::from_millis(1);
/// Bits of a number that say which place it is of.
const PLACES: u64 = u32::MAX as u64;
/// Bits of a number in all, which is what an id leaves to its maker.
const NUMBERS: u64 = (1 << 62) - 1;

/// A queue of `T`, the most urgent first, each of which ends once.
#[derive(Debug)]
pub(crate) struct Line<T> {
    engine: Engine,
    out: Output,
    since: Instant,
    to: Destination,
    operations: Vec<Operation>,
    /// How many of them publish.
    unheard: usize,
    next_operation: u64,
    next_round: u64,
    places: Vec<Place<T>>,
    free: Vec<usize>,
    /// What was delivered and nobody has taken, by priority.
    lanes: [VecDeque<usize>; Priority::ALL.len()],
    /// How many wait: to be delivered, for the end of a delay, or to be taken.
    pub(crate) waiting: usize,
    /// How many of these may be taken.
    pub(crate) ready: usize,
    /// How many have not ended.
    pub(crate) open: usize,
}

#[derive(Debug)]
struct Place<T> {
    number: u64,
    state: State<T>,
    priority: Priority,
    token: Option<Token>,
    /// When its time to live ends, on the monotonic clock.
    expires: Mono,
}

#[derive(Debug)]
enum State<T> {
    /// The engine has it, or will be told.
    Sent(T),
    /// It is in a lane.
    Ready(T),
    Taken,
    /// It ended while it was in a lane, or before it was delivered.
    Over,
    Free,
}

/// What is put into a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) priority: Priority,
    /// How long it may wait.
    pub(crate) ttl: Duration,
    /// For how long nobody may take it.
    pub(crate) delay: Option<Duration>,
}

impl<T> Line<T> {
    /// An empty line.
    pub(crate) fn new() -> Result<Self, trunkline_types::NameError> {
        let config = EngineConfig {
            logged: false,
            // What is bounded is how much waits, and that is seen to before the engine is asked.
            inbox_ephemeral: u32::MAX,
            inbox_ephemeral_bytes: u64::MAX,
            session_bytes: u64::MAX,
            limits: Limits { credit: u32::MAX, ..Limits::default() },
            lease: LONGEST,
            breaker_failures: 0,
            dead_letters: 1,
            ended_messages: 1,
            ..EngineConfig::default()
        };
        let mut line = Self {
            engine: Engine::new(config),
            out: Output::default(),
            since: Instant::now(),
            to: Destination::agent(POOL)?,
            operations: Vec::with_capacity(FRAME),
            unheard: 0,
            next_operation: 1,
            next_round: 0,
            places: Vec::new(),
            free: Vec::new(),
            lanes: Default::default(),
            waiting: 0,
            ready: 0,
            open: 0,
        };
        let now = line.now();
        line.engine.start(now, &mut line.out);
        let hello = Box::new(Hello {
            session: SessionId(1),
            card: Some(AgentCard::new(POOL.parse()?)),
            credit: Credit { deliveries: u32::MAX, events: 0 },
            subscriptions: Vec::new(),
            next_operation: 1,
            held: Vec::new(),
        });
        let principal = Principal::default();
        let command = Command::Connect { connection: CONNECTION, principal, hello };
        line.engine.handle(now, command, &mut line.out);
        line.out.clear();
        Ok(line)
    }

    /// Puts something that is made with its number at the end of its priority. Returns when its
    /// time to live ends.
    pub(crate) fn put<E>(
        &mut self,
        about: About,
        make: impl FnOnce(u64) -> Result<T, E>,
    ) -> Result<Mono, E> {
        let place = self.free.pop().unwrap_or_else(|| {
            let place = self.places.len();
            let (state, priority) = (State::Free, Priority::Normal);
            self.places.push(Place { number: 0, state, priority, token: None, expires: Mono(0) });
            place
        });
        self.next_round = self.next_round.wrapping_add(1);
        let number = (self.next_round << 32 | place as u64) & NUMBERS;
        let item = make(number).inspect_err(|_| self.free.push(place))?;
        let ttl = about.ttl.clamp(SHORTEST, LONGEST);
        let expires = self.mono().after(about.ttl);
        let state = State::Sent(item);
        let priority = about.priority;
        self.places[place] = Place { number, state, priority, token: None, expires };
        self.waiting += 1;
        self.open += 1;
        let Some(id) = id_of(number) else { return Ok(expires) };
        // What is delayed may expire before anybody holds it, of which only a reply tells.
        let kind = if about.delay.is_some() { Kind::Request } else { Kind::Event };
        let mut envelope = Envelope::new(id, kind, self.to.clone(), Payload::default());
        envelope.priority = priority;
        envelope.ttl = Some(ttl);
        let mut publish = Publish::new(envelope);
        publish.options.durability = Some(Durability::Ephemeral);
        publish.options.reply = about.delay.is_some();
        publish.options.delay = about.delay.map(|delay| delay.min(LONGEST));
        self.operations.push(Operation::Publish(Arc::new(publish)));
        self.unheard += 1;
        Ok(expires)
    }

    /// Tells the engine what it has not heard. Returns what it gives up.
    pub(crate) fn tell(&mut self) -> Vec<T> {
        if self.operations.is_empty() {
            return Vec::new();
        }
        let now = self.now();
        let operations = mem::replace(&mut self.operations, Vec::with_capacity(FRAME));
        self.unheard = 0;
        let first = self.next_operation;
        self.next_operation += operations.len() as u64;
        let frame = ClientFrame::Operations { first, operations };
        let command = Command::Frame { connection: CONNECTION, frame, verdicts: Verdicts::new() };
        self.engine.handle(now, command, &mut self.out);
        self.perform()
    }

    /// Has the engine look at its timers. Returns what it gives up.
    pub(crate) fn tick(&mut self) -> Vec<T> {
        let now = self.now();
        self.engine.tick(now, &mut self.out);
        self.perform()
    }

    /// How long until the engine has to be asked again.
    pub(crate) fn due(&self) -> Option<Duration> {
        let (now, deadline) = (self.now(), self.engine.deadline());
        let mono = deadline.mono.map(|at| Duration::from_nanos(at.0.saturating_sub(now.mono.0)));
        let wall = deadline.wall.map(|at| at.since(now.wall));
        mono.into_iter().chain(wall).min()
    }

    /// Takes the most urgent one, and tells whether it came too late.
    pub(crate) fn take(&mut self) -> Option<(T, bool)> {
        loop {
            let lane = self.lanes.iter_mut().rev().find(|lane| !lane.is_empty())?;
            let place = lane.pop_front()?;
            let now = self.mono();
            let row = &mut self.places[place];
            match mem::replace(&mut row.state, State::Taken) {
                State::Ready(item) => {
                    self.ready -= 1;
                    self.waiting -= 1;
                    return Some((item, row.expires <= now));
                }
                _ => self.leave(place),
            }
        }
    }

    /// Whether the engine has not heard of something that was put in.
    pub(crate) fn has_unheard(&self) -> bool {
        self.unheard > 0
    }

    /// Whether as much waits to be told as goes at once.
    pub(crate) fn has_frame(&self) -> bool {
        self.operations.len() >= FRAME
    }

    /// What was taken has ended. Returns whether that is news.
    pub(crate) fn end(&mut self, number: u64) -> bool {
        let Some(place) = self.place_of(number) else { return false };
        let row = &mut self.places[place];
        if !matches!(row.state, State::Taken) {
            return false;
        }
        let token = row.token.take();
        self.open -= 1;
        self.leave(place);
        self.settle(token);
        true
    }

    /// Gives up all that nobody has taken.
    pub(crate) fn clear(&mut self) -> Vec<T> {
        let mut given = Vec::new();
        for row in &mut self.places {
            match mem::replace(&mut row.state, State::Over) {
                State::Sent(item) | State::Ready(item) => given.push((row.number, item)),
                state => row.state = state,
            }
        }
        self.open -= given.len();
        self.waiting = 0;
        self.ready = 0;
        given.sort_by_key(|(number, _)| *number >> 32);
        given.into_iter().map(|(_, item)| item).collect()
    }

    fn perform(&mut self) -> Vec<T> {
        let mut given = Vec::new();
        let mut called_off = HashSet::new();
        let mut effects = mem::take(&mut self.out.effects);
        for effect in effects.drain(..) {
            let Effect::Item { item, .. } = effect else { continue };
            match item {
                SessionItem::Delivery(delivery) => {
                    self.delivered(number_of(delivery.publish.envelope.id), delivery.token);
                }
                SessionItem::Cancel { token, .. } => {
                    called_off.insert(token);
                }
                SessionItem::Reply(reply) if reply.result.is_err() => {
                    let place = self.place_of(number_of(reply.request));
                    given.extend(place.and_then(|place| self.give_up(place)));
                }
                _ => {}
            }
        }
        self.out.effects = effects;
        self.out.clear();
        if !called_off.is_empty() {
            for place in 0..self.places.len() {
                if self.places[place].token.is_some_and(|token| called_off.contains(&token)) {
                    given.extend(self.give_up(place));
                }
            }
        }
        given
    }

    fn delivered(&mut self, number: u64, token: Token) {
        let place = self.place_of(number);
        let Some(place) = place else { return self.settle(Some(token)) };
        let row = &mut self.places[place];
        match mem::replace(&mut row.state, State::Over) {
            State::Sent(item) => {
                row.state = State::Ready(item);
                row.token = Some(token);
                self.lanes[row.priority as usize].push_back(place);
                self.ready += 1;
            }
            State::Over => {
                self.leave(place);
                self.settle(Some(token));
            }
            state => row.state = state,
        }
    }

    /// The engine has given it up; who has taken it goes on.
    fn give_up(&mut self, place: usize) -> Option<T> {
        let row = &mut self.places[place];
        match mem::replace(&mut row.state, State::Over) {
            State::Ready(item) => {
                self.ready -= 1;
                self.waiting -= 1;
                self.open -= 1;
                Some(item)
            }
            State::Sent(item) => {
                self.waiting -= 1;
                self.open -= 1;
                self.leave(place);
                Some(item)
            }
            state => {
                row.state = state;
                None
            }
        }
    }

    fn settle(&mut self, token: Option<Token>) {
        if let Some(token) = token {
            let outcome = Outcome::Complete { reply: None };
            self.operations.push(Operation::Settle(Settle { token, outcome }));
        }
    }

    fn leave(&mut self, place: usize) {
        let row = &mut self.places[place];
        row.state = State::Free;
        row.token = None;
        row.number = 0;
        self.free.push(place);
    }

    fn place_of(&self, number: u64) -> Option<usize> {
        let place = usize::try_from(number & PLACES).ok()?;
        (self.places.get(place)?.number == number).then_some(place)
    }

    pub(crate) fn mono(&self) -> Mono {
        Mono(0).after(self.since.elapsed())
    }

    fn now(&self) -> Now {
        let wall = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        Now { mono: self.mono(), wall: WallTime(u64::try_from(wall).unwrap_or(u64::MAX)) }
    }
}

/// The id of an envelope: a version 7 UUID whose unique bits are the number.
fn id_of(number: u64) -> Option<MessageId> {
    let id = 7_u128 << 76 | 0b10_u128 << 62 | u128::from(number);
    MessageId::from_bytes(id.to_be_bytes())
}

#[allow(clippy::cast_possible_truncation, reason = "masked")]
fn number_of(id: MessageId) -> u64 {
    id.as_u128() as u64 & NUMBERS
}
