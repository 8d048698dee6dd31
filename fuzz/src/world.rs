//! A real engine with a log that is as slow and as unsafe as the input wants, and what must hold
//! of everything that the engine says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::{
    Command, ConnectionKey, Effect, Engine, EngineConfig, Mono, Now, Output, QueryKey, Record,
    Rules, Verdicts,
};
use trunkline_types::session::{ClientFrame, Delivery, Hello, Operation, SessionItem};
use trunkline_types::{
    Answer, Durability, Filter, MessageId, Publish, Sequence, TaskEvent, TaskEventBody, TaskState,
    TaskUpdate, Token, WallTime,
};

/// How many sessions there are at a time.
pub const PEERS: usize = 5;

/// Filters of the form `name=value`, and schedules that are due every so many milliseconds.
#[derive(Debug)]
struct PlainRules;

impl Rules for PlainRules {
    fn check_filter(&self, filter: &Filter) -> Result<(), String> {
        if filter.as_str().contains('=') { Ok(()) } else { Err("write name=value".to_owned()) }
    }

    fn matches(&self, filter: &Filter, publish: &Publish) -> bool {
        let wanted = filter.as_str().split_once('=');
        publish.envelope.headers.iter().any(|(name, is)| wanted == Some((name, is)))
    }

    fn next_due(&self, cron: &str, _: &str, after: WallTime) -> Result<Option<WallTime>, String> {
        let every: u64 = cron.parse().map_err(|_not_a_number| "write milliseconds".to_owned())?;
        Ok((every > 0).then(|| WallTime((after.0 / every + 1) * every)))
    }
}

/// Small bounds, so that short inputs reach them.
fn config(logged: bool, seed: u64) -> EngineConfig {
    EngineConfig {
        logged,
        seed,
        rules: Arc::new(PlainRules),
        inbox_ephemeral: 4,
        inbox_logged: 6,
        pending_events: 4,
        waiting_outside: 3,
        ended_tasks: 4,
        ended_messages: 6,
        dead_letters: 3,
        task_events: 6,
        task_messages: 2,
        keys: 3,
        schedules: 2,
        sessions: 8,
        remembered_sessions: 3,
        losses: 2,
        breaker_failures: 2,
        lease: Duration::from_secs(2),
        resume_grace: Duration::from_millis(400),
        wait: Duration::from_millis(300),
        backoff_cap: Duration::from_millis(50),
        ..EngineConfig::default()
    }
}

/// A connected session as its own side sees it.
#[derive(Clone, Debug)]
pub struct Peer {
    pub connection: ConnectionKey,
    pub hello: Hello,
    /// The number of its next operation.
    pub next: u64,
    /// Operations without an answer.
    pub open: BTreeSet<u64>,
    /// What it holds, by the token.
    pub held: Vec<Token>,
    /// The number of its latest event, if it knows that.
    pub event: Option<u64>,
    /// What it saw of each task that it follows; `None` before the first event.
    seen: BTreeMap<MessageId, Option<Seen>>,
    /// Tasks that it followed over this connection. It follows none of them anew, for it could not
    /// tell what is left of the old news from the new.
    followed: BTreeSet<MessageId>,
}

/// Up to where a task was followed.
#[derive(Clone, Copy, Debug)]
struct Seen {
    number: u64,
    state: Option<TaskState>,
}

/// How much a stop takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// The process was killed: what was written stays.
    Killed,
    /// The power failed: what was flushed stays.
    PowerFailed,
}

/// An engine, its log and its sessions.
pub struct World {
    pub engine: Engine,
    pub now: Now,
    /// The latest time that the wall ever showed.
    latest_wall: WallTime,
    pub peers: [Option<Peer>; PEERS],
    /// Every record of the log, written or not.
    pub records: Vec<(Sequence, Record)>,
    /// Tokens that were delivered, in order.
    pub tokens: Vec<Token>,
    config: EngineConfig,
    /// How many records are in the file and on disk.
    written: usize,
    synced: usize,
    granted: BTreeSet<Token>,
    /// Ids that were sent more than once, of which nothing can be said.
    pub reused: BTreeSet<MessageId>,
    /// Ended tasks whose end was told, with how they ended, as long as a stop may not take it.
    ended: BTreeMap<MessageId, TaskState>,
    connections: u64,
    out: Output,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("now", &self.now).finish_non_exhaustive()
    }
}

impl World {
    /// A new broker.
    pub fn new(logged: bool, seed: u64) -> Self {
        let config = config(logged, seed);
        let now = Now { mono: Mono(0), wall: WallTime(1_700_000_000_000) };
        let mut world = Self {
            engine: Engine::new(config.clone()),
            now,
            latest_wall: now.wall,
            peers: [const { None }; PEERS],
            records: Vec::new(),
            tokens: Vec::new(),
            config,
            written: 0,
            synced: 0,
            granted: BTreeSet::new(),
            reused: BTreeSet::new(),
            ended: BTreeMap::new(),
            connections: 0,
            out: Output::default(),
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.engine.start(self.now, &mut self.out);
        self.perform();
        self.flush();
    }

    /// Stops the broker and starts it again on what is left of its log.
    pub fn restart(&mut self, loss: Loss) {
        let kept = if loss == Loss::Killed { self.written } else { self.synced };
        if !self.config.logged {
            // Nothing outlives it, not even how far its tokens got.
            self.granted.clear();
            self.tokens.clear();
        }
        let whole = kept == self.records.len() && self.config.logged;
        // What is past its time by then the live engine has forgotten; no record says so.
        let wall = self.latest_wall;
        let before = whole.then(|| self.engine.durable_state_at(wall));
        self.records.truncate(kept);
        self.engine = Engine::new(self.config.clone());
        for (sequence, record) in self.records.clone() {
            if let Err(error) = self.engine.replay(sequence, record) {
                panic!("the engine cannot read its own log: {error}");
            }
        }
        if let Some(before) = before {
            let after = self.engine.durable_state_at(wall);
            // Where the next number begins is for the start to say.
            let same = |(name, value): &(&String, &String)| {
                *name == "next" || after.get(*name) == Some(*value)
            };
            let lost: Vec<_> = before.iter().filter(|entry| !same(entry)).collect();
            assert!(lost.is_empty(), "before: {lost:#?}\nafter: {after:#?}");
            // Keys whose window is over are back until somebody looks.
            let lasting = |(name, _): &(&String, &String)| !name.starts_with("key ");
            let count = |state: &BTreeMap<_, _>| state.iter().filter(lasting).count();
            assert_eq!(count(&before), count(&after), "before: {before:#?}\nafter: {after:#?}");
        }
        self.out.clear();
        (self.written, self.synced) = (kept, kept);
        self.peers = [const { None }; PEERS];
        self.start();
        self.check_ends();
    }

    /// The log has written everything.
    pub fn write(&mut self) {
        self.written = self.records.len();
        self.tell();
    }

    /// The log has flushed everything, and what came of that.
    pub fn flush(&mut self) {
        while self.synced < self.records.len() {
            self.written = self.records.len();
            self.synced = self.written;
            self.tell();
        }
    }

    fn tell(&mut self) {
        let place = |count: usize| {
            self.records[..count].last().map_or(Sequence(0), |(sequence, _)| *sequence)
        };
        let (written, synced) = (place(self.written), place(self.synced));
        self.engine.durable(self.now, written, synced, &mut self.out);
        self.perform();
    }

    /// Tells the engine something.
    pub fn handle(&mut self, command: Command) {
        self.engine.handle(self.now, command, &mut self.out);
        self.perform();
    }

    /// Lets time pass on both clocks.
    pub fn pass(&mut self, span: Duration) {
        self.now = Now { mono: self.now.mono.after(span), wall: self.now.wall.after(span) };
        self.latest_wall = self.latest_wall.max(self.now.wall);
        self.engine.tick(self.now, &mut self.out);
        self.perform();
    }

    /// Sets the clock on the wall.
    pub fn set_wall(&mut self, wall: WallTime) {
        self.now.wall = wall;
        self.latest_wall = self.latest_wall.max(wall);
        self.engine.tick(self.now, &mut self.out);
        self.perform();
    }

    /// Opens a connection for a session.
    pub fn connect(&mut self, at: usize, mut hello: Hello) {
        self.connections += 1;
        let connection = ConnectionKey(self.connections);
        let old = self.peers[at].take();
        if let Some(old) = &old {
            self.handle(Command::Disconnect { connection: old.connection });
        }
        let mut peer = Peer {
            connection,
            hello: hello.clone(),
            next: hello.next_operation,
            open: BTreeSet::new(),
            held: Vec::new(),
            event: Some(0),
            seen: BTreeMap::new(),
            followed: BTreeSet::new(),
        };
        if let Some(old) = old.filter(|old| old.hello.session == hello.session) {
            // It comes back: what it holds it means to keep, and sends nothing again.
            hello.next_operation = old.next;
            hello.held.clone_from(&old.held);
            peer = Peer { next: old.next, open: old.open, held: old.held, event: None, ..peer };
        }
        self.peers[at] = Some(peer);
        let principal = trunkline_types::Principal::default();
        self.handle(Command::Connect { connection, principal, hello: Box::new(hello) });
    }

    /// A connection breaks, or its session leaves.
    pub fn disconnect(&mut self, at: usize, goodbye: bool) {
        let Some(peer) = self.peers[at].take() else { return };
        if goodbye {
            self.frame_on(peer.connection, ClientFrame::Goodbye);
        }
        self.handle(Command::Disconnect { connection: peer.connection });
    }

    /// A session says something.
    pub fn frame(&mut self, at: usize, frame: ClientFrame) {
        if let Some(peer) = &self.peers[at] {
            self.frame_on(peer.connection, frame);
        }
    }

    fn frame_on(&mut self, connection: ConnectionKey, frame: ClientFrame) {
        self.handle(Command::Frame { connection, frame, verdicts: Verdicts::new() });
    }

    /// A session wants something done.
    pub fn send(&mut self, at: usize, operation: Operation) {
        let Some(peer) = &mut self.peers[at] else { return };
        match &operation {
            Operation::Watch { task, after } => {
                if !peer.followed.insert(*task) {
                    return;
                }
                let seen = Seen { number: *after, state: None };
                peer.seen.insert(*task, (*after > 0).then_some(seen));
            }
            Operation::Unwatch { task } => {
                peer.seen.remove(task);
            }
            Operation::Settle(settle) => peer.held.retain(|token| *token != settle.token),
            _ => {}
        }
        let first = peer.next;
        peer.next += 1;
        peer.open.insert(first);
        self.frame(at, ClientFrame::Operations { first, operations: vec![operation] });
    }

    /// Asks something and looks at the answer.
    pub fn ask(&mut self, question: trunkline_types::Query) {
        let principal = trunkline_types::Principal::default();
        self.handle(Command::Ask { query: QueryKey(1), principal, question: Box::new(question) });
    }

    /// Takes the engine's records to the log and looks at what it wants done.
    fn perform(&mut self) {
        for (sequence, record) in self.out.records.drain(..) {
            let expected = self.records.last().map_or(1, |(last, _)| last.0 + 1);
            assert_eq!(sequence.0, expected, "records come in order and without gaps");
            self.records.push((sequence, record));
        }
        for effect in std::mem::take(&mut self.out.effects) {
            match effect {
                Effect::Welcome { connection, result: Ok(welcome) } => {
                    if let Some(peer) = self.peer(connection) {
                        peer.held.retain(|token| !welcome.revoked.contains(token));
                    }
                }
                Effect::Welcome { connection, result: Err(_) } | Effect::Closed { connection } => {
                    self.leave(connection);
                }
                Effect::Item { connection, item } => self.item(connection, item),
                Effect::Answer { result: Ok(Answer::Task(task)), .. } => {
                    let reused = self.reused.contains(&task.id);
                    if let Some(&state) = self.ended.get(&task.id).filter(|_| !reused) {
                        assert_eq!(task.state, state, "an end is final: {task:?}");
                    }
                }
                Effect::Answer { .. } | Effect::Filter { .. } | Effect::Past(_) => {}
                Effect::Load { .. } | Effect::Cleaned { .. } => {
                    panic!("payloads stay in memory here, and nobody cleans: {effect:?}")
                }
            }
        }
        if let Err(problem) = self.engine.conservation() {
            panic!("the books do not balance: {problem}");
        }
    }

    fn peer(&mut self, connection: ConnectionKey) -> Option<&mut Peer> {
        self.peers.iter_mut().flatten().find(|peer| peer.connection == connection)
    }

    fn leave(&mut self, connection: ConnectionKey) {
        for peer in &mut self.peers {
            if peer.as_ref().is_some_and(|peer| peer.connection == connection) {
                *peer = None;
            }
        }
    }

    fn item(&mut self, connection: ConnectionKey, item: SessionItem) {
        if let SessionItem::Delivery(Delivery { token, .. }) = &item {
            assert!(self.granted.insert(*token), "{token:?} is granted twice");
            self.tokens.push(*token);
        }
        if let SessionItem::GoAway { .. } = &item {
            return self.leave(connection);
        }
        let Some(peer) = self.peer(connection) else { return };
        match item {
            SessionItem::Done { first, last } => {
                for number in first..=last {
                    assert!(peer.open.remove(&number), "{number} is answered for nothing");
                }
            }
            SessionItem::Accepted(accepted) => {
                let number = accepted.operation;
                assert!(peer.open.remove(&number), "{number} is answered for nothing");
            }
            SessionItem::Refused { operation, .. } => {
                assert!(peer.open.remove(&operation), "{operation} is answered for nothing");
            }
            SessionItem::Delivery(delivery) => peer.held.push(delivery.token),
            SessionItem::Cancel { token, .. } => peer.held.retain(|held| *held != token),
            SessionItem::Event(event) => {
                if let Some(last) = peer.event {
                    assert_eq!(event.number - event.missed, last + 1, "{event:?}");
                }
                peer.event = Some(event.number);
            }
            SessionItem::Task { task, update } => {
                if let Some(end) = peer.follow(task, &update) {
                    self.end(task, end);
                }
            }
            _ => {}
        }
    }

    /// Takes note of how a task ended.
    fn end(&mut self, task: MessageId, state: TaskState) {
        if self.reused.contains(&task) {
            return;
        }
        let before = self.ended.insert(task, state);
        assert!(before.is_none_or(|before| before == state), "{task} ended {before:?} and {state}");
    }

    /// After a restart, nobody is told another end of a task whose end was flushed.
    fn check_ends(&mut self) {
        let synced = |record: &Record| match record {
            Record::Accepted(it) if it.publish.durability() == Durability::Synced => {
                Some(it.publish.envelope.id)
            }
            _ => None,
        };
        let kept: BTreeSet<_> =
            self.records.iter().filter_map(|(_, record)| synced(record)).collect();
        self.ended.retain(|task, _| kept.contains(task));
        for task in self.ended.keys().copied().collect::<Vec<_>>() {
            self.ask(trunkline_types::Query::task(task));
        }
    }
}

impl Peer {
    /// Takes note of news of a task, which must be the next; returns its end, if that is what the
    /// news is.
    fn follow(&mut self, task: MessageId, update: &TaskUpdate) -> Option<TaskState> {
        let seen = self.seen.get_mut(&task)?;
        let last = seen.map_or(0, |seen| seen.number);
        match update {
            TaskUpdate::Event(TaskEvent { number, body, .. }) => {
                assert_eq!(*number, last + 1, "{task}: {update:?}");
                let before = seen.and_then(|seen| seen.state);
                let ended = before.filter(|state| state.is_terminal());
                assert!(ended.is_none(), "{task}: {update:?} after its end");
                let TaskEventBody::Status { state, .. } = body else {
                    *seen = Some(Seen { number: *number, state: before });
                    return None;
                };
                let legal = match before {
                    Some(before) => before.may_become(*state),
                    None => *number > 1 || *state == TaskState::Submitted,
                };
                assert!(legal, "{task}: {state} after {before:?}");
                *seen = Some(Seen { number: *number, state: Some(*state) });
                state.is_terminal().then_some(*state)
            }
            TaskUpdate::Gap { first, last: end } => {
                assert!(*first == last + 1 && first <= end, "{task}: {update:?} after {last}");
                *seen = Some(Seen { number: *end, state: None });
                None
            }
            TaskUpdate::Progress(_) => None,
        }
    }
}
