//! A circuit breaker that is open keeps work away from its agent.
//!
//! What opens a breaker can be told from the records only where all of an agent's deliveries from
//! an inbox are logged and none was lost. There the law is exact: nothing is delivered while the
//! breaker is open, then no more at a time than tells whether the agent has recovered, until as
//! many of those have succeeded or one of them has failed. Elsewhere it says nothing.

use crate::check::{Check, ensure};
use crate::model::{Entry, Model, Place, nanos};
use std::collections::BTreeSet;
use trunkline_types::{AgentId, InboxAddress, MessageId, SessionId, Token};

/// What is known of the breaker between an agent and an inbox since the broker started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    /// When deliveries failed, and how long the broker had been away in all by then.
    failures: Vec<(u64, u64)>,
    /// When it opened, likewise.
    opened: Option<(u64, u64)>,
    /// What was delivered since it let something through again: the entries and their tokens.
    probes: BTreeSet<(u64, Token)>,
    /// How many of these have succeeded.
    passed: u32,
    /// The number of the command by which it closed.
    closed: u64,
    /// Whether something happened that may or may not have counted.
    unclear: bool,
}

impl Guard {
    /// What it has counted so far may count for something else from now on.
    pub(crate) fn blur(&mut self) {
        self.unclear = true;
    }

    fn is_probe(&self, entry: &Entry) -> bool {
        entry.token.is_some_and(|token| self.probes.contains(&(entry.number, token)))
    }

    /// Its agent was unregistered or has recovered, which closes it. What was unclear before stays
    /// so: a delivery that no record tells of may still be held by a session that came back in
    /// time.
    pub(crate) fn renew(&mut self) {
        *self = Self { unclear: self.unclear, ..Self::default() };
    }
}

/// A delivery failed at its holder's word.
pub(crate) fn failed(model: &mut Model, entry: &Entry) {
    let limit = model.rules.breaker_failures as usize;
    let (now, absent) = (model.now.mono, model.absent);
    let window = nanos(model.rules.breaker_window);
    let Some(guard) = guard(model, entry) else { return };
    if limit == 0 || guard.unclear {
        return;
    }
    if guard.opened.is_some() {
        // What was delivered before it opened says nothing of how the agent is now.
        if guard.is_probe(entry) {
            *guard = Guard { opened: Some((now, absent)), ..Guard::default() };
            model.opened += 1;
        }
        return;
    }
    guard.unclear |= guard.failures.iter().any(|(_, then)| *then != absent);
    guard.failures.push((now, absent));
    let edge = guard.failures.iter().any(|(at, _)| now - at == window);
    guard.unclear |= edge;
    let recent = guard.failures.iter().filter(|(at, _)| now - at < window).count();
    if recent >= limit {
        guard.opened = Some((now, absent));
        let certain = !guard.unclear;
        model.opened += u64::from(certain);
    }
}

/// A delivery succeeded, so that the failures before it do not count.
pub(crate) fn succeeded(model: &mut Model, entry: &Entry) {
    let (probes, command) = (model.rules.breaker_probes.max(1), model.command);
    let Some(guard) = guard(model, entry) else { return };
    if guard.opened.is_none() {
        guard.failures.clear();
    } else if guard.is_probe(entry) {
        guard.passed += 1;
        if guard.passed >= probes {
            guard.renew();
            guard.closed = command;
        }
    }
}

/// A delivery was lost, which may or may not count.
pub(crate) fn lost(model: &mut Model, entry: &Entry) {
    if let Some(guard) = guard(model, entry) {
        guard.unclear = true;
    }
}

/// A delivery of which no record tells.
pub(crate) fn fleeting(model: &mut Model, session: SessionId, inbox: &InboxAddress) {
    let agent = model.sessions.get(&session).and_then(|session| session.agent.clone());
    if let Some(agent) = agent {
        model.guards.entry((agent, inbox.clone())).or_default().unclear = true;
    }
}

/// Checks that no breaker keeps work of this inbox from an agent.
pub(crate) fn passes(model: &Model, id: MessageId, agent: &AgentId, inbox: &InboxAddress) -> Check {
    let guard = model.guards.get(&(agent.clone(), inbox.clone()));
    let Some(Guard { opened: Some((at, absent)), unclear: false, probes, .. }) = guard else {
        return Ok(());
    };
    let runs = |(number, token): &&(u64, Token)| {
        let entry = model.book.entries.get(number);
        entry.is_some_and(|entry| entry.place == Place::Leased && entry.token == Some(*token))
    };
    let (count, most) = (probes.iter().filter(runs).count(), model.rules.breaker_probes.max(1));
    ensure!(
        count < most as usize,
        "breakers",
        "{id} is delivered to {agent} while {count} of {most} probes for {inbox} are under way"
    );
    let (now, open) = (model.now.mono, nanos(model.rules.breaker_open));
    let shut = *absent == model.absent && now - at < open;
    ensure!(
        !shut,
        "breakers",
        "{id} is delivered to {agent} {} ns after its breaker for {inbox} opened",
        now - at
    );
    Ok(())
}

/// Whether it is certain that no breaker keeps work of this inbox from an agent, and that none did
/// before what is being handled.
pub(crate) fn is_closed(model: &Model, agent: &AgentId, inbox: &InboxAddress) -> bool {
    if model.rules.breaker_failures == 0 && !model.reconfigured {
        return true;
    }
    let guard = model.guards.get(&(agent.clone(), inbox.clone()));
    guard.is_none_or(|guard| {
        !guard.unclear && guard.opened.is_none() && guard.closed < model.command
    })
}

/// An entry is delivered to a session. If the breaker between them is not closed, it is a probe.
pub(crate) fn delivered(model: &mut Model, number: u64, token: Token, session: SessionId) {
    let agent = model.sessions.get(&session).and_then(|session| session.agent.clone());
    let inbox = model.book.entries.get(&number).map(|entry| entry.inbox.clone());
    let guard = agent.zip(inbox).and_then(|key| model.guards.get_mut(&key));
    if let Some(guard) = guard.filter(|guard| guard.opened.is_some()) {
        guard.probes.insert((number, token));
    }
}

fn guard<'a>(model: &'a mut Model, entry: &Entry) -> Option<&'a mut Guard> {
    let agent = model.sessions.get(&entry.holder?)?.agent.clone()?;
    Some(model.guards.entry((agent, entry.inbox.clone())).or_default())
}

#[cfg(test)]
mod tests {
    use super::{failed, lost, succeeded};
    use crate::check::Check;
    use crate::model::testing::{Scene, WORKERS, broken};
    use crate::model::{Entry, Model};

    /// A worker holds one entry, and another waits.
    fn scene() -> (Scene, Entry) {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.accept_synced(2);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        let entry = scene.model.book.entries[&1].clone();
        (scene, entry)
    }

    /// The worker is handed the second entry after this was seen of the first.
    fn handed_out_after(seen: &[fn(&mut Model, &Entry)]) -> Check {
        let (mut scene, entry) = scene();
        for note in seen {
            note(&mut scene.model, &entry);
        }
        scene.lease(2, 2, WORKERS[0])
    }

    #[test]
    fn an_open_breaker_keeps_work_from_its_agent_only() {
        assert_eq!(handed_out_after(&[failed]), Ok(()));
        broken(handed_out_after(&[failed, failed]), "breakers", "after its breaker");
        let (mut scene, entry) = scene();
        failed(&mut scene.model, &entry);
        failed(&mut scene.model, &entry);
        assert_eq!(scene.lease(2, 2, WORKERS[1]), Ok(()));
        assert_eq!(scene.model.opened, 1);
    }

    #[test]
    fn it_opens_for_a_time_and_for_failures_close_to_each_other() {
        let (mut scene, entry) = scene();
        failed(&mut scene.model, &entry);
        failed(&mut scene.model, &entry);
        scene.at(1100);
        assert_eq!(scene.lease(2, 2, WORKERS[0]), Ok(()), "it is open no longer");
        let (mut scene, entry) = self::scene();
        failed(&mut scene.model, &entry);
        scene.at(1201);
        failed(&mut scene.model, &entry);
        assert_eq!(scene.lease(2, 2, WORKERS[0]), Ok(()), "the first is too long ago");
    }

    /// A breaker has opened, and its time is over; the agent holds the second entry as a probe.
    fn probing() -> (Scene, Entry) {
        let (mut scene, entry) = scene();
        scene.accept_synced(3);
        failed(&mut scene.model, &entry);
        failed(&mut scene.model, &entry);
        scene.at(1100);
        scene.model.sessions.get_mut(&WORKERS[0]).expect("it is there").credit.deliveries = 9;
        scene.lease(2, 2, WORKERS[0]).unwrap();
        let probe = scene.model.book.entries[&2].clone();
        (scene, probe)
    }

    #[test]
    fn after_its_time_it_lets_no_more_through_than_tells_whether_the_agent_recovered() {
        let (mut scene, _) = probing();
        broken(scene.lease(3, 3, WORKERS[0]), "breakers", "while 1 of 1 probes");
        let (mut scene, probe) = probing();
        failed(&mut scene.model, &probe);
        broken(scene.lease(3, 3, WORKERS[0]), "breakers", "0 ns after its breaker");
        let (mut scene, probe) = probing();
        succeeded(&mut scene.model, &probe);
        assert_eq!(scene.lease(3, 3, WORKERS[0]), Ok(()), "it is closed");
        let (mut scene, _) = probing();
        let before = scene.model.book.entries[&1].clone();
        succeeded(&mut scene.model, &before);
        broken(scene.lease(3, 3, WORKERS[0]), "breakers", "while 1 of 1 probes");
    }

    #[test]
    fn where_it_is_not_certain_the_law_says_nothing() {
        assert_eq!(handed_out_after(&[failed, succeeded, failed]), Ok(()));
        assert_eq!(handed_out_after(&[lost, failed, failed]), Ok(()));
    }
}
