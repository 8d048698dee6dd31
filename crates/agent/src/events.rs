//! The consumer of a subscription.

use crate::core::{Feed, FeedItem};
use crate::session::Line;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use trunkline_types::{Destination, Envelope, Payload, Publish, Refusal, Topic, TopicPattern};

/// How many taken events are reported to the session at once.
const REPORT: usize = 64;

/// The events of one subscription, in order. Taking an event acknowledges it. Dropping the
/// consumer ends the subscription.
pub struct Events {
    line: Arc<Line>,
    feed: Arc<Feed>,
    ready: VecDeque<FeedItem>,
    taken: Vec<(u64, u64)>,
}

/// An event as its subscriber sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What was sent.
    pub publish: Arc<Publish>,
    /// How many events for this session were dropped before this one because it was over its
    /// bound. With several subscriptions each is told, because the broker does not say whose
    /// they were.
    pub missed: u64,
}

impl Event {
    /// What was sent, without what its sender wanted done about it.
    pub fn envelope(&self) -> &Envelope {
        &self.publish.envelope
    }

    /// What was said.
    pub fn payload(&self) -> &Payload {
        &self.publish.envelope.payload
    }

    /// Where it was published.
    pub fn topic(&self) -> Option<&Topic> {
        match &self.publish.envelope.destination {
            Destination::Topic(topic) => Some(topic),
            _ => None,
        }
    }
}

impl Events {
    pub(crate) fn new(line: Arc<Line>, feed: Arc<Feed>) -> Self {
        Self { line, feed, ready: VecDeque::new(), taken: Vec::new() }
    }

    /// Waits for the next event; `None` when the session has ended, see [`Events::ended`].
    pub async fn next(&mut self) -> Option<Event> {
        if self.ready.is_empty() {
            self.feed.take_now(&mut self.ready);
        }
        if self.ready.is_empty() {
            self.report(true);
            self.feed.take(&mut self.ready).await?;
        }
        self.next_ready()
    }

    /// The next event if one has come already.
    pub fn try_next(&mut self) -> Option<Event> {
        if self.ready.is_empty() {
            self.feed.take_now(&mut self.ready);
        }
        if self.ready.is_empty() {
            self.report(true);
        }
        self.next_ready()
    }

    /// What is subscribed to.
    pub fn pattern(&self) -> &TopicPattern {
        &self.feed.pattern
    }

    /// Why no more events come, once that is so.
    pub fn ended(&self) -> Option<Refusal> {
        self.feed.ended()
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    fn next_ready(&mut self) -> Option<Event> {
        let FeedItem { number, generation, publish, missed } = self.ready.pop_front()?;
        self.taken.push((generation, number));
        if self.taken.len() >= REPORT {
            self.report(false);
        }
        Some(Event { publish, missed })
    }

    fn report(&mut self, due: bool) {
        if due || !self.taken.is_empty() {
            self.line.core.acknowledge(&mut self.taken, due);
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.line.core.unwant(&self.feed);
        // What was not taken must not hold up the session's other subscriptions.
        self.feed.take_now(&mut self.ready);
        while self.next_ready().is_some() {}
        self.report(true);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("pattern", &self.feed.pattern).finish_non_exhaustive()
    }
}
