//! What can be said of anything that is sent.

use super::Outgoing;
use smol_str::SmolStr;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::{
    Absent, ContextId, Durability, IdempotencyKey, MessageId, OrderingKey, Payload, Priority,
    Publish, WallTime,
};

impl<K> Outgoing<K> {
    /// The id that the envelope will have, unless it turns out to be a repeat.
    pub fn id(&self) -> MessageId {
        self.publish.envelope.id
    }

    /// How urgent it is. Default normal.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.publish.envelope.priority = priority;
        self
    }

    /// How long it is of use, counted from its acceptance, at least 1 ms. Default for ever.
    pub fn ttl(mut self, span: Duration) -> Self {
        self.publish.envelope.ttl = Some(span);
        self
    }

    /// Accept it once under this key.
    pub fn key(mut self, key: IdempotencyKey) -> Self {
        self.publish.envelope.idempotency_key = Some(key);
        self
    }

    /// Handle it strictly in order with others of this key.
    pub fn ordering_key(mut self, key: OrderingKey) -> Self {
        self.publish.envelope.ordering_key = Some(key);
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<SmolStr>, value: impl Into<SmolStr>) -> Self {
        self.publish.envelope.headers.push((name.into(), value.into()));
        self
    }

    /// Adds headers.
    pub fn headers<N: Into<SmolStr>, V: Into<SmolStr>>(
        mut self,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.publish.envelope.headers.extend(headers);
        self
    }

    /// The conversation that it belongs to.
    pub fn context(mut self, context: ContextId) -> Self {
        self.publish.envelope.context_id = Some(context);
        self
    }

    /// The envelope that it answers.
    pub fn correlation(mut self, id: MessageId) -> Self {
        self.publish.envelope.correlation_id = Some(id);
        self
    }

    /// The W3C `traceparent` to carry along.
    pub fn traceparent(mut self, traceparent: impl Into<Arc<str>>) -> Self {
        self.publish.envelope.traceparent = Some(traceparent.into());
        self
    }

    /// Deliver not before this long after its acceptance.
    pub fn delay(mut self, span: Duration) -> Self {
        self.publish.options.delay = Some(span);
        self
    }

    /// Deliver not before this time of the broker's clock. With a delay too, the later of the two
    /// counts.
    pub fn not_before(mut self, at: WallTime) -> Self {
        self.publish.options.not_before = Some(at);
        self
    }

    /// How long a handler may run at most, counted from each delivery, however often it says that
    /// it is alive; at least 1 ms. Default: the broker's.
    pub fn max_run(mut self, span: Duration) -> Self {
        self.publish.options.max_run = Some(span);
        self
    }

    /// How often delivery is attempted at most, from 1. Default 3 for tasks and what is logged,
    /// else 1.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.publish.options.attempts = Some(attempts);
        self
    }

    /// What a crash may take. Default: what the kind says.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.publish.options.durability = Some(durability);
        self
    }

    /// What happens when nobody serves the destination. Default: what goes to a topic or to all is
    /// discarded, everything else is parked.
    pub fn absent(mut self, absent: Absent) -> Self {
        self.publish.options.absent = Some(absent);
        self
    }

    /// What would be sent, for [`Session::publish_batch`](crate::Session::publish_batch) or a
    /// [`Schedule`](trunkline_types::Schedule).
    pub fn into_publish(self) -> Publish {
        self.publish
    }

    /// What would be sent, once for each of these payloads rather than its own, for
    /// [`Session::publish_batch`](crate::Session::publish_batch).
    pub fn into_publishes(self, payloads: impl IntoIterator<Item = Payload>) -> Vec<Arc<Publish>> {
        let publishes = payloads.into_iter().map(|payload| {
            let mut publish = self.publish.clone();
            publish.envelope.id = self.sender.next_id();
            publish.envelope.payload = payload;
            Arc::new(publish)
        });
        publishes.collect()
    }
}
