//! Nothing vanishes silently: at the end of a run, with everybody healthy and no more faults,
//! everything has ended or waits for somebody who does not exist.

use super::{directory, pending, pressure};
use crate::check::{Check, ensure};
use crate::model::{Model, Place};
use trunkline_types::{InboxAddress, SessionId};

/// Checks that everything is over, with these sessions still there.
pub(crate) fn nothing_left(model: &Model, present: &[SessionId]) -> Check {
    for entry in model.book.open_entries() {
        let served = match &entry.inbox {
            InboxAddress::Agent(agent) => model.book.agents.contains_key(agent),
            InboxAddress::Skill(skill) => {
                model.book.agents.values().any(|card| card.skills.contains(skill))
            }
        };
        let parked = entry.place == Place::Waiting && !served;
        ensure!(parked, "silence", "{} never ended: {entry:?}", entry.id());
    }
    pending::nothing_overdue(model)?;
    pressure::is_over(model, present)?;
    directory::right(model, present)?;
    let owed = model.replies.first();
    ensure!(owed.is_none(), "silence", "a reply was never told: {owed:?}");
    let owed = model.cancels.first();
    ensure!(owed.is_none(), "silence", "a holder was never told to stop: {owed:?}");
    for id in present {
        let Some(session) = model.sessions.get(id) else { continue };
        for (number, asked) in &session.asked {
            let open = asked.handled && !asked.done && !asked.refused && asked.answers == 0;
            ensure!(!open, "answers", "operation {number} of {id} was never answered");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::nothing_left;
    use crate::model::testing::{SENDER, Scene, WORKERS, broken, id, token};
    use trunkline_types::session::Operation;

    #[test]
    fn whatever_is_left_over_is_named() {
        let mut scene = Scene::new();
        assert_eq!(nothing_left(&scene.model, &[SENDER]), Ok(()));
        scene.operate(SENDER, Operation::Unwatch { task: id(1) });
        broken(nothing_left(&scene.model, &[SENDER]), "answers", "never answered");
        scene.model.cancels.insert((WORKERS[0], token(1)));
        broken(nothing_left(&scene.model, &[]), "silence", "never told to stop");
        scene.model.replies.insert((SENDER, id(1)));
        broken(nothing_left(&scene.model, &[]), "silence", "a reply");
        scene.accept_synced(1);
        broken(nothing_left(&scene.model, &[]), "silence", "never ended");
    }
}
