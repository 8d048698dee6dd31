//! A routing policy chooses, among the sessions that would take a delivery, as it says: the least
//! loaded, one after the other, in proportion to weights, or whom a key falls to.
//!
//! Where somebody else could have taken a delivery, the policy has chosen. Read `able` for who
//! counts as one who could.

use super::able::{Able, able, control};
use crate::check::{Check, Violation, ensure};
use crate::model::{Entry, Model, Place, Session, nanos};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use trunkline_types::{AgentId, InboxAddress, OrderingKey, Routing, SessionId};

/// How much likelier some other rule must make what was drawn, as a power of e. That it ever
/// happens by chance in one life of a broker is less likely than that power's inverse.
const UNLIKELY: f64 = 25.0;
/// How often the other rules that have a favourite draw that.
const FAVOURED: f64 = 0.9;

/// What is known of the choices for an inbox since the broker started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    /// For each session the others that could have taken every delivery since its last one, and
    /// have got none.
    turns: BTreeMap<SessionId, BTreeSet<SessionId>>,
}

impl Choices {
    /// Whose turn it is may be another matter from now on.
    pub(crate) fn forget_turns(&mut self) {
        self.turns.clear();
    }
}

/// The policy by which an inbox is run. That of an agent is shared by the sessions of that agent.
pub(super) fn policy(model: &Model, inbox: &InboxAddress) -> Routing {
    let settings = model.book.settings.get(inbox);
    match inbox {
        InboxAddress::Skill(_) => {
            settings.and_then(|settings| settings.routing).unwrap_or(model.rules.routing)
        }
        InboxAddress::Agent(_) => Routing::LeastLoaded,
    }
}

/// Somebody may have been chosen for what was found to be too late then.
pub(crate) fn skipped(model: &mut Model, inbox: &InboxAddress) {
    if let Some(choices) = model.choices.get_mut(inbox) {
        choices.forget_turns();
    }
}

/// Checks, before a logged entry is delivered to a session, that the policy of its inbox has
/// chosen that one.
pub(crate) fn made(model: &mut Model, entry: &Entry, session: SessionId) -> Check {
    let continued = model.continued.remove(&entry.number);
    if !model.pure || model.unsettled {
        // Whoever gets this one has had a turn that is not seen here.
        skipped(model, &entry.inbox);
        return Ok(());
    }
    let policy = policy(model, &entry.inbox);
    let able = able(model, entry, policy);
    if let Some((since, _)) = continued
        && goes_back(model, entry, (since, session), &able)?
    {
        skipped(model, &entry.inbox);
        return Ok(());
    }
    let choices = model.choices.entry(entry.inbox.clone()).or_default();
    if policy != Routing::RoundRobin {
        choices.forget_turns();
    }
    let chosen = model.sessions.get(&session).and_then(|row| row.agent.clone());
    if let Some(agent) = chosen.filter(|_| able.keys().any(|other| *other != session)) {
        model.chosen += 1;
        match policy {
            Routing::LeastLoaded => lightest(model, entry, session, &able)?,
            Routing::RoundRobin => in_turn(model, entry, session, &able)?,
            Routing::Weighted => by_weight(model, entry, &agent, &able)?,
            Routing::ConsistentHash => by_key(model, entry, &agent, &able)?,
            Routing::Random => {}
        }
    } else if policy == Routing::RoundRobin {
        // Nobody else could have taken it: whoever had a turn to come missed it.
        choices.forget_turns();
    }
    Ok(())
}

/// A task that its caller continued goes back to the agent that paused it, if that can take it:
/// whether it did.
fn goes_back(
    model: &Model,
    entry: &Entry,
    (since, session): (u64, SessionId),
    able: &BTreeMap<SessionId, Able>,
) -> Result<bool, Violation> {
    let agent_of = |id: SessionId| model.sessions.get(&id).and_then(|row| row.agent.as_ref());
    let Some(former) = entry.holder.and_then(agent_of) else { return Ok(false) };
    if agent_of(session) == Some(former) {
        return Ok(true);
    }
    // What waits for its key, for a clock that was set back, or for the log to catch up, goes its
    // way like any other.
    let held = model.jumped || model.last_congested >= since;
    let waits = held || entry.publish.envelope.ordering_key.is_some();
    let there = able.values().any(|row| row.agent == *former);
    ensure!(
        !there || waits,
        "choice",
        "{} is continued and goes to {session} instead of {former}, which paused it",
        entry.id()
    );
    Ok(false)
}

/// The payload of an entry is asked for. A continued task whose agent could not take it at the moment
/// at which it was let go on waits like any other, and goes to whoever can take it when it is there.
pub(crate) fn asked(model: &mut Model, number: u64) {
    let Some(&(command, at)) = model.continued.get(&number) else { return };
    let Some(entry) = model.book.entries.get(&number) else { return };
    let level = entry.publish.durability();
    let is_news = command == model.command || !model.had_reached(at, level);
    let agent_of = |id: SessionId| model.sessions.get(&id).and_then(|row| row.agent.as_ref());
    let former = entry.holder.and_then(agent_of);
    let able = able(model, entry, policy(model, &entry.inbox));
    let there = able.values().any(|row| Some(&row.agent) == former);
    if !is_news || !there {
        model.continued.remove(&number);
    }
}

/// Nobody who holds less of what it is willing to hold could have taken it.
fn lightest(
    model: &Model,
    entry: &Entry,
    session: SessionId,
    able: &BTreeMap<SessionId, Able>,
) -> Check {
    let leased = model.book.open_entries().filter(|other| other.place == Place::Leased);
    let held = leased.filter(|other| other.holder == Some(session)).count() as u64;
    let credit = model.sessions.get(&session).map_or(0, |row| u64::from(row.credit.deliveries));
    let lighter = able.iter().find(|(_, other)| other.held * credit < held * other.credit);
    ensure!(
        lighter.is_none(),
        "choice",
        "{} goes to {session}, which holds {held} of {credit}, instead of {lighter:?}",
        entry.id()
    );
    Ok(())
}

/// Nobody gets a second delivery before everybody who could have taken those between has had one.
fn in_turn(
    model: &mut Model,
    entry: &Entry,
    session: SessionId,
    able: &BTreeMap<SessionId, Able>,
) -> Check {
    let steady = model.sessions.values().all(|row| is_settled(model, row));
    let Some(choices) = model.choices.get_mut(&entry.inbox) else { return Ok(()) };
    if !steady {
        choices.forget_turns();
        return Ok(());
    }
    let able: BTreeSet<SessionId> = able.keys().copied().collect();
    for (_, waiting) in choices.turns.iter_mut().filter(|(owner, _)| **owner != session) {
        waiting.retain(|other| able.contains(other) && *other != session);
    }
    let others = able.iter().copied().filter(|other| *other != session).collect();
    let before = choices.turns.insert(session, others).unwrap_or_default();
    let passed: Vec<_> = before.intersection(&able).collect();
    ensure!(
        passed.is_empty(),
        "choice",
        "{} of {} goes to {session} again, before it was the turn of {passed:?}",
        entry.id(),
        entry.inbox
    );
    Ok(())
}

/// Whether a session of an agent is there for good, or gone for good: whether it has its place
/// among those who take turns.
fn is_settled(model: &Model, row: &Session) -> bool {
    if row.agent.is_none() {
        return true;
    }
    let longest = model.rules.resume_grace.max(row.lease) * 2 + Duration::from_millis(100);
    let gone =
        row.lost_at.is_some_and(|at| model.elapsed(at.mono, row.lost_absent) > nanos(longest));
    match row.connection {
        Some(_) => row.welcomed && !row.dismissed,
        None => gone,
    }
}

/// Agents are drawn in proportion to their weights: what was drawn is not by far likelier under
/// another rule, be it that all are drawn alike, or mostly the heaviest, or mostly the lightest.
fn by_weight(
    model: &mut Model,
    entry: &Entry,
    chosen: &AgentId,
    able: &BTreeMap<SessionId, Able>,
) -> Check {
    let agents: BTreeSet<&AgentId> = able.values().map(|row| &row.agent).collect();
    if agents.len() < 2 || !agents.contains(chosen) {
        return Ok(());
    }
    let weights = agents.iter().map(|agent| (control(model, agent).weight, *agent));
    let weights: BTreeSet<(u32, &AgentId)> = weights.collect();
    let total: f64 = weights.iter().map(|(weight, _)| f64::from(*weight)).sum();
    let share = f64::from(control(model, chosen).weight) / total;
    let others = f64::from(u8::try_from(weights.len() - 1).unwrap_or(u8::MAX));
    let mostly = |favourite: Option<&(u32, &AgentId)>| {
        let favoured = favourite.is_some_and(|(_, agent)| *agent == chosen);
        if favoured { FAVOURED } else { (1.0 - FAVOURED) / others }
    };
    let rules = [1.0 / (others + 1.0), mostly(weights.last()), mostly(weights.first())];
    for (sum, odds) in model.weighed.iter_mut().zip(rules) {
        *sum += (odds / share).ln();
    }
    let strays = model.weighed.iter().any(|sum| *sum > UNLIKELY);
    ensure!(
        !strays,
        "choice",
        "{} goes to {chosen} of weight share {share:.3}: by now other rules are e to the {:.0?} \
         times as likely",
        entry.id(),
        model.weighed
    );
    Ok(())
}

/// Of two agents that could take it a key always falls to the same one, in any life of the broker.
fn by_key(
    model: &mut Model,
    entry: &Entry,
    chosen: &AgentId,
    able: &BTreeMap<SessionId, Able>,
) -> Check {
    let envelope = &entry.publish.envelope;
    let key = envelope.ordering_key.as_ref().map(OrderingKey::to_string);
    let key = key.unwrap_or_else(|| envelope.id.to_string());
    for other in able.values().map(|row| &row.agent).filter(|agent| *agent != chosen) {
        let pair = |first: &AgentId, second: &AgentId| (key.clone(), first.clone(), second.clone());
        let before = model.falls.contains(&pair(other, chosen));
        ensure!(
            !before,
            "choice",
            "{} with key {key} goes to {chosen}, the key fell to {other} before",
            entry.id()
        );
        model.falls.insert(pair(chosen, other));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::check::Check;
    use crate::model::testing::{SENDER, Scene, WORKERS, broken, id, skill};
    use crate::model::{Ending, Fact};
    use trunkline_types::session::{ClientFrame, Credit, Operation};
    use trunkline_types::{
        AgentControl, AgentId, InboxAddress, OrderingKey, Outcome, Payload, Routing,
    };

    /// Everything is logged, and many envelopes wait for two workers.
    fn scene(routing: Routing) -> Scene {
        let mut scene = Scene::new();
        scene.model.pure = true;
        scene.model.rules.routing = routing;
        scene.model.rules.breaker_failures = 0;
        scene.model.rules.inbox_logged = 1000;
        for worker in WORKERS {
            grant(&mut scene, worker, 1000);
        }
        for number in 1..=200 {
            scene.accept(number, |_| ()).unwrap();
        }
        scene.sync();
        scene.at(1001);
        scene
    }

    fn grant(scene: &mut Scene, worker: trunkline_types::SessionId, deliveries: u32) {
        let connection = u64::try_from(worker.0).expect("small");
        scene.model.frame(connection, &ClientFrame::Credit(Credit { deliveries, events: 2 }));
    }

    /// Envelopes are delivered one after the other to these workers.
    fn deliver(scene: &mut Scene, to: &[usize]) -> Check {
        let first = scene.model.granted.len() as u64 + 1;
        (first..)
            .zip(to)
            .try_for_each(|(entry, &worker)| scene.lease(entry, entry, WORKERS[worker]))
    }

    fn weigh(scene: &mut Scene, worker: usize, weight: u32) {
        let agent = AgentId::new(format!("a{}", WORKERS[worker].0)).expect("a name");
        let control = AgentControl { weight, ..AgentControl::default() };
        scene.model.book.controls.insert(agent, control);
    }

    #[test]
    fn who_holds_more_of_what_he_is_willing_to_is_not_chosen() {
        let mut even = scene(Routing::LeastLoaded);
        assert_eq!(deliver(&mut even, &[0, 1, 1]), Ok(()));
        broken(deliver(&mut even, &[1]), "choice", "which holds 2 of 1000");
        let mut narrow = scene(Routing::LeastLoaded);
        grant(&mut narrow, WORKERS[1], 10);
        narrow.at(1002);
        assert_eq!(deliver(&mut narrow, &[1, 0, 0, 0]), Ok(()));
        broken(deliver(&mut narrow, &[1]), "choice", "which holds 1 of 10");
    }

    #[test]
    fn what_becomes_free_is_served_whatever_the_policy() {
        let mut scene = scene(Routing::LeastLoaded);
        assert_eq!(deliver(&mut scene, &[0]), Ok(()));
        grant(&mut scene, WORKERS[1], 900);
        assert_eq!(deliver(&mut scene, &[0]), Ok(()), "the other one has just become free");
        scene.at(1002);
        broken(deliver(&mut scene, &[0]), "choice", "instead of");
    }

    #[test]
    fn nobody_gets_two_before_everybody_had_one_by_turns() {
        let mut fair = scene(Routing::RoundRobin);
        assert_eq!(deliver(&mut fair, &[0, 1, 0, 1, 0]), Ok(()));
        broken(deliver(&mut fair, &[0]), "choice", "before it was the turn of");
        let mut absent = scene(Routing::RoundRobin);
        assert_eq!(deliver(&mut absent, &[0]), Ok(()));
        absent.model.sessions.get_mut(&WORKERS[1]).expect("it is there").draining = true;
        assert_eq!(deliver(&mut absent, &[0]), Ok(()));
        absent.model.sessions.get_mut(&WORKERS[1]).expect("it is there").draining = false;
        assert_eq!(deliver(&mut absent, &[0]), Ok(()), "it could not take the one between");
    }

    #[test]
    fn a_change_among_those_who_take_turns_begins_them_anew() {
        let mut scene = scene(Routing::RoundRobin);
        assert_eq!(deliver(&mut scene, &[0]), Ok(()));
        scene.model.disconnected(1);
        assert_eq!(deliver(&mut scene, &[0]), Ok(()));
        broken(deliver(&mut scene, &[0]), "choice", "before it was the turn of");
    }

    #[test]
    fn draws_follow_the_weights() {
        let mut alike = scene(Routing::Weighted);
        weigh(&mut alike, 0, 1000);
        let turns: Vec<_> = (0..80).map(|turn| turn % 2).collect();
        broken(deliver(&mut alike, &turns), "choice", "times as likely");
        let mut heaviest = scene(Routing::Weighted);
        broken(deliver(&mut heaviest, &[1; 120]), "choice", "times as likely");
        let mut right = scene(Routing::Weighted);
        weigh(&mut right, 0, 300);
        let draws: Vec<_> = (0..160).map(|turn| usize::from(turn % 4 == 0)).collect();
        assert_eq!(deliver(&mut right, &draws), Ok(()));
    }

    #[test]
    fn who_weighs_nothing_gets_nothing() {
        let mut scene = scene(Routing::Weighted);
        weigh(&mut scene, 0, 0);
        assert_eq!(deliver(&mut scene, &[1]), Ok(()));
        broken(deliver(&mut scene, &[0]), "choice", "which weighs nothing");
    }

    #[test]
    fn a_key_falls_to_the_same_agent_while_that_can_take_it() {
        let mut scene = scene(Routing::ConsistentHash);
        let key = |publish: &mut trunkline_types::Publish| {
            publish.envelope.ordering_key = OrderingKey::new("k").ok();
        };
        for number in 201..=203 {
            scene.accept(number, key).unwrap();
        }
        scene.sync();
        for (entry, worker, falls) in [(201, 0, true), (202, 0, true), (203, 1, false)] {
            scene.at(1000 + entry);
            let check = scene.lease(entry, entry, WORKERS[worker]);
            if !falls {
                broken(check, "choice", "the key fell to a2 before");
                return;
            }
            assert_eq!(check, Ok(()));
            scene.settle(WORKERS[worker], entry, Outcome::Complete { reply: None });
            scene.fact(Fact::Ended { entry, how: Ending::Completed(None), said: 0 }).unwrap();
        }
    }

    #[test]
    fn a_continued_task_goes_back_to_the_agent_that_paused_it() {
        let asked_when_full = |asked: Option<bool>, jumped| {
            let mut scene = scene(Routing::LeastLoaded);
            deliver(&mut scene, &[0]).unwrap();
            let reason = trunkline_types::PauseReason::Input;
            scene.settle(WORKERS[0], 1, Outcome::Pause { reason, message: None });
            scene.fact(Fact::Paused { entry: 1 }).unwrap();
            scene.at(1002);
            let payload = Payload::text("yes");
            let operation = scene.operate(SENDER, Operation::Continue { task: id(1), payload });
            scene.fact(Fact::Continued { entry: 1, session: SENDER, operation }).unwrap();
            scene.sync();
            if asked == Some(true) {
                grant(&mut scene, WORKERS[0], 0);
            }
            if asked.is_some() {
                super::asked(&mut scene.model, 1);
            }
            grant(&mut scene, WORKERS[0], 1000);
            scene.at(1003);
            scene.model.jumped = jumped;
            scene
        };
        let paused = |jumped| asked_when_full(None, jumped);
        assert_eq!(paused(false).lease(1, 2, WORKERS[0]), Ok(()));
        broken(paused(false).lease(1, 2, WORKERS[1]), "choice", "which paused it");
        assert_eq!(paused(true).lease(1, 2, WORKERS[1]), Ok(()), "it may wait for its time");
        // Whoever could not take it when it was let go on is not waited for while it is read.
        let there = asked_when_full(Some(false), false).lease(1, 2, WORKERS[1]);
        broken(there, "choice", "which paused it");
        assert_eq!(asked_when_full(Some(true), false).lease(1, 2, WORKERS[1]), Ok(()));
    }

    #[test]
    fn where_not_everything_is_logged_the_law_says_nothing() {
        let mut scene = scene(Routing::LeastLoaded);
        scene.model.pure = false;
        assert_eq!(deliver(&mut scene, &[1; 9]), Ok(()));
        let inbox = InboxAddress::Agent(AgentId::new("a2").expect("a name"));
        assert_eq!(super::policy(&scene.model, &inbox), Routing::LeastLoaded);
        let inbox = InboxAddress::Skill(skill());
        scene.model.rules.routing = Routing::Random;
        assert_eq!(super::policy(&scene.model, &inbox), Routing::Random);
    }
}
