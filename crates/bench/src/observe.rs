//! A connector that looks on: counts the settlements that the broker confirms.
//!
//! It stands between the agent runtime and the broker, where every user could stand, because a
//! handler that has returned says nothing yet: only the broker's answer to the settlement does.
//! It changes nothing on its way.

use crate::clock::Clock;
use crate::payload::Stamp;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use trunkline_types::session::{
    BoxFuture, ClientFrame, Connected, Connection, Connector, Delivery, Hello, Operation,
    SessionItem, Sink, Welcome,
};
use trunkline_types::{AgentId, Answer, Query, Refusal, Token};

/// What is known of the flow of messages through all observed agents.
pub(crate) struct Flow {
    clock: Clock,
    confirmed: AtomicU64,
    refused: AtomicU64,
    /// From when on somebody wants to be told of the count of confirmations.
    wanted: AtomicU64,
    reached: Notify,
    /// A permit for each message that may still be sent; confirmations give them back.
    pub(crate) window: Semaphore,
    /// Which agents were welcomed again after their connection broke.
    returns: Mutex<Returns>,
    /// How long from sending to confirmation, if that is wanted.
    latency: Option<Mutex<Histogram<u64>>>,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("confirmed", &self.confirmed).finish_non_exhaustive()
    }
}

impl Flow {
    /// A flow of so many messages at once; `timed` if the time to confirmation is wanted.
    pub(crate) fn new(clock: Clock, in_flight: u32, timed: bool) -> Arc<Self> {
        Arc::new(Self {
            clock,
            confirmed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            wanted: AtomicU64::new(u64::MAX),
            reached: Notify::new(),
            window: Semaphore::new(in_flight as usize),
            returns: Mutex::default(),
            latency: timed.then(|| Mutex::new(histogram())),
        })
    }

    /// Settlements that the broker confirmed.
    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Acquire)
    }

    /// Settlements that it refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Acquire)
    }

    /// Waits until so many settlements are confirmed. Tells whether that came in time. For one
    /// waiter.
    pub(crate) async fn reach(&self, count: u64, patience: Duration) -> bool {
        let wait = async {
            self.wanted.store(count, Ordering::SeqCst);
            while self.confirmed.load(Ordering::SeqCst) < count {
                self.reached.notified().await;
            }
        };
        let came = tokio::time::timeout(patience, wait).await.is_ok();
        self.wanted.store(u64::MAX, Ordering::SeqCst);
        came
    }

    /// The times to confirmation since the last call.
    pub(crate) fn take_latency(&self) -> Option<Histogram<u64>> {
        let latency = self.latency.as_ref()?;
        Some(std::mem::replace(&mut *latency.lock(), histogram()))
    }

    /// Which agents came back since the last call.
    pub(crate) fn take_returns(&self) -> Returns {
        std::mem::take(&mut *self.returns.lock())
    }

    /// How many agents came back since then, each counted once.
    pub(crate) fn returned(&self) -> u64 {
        self.returns.lock().agents()
    }

    /// Takes in that so many settlements were refused.
    pub(crate) fn refuse(&self, count: u64) {
        self.refused.fetch_add(count, Ordering::AcqRel);
    }

    /// Takes in that so many are settled: as the broker confirmed, or, where it confirms nothing, as
    /// its own count is to say in the end.
    pub(crate) fn confirm(&self, count: u64) {
        let now = self.confirmed.fetch_add(count, Ordering::SeqCst) + count;
        self.window.add_permits(usize::try_from(count).unwrap_or(usize::MAX));
        if now >= self.wanted.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
    }
}

/// Agents that were welcomed again after their connection broke.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    /// When each was for the last time, in nanoseconds on the load's clock: before, it had gone once
    /// more.
    last: BTreeMap<AgentId, u64>,
    all: u64,
}

impl Returns {
    /// How many agents that were.
    pub(crate) fn agents(&self) -> u64 {
        self.last.len() as u64
    }

    /// How often one of them was, so that an agent may count several times.
    pub(crate) fn all(&self) -> u64 {
        self.all
    }

    /// When each agent was for the last time.
    pub(crate) fn times(&self) -> impl Iterator<Item = u64> + '_ {
        self.last.values().copied()
    }

    fn note(&mut self, agent: &AgentId, now: u64) {
        self.last.insert(agent.clone(), now);
        self.all += 1;
    }
}

/// A histogram of nanoseconds with three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// Takes in a value of any size.
pub(crate) trait Note {
    /// Takes in a value.
    fn note(&mut self, value: u64);
}

impl Note for Histogram<u64> {
    fn note(&mut self, value: u64) {
        // It grows as it must; only a histogram with a fixed range refuses.
        let _ = self.record(value);
    }
}

/// A connector whose agents' sessions are observed.
#[derive(Clone)]
pub(crate) struct Observed {
    inner: Arc<dyn Connector>,
    flow: Arc<Flow>,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("flow", &self.flow).finish_non_exhaustive()
    }
}

impl Observed {
    /// Observes whatever agent connects through it.
    pub(crate) fn new(inner: Arc<dyn Connector>, flow: Arc<Flow>) -> Self {
        Self { inner, flow }
    }
}

impl Connector for Observed {
    fn connect(
        &self,
        hello: Hello,
        sink: Arc<dyn Sink>,
    ) -> BoxFuture<'_, Result<Connected, Refusal>> {
        let Some(card) = &hello.card else { return self.inner.connect(hello, sink) };
        let line = Arc::new(Line {
            flow: Arc::clone(&self.flow),
            agent: card.id.clone(),
            book: Mutex::new(Book::new(hello.next_operation, self.flow.latency.is_some())),
        });
        let sink = Arc::new(ObservedSink { inner: sink, line: Arc::clone(&line) });
        Box::pin(async move {
            let Connected { connection, welcome } = self.inner.connect(hello, sink).await?;
            let connection = Arc::new(ObservedConnection { inner: connection, line });
            Ok(Connected { connection, welcome })
        })
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<Answer, Refusal>> {
        self.inner.query(query)
    }
}

/// What the two directions of one session share.
struct Line {
    flow: Arc<Flow>,
    agent: AgentId,
    /// Taken once a frame in each direction.
    book: Mutex<Book>,
}

/// The operations of one session that are not answered.
struct Book {
    first: u64,
    operations: VecDeque<Entry>,
    /// When the payloads of the deliveries held were sent, if somebody wants it: of all that are
    /// held, which are at most as many as the session's credit says.
    sent_at: Option<HashMap<Token, u64>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// A settlement of a payload sent then, if that is known.
    Settle(Option<u64>),
    Other,
    Answered,
}

impl Book {
    fn new(first: u64, timed: bool) -> Self {
        Self { first, operations: VecDeque::new(), sent_at: timed.then(HashMap::new) }
    }

    fn delivered(&mut self, token: Token, payload: &[u8]) {
        if let Some(sent_at) = &mut self.sent_at
            && let Some(stamp) = Stamp::peek(payload)
        {
            sent_at.insert(token, stamp.at);
        }
    }

    fn sent(&mut self, operations: &[Operation]) {
        for operation in operations {
            let entry = match operation {
                Operation::Settle(settle) => {
                    let sent_at = self.sent_at.as_mut();
                    Entry::Settle(sent_at.and_then(|sent_at| sent_at.remove(&settle.token)))
                }
                _ => Entry::Other,
            };
            self.operations.push_back(entry);
        }
    }

    fn answer(&mut self, first: u64, last: u64, mut settled: impl FnMut(Option<u64>)) {
        for number in first.max(self.first)..=last {
            let at = usize::try_from(number - self.first).unwrap_or(usize::MAX);
            let Some(entry) = self.operations.get_mut(at) else { break };
            if let Entry::Settle(sent_at) = std::mem::replace(entry, Entry::Answered) {
                settled(sent_at);
            }
        }
        while self.operations.front() == Some(&Entry::Answered) {
            self.operations.pop_front();
            self.first += 1;
        }
    }
}

struct ObservedConnection {
    inner: Arc<dyn Connection>,
    line: Arc<Line>,
}

impl Connection for ObservedConnection {
    fn send(&self, frame: ClientFrame) {
        if let ClientFrame::Operations { operations, .. } = &frame {
            self.line.book.lock().sent(operations);
        }
        self.inner.send(frame);
    }

    fn close(&self) {
        self.inner.close();
    }
}

struct ObservedSink {
    inner: Arc<dyn Sink>,
    line: Arc<Line>,
}

impl Sink for ObservedSink {
    fn accept(&self, items: &mut Vec<SessionItem>) {
        let Line { flow, book, .. } = &*self.line;
        let (mut confirmed, mut refused) = (0, 0);
        {
            let mut book = book.lock();
            let mut latency = flow.latency.as_ref().map(Mutex::lock);
            let now = latency.as_ref().map(|_| flow.clock.nanos());
            let mut settled = |sent_at: Option<u64>| {
                confirmed += 1;
                if let (Some(latency), Some(now), Some(at)) = (&mut latency, now, sent_at) {
                    latency.note(now.saturating_sub(at));
                }
            };
            for item in &*items {
                match item {
                    SessionItem::Done { first, last } => book.answer(*first, *last, &mut settled),
                    SessionItem::Accepted(accepted) => {
                        book.answer(accepted.operation, accepted.operation, &mut settled);
                    }
                    SessionItem::Refused { operation, .. } => {
                        book.answer(*operation, *operation, |_| refused += 1);
                    }
                    SessionItem::Delivery(Delivery { token, publish, .. }) => {
                        book.delivered(*token, &publish.envelope.payload.data);
                    }
                    _ => {}
                }
            }
        }
        self.inner.accept(items);
        flow.refuse(refused);
        if confirmed > 0 {
            flow.confirm(confirmed);
        }
    }

    fn reconnected(&self, welcome: &Welcome) {
        let Line { flow, agent, .. } = &*self.line;
        flow.returns.lock().note(agent, flow.clock.nanos());
        self.inner.reconnected(welcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::{Outcome, Settle};

    fn settle() -> Operation {
        settle_of(Token::default())
    }

    fn settle_of(token: Token) -> Operation {
        let outcome = Outcome::Complete { reply: None };
        Operation::Settle(Settle { token, outcome })
    }

    fn other() -> Operation {
        let task = trunkline_types::MessageId::from_parts(1, trunkline_types::Partition(0), 1);
        Operation::Unwatch { task }
    }

    #[test]
    fn only_answered_settlements_count_each_once_and_in_any_order() {
        let mut book = Book::new(1, false);
        book.sent(&[settle(), other(), settle(), settle()]);
        let mut count = 0;
        book.answer(3, 3, |_| count += 1);
        assert_eq!(count, 1);
        book.answer(1, 3, |_| count += 1);
        assert_eq!(count, 2);
        book.answer(1, 3, |_| count += 1);
        assert_eq!(count, 2);
        book.answer(4, 9, |_| count += 1);
        assert_eq!(count, 3);
        assert!(book.operations.is_empty());
        book.sent(&[settle()]);
        book.answer(5, 5, |_| count += 1);
        assert_eq!(count, 4);
    }

    #[test]
    fn whatever_is_held_has_its_time_however_far_apart_the_tokens_are() {
        let mut book = Book::new(1, true);
        let tokens =
            (0..40_u32).map(|number| Token { counter: u64::from(number) << 9, ..Token::default() });
        for (at, token) in (1..).zip(tokens.clone()) {
            let payload = Stamp { run: 1, number: 2, at }.payload(64);
            book.delivered(token, &payload);
        }
        book.sent(&tokens.map(settle_of).collect::<Vec<_>>());
        let mut times = Vec::new();
        book.answer(1, 40, |sent_at| times.push(sent_at));
        assert_eq!(times, (1..=40).map(Some).collect::<Vec<_>>());
        assert!(book.sent_at.unwrap().is_empty(), "what is not held is not kept");
    }

    #[test]
    fn an_agent_that_came_back_twice_is_one_that_is_back_since_the_last_time() {
        let agent = |name: &str| AgentId::new(name).unwrap();
        let mut returns = Returns::default();
        for (name, at) in [("one", 10), ("two", 20), ("one", 30)] {
            returns.note(&agent(name), at);
        }
        assert_eq!((returns.agents(), returns.all()), (2, 3));
        assert_eq!(returns.times().collect::<Vec<_>>(), [30, 20]);
    }

    #[test]
    fn a_histogram_keeps_values_of_any_size() {
        let mut values = histogram();
        values.note(3);
        values.note(90_000_000_000);
        assert_eq!(values.min(), 3);
        assert!(values.max() >= 90_000_000_000);
    }
}
