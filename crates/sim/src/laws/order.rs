//! Law 7: first in, first out within an inbox, priority and durability class; what came back goes
//! before what was never delivered; an ordering key stands above all.

use super::{bounds, fading};
use crate::check::{Check, ensure};
use crate::model::{Entry, Model, Place};
use trunkline_types::{InboxAddress, MessageId, Publish, WhenFull};

/// Checks that no entry of the same lane should have been delivered before this one.
pub(crate) fn next_in_lane(model: &Model, entry: &Entry) -> Check {
    // Where an entry enters its lane after having waited for a time or a key is not promised.
    if entry.delayed || entry.publish.envelope.ordering_key.is_some() {
        return Ok(());
    }
    let earlier = model.book.open.get(&entry.inbox).into_iter().flatten();
    let earlier = earlier.filter_map(|number| model.book.entries.get(number));
    let passed = earlier.take_while(|other| other.number < entry.number).find(|other| {
        other.place == Place::Waiting
            && other.leases == 0
            && !other.delayed
            && other.priority() == entry.priority()
            && other.durability() == entry.durability()
            && other.publish.envelope.ordering_key.is_none()
            && other.expires_at().is_none_or(|at| at > model.now.wall)
            && model.reached(other.accepted, other.durability())
    });
    if let Some(passed) = passed {
        let (passed, inbox) = (passed.id(), &entry.inbox);
        ensure!(false, "7 order", "{} is delivered from {inbox} before {passed}", entry.id());
    }
    Ok(())
}

/// Checks that no entry with the same ordering key stands before this one or is in flight.
pub(crate) fn next_of_key(model: &Model, entry: &Entry) -> Check {
    let Some(key) = &entry.publish.envelope.ordering_key else { return Ok(()) };
    let others = model.book.open.get(&entry.inbox).into_iter().flatten();
    let others = others.filter_map(|number| model.book.entries.get(number));
    let same = others.filter(|other| {
        other.number != entry.number && other.publish.envelope.ordering_key.as_ref() == Some(key)
    });
    for other in same {
        let (id, other_id) = (entry.id(), other.id());
        ensure!(
            other.place != Place::Leased,
            "7 order",
            "{id} and {other_id} with key {key} are in flight at once"
        );
        // A pause frees the key, and what it let through goes before what is continued.
        let first = other.number > entry.number || other.was_paused || entry.was_paused;
        ensure!(first, "7 order", "{id} is delivered before {other_id} with the same key {key}");
    }
    Ok(())
}

/// Checks that no ephemeral entry of the same lane, told to be accepted earlier, still waits.
pub(crate) fn next_fleeting(model: &Model, id: MessageId, inbox: &InboxAddress) -> Check {
    let Some(entry) = model.fleeting.get(&(id, inbox.clone())) else { return Ok(()) };
    // Of what waited outside a full inbox, and of what was dropped for something newer, no record
    // tells.
    let settings = model.book.settings.contains_key(inbox);
    let rejects = model.rules.when_full == WhenFull::Reject && !model.reconfigured;
    if bounds::are_tight(model) && (settings || !rejects) {
        return Ok(());
    }
    if is_timed(&entry.publish) || entry.publish.envelope.ordering_key.is_some() {
        return Ok(());
    }
    let passed = model.fleeting.iter().find(|((_, address), other)| {
        let envelope = &other.publish.envelope;
        address == inbox
            && other.order < entry.order
            && other.accepted
            && !other.over
            && other.latest.is_none()
            && envelope.priority == entry.publish.envelope.priority
            && !fading::may_expire(model, &other.publish)
            && envelope.ordering_key.is_none()
            && !is_timed(&other.publish)
    });
    if let Some(((passed, _), _)) = passed {
        ensure!(false, "7 order", "ephemeral {id} is delivered from {inbox} before {passed}");
    }
    Ok(())
}

/// Whether an envelope waits for a time.
fn is_timed(publish: &Publish) -> bool {
    publish.options.delay.is_some() || publish.options.not_before.is_some()
}

#[cfg(test)]
mod tests {
    use crate::model::testing::{Scene, WORKERS, broken};
    use trunkline_types::{OrderingKey, Priority, Publish};

    #[test]
    fn a_lane_is_served_from_its_front() {
        let mut scene = Scene::new();
        scene.accept(1, |publish| publish.envelope.priority = Priority::Low).unwrap();
        scene.accept_synced(2);
        scene.accept_synced(3);
        broken(scene.lease(3, 1, WORKERS[0]), "7 order", "is delivered from skill:s before");
        let mut scene = Scene::new();
        scene.accept(1, |publish| publish.envelope.priority = Priority::Low).unwrap();
        scene.accept_synced(2);
        assert_eq!(scene.lease(2, 1, WORKERS[0]), Ok(()), "another lane may go first");
    }

    #[test]
    fn a_key_is_served_in_order_and_one_at_a_time() {
        let key = |publish: &mut Publish| {
            publish.envelope.ordering_key = Some(OrderingKey::new("k").unwrap());
        };
        let mut scene = Scene::new();
        scene.accept(1, key).unwrap();
        scene.accept(2, key).unwrap();
        scene.sync();
        assert_eq!(scene.lease(1, 1, WORKERS[0]), Ok(()));
        broken(scene.lease(2, 2, WORKERS[1]), "7 order", "in flight at once");
        let mut scene = Scene::new();
        scene.accept(1, key).unwrap();
        scene.accept(2, key).unwrap();
        scene.sync();
        broken(scene.lease(2, 2, WORKERS[1]), "7 order", "with the same key");
    }
}
