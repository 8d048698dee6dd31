//! A request must not wait for itself: behind an ordering key that one of its ancestors holds.

use crate::model::{Model, Place};
use trunkline_types::{Destination, InboxAddress, Publish};

/// What is known of the chain of a request's ancestors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Chain {
    /// An ancestor holds the key that the request needs.
    Blocked,
    /// No ancestor does.
    Free,
    /// An ancestor left no record.
    Unknown,
}

/// Looks for an ancestor in flight that holds the ordering key which a request needs.
pub(crate) fn chain(model: &Model, publish: &Publish) -> Chain {
    let envelope = &publish.envelope;
    let inbox = match &envelope.destination {
        Destination::Agent(id) => InboxAddress::Agent(id.clone()),
        Destination::Skill(skill) => InboxAddress::Skill(skill.clone()),
        _ => return Chain::Free,
    };
    if envelope.ordering_key.is_none() || !publish.options.reply {
        return Chain::Free;
    }
    let mut next = envelope.causation_id;
    while let Some(id) = next {
        let Some(sent) = model.book.sent.get(&id) else { return Chain::Unknown };
        let mut leased = model.book.entries_of(id).filter(|entry| entry.place == Place::Leased);
        let key = &sent.publish.envelope.ordering_key;
        if leased.next().is_none() {
            return Chain::Free;
        }
        let held = |inbox| {
            let mut copies = model.book.entries_of(id);
            copies.any(|entry| entry.place == Place::Leased && entry.inbox == inbox)
        };
        if *key == envelope.ordering_key && held(inbox.clone()) {
            return Chain::Blocked;
        }
        // Whoever sent it waits for it only if it wants the reply.
        next = sent.publish.envelope.causation_id.filter(|_| sent.publish.options.reply);
    }
    Chain::Free
}
