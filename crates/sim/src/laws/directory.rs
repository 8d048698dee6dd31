//! Who follows the directory sees, first from the snapshot and then from the news, what there is.

use crate::check::{Check, ensure};
use crate::model::{Directory, Model};
use trunkline_types::{AgentCard, AgentEvent, AgentFilter, AgentNews, SessionId};

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

fn wants(filter: &AgentFilter, card: &AgentCard) -> bool {
    filter.skill.as_ref().is_none_or(|skill| card.skills.contains(skill))
}
