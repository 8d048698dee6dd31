//! What a session is handed is what was sent, under the lease that the record tells of.

use super::{breakers, draining, fading, gathers, leases, numbers, order, shares};
use crate::check::{Check, ensure};
use crate::model::Model;
use trunkline_types::session::Delivery;
use trunkline_types::{InboxAddress, SessionId};

/// Checks a delivery that a session is told of.
pub(crate) fn delivered(model: &mut Model, session: SessionId, delivery: &Delivery) -> Check {
    let Delivery { token, publish, inbox, attempt, accepted_at, expires_at, .. } = delivery;
    let id = publish.envelope.id;
    if !publish.durability().is_logged() {
        return fleeting(model, session, delivery);
    }
    let grant = model.granted.get(token);
    let known = grant.is_some_and(|grant| grant.id == id && grant.session == session);
    ensure!(known, "5 fencing", "{id} is delivered under {token}, of which no record tells");
    let entry = grant.and_then(|grant| grant.entry).and_then(|n| model.book.entries.get(&n));
    let Some(entry) = entry else { return Ok(()) };
    ensure!(entry.publish == *publish, "routing", "{id} is not delivered as it was sent");
    ensure!(
        entry.inbox == *inbox,
        "routing",
        "{id} is delivered from {inbox}, not {}",
        entry.inbox
    );
    let count = grant.map_or(entry.attempts, |grant| grant.attempts) + 1;
    ensure!(*attempt == count, "attempts", "{id} is delivered as attempt {attempt}, it is {count}");
    let times = (*accepted_at, *expires_at) == (entry.accepted_at, entry.expires_at());
    ensure!(times, "timers", "{id} is delivered with the times {accepted_at:?} {expires_at:?}");
    numbers::told(model, session, delivery)
}

/// The inbox that a delivery comes from. What is gathered lies in those of the agents, whatever
/// was asked for.
pub(super) fn lies_in(model: &Model, session: SessionId, delivery: &Delivery) -> InboxAddress {
    let agent = model.sessions.get(&session).and_then(|session| session.agent.clone());
    match agent.filter(|_| delivery.publish.options.gather.is_some()) {
        Some(agent) => InboxAddress::Agent(agent),
        None => delivery.inbox.clone(),
    }
}

fn fleeting(model: &mut Model, session: SessionId, delivery: &Delivery) -> Check {
    let Delivery { token, publish, inbox, expires_at, .. } = delivery;
    let id = publish.envelope.id;
    let late = expires_at.filter(|at| *at <= model.now.wall);
    ensure!(late.is_none(), "timers", "ephemeral {id} is delivered, expired since {late:?}");
    draining::hands_out_nothing(model, id)?;
    gathers::goes_on(model, id)?;
    leases::catches_up_first(model, id)?;
    let key = (id, inbox.clone());
    if model.fleeting.get(&key).is_some_and(|entry| entry.latest.is_none()) {
        order::next_fleeting(model, id, inbox)?;
        let due = Some(publish.due(delivery.accepted_at));
        let early = due.filter(|due| *due > model.now.wall && !model.jumped);
        ensure!(early.is_none(), "timers", "ephemeral {id} is delivered before {early:?}");
    }
    if publish.options.gather.is_none() && !model.unsettled {
        leases::fit(model, id, inbox, publish.envelope.priority, session)?;
    }
    let lies_in = lies_in(model, session, delivery);
    breakers::fleeting(model, session, &lies_in);
    shares::served(model, &lies_in, publish.envelope.priority);
    leases::grant(model, *token, id, inbox.clone(), session, None)?;
    if let Some(entry) = model.fleeting.get(&key) {
        let same = fading::may_be_same(model, &entry.publish, publish);
        ensure!(same, "routing", "{id} is not delivered as it was sent");
    }
    if let Some(entry) = model.fleeting.get_mut(&key) {
        entry.latest = Some(*token);
    }
    numbers::told(model, session, delivery)
}

#[cfg(test)]
mod tests {
    use super::delivered;
    use crate::model::testing::{Scene, WORKERS, broken, publish, skill, token};
    use std::sync::Arc;
    use trunkline_types::session::Delivery;
    use trunkline_types::{Durability, InboxAddress, Kind, WallTime};

    fn delivery(number: u64, counter: u64) -> Delivery {
        Delivery {
            token: token(counter),
            publish: Arc::new(publish(number)),
            inbox: InboxAddress::Skill(skill()),
            attempt: 1,
            accepted_at: WallTime(1000),
            expires_at: None,
            backlog: 0,
            backlog_age: std::time::Duration::ZERO,
            messages: Vec::new(),
            number: 0,
            missed: Vec::new(),
            max_run: None,
        }
    }

    #[test]
    fn a_delivery_is_what_was_sent_and_what_the_record_says() {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        let check = delivered(&mut scene.model, WORKERS[0], &delivery(1, 1));
        broken(check, "5 fencing", "no record");
        scene.lease(1, 1, WORKERS[0]).unwrap();
        assert_eq!(delivered(&mut scene.model, WORKERS[0], &delivery(1, 1)), Ok(()));
        let mut wrong = delivery(1, 1);
        wrong.attempt = 2;
        broken(delivered(&mut scene.model, WORKERS[0], &wrong), "attempts", "as attempt 2");
        let mut wrong = delivery(1, 1);
        Arc::make_mut(&mut wrong.publish).envelope.payload = "other".into();
        broken(delivered(&mut scene.model, WORKERS[0], &wrong), "routing", "as it was sent");
        let mut wrong = delivery(1, 1);
        Arc::make_mut(&mut wrong.publish).envelope.kind = Kind::Status;
        broken(delivered(&mut scene.model, WORKERS[0], &wrong), "routing", "as it was sent");
        let mut wrong = delivery(1, 1);
        wrong.expires_at = Some(WallTime(1));
        broken(delivered(&mut scene.model, WORKERS[0], &wrong), "timers", "with the times");
    }

    #[test]
    fn what_was_given_back_before_it_was_told_is_the_attempt_that_it_was() {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.model.book.entries.get_mut(&1).expect("it is there").attempts = 1;
        let mut wrong = delivery(1, 1);
        wrong.attempt = 2;
        broken(delivered(&mut scene.model, WORKERS[0], &wrong), "attempts", "as attempt 2");
        assert_eq!(delivered(&mut scene.model, WORKERS[0], &delivery(1, 1)), Ok(()));
    }

    #[test]
    fn an_ephemeral_token_is_new_as_well() {
        let mut scene = Scene::new();
        let mut fleeting = delivery(5, 7);
        Arc::make_mut(&mut fleeting.publish).options.durability = Some(Durability::Ephemeral);
        assert_eq!(delivered(&mut scene.model, WORKERS[0], &fleeting), Ok(()));
        broken(delivered(&mut scene.model, WORKERS[0], &fleeting), "5 fencing", "granted before");
        fleeting.expires_at = Some(WallTime(999));
        broken(delivered(&mut scene.model, WORKERS[0], &fleeting), "timers", "expired since");
    }
}
