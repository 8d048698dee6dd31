//! What the engine keeps of something published: all of it, or what it has to know of it while the
//! rest is in the log only.

use super::stub::{NOTHING, bytes_of_headers, bytes_of_payload, note_headers};
use bytes::Bytes;
use foldhash::quality::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::sync::Arc;
use trunkline_types::{
    AgentId, ContextId, Destination, Durability, Envelope, Headers, Kind, MessageId, OrderingKey,
    Partition, Payload, Publish, PublishOptions,
};

/// What was published, as far as it is in memory.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// All of it.
    Whole(Arc<Publish>),
    /// What it has in common with many others, and how many bytes of headers it has.
    Away(Arc<Publish>, u32),
    /// That, and what only few others have.
    Bound(Box<Bound>),
}

/// To what something belongs whose payload has left memory.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    shape: Arc<Publish>,
    /// How many bytes of headers it has.
    headers: u32,
    ordering_key: Option<OrderingKey>,
    causation_id: Option<MessageId>,
    root_id: Option<MessageId>,
    context_id: Option<ContextId>,
}

/// Something published, with what a body alone does not tell.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) id: MessageId,
    /// Bytes of its payload.
    pub(crate) size: u32,
    pub(crate) body: Body,
}

/// The same where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentRef<'a> {
    pub(crate) id: MessageId,
    pub(crate) size: u32,
    pub(crate) body: &'a Body,
}

impl SentRef<'_> {
    pub(crate) fn cloned(self) -> Sent {
        Sent { id: self.id, size: self.size, body: self.body.clone() }
    }
}

impl Body {
    /// Whether the payload has left memory.
    pub(crate) fn is_away(&self) -> bool {
        !matches!(self, Self::Whole(_))
    }

    /// All of it, if that is in memory.
    pub(crate) fn whole(&self) -> Option<&Arc<Publish>> {
        match self {
            Self::Whole(publish) => Some(publish),
            Self::Away(..) | Self::Bound(_) => None,
        }
    }

    /// What is right of it whether it is whole or not: only that has a method below.
    fn known(&self) -> &Publish {
        match self {
            Self::Whole(publish) | Self::Away(publish, _) => publish,
            Self::Bound(bound) => &bound.shape,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.known().envelope.kind
    }

    pub(crate) fn source(&self) -> Option<&AgentId> {
        self.known().envelope.source.as_ref()
    }

    pub(crate) fn destination(&self) -> &Destination {
        &self.known().envelope.destination
    }

    /// How it is treated, without when: that is its entry's.
    pub(crate) fn options(&self) -> &PublishOptions {
        &self.known().options
    }

    pub(crate) fn durability(&self) -> Durability {
        self.known().durability()
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.known().attempts()
    }

    /// What the payload is; its bytes only if it is whole.
    pub(crate) fn payload(&self) -> &Payload {
        &self.known().envelope.payload
    }

    pub(crate) fn ordering_key(&self) -> Option<&OrderingKey> {
        match self {
            Self::Whole(publish) => publish.envelope.ordering_key.as_ref(),
            Self::Bound(bound) => bound.ordering_key.as_ref(),
            Self::Away(..) => None,
        }
    }

    pub(crate) fn causation_id(&self) -> Option<MessageId> {
        match self {
            Self::Whole(publish) => publish.envelope.causation_id,
            Self::Bound(bound) => bound.causation_id,
            Self::Away(..) => None,
        }
    }

    pub(crate) fn root_id(&self) -> Option<MessageId> {
        match self {
            Self::Whole(publish) => publish.envelope.root_id,
            Self::Bound(bound) => bound.root_id,
            Self::Away(..) => None,
        }
    }

    pub(crate) fn context_id(&self) -> Option<&ContextId> {
        match self {
            Self::Whole(publish) => publish.envelope.context_id.as_ref(),
            Self::Bound(bound) => bound.context_id.as_ref(),
            Self::Away(..) => None,
        }
    }
}

impl Sent {
    /// All of it, or what is left of it if its payload could not be read: its size is then that of
    /// what was sent, as it is for who can read it.
    pub(crate) fn whole(publish: Arc<Publish>) -> Self {
        let (id, size) = (publish.envelope.id, bytes_of_payload(&publish));
        Self { id, size, body: Body::Whole(publish) }
    }

    pub(crate) fn as_ref(&self) -> SentRef<'_> {
        SentRef { id: self.id, size: self.size, body: &self.body }
    }

    /// It as if it were whole, but for the bytes of its payload and what only a delivery needs if
    /// that has left memory; see [`is_stub`](super::is_stub).
    pub(crate) fn stub(&self) -> Arc<Publish> {
        let (mut stub, headers) = match &self.body {
            Body::Whole(publish) => return publish.clone(),
            Body::Away(shape, headers) => (Publish::clone(shape), *headers),
            Body::Bound(bound) => {
                let mut stub = Publish::clone(&bound.shape);
                stub.envelope.ordering_key.clone_from(&bound.ordering_key);
                stub.envelope.causation_id = bound.causation_id;
                stub.envelope.root_id = bound.root_id;
                stub.envelope.context_id.clone_from(&bound.context_id);
                (stub, bound.headers)
            }
        };
        note_headers(&mut stub, headers);
        stub.envelope.id = self.id;
        let data = NOTHING.get(..self.size as usize).map(Bytes::from_static);
        stub.envelope.payload.data = data.unwrap_or_default();
        Arc::new(stub)
    }
}

/// Bytes of the payload of something published. Frames and records bound it far below the most
/// that can be counted.
pub(crate) fn size_of_payload(publish: &Publish) -> u32 {
    u32::try_from(publish.envelope.payload.data.len()).unwrap_or(u32::MAX)
}

/// What things whose payloads have left memory have in common, each kept once. Those that nothing
/// has any longer go when there are twice as many as were needed the last time.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    known: HashTable<Arc<Publish>>,
    /// From how many on it is looked which of them are still needed.
    many: usize,
}

impl Shapes {
    /// What stays of something whose payload leaves memory.
    pub(crate) fn body(&mut self, publish: &Publish) -> Body {
        let (shape, headers) = (self.shape(publish), bytes_of_headers(publish));
        let Envelope { ordering_key, causation_id, root_id, context_id, .. } = &publish.envelope;
        if let (None, None, None, None) = (ordering_key, causation_id, root_id, context_id) {
            return Body::Away(shape, headers);
        }
        Body::Bound(Box::new(Bound {
            shape,
            headers,
            ordering_key: ordering_key.clone(),
            causation_id: *causation_id,
            root_id: *root_id,
            context_id: context_id.clone(),
        }))
    }

    fn shape(&mut self, publish: &Publish) -> Arc<Publish> {
        let hash = hash(publish);
        if let Some(shape) = self.known.find(hash, |shape| fits(shape, publish)) {
            return shape.clone();
        }
        if self.known.len() >= self.many.max(64) {
            self.known.retain(|shape| Arc::strong_count(shape) > 1);
            self.known.shrink_to(0, |shape| self::hash(shape));
            self.many = 2 * self.known.len();
        }
        let shape = Arc::new(shape_of(publish));
        self.known.insert_unique(hash, shape.clone(), |shape| self::hash(shape));
        shape
    }

    /// Whether a body has what is kept here, if it has anything of that kind; for checks.
    pub(super) fn has(&self, body: &Body) -> bool {
        let shape = match body {
            Body::Whole(_) => return true,
            Body::Away(shape, _) => shape,
            Body::Bound(bound) => &bound.shape,
        };
        let known = self.known.find(hash(shape), |known| fits(known, shape));
        known.is_some_and(|known| Arc::ptr_eq(known, shape))
    }
}

/// It without what differs from one to the next: what the entry has itself, what it belongs to,
/// and what only its delivery needs.
fn shape_of(publish: &Publish) -> Publish {
    let from = &publish.envelope;
    let payload = Payload { data: Bytes::new(), ..from.payload.clone() };
    let nobody = MessageId::from_parts(0, Partition(0), 0);
    let envelope = Envelope {
        tenant: from.tenant.clone(),
        source: from.source.clone(),
        priority: from.priority,
        headers: Headers::new(),
        ..Envelope::new(nobody, from.kind, from.destination.clone(), payload)
    };
    let options = PublishOptions {
        durability: Some(publish.durability()),
        attempts: Some(publish.attempts()),
        delay: None,
        not_before: None,
        ..publish.options.clone()
    };
    Publish { envelope, options }
}

/// Whether a shape is that of something published.
fn fits(shape: &Publish, publish: &Publish) -> bool {
    let (a, b) = (&shape.envelope, &publish.envelope);
    let PublishOptions {
        task,
        reply,
        durability: _,
        attempts: _,
        delay: _,
        not_before: _,
        max_run,
        gather,
        absent,
    } = &publish.options;
    let options = &shape.options;
    a.destination == b.destination
        && a.source == b.source
        && a.tenant == b.tenant
        && (a.kind, a.priority) == (b.kind, b.priority)
        && a.payload.content_type == b.payload.content_type
        && a.payload.encoding == b.payload.encoding
        && (options.task, options.reply) == (*task, *reply)
        && shape.durability() == publish.durability()
        && shape.attempts() == publish.attempts()
        && (options.max_run, options.gather) == (*max_run, *gather)
        && options.absent == *absent
}

/// Equal for what has the same shape.
fn hash(publish: &Publish) -> u64 {
    let envelope = &publish.envelope;
    let parts = (&envelope.destination, &envelope.source, &envelope.tenant, envelope.priority);
    FixedState::with_seed(0).hash_one((parts, publish.options.max_run))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use trunkline_types::Priority;

    fn task(number: u64) -> Publish {
        let id = MessageId::from_parts(number, Partition(0), number);
        let to = Destination::skill("s").unwrap();
        let payload = Payload::new("a/b", vec![7; 10]);
        let mut envelope = Envelope::new(id, Kind::Request, to, payload);
        envelope.headers.push(("number".into(), format!("{number}").into()));
        envelope.ttl = Some(Duration::from_secs(number));
        Publish { envelope, options: PublishOptions { task: true, ..PublishOptions::default() } }
    }

    #[test]
    fn things_that_differ_in_what_is_their_own_share_what_is_known_of_them() {
        let mut shapes = Shapes::default();
        let bodies: Vec<_> = (1..1000).map(|number| shapes.body(&task(number))).collect();
        assert_eq!(shapes.known.len(), 1);
        assert!(bodies.iter().all(|body| matches!(body, Body::Away(..)) && shapes.has(body)));
        let body = &bodies[0];
        assert_eq!(body.destination(), &Destination::skill("s").unwrap());
        assert_eq!((body.durability(), body.attempts()), (Durability::Synced, 3));
        assert!(body.options().task && body.payload().content_type == "a/b");
    }

    #[test]
    fn what_it_belongs_to_stays_known() {
        let mut shapes = Shapes::default();
        let mut one = task(1);
        one.envelope.context_id = Some("c".parse().unwrap());
        one.envelope.ordering_key = Some("k".parse().unwrap());
        one.envelope.causation_id = Some(task(2).envelope.id);
        one.envelope.root_id = Some(task(3).envelope.id);
        let (id, body) = (one.envelope.id, shapes.body(&one));
        let sent = Sent { id, size: 10, body };
        let stub = sent.stub();
        assert_eq!(stub.envelope.payload.data.len(), 10);
        assert_eq!(bytes_of_headers(&stub), bytes_of_headers(&one));
        let expected = Envelope {
            headers: stub.envelope.headers.clone(),
            ttl: None,
            payload: stub.envelope.payload.clone(),
            ..one.envelope
        };
        assert_eq!(stub.envelope, expected);
        assert_eq!(sent.body.root_id(), expected.root_id);
        assert_eq!(sent.body.context_id(), expected.context_id.as_ref());
        assert!(shapes.has(&sent.body) && shapes.known.len() == 1);
    }

    #[test]
    fn what_nothing_has_any_longer_is_given_up() {
        let mut shapes = Shapes::default();
        let urgent = shapes.body(&{
            let mut urgent = task(1);
            urgent.envelope.priority = Priority::Urgent;
            urgent
        });
        for number in 0..10_000 {
            let mut other = task(1);
            other.envelope.destination = Destination::skill(&format!("s{number}")).unwrap();
            shapes.body(&other);
            assert!(shapes.known.len() <= 64);
        }
        assert!(shapes.has(&urgent));
    }

    #[test]
    fn what_is_treated_otherwise_has_another_shape() {
        let mut shapes = Shapes::default();
        let changes: [fn(&mut Publish); 6] = [
            |_| {},
            |it| it.options.reply = true,
            |it| it.options.attempts = Some(9),
            |it| it.options.durability = Some(Durability::Buffered),
            |it| it.options.max_run = Some(Duration::from_secs(1)),
            |it| it.envelope.source = Some("a".parse().unwrap()),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut one = task(1);
            change(&mut one);
            let body = shapes.body(&one);
            assert_eq!(shapes.known.len(), number + 1);
            assert_eq!((body.attempts(), body.durability()), (one.attempts(), one.durability()));
        }
    }
}
