//! A circuit breaker that is open keeps work away from its agent.
//!
//! What opens a breaker can be told from the records only where all of an agent's deliveries from
//! an inbox are logged and none was lost. There the law is exact for the first time that the
//! breaker opens; from then on, and elsewhere, it says nothing.

use crate::check::{Check, ensure};
use crate::model::{Entry, Model, nanos};
use trunkline_types::{AgentId, InboxAddress, MessageId, SessionId};

/// What is known of the breaker between an agent and an inbox since the broker started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    /// When deliveries failed, and how long the broker had been away in all by then.
    failures: Vec<(u64, u64)>,
    /// When it opened, likewise.
    opened: Option<(u64, u64)>,
    /// Whether something happened that may or may not have counted.
    unclear: bool,
}

impl Guard {
    /// What it has counted so far may count for something else from now on.
    pub(crate) fn blur(&mut self) {
        self.unclear = true;
    }

    /// Its agent was unregistered, which closes it. What was unclear before stays so: a delivery
    /// that no record tells of may still be held by a session that came back in time.
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
    if limit == 0 || guard.unclear || guard.opened.is_some() {
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
    if let Some(guard) = guard(model, entry) {
        guard.failures.clear();
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
    let Some(Guard { opened: Some((at, absent)), unclear: false, .. }) = guard else {
        return Ok(());
    };
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

/// Whether it is certain that no breaker keeps work of this inbox from an agent.
pub(crate) fn is_closed(model: &Model, agent: &AgentId, inbox: &InboxAddress) -> bool {
    if model.rules.breaker_failures == 0 && !model.reconfigured {
        return true;
    }
    let guard = model.guards.get(&(agent.clone(), inbox.clone()));
    guard.is_none_or(|guard| !guard.unclear && guard.opened.is_none())
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

    #[test]
    fn where_it_is_not_certain_the_law_says_nothing() {
        assert_eq!(handed_out_after(&[failed, succeeded, failed]), Ok(()));
        assert_eq!(handed_out_after(&[lost, failed, failed]), Ok(()));
    }
}
