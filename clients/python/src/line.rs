//! What waits in front of the workers of one event loop, with an engine that decides about it.
//!
//! The engine is driven on the thread that calls, without a thread or a runtime of its own, and
//! gets bare envelopes: what a message says never leaves Python. What comes at about the same time
//! with the same priority is one envelope, so that it costs little more than an engine's turn for all
//! of it. It lives for as long as the longest of them; what ends before that is looked for here. The
//! engine delivers whatever is due at once, under a lease
//! that lasts until the last message of the envelope has ended; the deliveries wait here, because
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
/// From how many operations on the engine is told before anything is taken.
const FRAME: usize = 64;
/// Most messages of one envelope.
const BUNDLE: usize = 128;
/// How long it is at least between two looks for messages whose time to live has ended, and how much
/// longer for each that waits.
const LOOK: Duration = Duration::from_millis(5);
const LOOK_AT_ONE: Duration = Duration::from_nanos(200);
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
    /// Of which bundle each operation of the frame at hand is; 0 of an end.
    asked: Vec<u64>,
    next_operation: u64,
    next_round: u64,
    bundles: Vec<Bundle<T>>,
    free: Vec<usize>,
    /// What is gathered of each priority and the engine has not heard of.
    gathering: [Option<usize>; LANES],
    /// What was delivered and not all of which was taken, by priority.
    lanes: [VecDeque<usize>; LANES],
    /// How many messages wait: to be delivered, for the end of a delay, or to be taken.
    pub(crate) waiting: usize,
    /// How many of these may be taken.
    pub(crate) ready: usize,
    /// How many have not ended.
    pub(crate) open: usize,
    /// Before this no time to live ends of what waits.
    earliest: Option<Mono>,
}

const LANES: usize = Priority::ALL.len();

/// What one envelope stands for.
#[derive(Debug)]
struct Bundle<T> {
    number: u64,
    priority: Priority,
    /// What nobody has taken, with the end of its time to live on the monotonic clock.
    items: VecDeque<(T, Mono)>,
    /// How many have not ended.
    open: usize,
    token: Option<Token>,
    delivered: bool,
    in_lane: bool,
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
            limits: Limits {
                credit: u32::MAX,
                operations_per_frame: usize::MAX,
                ..Limits::default()
            },
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
            operations: Vec::new(),
            asked: Vec::new(),
            next_operation: 1,
            next_round: 0,
            bundles: Vec::new(),
            free: Vec::new(),
            gathering: [None; LANES],
            lanes: Default::default(),
            waiting: 0,
            ready: 0,
            open: 0,
            earliest: None,
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

    /// Puts something that is made with the number of its bundle at the end of its priority.
    /// Returns when its time to live ends.
    pub(crate) fn put<E>(
        &mut self,
        about: About,
        make: impl FnOnce(u64) -> Result<T, E>,
    ) -> Result<Mono, E> {
        let expires = self.mono().after(about.ttl);
        let lane = about.priority as usize;
        let open = self.gathering[lane].filter(|_| about.delay.is_none());
        let has_room = |place: &usize| self.bundles[*place].items.len() < BUNDLE;
        let place = match open.filter(has_room) {
            Some(place) => place,
            None => self.bundle(about.priority),
        };
        let item = match make(self.bundles[place].number) {
            Ok(item) => item,
            Err(error) => {
                self.leave(place);
                return Err(error);
            }
        };
        let bundle = &mut self.bundles[place];
        bundle.items.push_back((item, expires));
        bundle.open += 1;
        self.waiting += 1;
        self.open += 1;
        self.earliest = Some(self.earliest.map_or(expires, |earliest| earliest.min(expires)));
        if about.delay.is_some() {
            self.publish(place, about.delay);
        } else if let Some(before) = self.gathering[lane].replace(place)
            && before != place
        {
            self.publish(before, None);
        }
        Ok(expires)
    }

    /// Tells the engine what it has not heard. Returns what it gives up.
    pub(crate) fn tell(&mut self) -> Vec<T> {
        for lane in 0..LANES {
            if let Some(place) = self.gathering[lane].take() {
                self.publish(place, None);
            }
        }
        if self.operations.is_empty() {
            return Vec::new();
        }
        let now = self.now();
        let operations = mem::take(&mut self.operations);
        let first = self.next_operation;
        self.next_operation += operations.len() as u64;
        self.asked.clear();
        self.asked.extend(operations.iter().map(|operation| match operation {
            Operation::Publish(publish) => number_of(publish.envelope.id),
            _ => 0,
        }));
        let frame = ClientFrame::Operations { first, operations };
        let command = Command::Frame { connection: CONNECTION, frame, verdicts: Verdicts::new() };
        self.engine.handle(now, command, &mut self.out);
        self.perform()
    }

    /// Has the engine look at its timers. Returns what it gives up.
    pub(crate) fn tick(&mut self) -> Vec<T> {
        let now = self.now();
        self.engine.tick(now, &mut self.out);
        let mut given = self.perform();
        if self.earliest.is_some_and(|earliest| earliest <= now.mono) {
            given.extend(self.sweep(now.mono));
        }
        given
    }

    /// How long until the engine has to be asked again.
    pub(crate) fn due(&self) -> Option<Duration> {
        let (now, deadline) = (self.now(), self.engine.deadline());
        let mono = deadline.mono.map(|at| Duration::from_nanos(at.0.saturating_sub(now.mono.0)));
        let wall = deadline.wall.map(|at| at.since(now.wall));
        let ends = self.earliest.filter(|_| self.waiting > 0);
        let ends = ends.map(|at| Duration::from_nanos(at.0.saturating_sub(now.mono.0)));
        mono.into_iter().chain(wall).chain(ends).min()
    }

    /// Takes the most urgent one, and tells whether it came too late.
    pub(crate) fn take(&mut self) -> Option<(T, bool)> {
        loop {
            let lane = self.lanes.iter_mut().rev().find(|lane| !lane.is_empty())?;
            let place = *lane.front()?;
            let bundle = &mut self.bundles[place];
            let item = bundle.items.pop_front();
            if bundle.items.is_empty() {
                lane.pop_front();
                bundle.in_lane = false;
            }
            if let Some((item, expires)) = item {
                self.ready -= 1;
                self.waiting -= 1;
                return Some((item, expires <= self.mono()));
            }
            self.settle_if_over(place);
        }
    }

    /// Whether the engine has not heard of something that was put in.
    pub(crate) fn has_unheard(&self) -> bool {
        self.gathering != [None; LANES] || self.operations.len() >= FRAME
    }

    /// What was taken and is of this bundle has ended.
    pub(crate) fn end(&mut self, number: u64) {
        if let Some(place) = self.place_of(number) {
            self.bundles[place].open -= 1;
            self.open -= 1;
            self.settle_if_over(place);
        }
    }

    /// Gives up all that nobody has taken, in the order of the envelopes.
    pub(crate) fn clear(&mut self) -> Vec<T> {
        let mut bundles: Vec<_> = self.bundles.iter_mut().collect();
        bundles.sort_by_key(|bundle| bundle.number >> 32);
        let mut given = Vec::new();
        for bundle in bundles {
            bundle.open -= bundle.items.len();
            given.extend(bundle.items.drain(..).map(|(item, _)| item));
        }
        self.open -= given.len();
        self.waiting = 0;
        self.ready = 0;
        given
    }

    /// Gives up what waits and whose time to live has ended, in the order of the envelopes.
    fn sweep(&mut self, now: Mono) -> Vec<T> {
        let mut places: Vec<_> = (0..self.bundles.len()).collect();
        places.retain(|&place| !self.bundles[place].items.is_empty());
        places.sort_by_key(|&place| self.bundles[place].number >> 32);
        let (mut given, mut earliest) = (Vec::new(), None::<Mono>);
        for place in places {
            let bundle = &mut self.bundles[place];
            let before = bundle.items.len();
            for (item, expires) in mem::take(&mut bundle.items) {
                if expires <= now {
                    given.push(item);
                } else {
                    earliest = Some(earliest.map_or(expires, |earliest| earliest.min(expires)));
                    bundle.items.push_back((item, expires));
                }
            }
            let gone = before - bundle.items.len();
            bundle.open -= gone;
            if bundle.delivered {
                self.ready -= gone;
            }
            self.waiting -= gone;
            self.open -= gone;
            self.settle_if_over(place);
        }
        // So that many that end one after another are not looked at for each.
        let waiting = u32::try_from(self.waiting).unwrap_or(u32::MAX);
        let next = now.after(LOOK + LOOK_AT_ONE * waiting);
        self.earliest = earliest.map(|earliest| earliest.max(next));
        given
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
                SessionItem::Refused { operation, .. } => {
                    let asked = operation
                        .checked_sub(self.next_operation - self.asked.len() as u64)
                        .and_then(|index| self.asked.get(usize::try_from(index).ok()?).copied());
                    if let Some(place) = asked.and_then(|number| self.place_of(number)) {
                        self.give_up(place, &mut given);
                    }
                }
                SessionItem::Reply(reply) if reply.result.is_err() => {
                    if let Some(place) = self.place_of(number_of(reply.request)) {
                        self.give_up(place, &mut given);
                    }
                }
                _ => {}
            }
        }
        self.out.effects = effects;
        self.out.clear();
        if !called_off.is_empty() {
            for place in 0..self.bundles.len() {
                if self.bundles[place].token.is_some_and(|token| called_off.contains(&token)) {
                    self.give_up(place, &mut given);
                }
            }
        }
        given
    }

    fn delivered(&mut self, number: u64, token: Token) {
        let Some(place) = self.place_of(number) else { return };
        let bundle = &mut self.bundles[place];
        bundle.token = Some(token);
        bundle.delivered = true;
        if !bundle.items.is_empty() {
            self.ready += bundle.items.len();
            bundle.in_lane = true;
            self.lanes[bundle.priority as usize].push_back(place);
        }
        self.settle_if_over(place);
    }

    /// The engine has given a bundle up; who has taken something of it goes on.
    fn give_up(&mut self, place: usize, given: &mut Vec<T>) {
        let bundle = &mut self.bundles[place];
        let number = bundle.items.len();
        given.extend(bundle.items.drain(..).map(|(item, _)| item));
        bundle.open -= number;
        bundle.token = None;
        if bundle.delivered {
            self.ready -= number;
        }
        bundle.delivered = true;
        self.waiting -= number;
        self.open -= number;
        self.settle_if_over(place);
    }

    /// A new bundle, of which the engine has not heard.
    fn bundle(&mut self, priority: Priority) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.bundles.push(Bundle {
                number: 0,
                priority,
                items: VecDeque::new(),
                open: 0,
                token: None,
                delivered: false,
                in_lane: false,
            });
            self.bundles.len() - 1
        });
        self.next_round = self.next_round.wrapping_add(1);
        let bundle = &mut self.bundles[place];
        bundle.number = (self.next_round << 32 | place as u64) & NUMBERS;
        bundle.priority = priority;
        place
    }

    /// Has the engine hear of a bundle.
    fn publish(&mut self, place: usize, delay: Option<Duration>) {
        let now = self.mono();
        let bundle = &self.bundles[place];
        let Some(id) = id_of(bundle.number) else { return };
        let last = bundle.items.iter().map(|(_, expires)| expires.0).max().unwrap_or_default();
        let ttl = Duration::from_nanos(last.saturating_sub(now.0)).clamp(SHORTEST, LONGEST);
        // What is delayed may expire before anybody holds it, of which only a reply tells.
        let kind = if delay.is_some() { Kind::Request } else { Kind::Event };
        let mut envelope = Envelope::new(id, kind, self.to.clone(), Payload::default());
        envelope.priority = bundle.priority;
        envelope.ttl = Some(ttl);
        let mut publish = Publish::new(envelope);
        publish.options.durability = Some(Durability::Ephemeral);
        publish.options.reply = delay.is_some();
        publish.options.delay = delay.map(|delay| delay.min(LONGEST));
        self.operations.push(Operation::Publish(Arc::new(publish)));
    }

    /// If a bundle was delivered and all of it has ended, so has its envelope.
    fn settle_if_over(&mut self, place: usize) {
        let bundle = &mut self.bundles[place];
        if bundle.open > 0 || !bundle.delivered || bundle.in_lane {
            return;
        }
        if let Some(token) = bundle.token.take() {
            let outcome = Outcome::Complete { reply: None };
            self.operations.push(Operation::Settle(Settle { token, outcome }));
        }
        self.leave(place);
    }

    /// The place is free, if nothing is of its bundle.
    fn leave(&mut self, place: usize) {
        let bundle = &mut self.bundles[place];
        if bundle.open == 0 {
            bundle.number = 0;
            bundle.delivered = false;
            self.free.push(place);
        }
    }

    fn place_of(&self, number: u64) -> Option<usize> {
        let place = usize::try_from(number & PLACES).ok()?;
        (self.bundles.get(place)?.number == number).then_some(place)
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
