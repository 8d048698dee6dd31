//! The subscriptions of a session: which consumer wants an event, and how far all of them are.
//!
//! Events are numbered for the session as a whole and acknowledged cumulatively, so the hub
//! remembers for each number how many consumers have not taken it yet.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;
use trunkline_types::session::EventDelivery;
use trunkline_types::{Destination, Publish, Refusal, TopicPattern};

/// See the module.
pub(crate) struct Hub {
    /// Short and taken in batches by the sink and the consumers.
    state: Mutex<State>,
    credit: u32,
}

struct State {
    feeds: Vec<Arc<Feed>>,
    /// For each number from `first` on, how many consumers have not taken it.
    waiting: VecDeque<u32>,
    first: u64,
    /// The highest number that the broker was told of.
    told: u64,
    /// Counts the connections that began anew, so that late takers of old numbers do no harm.
    generation: u64,
    closed: Option<Refusal>,
}

/// What one consumer has not taken yet. Bounded by the session's event credit.
pub(crate) struct Feed {
    pub(crate) pattern: TopicPattern,
    items: Mutex<Vec<FeedItem>>,
    filled: Notify,
    ended: Mutex<Option<Refusal>>,
}

/// An event on its way to a consumer.
pub(crate) struct FeedItem {
    pub(crate) number: u64,
    pub(crate) generation: u64,
    pub(crate) publish: Arc<Publish>,
    pub(crate) missed: u64,
}

impl Feed {
    /// Waits for events and takes them all; `None` when the session has ended.
    pub(crate) async fn take(&self, into: &mut VecDeque<FeedItem>) -> Option<()> {
        loop {
            let filled = self.filled.notified();
            {
                let mut items = self.items.lock();
                if !items.is_empty() {
                    into.extend(items.drain(..));
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
        into.extend(self.items.lock().drain(..));
    }

    pub(crate) fn ended(&self) -> Option<Refusal> {
        self.ended.lock().clone()
    }
}

impl Hub {
    pub(super) fn new(credit: u32) -> Self {
        let state = State {
            feeds: Vec::new(),
            waiting: VecDeque::new(),
            first: 1,
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

    /// Adds a consumer. Tells whether it is the first for its pattern.
    pub(crate) fn add(&self, pattern: TopicPattern) -> (Arc<Feed>, bool) {
        let mut state = self.state.lock();
        let first = !state.feeds.iter().any(|feed| feed.pattern == pattern);
        let feed = Arc::new(Feed {
            pattern,
            items: Mutex::default(),
            filled: Notify::new(),
            ended: Mutex::new(state.closed.clone()),
        });
        state.feeds.push(Arc::clone(&feed));
        (feed, first)
    }

    /// Removes a consumer. Tells whether it was the last for its pattern.
    pub(crate) fn remove(&self, feed: &Arc<Feed>) -> bool {
        let mut state = self.state.lock();
        state.feeds.retain(|other| !Arc::ptr_eq(other, feed));
        !state.feeds.iter().any(|other| other.pattern == feed.pattern)
    }

    /// What is subscribed to, each pattern once.
    pub(super) fn patterns(&self) -> Vec<TopicPattern> {
        let state = self.state.lock();
        let mut patterns: Vec<_> = state.feeds.iter().map(|feed| feed.pattern.clone()).collect();
        patterns.sort_unstable();
        patterns.dedup();
        patterns
    }

    /// Hands a batch of events to their consumers, leaving it empty. Tells whether so many were
    /// for nobody that the broker should be told.
    pub(super) fn deliver(&self, events: &mut Vec<EventDelivery>) -> bool {
        let mut state = self.state.lock();
        let bound = 4 * self.credit as usize + 64;
        for EventDelivery { number, publish, missed } in events.drain(..) {
            // A number that was seen already came twice.
            if number < state.first + state.waiting.len() as u64 {
                continue;
            }
            let next = state.first + state.waiting.len() as u64;
            let gap = usize::try_from(number - next).unwrap_or(usize::MAX).min(bound);
            if gap == bound {
                state.first = number;
                state.waiting.clear();
            } else {
                state.waiting.extend(std::iter::repeat_n(0, gap));
            }
            let Destination::Topic(topic) = &publish.envelope.destination else {
                state.waiting.push_back(0);
                continue;
            };
            let generation = state.generation;
            let mut takers = 0;
            for feed in state.feeds.iter().filter(|feed| feed.pattern.matches(topic)) {
                let mut items = feed.items.lock();
                if items.len() >= bound {
                    // Only a broker that ignores the credit gets here.
                    if let Some(last) = items.last_mut() {
                        last.missed += 1 + missed;
                    }
                    continue;
                }
                let publish = Arc::clone(&publish);
                items.push(FeedItem { number, generation, publish, missed });
                takers += 1;
            }
            state.waiting.push_back(takers);
        }
        for feed in &state.feeds {
            feed.filled.notify_one();
        }
        state.advance();
        state.first - 1 - state.told > u64::from(self.credit / 2)
    }

    /// A consumer has taken these events. Returns what to acknowledge: if it is `due`, anything
    /// that is new, otherwise only what is worth a frame.
    pub(crate) fn taken(&self, numbers: &mut Vec<(u64, u64)>, due: bool) -> Option<u64> {
        let mut state = self.state.lock();
        for (generation, number) in numbers.drain(..) {
            if generation != state.generation || number < state.first {
                continue;
            }
            let at = usize::try_from(number - state.first).unwrap_or(usize::MAX);
            if let Some(takers) = state.waiting.get_mut(at) {
                *takers = takers.saturating_sub(1);
            }
        }
        state.advance();
        let through = state.first - 1;
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
        state.first = 1;
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
    fn advance(&mut self) {
        while self.waiting.front() == Some(&0) {
            self.waiting.pop_front();
            self.first += 1;
        }
    }
}
