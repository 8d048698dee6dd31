//! The consumer of a subscription.

use crate::core::{Feed, FeedItem, Missed};
use crate::session::Line;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use trunkline_content::{ContentError, Json};
use trunkline_types::session::NumberRange;
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
    /// How many events for this session were dropped since the event before this one, because it
    /// was over its bound or they came to the end of their time to live. With several subscriptions each is told with its next event, because
    /// the broker does not say whose they were.
    pub missed: u64,
    /// Among which numbers those were. The events of a session are numbered from 1 for all its
    /// subscriptions together, and begin anew with a broker that does not know it any longer.
    pub numbers: Option<NumberRange>,
    /// Why the payload is compressed as it came, if it is: it would be more than
    /// [`SessionOptions::max_decompressed`](crate::SessionOptions::max_decompressed), or is
    /// damaged.
    pub unreadable: Option<ContentError>,
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

    /// What was said, read as UTF-8, with a replacement character for what is not.
    pub fn text(&self) -> Cow<'_, str> {
        self.payload().to_text()
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.publish.envelope.headers.iter();
        headers.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What was said, read as JSON.
    ///
    /// # Errors
    /// It is something else, or no such value.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ContentError> {
        Json::decode(self.payload()).map(|Json(value)| value)
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
        &self.feed.subscription.pattern
    }

    /// Why no more events come, once that is so.
    pub fn ended(&self) -> Option<Refusal> {
        self.feed.ended()
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    fn next_ready(&mut self) -> Option<Event> {
        let FeedItem { number, generation, mut publish, missed } = self.ready.pop_front()?;
        self.taken.push((generation, number));
        if self.taken.len() >= REPORT {
            self.report(false);
        }
        let Missed { count: missed, numbers } = missed;
        let unreadable = self.line.core.content.unpack_shared(&mut publish).err();
        Some(Event { publish, missed, numbers, unreadable })
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
        let untaken = self.ready.drain(..).map(|item| (item.generation, item.number));
        self.taken.extend(untaken);
        self.report(true);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("pattern", self.pattern()).finish_non_exhaustive()
    }
}
