//! Senders are told to slow down only where an inbox fills, and are told when that is over.

use crate::check::{Check, ensure};
use crate::model::Model;
use std::time::Duration;
use trunkline_types::session::Pressure;
use trunkline_types::{InboxAddress, SessionId};

/// How many percent points below the threshold the pressure is over.
const RELIEF: u8 = 20;

/// Checks what a session is told of an inbox that it sends to.
pub(crate) fn told(model: &mut Model, session: SessionId, pressure: &Pressure) -> Check {
    let Pressure { inbox, percent, pace } = pressure;
    let (warning, most) = (model.rules.warning, model.rules.pressure_pace);
    let Some(row) = model.sessions.get_mut(&session) else { return Ok(()) };
    if *percent >= warning {
        ensure!(*pace <= most, "pressure", "{inbox} asks for a pace of {pace:?}, {most:?} at most");
        row.pressed.insert(inbox.clone());
        return Ok(());
    }
    let over = *percent <= warning.saturating_sub(RELIEF) && *pace == Duration::ZERO;
    let known = row.pressed.remove(inbox);
    ensure!(
        over && known,
        "pressure",
        "{session} is told of {percent} percent in {inbox}, the threshold is {warning}"
    );
    Ok(())
}

/// Checks at the end of a run that nobody slows down for an inbox that is empty.
pub(crate) fn is_over(model: &Model, present: &[SessionId]) -> Check {
    for session in present.iter().filter_map(|id| model.sessions.get(id)) {
        for inbox in session.connection.iter().flat_map(|_| &session.pressed) {
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
    use super::{is_over, told};
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
}
