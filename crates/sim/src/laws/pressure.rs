//! Senders are told to slow down where an inbox fills, and only there, and are told when that is
//! over.

use super::bounds;
use crate::check::{Check, ensure};
use crate::model::{AcceptedFact, Model};
use std::time::Duration;
use trunkline_types::session::Pressure;
use trunkline_types::{InboxAddress, SessionId};

/// How many percent points below the threshold the pressure is over.
const RELIEF: u8 = 20;
/// By how many percent points an inbox must have filled further until a sender is told again.
const STEP: u8 = 5;

/// Checks what a session is told of an inbox that it sends to.
pub(crate) fn told(model: &mut Model, session: SessionId, pressure: &Pressure) -> Check {
    let Pressure { inbox, percent, pace } = pressure;
    let (warning, most) = (model.rules.warning, model.rules.pressure_pace);
    let Some(row) = model.sessions.get_mut(&session) else { return Ok(()) };
    if *percent >= warning {
        ensure!(*pace <= most, "pressure", "{inbox} asks for a pace of {pace:?}, {most:?} at most");
        row.pressed.insert(inbox.clone(), *percent);
        model.pressing.remove(&(session, inbox.clone()));
        return Ok(());
    }
    let over = *percent <= warning.saturating_sub(RELIEF) && *pace == Duration::ZERO;
    let known = row.pressed.remove(inbox);
    ensure!(
        over && known.is_some(),
        "pressure",
        "{session} is told of {percent} percent in {inbox}, the threshold is {warning}"
    );
    Ok(())
}

/// Notes, once a publish is entered, who is to be told how full its inboxes are by now.
pub(crate) fn owed(model: &mut Model, fact: &AcceptedFact) {
    let Some(row) = model.sessions.get(&fact.session) else { return };
    let warning = u64::from(model.rules.warning);
    let crowded = |inbox: &&InboxAddress| {
        let count = model.book.open.get(inbox).map_or(0, |open| open.len() as u64);
        let most = bounds::most_logged(model, inbox);
        // By what is ephemeral it may be fuller than that.
        let percent = (count.saturating_mul(100) / most.max(1)).min(100);
        let told = row.pressed.get(*inbox).copied();
        let new = told.is_none_or(|told| percent >= u64::from(told.saturating_add(STEP)));
        count.saturating_mul(100) >= most.saturating_mul(warning) && new
    };
    if row.connection.is_some() {
        let owed = fact.inboxes.iter().filter(crowded).map(|inbox| (fact.session, inbox.clone()));
        let owed: Vec<_> = owed.collect();
        model.pressing.extend(owed);
    }
}

/// Checks, once all is done that one thing led to, that everybody was told who was to be.
pub(crate) fn nobody_untold(model: &mut Model) -> Check {
    let untold = std::mem::take(&mut model.pressing);
    ensure!(untold.is_empty(), "pressure", "nobody is told that an inbox fills: {untold:?}");
    Ok(())
}

/// Checks at the end of a run that nobody slows down for an inbox that is empty.
pub(crate) fn is_over(model: &Model, present: &[SessionId]) -> Check {
    for session in present.iter().filter_map(|id| model.sessions.get(id)) {
        for inbox in session.connection.iter().flat_map(|_| session.pressed.keys()) {
            // No record tells of what is ephemeral, and where nobody is, it may wait for ever.
            let served = match inbox {
                InboxAddress::Agent(agent) => model.book.agents.contains_key(agent),
                InboxAddress::Skill(skill) => {
                    model.book.agents.values().any(|card| card.skills.contains(skill))
                }
            };
            let logged = model.book.open.get(inbox).is_some_and(|open| !open.is_empty());
            let fleeting = model.fleeting.iter().any(|((_, at), entry)| at == inbox && !entry.over);
            ensure!(
                logged || fleeting || !served || !model.pure,
                "pressure",
                "{} still slows down for {inbox}, which is empty",
                session.id
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{is_over, nobody_untold, told};
    use crate::model::testing::{SENDER, Scene, broken, skill};
    use std::time::Duration;
    use trunkline_types::InboxAddress;
    use trunkline_types::session::Pressure;

    #[test]
    fn pressure_is_told_above_the_threshold_and_ends() {
        let at = |percent, millis| Pressure {
            inbox: InboxAddress::Skill(skill()),
            percent,
            pace: Duration::from_millis(millis),
        };
        let mut scene = Scene::new();
        scene.model.pure = true;
        broken(told(&mut scene.model, SENDER, &at(49, 1)), "pressure", "the threshold is 50");
        broken(told(&mut scene.model, SENDER, &at(30, 0)), "pressure", "the threshold is 50");
        broken(told(&mut scene.model, SENDER, &at(60, 21)), "pressure", "20ms at most");
        assert_eq!(told(&mut scene.model, SENDER, &at(60, 10)), Ok(()));
        broken(is_over(&scene.model, &[SENDER]), "pressure", "which is empty");
        assert_eq!(told(&mut scene.model, SENDER, &at(30, 0)), Ok(()));
        assert_eq!(is_over(&scene.model, &[SENDER]), Ok(()));
    }

    #[test]
    fn who_fills_an_inbox_is_told_at_once_and_again_as_it_fills() {
        let pressure = |percent| Pressure {
            inbox: InboxAddress::Skill(skill()),
            percent,
            pace: Duration::ZERO,
        };
        let leave = |scene: &mut Scene| {
            scene.model.book.open.values_mut().for_each(|open| assert!(open.pop_last().is_some()));
        };
        let mut scene = Scene::new();
        scene.accept_synced(1);
        assert_eq!(nobody_untold(&mut scene.model), Ok(()), "33 percent");
        scene.accept_synced(2);
        broken(nobody_untold(&mut scene.model), "pressure", "that an inbox fills");
        leave(&mut scene);
        scene.accept_synced(3);
        assert_eq!(told(&mut scene.model, SENDER, &pressure(66)), Ok(()));
        assert_eq!(nobody_untold(&mut scene.model), Ok(()));
        scene.accept_synced(4);
        broken(nobody_untold(&mut scene.model), "pressure", "that an inbox fills");
        leave(&mut scene);
        scene.accept_synced(5);
        assert_eq!(told(&mut scene.model, SENDER, &pressure(100)), Ok(()));
        assert_eq!(nobody_untold(&mut scene.model), Ok(()));
    }
}
