//! Events of a session's own subscriptions: numbered without gaps, sent again from the first one
//! not acknowledged, wanted by one of its patterns, and within its credit.

use crate::check::{Check, ensure};
use crate::model::Model;
use trunkline_types::session::EventDelivery;
use trunkline_types::{Destination, SessionId};

/// Checks an event that a session is told of.
pub(crate) fn told(model: &mut Model, session: SessionId, event: &EventDelivery) -> Check {
    let id = event.publish.envelope.id;
    let Some(row) = model.sessions.get_mut(&session) else { return Ok(()) };
    let wanted = match &event.publish.envelope.destination {
        Destination::Topic(topic) => row.patterns.iter().any(|pattern| pattern.matches(topic)),
        _ => false,
    };
    ensure!(wanted, "routing", "event {id} goes to session {session}, which does not want it");
    let events = &mut row.events;
    let sent = events.sent.len() as u64;
    let number = event.number;
    if let Some(again) = events.again.filter(|again| *again <= sent) {
        ensure!(number == again, "events", "event {number} is sent again instead of {again}");
        let place = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let before = events.sent.get(place);
        ensure!(before == Some(&id), "events", "event {number} is {id}, it was {before:?}");
        events.again = Some(again + 1);
        return Ok(());
    }
    events.again = None;
    ensure!(number == sent + 1, "events", "event {number} follows event {sent}");
    events.sent.push(id);
    let open = number - events.acknowledged;
    let credit = u64::from(row.credit.events);
    ensure!(open <= credit, "events", "{open} events are not acknowledged, the credit is {credit}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::told;
    use crate::model::testing::{SENDER, Scene, broken, publish};
    use std::sync::Arc;
    use trunkline_types::session::EventDelivery;
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
        let session = scene.model.sessions.get_mut(&SENDER).unwrap();
        session.patterns.insert("t.*".parse().unwrap());
        assert_eq!(told(&mut scene.model, SENDER, &event(1)), Ok(()));
        broken(told(&mut scene.model, SENDER, &event(3)), "events", "follows event 1");
        assert_eq!(told(&mut scene.model, SENDER, &event(2)), Ok(()));
        broken(told(&mut scene.model, SENDER, &event(3)), "events", "the credit is 2");
        scene.model.sessions.get_mut(&SENDER).unwrap().events.again = Some(1);
        broken(told(&mut scene.model, SENDER, &event(2)), "events", "instead of 1");
    }
}
