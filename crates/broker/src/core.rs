//! What the combining lock guards: the engine and everything that goes with a turn of it.

use crate::cleaning::Cleaning;
use crate::clock::Clock;
use crate::filters::FilterTable;
use crate::index::{Entry, IndexThread, row_of};
use crate::loading::{LoadThread, Payloads};
use crate::port::{Handed, Port};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::{error, info, warn};
use trunkline_engine::{
    Command, ConnectionKey, Effect, Engine, InMemory, Mono, Now, Output, Past, QueryKey, Record,
};
use trunkline_log::{Batch, Committer, Space, Urgency};
use trunkline_types::session::{ClientFrame, Hello, SessionItem};
use trunkline_types::{Answer, LogStats, Principal, Query, Refusal, RefusalCode, Sequence};

/// How an answer to a question is handed over.
pub(crate) type Asker = oneshot::Sender<Told>;

/// An answer to a question, as far as the engine knows it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) result: Result<Answer, Refusal>,
    /// What was in memory.
    pub(crate) known: Box<InMemory>,
}

impl From<Refusal> for Told {
    fn from(refusal: Refusal) -> Self {
        Self { result: Err(refusal), known: Box::default() }
    }
}

/// Something brought to a partition.
pub(crate) enum Input {
    /// A session introduces itself.
    Connect { connection: ConnectionKey, principal: Principal, hello: Box<Hello>, port: Arc<Port> },
    /// A frame, or the loss of a connection.
    Command(Command),
    /// A question.
    Ask { principal: Principal, question: Box<Query>, asker: Asker },
    /// The log has got further: places on this partition's log.
    Durable { written: Sequence, synced: Sequence, space: Space },
    /// The index is on disk up to a place.
    IndexKept { through: Sequence },
    /// The log failed.
    Failed { reason: Arc<str> },
    /// It is time.
    Tick,
    /// Nothing new is taken, and sessions are told to go as they finish what they hold.
    Drain,
    /// The broker stops; its threads are handed over to be closed.
    Stop(oneshot::Sender<Threads>),
}

/// The threads of a broker, in the order in which they end.
#[derive(Default)]
pub(crate) struct Threads {
    /// Fills the index, which lies beside the log and must not outlive its lock.
    pub(crate) index: Option<IndexThread>,
    /// Reads payloads back that have left memory.
    pub(crate) loads: Option<LoadThread>,
    /// What the engine looks them up in, which holds on to the directory.
    pub(crate) looked_up: Option<Arc<Payloads>>,
    /// Writes the log.
    pub(crate) committer: Option<Committer>,
}

/// The engine and everything that goes with a turn of it.
pub(crate) struct Core {
    pub(crate) engine: Engine,
    pub(crate) clock: Clock,
    pub(crate) threads: Threads,
    /// How long keys count, which is what the index is told.
    pub(crate) key_window: Duration,
    /// What was over in this turn.
    past: VecDeque<Past>,
    pub(crate) partition: u16,
    /// Told which filters there are.
    filters: Arc<FilterTable>,
    pub(crate) out: Output,
    batch: Batch,
    ports: HashMap<ConnectionKey, Arc<Port>>,
    askers: HashMap<QueryKey, Asker>,
    next_query: u64,
    /// Ports that got something in this turn.
    dirty: Vec<Arc<Port>>,
    latest: Option<(ConnectionKey, Arc<Port>)>,
    /// Why the broker must be started again.
    failure: Option<String>,
    /// Why nothing is handled any longer.
    over: Option<Refusal>,
    stopping: Option<oneshot::Sender<Threads>>,
    draining: bool,
    pub(crate) congested: bool,
    pub(crate) cleaning: Cleaning,
    pub(crate) log: LogStats,
    /// Turns in which there was something to do.
    turns: u64,
    /// Operations of sessions that they took in.
    operations: u64,
    /// What sessions were handed.
    pub(crate) handed: Arc<Handed>,
    /// What is to be read once the thread for that is there.
    early_loads: Vec<Vec<Sequence>>,
    /// Commands of this turn; kept for its allocation.
    pub(crate) inputs: Vec<Input>,
}

impl Core {
    pub(crate) fn new(
        engine: Engine,
        clock: Clock,
        batch: Batch,
        partition: u16,
        filters: Arc<FilterTable>,
    ) -> Self {
        Self {
            engine,
            clock,
            threads: Threads::default(),
            key_window: Duration::ZERO,
            past: VecDeque::new(),
            partition,
            filters,
            out: Output::default(),
            batch,
            ports: HashMap::new(),
            askers: HashMap::new(),
            next_query: 1,
            dirty: Vec::new(),
            latest: None,
            failure: None,
            over: None,
            stopping: None,
            draining: false,
            congested: false,
            cleaning: Cleaning::default(),
            log: LogStats::default(),
            turns: 0,
            operations: 0,
            handed: Arc::default(),
            early_loads: Vec::new(),
            inputs: Vec::new(),
        }
    }

    /// Takes over what the engine put out while it was started.
    pub(crate) fn begin(&mut self, out: Output) {
        self.out = out;
        self.perform();
    }

    /// Takes over the threads, once they run.
    pub(crate) fn take_threads(&mut self, threads: Threads) {
        if let Some(loads) = &threads.loads {
            self.early_loads.drain(..).for_each(|places| loads.want(places));
        }
        self.threads = threads;
    }

    /// Handles everything brought, commits, and fills outboxes. Returns the ports to be flushed
    /// and when to wake up next.
    pub(crate) fn turn(&mut self, dirty: &mut Vec<Arc<Port>>) -> Option<Mono> {
        let now = self.clock.now();
        self.look_at_congestion(now);
        let mut inputs = std::mem::take(&mut self.inputs);
        self.turns += u64::from(!inputs.is_empty());
        for input in inputs.drain(..) {
            self.handle(now, input);
        }
        self.inputs = inputs;
        if self.draining && self.over.is_none() {
            // Any turn may have ended what kept a session here.
            self.engine.handle(now, Command::Drain, &mut self.out);
            self.perform();
        }
        if self.engine.is_spilling() {
            self.engine.tick(now, &mut self.out);
            self.perform();
        }
        let more = self.over.is_none() && self.clean(now);
        self.finish();
        if let Some(closer) = self.stopping.take() {
            // Whoever stops the broker may have given up waiting; dropping it closes it too.
            let _ = closer.send(std::mem::take(&mut self.threads));
        }
        self.take_dirty(dirty);
        if more || self.engine.is_spilling() {
            return Some(now.mono);
        }
        let wake = Clock::wake_at(now, self.engine.deadline());
        wake.into_iter().chain(self.look_again(now)).min()
    }

    /// Hands over the ports that got something.
    pub(crate) fn take_dirty(&mut self, dirty: &mut Vec<Arc<Port>>) {
        dirty.append(&mut self.dirty);
        self.latest = None;
    }

    /// Why the broker must be started again, if it must.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.ports.len()
    }

    fn handle(&mut self, now: Now, input: Input) {
        if let Some(refusal) = self.over.clone() {
            match input {
                Input::Connect { port, .. } => port.welcome(Err(refusal)),
                // Whoever asks may have gone.
                Input::Ask { asker, .. } => drop(asker.send(refusal.into())),
                Input::Stop(closer) => self.stopping = Some(closer),
                Input::Command(_)
                | Input::Durable { .. }
                | Input::IndexKept { .. }
                | Input::Failed { .. }
                | Input::Tick
                | Input::Drain => {}
            }
            return;
        }
        match input {
            Input::Connect { port, .. } if self.draining => {
                port.welcome(Err(Engine::draining()));
            }
            Input::Connect { connection, principal, hello, port } => {
                self.ports.insert(connection, port);
                let command = Command::Connect { connection, principal, hello };
                self.engine.handle(now, command, &mut self.out);
            }
            Input::Command(command) => {
                if let Command::Frame {
                    frame: ClientFrame::Operations { operations, .. }, ..
                } = &command
                {
                    self.operations += operations.len() as u64;
                }
                self.engine.handle(now, command, &mut self.out);
            }
            Input::Ask { principal, question, asker } => {
                let query = QueryKey(self.next_query);
                self.next_query += 1;
                self.askers.insert(query, asker);
                let command = Command::Ask { query, principal, question };
                self.engine.handle(now, command, &mut self.out);
            }
            Input::Durable { written, synced, space } => {
                let ample = space == Space::Ample;
                if ample == self.log.disk_full {
                    self.log.disk_full = !ample;
                    if ample {
                        info!("the disk has room again: new durable work is accepted");
                    } else {
                        warn!(
                            "the disk is full: new durable work is refused, what was accepted goes on"
                        );
                    }
                    self.engine.handle(now, Command::Space { ample }, &mut self.out);
                }
                self.cleaning.is_stuck = space == Space::Exhausted;
                self.log.flushes += 1;
                self.cleaning.news = true;
                self.engine.durable(now, written, synced, &mut self.out);
                if let Some(index) = &self.threads.index {
                    index.feed().synced(synced);
                }
            }
            Input::IndexKept { through } => {
                self.cleaning.indexed = self.cleaning.indexed.max(through);
            }
            Input::Failed { reason } => self.fail(&reason),
            Input::Tick => self.engine.tick(now, &mut self.out),
            // The end of the turn sees to the rest.
            Input::Drain => self.draining = true,
            Input::Stop(closer) => {
                self.engine.handle(now, Command::Stop, &mut self.out);
                self.stopping = Some(closer);
                // Whoever has not finished in time, or not yet left.
                self.dismiss("the broker is shutting down");
                self.end(Refusal::new(RefusalCode::Unavailable, "the broker is closed"));
            }
        }
        // Effects are routed as they come, so that the output stays small and warm.
        self.perform();
    }

    /// Lets the engine refuse new work while the log or the index is as far behind as it may be.
    fn look_at_congestion(&mut self, now: Now) {
        let Threads { committer, index, .. } = &self.threads;
        let congested = committer.as_ref().is_some_and(Committer::is_congested)
            || index.as_ref().is_some_and(|index| index.feed().is_congested());
        if std::mem::replace(&mut self.congested, congested) != congested {
            self.engine.handle(now, Command::Congestion { congested }, &mut self.out);
        }
    }

    /// Hands this turn's records to the log.
    fn finish(&mut self) {
        if self.out.records.is_empty() && !self.out.flush {
            index_past(self.threads.index.as_ref(), &mut self.past, Sequence(u64::MAX));
            return;
        }
        let urgency = if self.out.flush { Urgency::Synced } else { Urgency::Buffered };
        let mut too_long = None;
        for (sequence, record) in self.out.records.drain(..) {
            if let Some(index) = &self.threads.index
                && let Some(row) = row_of(sequence, &record, self.key_window)
            {
                // What is over goes in all at once, but for the order of places.
                index_past(Some(index), &mut self.past, Sequence(sequence.0.saturating_sub(1)));
                index.feed().push(Entry::Key(row));
            }
            let write = |body: &mut Vec<u8>| Record::encode(&record, body);
            let (partition, tag, before) = (self.partition, record.tag(), self.batch.bytes());
            let result = if record.is_carried() {
                let pushed = self.batch.push_carried(partition, sequence.0, tag, write);
                self.log.carried_bytes += (self.batch.bytes() - before) as u64;
                pushed
            } else {
                self.batch.push(partition, sequence.0, tag, write)
            };
            if let Err(too_large) = result {
                // Admission bounds every part of a record, so this is a defect of the broker.
                too_long = Some(format!("cannot write record {}: {too_large}", sequence.0));
            }
        }
        index_past(self.threads.index.as_ref(), &mut self.past, Sequence(u64::MAX));
        self.log.records += self.batch.records();
        self.log.bytes += self.batch.bytes() as u64;
        self.out.clear();
        if let Some(committer) = &self.threads.committer {
            committer.submit(&mut self.batch, urgency);
        } else {
            self.batch.clear();
        }
        if let Some(reason) = too_long {
            self.fail(&reason);
        }
    }

    pub(crate) fn perform(&mut self) {
        let mut effects = std::mem::take(&mut self.out.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Item { connection, item } => self.route(connection, item),
                Effect::Welcome { connection, result } => {
                    if let Some(port) = self.ports.get(&connection) {
                        port.welcome(result);
                    }
                }
                Effect::Closed { connection } => {
                    self.latest = None;
                    self.ports.remove(&connection);
                }
                Effect::Filter { tenant, pattern, filter, wanted } => {
                    self.filters.note(tenant, &pattern, filter, wanted);
                }
                Effect::Load { places } => match &self.threads.loads {
                    Some(loads) => loads.want(places),
                    None => self.early_loads.push(places),
                },
                Effect::Cleaned { before } => {
                    self.cleaning.cleaned = Some(before);
                    // What was not said again for being in the index is there only.
                    let needed = Sequence(before.0.saturating_sub(1));
                    self.cleaning.needed = needed.max(self.engine.indexed_through());
                    self.cleaning.news = true;
                }
                Effect::Past(past) => self.past.push_back(past),
                Effect::Answer { known, query, result } => {
                    self.answer(query, Told { result, known });
                }
            }
        }
        self.out.effects = effects;
    }

    fn route(&mut self, connection: ConnectionKey, item: SessionItem) {
        if let Some((latest, port)) = &self.latest
            && *latest == connection
        {
            port.push(item);
            return;
        }
        let Some(port) = self.ports.get(&connection) else { return };
        port.push(item);
        self.latest = Some((connection, port.clone()));
        self.dirty.push(port.clone());
    }

    fn answer(&mut self, query: QueryKey, mut told: Told) {
        if let Ok(Answer::Stats(stats)) = &mut told.result {
            stats.turns = self.turns;
            stats.operations = self.operations;
            stats.hand_overs = self.handed.times.load(Ordering::Relaxed);
            stats.items = self.handed.items.load(Ordering::Relaxed);
        }
        if let (Ok(Answer::Stats(stats)), true) =
            (&mut told.result, self.threads.committer.is_some())
        {
            self.look_at_log();
            stats.log = Some(self.log);
            // Most records have nothing for the index, which then is not told of them.
            if self.threads.index.as_ref().is_some_and(|index| index.feed().waiting() == 0) {
                stats.records_unindexed = 0;
            }
        }
        if let Some(asker) = self.askers.remove(&query) {
            // Whoever asked may have gone.
            let _ = asker.send(told);
        }
    }

    fn dismiss(&mut self, reason: &str) {
        for port in self.ports.values() {
            port.push(SessionItem::GoAway { reason: reason.to_owned(), reconnect: true });
            self.dirty.push(port.clone());
        }
    }

    /// Ends everything: what could not be written must not be acted upon.
    pub(crate) fn fail(&mut self, reason: &str) {
        self.failure = Some(reason.to_owned());
        error!(%reason, "the log failed; the broker must be started again");
        let refusal = store_failed(reason);
        self.dismiss(&refusal.message);
        self.end(refusal);
        self.out.clear();
    }

    /// Nothing is handled any longer: everybody who waits for something is told.
    fn end(&mut self, refusal: Refusal) {
        for (_, asker) in self.askers.drain() {
            // Whoever asked may have gone.
            let _ = asker.send(refusal.clone().into());
        }
        for (_, port) in self.ports.drain() {
            port.close(refusal.clone());
            self.dirty.push(port);
        }
        self.latest = None;
        self.over = Some(refusal);
    }
}

/// Hands what was over up to a place to the index, in the order of places with what else it is to
/// have. Without an index it is forgotten when it leaves the engine's memory.
fn index_past(index: Option<&IndexThread>, past: &mut VecDeque<Past>, through: Sequence) {
    let is_over = |past: &mut Past| past.place() <= through;
    if past.front_mut().is_none_or(|past| !is_over(past)) {
        return;
    }
    let over = std::iter::from_fn(|| past.pop_front_if(is_over)).map(Entry::Past);
    match index {
        Some(index) => index.feed().push_all(over),
        None => over.for_each(drop),
    }
}

fn store_failed(reason: &str) -> Refusal {
    let message = format!("the log failed and the broker must be started again: {reason}");
    Refusal::new(RefusalCode::StoreFailed, message)
}
