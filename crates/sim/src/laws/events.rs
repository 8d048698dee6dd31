//! Events of a session's own subscriptions: numbered without gaps, sent again from the first one
//! not acknowledged, wanted by one of its patterns, and within its credit.

use super::groups;
use crate::check::{Check, ensure};
use crate::model::{Model, wants};
use trunkline_types::SessionId;
use trunkline_types::session::EventDelivery;

/// Checks an event that a session is told of.
pub(crate) fn told(model: &mut Model, session: SessionId, event: &EventDelivery) -> Check {
    let id = event.publish.envelope.id;
    let Some(row) = model.sessions.get_mut(&session) else { return Ok(()) };
    let wanted = row.subscriptions.iter().any(|own| wants::subscribed(own, &event.publish));
    ensure!(wanted, "routing", "event {id} goes to session {session}, which does not want it");
    let same = model.published.get(&id).is_some_and(|sent| *sent == event.publish);
    ensure!(same, "routing", "event {id} is not told as it was sent: {:?}", event.publish);
    let events = &mut row.events;
    let sent = events.last();
    let number = event.number;
    if let Some(again) = events.again.filter(|again| *again <= sent) {
        // Numbers that were used up by what was dropped are not sent again.
        let dropped = |number: u64| events.sent.get(&number) == Some(&None);
        let again = (again..=sent).find(|number| !dropped(*number)).unwrap_or(sent + 1);
        if again <= sent {
            ensure!(number == again, "events", "event {number} is sent again instead of {again}");
            let before = events.sent.get(&number);
            ensure!(
                before == Some(&Some(id)),
                "events",
                "event {number} is {id}, it was {before:?}"
            );
            events.again = Some(again + 1);
            return Ok(());
        }
    }
    events.again = None;
    let missed = event.missed;
    ensure!(
        number == sent + 1 + missed,
        "events",
        "event {number} follows event {sent}, {missed} were missed"
    );
    for dropped in sent + 1..number {
        events.sent.insert(dropped, None);
    }
    events.sent.insert(number, Some(id));
    let open = events.sent.range(events.acknowledged + 1..).filter(|(_, id)| id.is_some()).count();
    let credit = row.credit.events as usize;
    ensure!(open <= credit, "events", "{open} events are not acknowledged, the credit is {credit}");
    groups::told(model, session, &event.publish)
}

#[cfg(test)]
mod tests {
    use super::told;
    use crate::model::testing::{SENDER, Scene, broken, publish};
    use std::sync::Arc;
    use trunkline_types::session::{EventDelivery, Subscription};
    use trunkline_types::{Destination, Kind};

    fn event(number: u64) -> EventDelivery {
        let mut publish = publish(number);
        publish.envelope.kind = Kind::Event;
        publish.envelope.destination = Destination::topic("t.a").unwrap();
        EventDelivery { number, publish: Arc::new(publish), missed: 0 }
    }

    #[test]
    fn events_are_wanted_numbered_and_within_credit() {
        let mut scene = Scene::new();
        broken(told(&mut scene.model, SENDER, &event(1)), "routing", "does not want it");
        for event in (1..=3).map(event) {
            scene.model.published.insert(event.publish.envelope.id, event.publish);
        }
        let session = scene.model.sessions.get_mut(&SENDER).unwrap();
        session.note(&Subscription::new("t.*".parse().unwrap()));
        assert_eq!(told(&mut scene.model, SENDER, &event(1)), Ok(()));
        broken(told(&mut scene.model, SENDER, &event(3)), "events", "follows event 1");
        let mut other = event(2);
        Arc::make_mut(&mut other.publish).envelope.kind = Kind::Error;
        broken(told(&mut scene.model, SENDER, &other), "routing", "as it was sent");
        assert_eq!(told(&mut scene.model, SENDER, &event(2)), Ok(()));
        broken(told(&mut scene.model, SENDER, &event(3)), "events", "the credit is 2");
        scene.model.sessions.get_mut(&SENDER).unwrap().events.again = Some(1);
        broken(told(&mut scene.model, SENDER, &event(2)), "events", "instead of 1");
    }
}
