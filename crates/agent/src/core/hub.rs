//! The subscriptions of a session: which consumer wants an event, and how far all of them are.
//!
//! Events are numbered for the session as a whole and acknowledged cumulatively, so the hub
//! remembers for each event how many consumers have not taken it yet. Numbers may be missing:
//! events that the broker dropped have used them up.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use trunkline_types::session::{EventDelivery, NumberRange, Subscription};
use trunkline_types::{Destination, Publish, Refusal, RefusalCode};

/// See the module.
pub(crate) struct Hub {
    /// Short and taken in batches by the sink and the consumers.
    state: Mutex<State>,
    credit: u32,
}

struct State {
    feeds: Vec<Arc<Feed>>,
    /// Events in order of their numbers that consumers have not taken, and how many of them.
    waiting: VecDeque<(u64, u32)>,
    /// The highest number that came.
    last: u64,
    /// The highest number that the broker was told of.
    told: u64,
    /// Counts the connections that began anew, so that late takers of old numbers do no harm.
    generation: u64,
    closed: Option<Refusal>,
}

/// What one consumer has not taken yet. Bounded by the session's event credit.
pub(crate) struct Feed {
    pub(crate) subscription: Subscription,
    items: Mutex<Items>,
    filled: Notify,
    ended: Mutex<Option<Refusal>>,
    /// How the broker answered the subscription, shared by its consumers.
    answer: watch::Receiver<Option<Result<(), Refusal>>>,
}

#[derive(Default)]
struct Items {
    ready: Vec<FeedItem>,
    /// What was missed since the last of them.
    missed: Missed,
}

/// An event on its way to a consumer.
pub(crate) struct FeedItem {
    pub(crate) number: u64,
    pub(crate) generation: u64,
    pub(crate) publish: Arc<Publish>,
    /// What was missed before it.
    pub(crate) missed: Missed,
}

/// Events that were missed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Missed {
    pub(crate) count: u64,
    /// Among which numbers.
    pub(crate) numbers: Option<NumberRange>,
}

impl Missed {
    fn add(&mut self, more: Self) {
        self.count = self.count.saturating_add(more.count);
        self.numbers = match (self.numbers, more.numbers) {
            (Some(before), Some(more)) => Some(NumberRange {
                first: before.first.min(more.first),
                last: before.last.max(more.last),
            }),
            (before, more) => before.or(more),
        };
    }

    /// So many events right before a number.
    fn before(number: u64, count: u64) -> Self {
        let numbers = (count > 0).then(|| NumberRange {
            first: number.saturating_sub(count),
            last: number.saturating_sub(1),
        });
        Self { count, numbers }
    }
}

impl Feed {
    /// Waits for events and takes them all; `None` when the session has ended.
    pub(crate) async fn take(&self, into: &mut VecDeque<FeedItem>) -> Option<()> {
        loop {
            let filled = self.filled.notified();
            {
                let mut items = self.items.lock();
                if !items.ready.is_empty() {
                    into.extend(items.ready.drain(..));
                    return Some(());
                }
            }
            if self.ended.lock().is_some() {
                return None;
            }
            filled.await;
        }
    }

    /// Takes what is there.
    pub(crate) fn take_now(&self, into: &mut VecDeque<FeedItem>) {
        into.extend(self.items.lock().ready.drain(..));
    }

    /// Waits until the broker has taken the subscription.
    ///
    /// # Errors
    /// The broker's refusal, or that the session has ended.
    pub(crate) async fn subscribed(&self) -> Result<(), Refusal> {
        let mut answer = self.answer.clone();
        let Ok(answer) = answer.wait_for(Option::is_some).await else {
            // The session is gone with whoever was to answer.
            let message = "the session ended before it was subscribed";
            return Err(Refusal::new(RefusalCode::Unavailable, message));
        };
        answer.clone().unwrap_or(Ok(()))
    }

    pub(crate) fn ended(&self) -> Option<Refusal> {
        self.ended.lock().clone()
    }

    /// Puts in an event, or notes that it was missed if that is all it can do. Tells which.
    fn put(&self, item: FeedItem, bound: usize) -> bool {
        let mut items = self.items.lock();
        if items.ready.len() >= bound {
            // Only a broker that ignores the credit gets here.
            items.missed.add(item.missed);
            items.missed.add(Missed::before(item.number.saturating_add(1), 1));
            return false;
        }
        let mut missed = std::mem::take(&mut items.missed);
        missed.add(item.missed);
        items.ready.push(FeedItem { missed, ..item });
        true
    }

    fn miss(&self, missed: Missed) {
        self.items.lock().missed.add(missed);
    }
}

impl Hub {
    pub(super) fn new(credit: u32) -> Self {
        let state = State {
            feeds: Vec::new(),
            waiting: VecDeque::new(),
            last: 0,
            told: 0,
            generation: 0,
            closed: None,
        };
        Self { state: Mutex::new(state), credit }
    }

    /// How many events the session is willing to hold.
    pub(crate) fn credit(&self) -> u32 {
        self.credit
    }

    /// Adds a consumer. `ask` is called under the lock unless another consumer of the same has
    /// asked the broker and was not refused.
    ///
    /// # Errors
    /// What `ask` says; then nothing is added.
    pub(super) fn add(
        &self,
        subscription: &Subscription,
        ask: impl FnOnce(watch::Sender<Option<Result<(), Refusal>>>) -> Result<(), Refusal>,
    ) -> Result<Arc<Feed>, Refusal> {
        let mut state = self.state.lock();
        let asked = state.feeds.iter().filter(|feed| feed.subscription == *subscription);
        let mut asked = asked.map(|feed| &feed.answer);
        let asked = asked.find(|answer| !matches!(&*answer.borrow(), Some(Err(_)))).cloned();
        let answer = if let Some(answer) = asked {
            answer
        } else {
            let (sender, answer) = watch::channel(None);
            ask(sender)?;
            answer
        };
        let feed = Arc::new(Feed {
            subscription: subscription.clone(),
            items: Mutex::default(),
            filled: Notify::new(),
            ended: Mutex::new(state.closed.clone()),
            answer,
        });
        state.feeds.push(Arc::clone(&feed));
        Ok(feed)
    }

    /// Removes a consumer. `last` is called under the lock if no other wants the same.
    pub(super) fn remove(&self, feed: &Arc<Feed>, last: impl FnOnce()) {
        let mut state = self.state.lock();
        state.feeds.retain(|other| !Arc::ptr_eq(other, feed));
        if !state.feeds.iter().any(|other| other.subscription == feed.subscription) {
            last();
        }
    }

    /// Calls `each` under the lock with every subscription that has a consumer, once.
    pub(super) fn each_subscription(&self, mut each: impl FnMut(Subscription)) {
        let state = self.state.lock();
        for (at, feed) in state.feeds.iter().enumerate() {
            if !state.feeds[..at].iter().any(|other| other.subscription == feed.subscription) {
                each(feed.subscription.clone());
            }
        }
    }

    /// Hands a batch of events to their consumers, leaving it empty. Tells whether so many were
    /// for nobody that the broker should be told.
    pub(super) fn deliver(&self, events: &mut Vec<EventDelivery>) -> bool {
        let mut state = self.state.lock();
        let bound = 4 * self.credit as usize + 64;
        for EventDelivery { number, publish, missed } in events.drain(..) {
            if number <= state.last {
                // It came twice.
                continue;
            }
            let missed = Missed::before(number, missed);
            state.last = number;
            let topic = match &publish.envelope.destination {
                Destination::Topic(topic) => Some(topic),
                _ => None,
            };
            let generation = state.generation;
            let mut takers = 0;
            for feed in &state.feeds {
                if topic.is_some_and(|topic| feed.subscription.pattern.matches(topic)) {
                    let publish = Arc::clone(&publish);
                    takers += u32::from(
                        feed.put(FeedItem { number, generation, publish, missed }, bound),
                    );
                } else if missed.count > 0 {
                    // What was missed may have been this one's; it is told with its next event.
                    feed.miss(missed);
                }
            }
            if takers > 0 {
                state.waiting.push_back((number, takers));
            }
        }
        for feed in &state.feeds {
            feed.filled.notify_one();
        }
        state.through() - state.told > u64::from(self.credit / 2)
    }

    /// A consumer has taken these events. Returns what to acknowledge: if it is `due`, anything
    /// that is new, otherwise only what is worth a frame.
    pub(crate) fn taken(&self, numbers: &mut Vec<(u64, u64)>, due: bool) -> Option<u64> {
        let mut state = self.state.lock();
        for (generation, number) in numbers.drain(..) {
            if generation != state.generation {
                continue;
            }
            if let Ok(at) = state.waiting.binary_search_by_key(&number, |&(number, _)| number) {
                let (_, takers) = &mut state.waiting[at];
                *takers = takers.saturating_sub(1);
            }
        }
        while state.waiting.front().is_some_and(|&(_, takers)| takers == 0) {
            state.waiting.pop_front();
        }
        let through = state.through();
        let new = through - state.told;
        let worth = if due { new > 0 } else { new > u64::from(self.credit / 4) };
        worth.then(|| {
            state.told = through;
            through
        })
    }

    /// The broker came back without knowing the session: numbers begin anew.
    pub(super) fn forgotten(&self) {
        let mut state = self.state.lock();
        state.generation += 1;
        state.last = 0;
        state.told = 0;
        state.waiting.clear();
    }

    pub(super) fn close(&self, refusal: &Refusal) {
        let mut state = self.state.lock();
        state.closed = Some(refusal.clone());
        for feed in &state.feeds {
            feed.ended.lock().get_or_insert_with(|| refusal.clone());
            feed.filled.notify_one();
        }
    }
}

impl State {
    /// The highest number up to which everything is taken.
    fn through(&self) -> u64 {
        self.waiting.front().map_or(self.last, |&(number, _)| number - 1)
    }
}
