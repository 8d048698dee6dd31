//! Events that wait are kept until they are routed, expire or are called off; they do not wait
//! for what is there, and are dropped only if nobody wants them.

use super::bounds;
use crate::check::{Check, ensure};
use crate::model::{Entry, Model, pending, wants};
use trunkline_types::{Absent, Destination, Publish};

/// Nanoseconds that the broker may be late.
const SLACK: u64 = 2_000_000;

/// Whether an event whose time has come may be dropped because nobody is there.
pub(crate) fn may_drop(model: &Model, entry: &Entry) -> bool {
    let due = !entry.waits(model.now) || model.jumped;
    let parks = entry.publish.absent() == Absent::Park;
    due && !parks && !is_wanted(model, &entry.publish)
}

/// Checks that something that waited is routed to somebody, if it is routed.
pub(crate) fn reaches_somebody(model: &Model, publish: &Publish, reached: usize) -> Check {
    let by_session = model.sessions.values().any(|session| {
        session.subscriptions.iter().any(|wanted| wants::subscribed(wanted, publish))
    });
    let somebody = reached > 0 || by_session || bounds::are_tight(model);
    let id = publish.envelope.id;
    ensure!(somebody, "pending", "event {id} is routed to nobody");
    Ok(())
}

/// Checks that no event still waits for a time that is past or for somebody who is there.
pub(crate) fn nothing_overdue(model: &Model) -> Check {
    let waiting = model.book.open.get(&pending()).into_iter().flatten();
    for entry in waiting.filter_map(|number| model.book.entries.get(number)) {
        let id = entry.id();
        let due = entry.publish.due(entry.accepted_at);
        // A clock that is set back may make it wait once more for a time that was named, but for
        // no delay.
        let over = match entry.delay {
            Some(_) => model.now.mono > entry.over + SLACK,
            None => model.now.wall.0 > due.0 + 1,
        };
        let ready = over && model.reached(entry.accepted, entry.durability());
        let missed = model.costly.keys().any(|(missed, _)| *missed == id);
        let wanted = is_wanted(model, &entry.publish) && !missed;
        let stays = entry.publish.absent() == Absent::Park && !wanted;
        ensure!(!ready || stays, "pending", "event {id} still waits, it was due {due:?}");
    }
    Ok(())
}

/// Whether an agent wants an event for certain.
fn is_wanted(model: &Model, publish: &Publish) -> bool {
    let envelope = &publish.envelope;
    match &envelope.destination {
        Destination::Topic(_) => {
            let mut kept = model.book.subscriptions.iter();
            kept.any(|(_, wanted)| wants::subscribed(wanted, publish))
        }
        Destination::All => model.book.agents.keys().any(|id| Some(id) != envelope.source.as_ref()),
        Destination::Agent(_) | Destination::Agents(_) | Destination::Skill(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::nothing_overdue;
    use crate::model::testing::{SENDER, Scene, WORKERS, broken, publish};
    use crate::model::{AcceptedFact, Ending, Fact};
    use std::sync::Arc;
    use std::time::Duration;
    use trunkline_types::session::{Operation, Subscription};
    use trunkline_types::{Absent, AgentId, Destination, InboxAddress, Kind};

    /// An event that is due after ten milliseconds and is accepted, on disk or not.
    fn waiting(absent: Absent, synced: bool) -> Scene {
        let mut scene = Scene::new();
        let mut event = publish(1);
        event.envelope.kind = Kind::Event;
        event.envelope.destination = Destination::topic("t.a").unwrap();
        event.envelope.ttl = Some(Duration::from_millis(100));
        event.options.task = false;
        event.options.absent = Some(absent);
        event.options.delay = Some(Duration::from_millis(10));
        let publish = Arc::new(event);
        let operation = scene.operate(SENDER, Operation::Publish(publish.clone()));
        let (session, at, inboxes) = (SENDER, scene.model.now.wall, Vec::new());
        let (first_entry, pending) = (1, true);
        let fact = AcceptedFact { publish, session, operation, at, first_entry, inboxes, pending };
        scene.fact(Fact::Accepted(Box::new(fact))).unwrap();
        if synced {
            scene.sync();
        }
        scene
    }

    fn agent() -> AgentId {
        AgentId::new(format!("a{}", WORKERS[0].0)).unwrap()
    }

    fn subscribe(scene: &mut Scene) {
        let subscription = Subscription::new("t.*".parse().unwrap());
        scene.fact(Fact::Subscribed { agent: agent(), subscription }).unwrap();
    }

    fn routed(inboxes: &[InboxAddress]) -> Fact {
        Fact::Routed { entry: 1, first_entry: 2, inboxes: inboxes.to_vec() }
    }

    #[test]
    fn an_event_is_routed_once_when_it_is_due_and_durable_and_to_those_who_want_it() {
        let to = [InboxAddress::Agent(agent())];
        let mut scene = waiting(Absent::Park, true);
        subscribe(&mut scene);
        broken(scene.fact(routed(&to)), "timers", "before it is due");
        let mut scene = waiting(Absent::Park, false);
        subscribe(&mut scene);
        scene.at(1010);
        broken(scene.fact(routed(&to)), "1 durable", "before its record");
        let mut scene = waiting(Absent::Park, true);
        scene.at(1010);
        broken(scene.fact(routed(&[])), "pending", "to nobody");
        let mut scene = waiting(Absent::Park, true);
        subscribe(&mut scene);
        scene.at(1010);
        broken(scene.fact(routed(&[])), "pending", "to nobody");
        assert_eq!(scene.fact(routed(&to)), Ok(()));
        broken(scene.fact(routed(&to)), "routing", "does not wait");
    }

    #[test]
    fn an_event_that_waits_ends_for_a_reason_only() {
        let end = |how| Fact::Ended { entry: 1, how, said: 0 };
        let mut scene = waiting(Absent::Park, true);
        broken(scene.fact(end(Ending::Expired)), "timers", "without a reason");
        scene.at(1010);
        broken(scene.fact(end(Ending::Dropped)), "5 fencing", "without a reason");
        let mut scene = waiting(Absent::Discard, true);
        broken(scene.fact(end(Ending::Dropped)), "5 fencing", "without a reason");
        scene.at(1010);
        assert_eq!(scene.fact(end(Ending::Dropped)), Ok(()));
    }

    #[test]
    fn an_event_does_not_wait_for_what_is_there() {
        let mut scene = waiting(Absent::Park, true);
        scene.at(1013);
        assert_eq!(nothing_overdue(&scene.model), Ok(()));
        subscribe(&mut scene);
        broken(nothing_overdue(&scene.model), "pending", "still waits");
    }
}
