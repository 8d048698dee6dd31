//! The subscriptions of a session: which consumer wants an event, and how far all of them are.
//!
//! Events are numbered for the session as a whole and acknowledged cumulatively, so the hub
//! remembers for each number how many consumers have not taken it yet.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use trunkline_types::session::EventDelivery;
use trunkline_types::{Destination, Publish, Refusal, RefusalCode, TopicPattern};

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
    /// How the broker answered the subscription, shared by the consumers of the pattern.
    answer: watch::Receiver<Option<Result<(), Refusal>>>,
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

    /// Adds a consumer. `ask` is called under the lock unless another consumer of the pattern has
    /// asked the broker and was not refused.
    ///
    /// # Errors
    /// What `ask` says; then nothing is added.
    pub(super) fn add(
        &self,
        pattern: &TopicPattern,
        ask: impl FnOnce(watch::Sender<Option<Result<(), Refusal>>>) -> Result<(), Refusal>,
    ) -> Result<Arc<Feed>, Refusal> {
        let mut state = self.state.lock();
        let asked = state.feeds.iter().filter(|feed| feed.pattern == *pattern);
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
            pattern: pattern.clone(),
            items: Mutex::default(),
            filled: Notify::new(),
            ended: Mutex::new(state.closed.clone()),
            answer,
        });
        state.feeds.push(Arc::clone(&feed));
        Ok(feed)
    }

    /// Removes a consumer. `last` is called under the lock if no other has its pattern.
    pub(super) fn remove(&self, feed: &Arc<Feed>, last: impl FnOnce()) {
        let mut state = self.state.lock();
        state.feeds.retain(|other| !Arc::ptr_eq(other, feed));
        if !state.feeds.iter().any(|other| other.pattern == feed.pattern) {
            last();
        }
    }

    /// Calls `each` under the lock with every pattern that has a consumer, once.
    pub(super) fn each_pattern(&self, each: impl FnMut(TopicPattern)) {
        let state = self.state.lock();
        let mut patterns: Vec<_> = state.feeds.iter().map(|feed| feed.pattern.clone()).collect();
        patterns.sort_unstable();
        patterns.dedup();
        patterns.into_iter().for_each(each);
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
