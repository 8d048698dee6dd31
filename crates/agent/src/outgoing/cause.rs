//! Why something is sent: the delivery whose handling makes it.

use super::Outgoing;
use std::sync::Arc;
use trunkline_types::{ContextId, Envelope, MessageId};

/// The delivery whose handling makes what is sent. What a [`Task`](crate::Task) sends has its
/// cause by itself; this is for what is sent over another session on its behalf, such as by the
/// child of an executable agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause {
    /// Its id.
    pub id: MessageId,
    /// The first in the chain of causes; itself if it has none.
    pub root: MessageId,
    /// The conversation that it belongs to.
    pub context: Option<ContextId>,
    /// Its W3C `traceparent`.
    pub traceparent: Option<Arc<str>>,
}

impl Cause {
    /// The cause that an envelope is of what is sent while it is handled.
    pub fn of(envelope: &Envelope) -> Self {
        Self {
            id: envelope.id,
            root: envelope.root_id.unwrap_or(envelope.id),
            context: envelope.context_id.clone(),
            traceparent: envelope.traceparent.clone(),
        }
    }

    /// Marks an envelope as made while handling this one.
    pub(super) fn mark(self, envelope: &mut Envelope) {
        let Self { id, root, context, traceparent } = self;
        envelope.causation_id = Some(id);
        envelope.root_id = Some(root);
        envelope.context_id = context;
        envelope.traceparent = traceparent;
    }
}

impl<K> Outgoing<K> {
    /// Marks it as made while handling a delivery: causation and root are set, conversation and
    /// `traceparent` inherited, unless they are set afterwards.
    pub fn caused_by(mut self, cause: Cause) -> Self {
        cause.mark(&mut self.publish.envelope);
        self
    }
}
