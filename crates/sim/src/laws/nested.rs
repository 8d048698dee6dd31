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

#[cfg(test)]
mod tests {
    use super::{Chain, chain};
    use crate::model::testing::{Scene, WORKERS, broken, id, publish};
    use trunkline_types::{OrderingKey, Publish};

    fn key(publish: &mut Publish, name: &str) {
        publish.envelope.ordering_key = OrderingKey::new(name).ok();
    }

    /// A request that is made while another is handled.
    fn request(cause: u64, name: &str) -> Publish {
        let mut request = publish(9);
        request.envelope.causation_id = Some(id(cause));
        request.options.reply = true;
        key(&mut request, name);
        request
    }

    /// A worker holds the first request, which has a key.
    fn held() -> Scene {
        let mut scene = Scene::new();
        scene.accept(1, |publish| key(publish, "k")).unwrap();
        scene.sync();
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene
    }

    #[test]
    fn a_request_behind_the_key_of_an_ancestor_would_wait_for_itself() {
        let mut scene = held();
        assert_eq!(chain(&scene.model, &request(1, "k")), Chain::Blocked);
        let check = scene.accept(9, |publish| *publish = request(1, "k"));
        broken(check, "nested", "would wait for itself");
        assert_eq!(chain(&scene.model, &request(1, "other")), Chain::Free);
        assert_eq!(chain(&scene.model, &request(2, "k")), Chain::Unknown);
        let mut unawaited = request(1, "k");
        unawaited.options.reply = false;
        assert_eq!(chain(&scene.model, &unawaited), Chain::Free);
    }

    #[test]
    fn ancestors_further_up_count_as_long_as_each_is_awaited() {
        for awaited in [true, false] {
            let mut scene = held();
            let middle = |publish: &mut Publish| {
                *publish = request(1, "other");
                publish.envelope.id = id(2);
                publish.options.reply = awaited;
            };
            scene.accept(2, middle).unwrap();
            scene.sync();
            scene.lease(2, 2, WORKERS[1]).unwrap();
            let wanted = if awaited { Chain::Blocked } else { Chain::Free };
            assert_eq!(chain(&scene.model, &request(2, "k")), wanted);
        }
    }

    #[test]
    fn what_waits_holds_no_key() {
        let mut scene = Scene::new();
        scene.accept(1, |publish| key(publish, "k")).unwrap();
        assert_eq!(chain(&scene.model, &request(1, "k")), Chain::Free);
    }
}
