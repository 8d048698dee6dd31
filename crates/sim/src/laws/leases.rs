//! Law 5: a lease is granted on what waits, under a token that never was. Law 1: on what is as
//! durable as promised. And not before its time, nor after it.

use super::{breakers, choice, draining, order, shares};
use crate::check::{Check, ensure};
use crate::model::{Cause, Grant, Model, Place};
use trunkline_types::{Routing, SessionId, Token};

/// Checks that a logged entry may be delivered as the record says.
pub(crate) fn leased(model: &mut Model, number: u64, token: Token, session: SessionId) -> Check {
    let Some(entry) = model.book.entries.get(&number) else {
        ensure!(false, "5 fencing", "entry {number} is delivered, but was never accepted");
        return Ok(());
    };
    let (id, wall) = (entry.id(), model.now.wall);
    ensure!(
        entry.place == Place::Waiting,
        "5 fencing",
        "{id} is delivered under {token} while it is {:?} under {:?}",
        entry.place,
        entry.token
    );
    ensure!(
        model.reached(entry.accepted, entry.durability()),
        "1 durable",
        "{id} is delivered before its record {} is durable",
        entry.accepted.0
    );
    if entry.token == Some(token) && entry.holder == Some(session) {
        // Its lease had run out, nobody else has begun, and its holder is back.
        return regrant(model, token);
    }
    ensure!(
        model.reached(entry.latest, entry.durability()),
        "1 durable",
        "{id} is delivered before the latest record about it, {}, is durable",
        entry.latest.0
    );
    draining::hands_out_nothing(model, id)?;
    catches_up_first(model, id)?;
    let (waits, due, delay) = (entry.waits(model.now), entry.due, entry.delay);
    let max = entry.publish.attempts();
    ensure!(
        !waits,
        "timers",
        "{id} is delivered at {wall:?}, before it is due at {due:?} or after {delay:?}"
    );
    let late = entry.expires_at().filter(|at| *at <= wall);
    ensure!(late.is_none(), "timers", "{id} is delivered at {wall:?}, expired since {late:?}");
    let made = entry.attempts;
    ensure!(made < max, "attempts", "{id} is delivered again after {made} of {max} attempts");
    can_take(model, number, session)?;
    order::next_in_lane(model, entry)?;
    order::next_of_key(model, entry)?;
    let entry = entry.clone();
    choice::made(model, &entry, session)?;
    let (inbox, priority) = (entry.inbox.clone(), entry.priority());
    shares::next(model, &inbox, priority);
    breakers::delivered(model, number, token, session);
    grant(model, token, id, inbox, session, Some(number))
}

/// Checks that nothing is delivered while the log is as far behind as it may be: each delivery
/// would put it further behind.
pub(crate) fn catches_up_first(model: &Model, id: trunkline_types::MessageId) -> Check {
    ensure!(!model.congested, "10 bounds", "{id} is delivered while the log is behind");
    Ok(())
}

/// Notes a grant, whose token must be new and of this life of the broker.
pub(crate) fn grant(
    model: &mut Model,
    token: Token,
    id: trunkline_types::MessageId,
    inbox: trunkline_types::InboxAddress,
    session: SessionId,
    entry: Option<u64>,
) -> Check {
    let epoch = model.book.epoch;
    ensure!(token.epoch == epoch, "5 fencing", "token {token} is granted in epoch {}", epoch.0);
    let connection = model.sessions.get(&session).and_then(|session| session.connection);
    let (renewed, absent) = (model.now.mono, model.absent);
    let (settled, heard, overran, granted) = (false, false, false, (renewed, absent));
    let (before, runs) = (0, true);
    let attempts = attempts(model, entry);
    let grant = Grant {
        id,
        inbox,
        session,
        connection,
        entry,
        attempts,
        renewed,
        absent,
        granted,
        before,
        runs,
        touched: renewed,
        settled,
        heard,
        taken_up: false,
        overran,
    };
    let old = model.granted.insert(token, grant);
    ensure!(old.is_none(), "5 fencing", "token {token} for {id} was granted before: {old:?}");
    Ok(())
}

/// How many attempts an entry has had.
fn attempts(model: &Model, entry: Option<u64>) -> u32 {
    entry.and_then(|number| model.book.entries.get(&number)).map_or(0, |entry| entry.attempts)
}

fn regrant(model: &mut Model, token: Token) -> Check {
    let hello = matches!(model.cause, Cause::Hello);
    ensure!(hello, "5 fencing", "token {token} is granted again, but its holder did not come back");
    let (renewed, absent) = (model.now.mono, model.absent);
    let entry = model.granted.get(&token).and_then(|grant| grant.entry);
    let attempts = attempts(model, entry);
    if let Some(grant) = model.granted.get_mut(&token) {
        grant.taken_up = true;
        grant.attempts = attempts;
        if !std::mem::replace(&mut grant.runs, true) {
            // It was not held when the broker started: its handler's time runs from here.
            grant.granted = (renewed, absent);
        }
        ensure!(!grant.overran, "timers", "token {token} is granted again after it was called off");
        // How long its handler may run goes on from where it was.
        (grant.renewed, grant.touched, grant.absent) = (renewed, renewed, absent);
    }
    Ok(())
}

/// Checks that a session would take one more delivery of this entry's inbox.
fn can_take(model: &Model, number: u64, session: SessionId) -> Check {
    let Some(entry) = model.book.entries.get(&number) else { return Ok(()) };
    let (id, inbox) = (entry.id(), &entry.inbox);
    let taker = model.sessions.get(&session);
    let connected = taker.is_some_and(|taker| taker.connection.is_some() && !taker.draining);
    ensure!(connected, "routing", "{id} is delivered to session {session}, which takes nothing");
    let agent = taker.and_then(|taker| taker.agent.as_ref());
    let serves = agent.is_some_and(|agent| match inbox {
        trunkline_types::InboxAddress::Agent(wanted) => agent == wanted,
        trunkline_types::InboxAddress::Skill(skill) => {
            model.book.agents.get(agent).is_some_and(|card| card.skills.contains(skill))
        }
    });
    ensure!(serves, "routing", "{id} of inbox {inbox} is delivered to {agent:?}");
    fit(model, id, inbox, entry.priority(), session)?;
    if let Some(agent) = agent {
        breakers::passes(model, id, agent, inbox)?;
    }
    let credit = taker.map_or(0, |taker| taker.credit.deliveries);
    let leased = model.book.open_entries().filter(|e| e.place == Place::Leased);
    let held = leased.filter(|e| e.holder == Some(session)).count();
    let room = u32::try_from(held).is_ok_and(|held| held < credit);
    ensure!(room, "routing", "{id} is delivered to a session that holds {held} of {credit}");
    Ok(())
}

/// Checks that operators let the agent of a session take an envelope of this priority.
pub(crate) fn fit(
    model: &Model,
    id: trunkline_types::MessageId,
    inbox: &trunkline_types::InboxAddress,
    priority: trunkline_types::Priority,
    session: SessionId,
) -> Check {
    let agent = model.sessions.get(&session).and_then(|session| session.agent.as_ref());
    let Some(agent) = agent else { return Ok(()) };
    let control = model.book.controls.get(agent).copied().unwrap_or_default();
    ensure!(!control.draining, "control", "{id} is delivered to {agent}, which is draining");
    ensure!(control.healthy, "control", "{id} is delivered to {agent}, which is not healthy");
    let weightless = control.weight == 0 && choice::policy(model, inbox) == Routing::Weighted;
    ensure!(!weightless, "choice", "{id} of {inbox} is delivered to {agent}, which weighs nothing");
    let settings = model.book.settings.get(inbox);
    let binding = settings
        .and_then(|settings| settings.bindings.iter().find(|binding| binding.priority == priority));
    if let Some(binding) = binding {
        let label = (binding.key.clone(), binding.value.clone());
        let carries = model.book.agents.get(agent).is_some_and(|card| card.labels.contains(&label));
        ensure!(
            carries,
            "control",
            "{id} of priority {priority} is delivered to {agent}, which is not {label:?}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::model::testing::{SENDER, Scene, WORKERS, broken, id};
    use crate::model::{Fact, Moment};
    use std::time::Duration;
    use trunkline_types::session::Operation;
    use trunkline_types::{Outcome, PauseReason, Publish, WallTime};

    #[test]
    fn a_lease_is_granted_on_what_waits_and_is_durable_under_a_token_that_never_was() {
        let mut scene = Scene::new();
        scene.accept(1, |_| ()).unwrap();
        broken(scene.lease(1, 1, WORKERS[0]), "1 durable", "before its record");
        scene.sync();
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.accept_synced(2);
        assert_eq!(scene.lease(1, 1, WORKERS[0]), Ok(()));
        broken(scene.lease(2, 1, WORKERS[0]), "5 fencing", "granted before");
        let mut scene = Scene::new();
        scene.accept_synced(1);
        assert_eq!(scene.lease(1, 1, WORKERS[0]), Ok(()));
        broken(scene.lease(1, 2, WORKERS[1]), "5 fencing", "while it is Leased");
    }

    #[test]
    fn what_a_caller_continues_is_delivered_once_that_is_durable() {
        let mut scene = Scene::new();
        scene.accept(1, |publish| publish.options.task = true).unwrap();
        scene.sync();
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.settle(WORKERS[0], 1, Outcome::Pause { reason: PauseReason::Input, message: None });
        scene.fact(Fact::Paused { entry: 1 }).unwrap();
        let go_on = Operation::Continue { task: id(1), payload: "go on".into() };
        let operation = scene.operate(SENDER, go_on);
        scene.fact(Fact::Continued { entry: 1, session: SENDER, operation }).unwrap();
        broken(scene.lease(1, 2, WORKERS[0]), "1 durable", "before the latest record about it");
        scene.sync();
        assert_eq!(scene.lease(1, 2, WORKERS[0]), Ok(()));
    }

    #[test]
    fn nothing_is_taken_in_nor_handed_out_while_the_log_is_behind() {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.model.congest(true);
        broken(scene.lease(1, 1, WORKERS[0]), "10 bounds", "while the log is behind");
        broken(scene.accept(2, |_| ()), "refusals", "while the log is behind");
        scene.model.congest(false);
        assert_eq!(scene.lease(1, 1, WORKERS[0]), Ok(()));
    }

    #[test]
    fn a_delay_is_waited_out_whatever_the_wall_shows_and_a_time_that_is_named_is_not() {
        let second = Duration::from_secs(1);
        let scene = |named: bool| {
            let mut scene = Scene::new();
            let change = |publish: &mut Publish| {
                publish.options.not_before = named.then_some(WallTime(2000));
                publish.options.delay = (!named).then_some(second);
            };
            scene.accept(1, change).unwrap();
            scene.sync();
            scene
        };
        let (early, late) = (1_500_000_000, 2_000_000_000);
        for (named, mono, wall, good) in [
            (false, early, 9000, false),
            (false, late, 1, true),
            (true, early, 9000, true),
            (true, late, 1, false),
        ] {
            let mut scene = scene(named);
            scene.model.jumping();
            scene.model.at(Moment { mono, wall: WallTime(wall) });
            let check = scene.lease(1, 1, WORKERS[0]);
            if good {
                assert_eq!(check, Ok(()), "named: {named}");
            } else {
                broken(check, "timers", "before it is due");
            }
        }
    }

    #[test]
    fn a_lease_is_granted_in_time_and_to_somebody_who_takes_it() {
        let mut scene = Scene::new();
        scene.accept(1, |publish| publish.options.delay = Some(Duration::from_secs(1))).unwrap();
        scene.accept(2, |publish| publish.envelope.ttl = Some(Duration::from_secs(1))).unwrap();
        scene.sync();
        broken(scene.lease(1, 1, WORKERS[0]), "timers", "before it is due");
        scene.at(2000);
        broken(scene.lease(2, 2, WORKERS[0]), "timers", "expired since");
        let mut scene = Scene::new();
        (1..=3).for_each(|number| scene.accept_synced(number));
        broken(scene.lease(1, 9, SENDER), "routing", "delivered to None");
        let mut scene = Scene::new();
        (1..=3).for_each(|number| scene.accept_synced(number));
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.lease(2, 2, WORKERS[0]).unwrap();
        broken(scene.lease(3, 3, WORKERS[0]), "routing", "holds 2 of 2");
    }
}
