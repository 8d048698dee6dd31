//! Who follows the directory sees, first from the snapshot and then from the news, what there is.

use crate::check::{Check, ensure};
use crate::model::{Directory, Model};
use std::collections::{BTreeMap, BTreeSet};
use trunkline_types::{
    AgentCard, AgentEvent, AgentFilter, AgentId, AgentInfo, AgentNews, AgentPage, Presence,
    SessionId,
};

/// Notes news that a session is told of.
pub(crate) fn told(model: &mut Model, session: SessionId, news: &AgentNews) -> Check {
    let Some(row) = model.sessions.get_mut(&session) else { return Ok(()) };
    // News may be on its way while the session stops following.
    let Some(Directory { filter, again, view }) = &mut row.directory else { return Ok(()) };
    let card = &news.agent.card;
    let twice = news.event == AgentEvent::Present && view.contains_key(&card.id) && !*again;
    ensure!(!twice, "directory", "{} is part of the snapshot and was told before", card.id);
    if news.event == AgentEvent::Gone || !wants(filter, card) {
        view.remove(&card.id);
    } else {
        view.insert(card.id.clone(), (card.clone(), news.agent.control));
    }
    Ok(())
}

/// Checks at the end of a run that everybody who follows the directory has it right.
pub(crate) fn right(model: &Model, present: &[SessionId]) -> Check {
    for id in present {
        let row = model.sessions.get(id).filter(|row| row.connection.is_some());
        let Some(Directory { filter, view, .. }) = row.and_then(|row| row.directory.as_ref())
        else {
            continue;
        };
        let registered = model.book.agents.values().filter(|card| wants(filter, card));
        let found: Vec<_> = registered
            .map(|card| {
                let control = model.book.controls.get(&card.id).copied().unwrap_or_default();
                (card.clone(), control)
            })
            .collect();
        let seen: Vec<_> = view.values().cloned().collect();
        ensure!(seen == found, "directory", "session {id} sees {seen:?}, there is {found:?}");
    }
    Ok(())
}

/// Whether a filter wants an agent for what its card says.
pub(crate) fn wants(filter: &AgentFilter, card: &AgentCard) -> bool {
    filter.id.as_ref().is_none_or(|id| *id == card.id)
        && filter.skill.as_ref().is_none_or(|skill| card.skills.contains(skill))
        && filter.agent_type.as_ref().is_none_or(|wanted| card.types.contains(wanted))
        && filter.capability.as_ref().is_none_or(|wanted| card.capabilities.contains(wanted))
        && filter.labels.iter().all(|label| card.labels.contains(label))
}

/// Checks what is shown of the directory to somebody who asked: those whom the filter wants, and,
/// unless it asks for a state, all of them. Who was there at that time is known from `before`.
pub(crate) fn shown(
    model: &Model,
    (filter, before): (&AgentFilter, &Before),
    page: &AgentPage,
) -> Check {
    for AgentInfo { card, presence, .. } in &page.agents {
        let registered = model.book.agents.contains_key(&card.id);
        let known = registered || before.registered.contains_key(&card.id);
        ensure!(known, "1 durable", "an agent without a record: {card:?}");
        let wanted = wants(filter, card) && filter.presence.is_none_or(|state| state == *presence);
        ensure!(wanted, "directory", "{} is shown as {presence:?} to {filter:?}", card.id);
        let offline = *presence == Presence::Offline && before.connected.contains(&card.id);
        ensure!(!offline, "directory", "{} is shown to be offline, and was connected", card.id);
    }
    let found: BTreeSet<_> = page.agents.iter().map(|agent| &agent.card.id).collect();
    let stays = |id: &AgentId| model.book.agents.contains_key(id) && !found.contains(id);
    let missing = before.registered.iter().find(|(id, card)| wants(filter, card) && stays(id));
    let right = missing.is_none() || filter.presence.is_some() || page.next.is_some();
    ensure!(right, "directory", "{missing:?} is not shown to {filter:?}");
    Ok(())
}

/// Who was there when somebody asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    registered: BTreeMap<AgentId, AgentCard>,
    connected: BTreeSet<AgentId>,
}

impl Before {
    pub(crate) fn new(model: &Model) -> Self {
        let connected = model.sessions.values().filter(|row| row.connection.is_some());
        let connected = connected.filter_map(|row| row.agent.clone()).collect();
        Self { registered: model.book.agents.clone(), connected }
    }
}

#[cfg(test)]
mod tests {
    use super::{Before, right, shown, told};
    use crate::check::Check;
    use crate::model::testing::{SENDER, Scene, broken};
    use trunkline_types::session::Operation;
    use trunkline_types::{
        AgentCard, AgentControl, AgentEvent, AgentFilter, AgentId, AgentInfo, AgentNews, AgentPage,
        Presence, SkillName, WallTime,
    };

    fn tell(scene: &mut Scene, id: &str, event: AgentEvent, control: AgentControl) -> Check {
        let agent = AgentInfo { control, ..info(scene, id) };
        told(&mut scene.model, SENDER, &AgentNews { event, agent })
    }

    fn info(scene: &Scene, id: &str) -> AgentInfo {
        let id = AgentId::new(id).expect("a name");
        let card = scene.model.book.agents.get(&id).cloned();
        AgentInfo {
            card: card.unwrap_or_else(|| AgentCard::new(id)),
            owner: "local".into(),
            presence: Presence::Ready,
            sessions: 1,
            in_flight: 0,
            credit: 1,
            waiting: 0,
            registered_at: WallTime(1000),
            control: AgentControl::default(),
            breakers: Vec::new(),
        }
    }

    fn follows(filter: AgentFilter) -> Scene {
        let mut scene = Scene::new();
        scene.operate(SENDER, Operation::WatchAgents(Box::new(filter)));
        scene
    }

    #[test]
    fn who_follows_the_directory_sees_what_there_is() {
        let plain = AgentControl::default();
        let mut scene = follows(AgentFilter::default());
        broken(right(&scene.model, &[SENDER]), "directory", "sees []");
        tell(&mut scene, "a2", AgentEvent::Present, plain).unwrap();
        tell(&mut scene, "a3", AgentEvent::Joined, plain).unwrap();
        assert_eq!(right(&scene.model, &[SENDER]), Ok(()));
        let draining = AgentControl { draining: true, ..plain };
        tell(&mut scene, "a3", AgentEvent::Changed, draining).unwrap();
        broken(right(&scene.model, &[SENDER]), "directory", "draining: true");
        tell(&mut scene, "a3", AgentEvent::Changed, plain).unwrap();
        assert_eq!(right(&scene.model, &[SENDER]), Ok(()));
        tell(&mut scene, "a3", AgentEvent::Gone, plain).unwrap();
        broken(right(&scene.model, &[SENDER]), "directory", "there is");
    }

    #[test]
    fn who_asks_is_shown_those_whom_the_filter_wants_and_all_of_them() {
        let scene = Scene::new();
        let before = Before::new(&scene.model);
        let page = |ids: &[&str]| AgentPage {
            agents: ids.iter().map(|id| info(&scene, id)).collect(),
            next: None,
        };
        let ask =
            |filter: &AgentFilter, ids: &[&str]| shown(&scene.model, (filter, &before), &page(ids));
        let all = AgentFilter::default();
        assert_eq!(ask(&all, &["a2", "a3"]), Ok(()));
        broken(ask(&all, &["a2"]), "directory", "is not shown to");
        broken(ask(&all, &["a2", "a3", "a9"]), "1 durable", "without a record");
        for filter in [
            AgentFilter { id: AgentId::new("a7").ok(), ..all.clone() },
            AgentFilter { agent_type: Some("gold".into()), ..all.clone() },
            AgentFilter { capability: Some("gold".into()), ..all.clone() },
            AgentFilter { labels: vec![("tier".into(), "gold".into())], ..all.clone() },
            AgentFilter { presence: Some(Presence::Busy), ..all.clone() },
        ] {
            assert_eq!(ask(&filter, &[]), Ok(()));
            broken(ask(&filter, &["a2"]), "directory", "is shown as Ready to");
        }
        let offline = AgentFilter { presence: Some(Presence::Offline), ..all };
        let mut page = page(&["a2"]);
        page.agents[0].presence = Presence::Offline;
        let check = shown(&scene.model, (&offline, &before), &page);
        broken(check, "directory", "to be offline, and was connected");
    }

    #[test]
    fn nobody_is_in_the_snapshot_twice() {
        let plain = AgentControl::default();
        let mut scene = follows(AgentFilter::default());
        tell(&mut scene, "a2", AgentEvent::Present, plain).unwrap();
        let twice = tell(&mut scene, "a2", AgentEvent::Present, plain);
        broken(twice, "directory", "was told before");
    }

    #[test]
    fn who_follows_a_part_of_it_need_not_see_the_rest() {
        let skill = SkillName::new("other").ok();
        let mut scene = follows(AgentFilter { skill, ..AgentFilter::default() });
        assert_eq!(right(&scene.model, &[SENDER]), Ok(()));
        tell(&mut scene, "a2", AgentEvent::Changed, AgentControl::default()).unwrap();
        assert_eq!(right(&scene.model, &[SENDER]), Ok(()));
    }
}
