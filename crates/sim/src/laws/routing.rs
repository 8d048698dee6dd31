//! An envelope is accepted once, at the word of its sender, and goes where its sender said.
//! An idempotency key is accepted once too.

use super::facts::note_record;
use super::groups;
use super::nested::{self, Chain};
use super::{bounds, copies, draining, fading, keys, outside, pending};
use crate::check::{Check, ensure};
use crate::model::{self, AcceptedFact, Model};
use std::collections::BTreeSet;
use trunkline_types::session::Operation;
use trunkline_types::{Destination, InboxAddress, Publish, Sequence};

/// Checks that an envelope may be accepted as the record says.
pub(crate) fn accepted(model: &mut Model, at: Sequence, fact: &AcceptedFact) -> Check {
    let AcceptedFact { publish, session, operation, .. } = fact;
    let id = publish.envelope.id;
    let asked = model.sessions.get(session).and_then(|session| session.asked.get(operation));
    let same = asked.is_some_and(|asked| match &asked.operation {
        Operation::Publish(sent) => asked.handled && fading::is_same(model, sent, publish),
        _ => false,
    });
    ensure!(
        same,
        "answers",
        "envelope {id} is accepted, but operation {operation} did not send it"
    );
    let blocked = nested::chain(model, publish) == Chain::Blocked;
    ensure!(!blocked, "nested", "request {id} is accepted, and would wait for itself");
    draining::takes_in_nothing(model, *session, *operation)?;
    outside::admitted(model, Some((*session, *operation)), &fact.inboxes, true)?;
    new_message(model, fact)?;
    note_record(model, *session, *operation, at);
    Ok(())
}

/// Checks that a new message may be accepted, whoever made it, and where it goes.
pub(crate) fn new_message(model: &mut Model, fact: &AcceptedFact) -> Check {
    let AcceptedFact { publish, inboxes, .. } = fact;
    let id = publish.envelope.id;
    let known = model.book.sent.contains_key(&id);
    ensure!(!known, "5 fencing", "envelope {id} is accepted twice");
    ensure!(model.ample, "refusals", "envelope {id} is accepted although the disk is full");
    ensure!(!model.congested, "refusals", "envelope {id} is accepted while the log is behind");
    if let Some(key) = &publish.envelope.idempotency_key {
        keys::is_new(model, key, id)?;
    }
    let found: BTreeSet<_> = inboxes.iter().cloned().collect();
    ensure!(
        found.len() == inboxes.len(),
        "routing",
        "envelope {id} goes twice to one of {inboxes:?}"
    );
    fading::ends_in_time(model, publish)?;
    copies::are_few(model, id, inboxes)?;
    bounds::room(model, inboxes)?;
    if fact.pending {
        bounds::room_for_pending(model)?;
        ensure!(found.is_empty(), "routing", "event {id} is pending and goes to {found:?}");
        return Ok(());
    }
    goes_to(model, publish, &found, 0)
}

/// Checks that an event that waited may go where the record says.
pub(crate) fn routed(model: &mut Model, number: u64, inboxes: &[InboxAddress]) -> Check {
    let Some(entry) = model.book.entries.get(&number).cloned() else {
        ensure!(false, "routing", "entry {number} is routed, but was never accepted");
        return Ok(());
    };
    let (id, wall) = (entry.id(), model.now.wall);
    let waits = entry.inbox == model::pending() && entry.is_open();
    ensure!(waits, "routing", "{id} is routed, but does not wait for that: {entry:?}");
    let (waits, due, delay) = (entry.waits(model.now), entry.due, entry.delay);
    ensure!(
        !waits,
        "timers",
        "{id} is routed at {wall:?}, before it is due at {due:?} or after {delay:?}"
    );
    let late = entry.expires_at().filter(|at| *at <= wall);
    ensure!(late.is_none(), "timers", "{id} is routed at {wall:?}, expired since {late:?}");
    ensure!(
        model.reached(entry.accepted, entry.durability()),
        "1 durable",
        "{id} is routed before its record {} is durable",
        entry.accepted.0
    );
    let found: BTreeSet<_> = inboxes.iter().cloned().collect();
    let once = found.len() == inboxes.len();
    ensure!(once, "routing", "{id} is routed twice to one of {inboxes:?}");
    copies::are_few(model, id, inboxes)?;
    bounds::room(model, inboxes)?;
    outside::admitted(model, None, inboxes, true)?;
    pending::reaches_somebody(model, &entry.publish, found.len())?;
    let too_many = copies::too_many(model, &entry.publish);
    goes_to(model, &entry.publish, &found, too_many)
}

/// Checks that an envelope goes where its sender said; so many may be left out because they are
/// too many.
pub(crate) fn goes_to(
    model: &mut Model,
    publish: &Publish,
    found: &BTreeSet<InboxAddress>,
    too_many: usize,
) -> Check {
    let id = publish.envelope.id;
    let Some(wanted) = targets(model, publish) else {
        return groups::inboxes(model, publish, found, too_many);
    };
    let right = found.is_subset(&wanted) && (wanted.len() > 1 || *found == wanted);
    ensure!(right, "routing", "envelope {id} goes to {found:?} instead of {wanted:?}");
    // Over its bound an inbox may be left out of a fan-out, and that is told.
    copies::left_out(model, id, wanted.difference(found), too_many)
}

/// The inboxes that should get an envelope; `None` if that is for subscriptions to say.
fn targets(model: &Model, publish: &Publish) -> Option<BTreeSet<InboxAddress>> {
    let agents = model.book.agents.keys();
    Some(match &publish.envelope.destination {
        Destination::Agent(id) => [InboxAddress::Agent(id.clone())].into(),
        Destination::Skill(skill) => [InboxAddress::Skill(skill.clone())].into(),
        Destination::Agents(ids) => ids.iter().cloned().map(InboxAddress::Agent).collect(),
        Destination::All => {
            let others = agents.filter(|id| Some(*id) != publish.envelope.source.as_ref());
            others.cloned().map(InboxAddress::Agent).collect()
        }
        Destination::Topic(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::model::testing::{SENDER, Scene, accepted, broken, id, publish};
    use std::sync::Arc;
    use trunkline_types::session::Operation;
    use trunkline_types::{Destination, IdempotencyKey, WallTime};

    #[test]
    fn an_envelope_is_accepted_once_at_its_senders_word_and_where_it_said() {
        let mut scene = Scene::new();
        assert_eq!(scene.accept(1, |_| ()), Ok(()));
        broken(scene.accept(1, |_| ()), "5 fencing", "accepted twice");

        let other = accepted(Arc::new(publish(2)), 77, WallTime(1), 9);
        broken(scene.fact(other), "answers", "did not send it");

        let elsewhere = |publish: &mut trunkline_types::Publish| {
            publish.envelope.destination = Destination::skill("other").unwrap();
        };
        broken(scene.accept(3, elsewhere), "routing", "instead of");
    }

    #[test]
    fn an_envelope_is_recorded_as_it_was_sent() {
        let mut scene = Scene::new();
        let sent = Arc::new(publish(1));
        let operation = scene.operate(SENDER, Operation::Publish(sent.clone()));
        let mut other = publish(1);
        other.envelope.correlation_id = Some(id(7));
        let tampered = accepted(Arc::new(other), operation, WallTime(1), 1);
        broken(scene.fact(tampered), "answers", "did not send it");
        assert_eq!(scene.fact(accepted(sent, operation, WallTime(1), 1)), Ok(()));
    }

    #[test]
    fn a_key_is_accepted_once_and_a_full_disk_accepts_nothing() {
        let mut scene = Scene::new();
        let key = |publish: &mut trunkline_types::Publish| {
            publish.envelope.idempotency_key = Some(IdempotencyKey::new("k").unwrap());
        };
        assert_eq!(scene.accept(1, key), Ok(()));
        broken(scene.accept(2, key), "keys", "accepted again");
        scene.model.space(false);
        broken(scene.accept(3, |_| ()), "refusals", "disk is full");
    }
}
