//! Who finds an inbox full that is one to wait for is refused once he has waited for as long as he
//! may, no sooner and no later; at once only if too many wait already.

use super::{answers, bounds, fading, outside};
use crate::check::{Check, ensure};
use crate::model::{Asked, Model, nanos};
use std::time::Duration;
use trunkline_types::session::Operation;
use trunkline_types::{InboxAddress, Publish, WhenFull};

/// Nanoseconds that the broker may be late with what it does on its own.
const SLACK: u64 = 2_000_000;

/// How long an operation may wait outside its inbox, as things are set; none if it may not.
pub(crate) fn allowed(model: &Model, operation: &Operation) -> Option<Duration> {
    let Operation::Publish(publish) = operation else { return None };
    let inbox = answers::only_inbox(publish).filter(|_| publish.options.gather.is_none())?;
    let settings = model.book.settings.get(&inbox);
    let when_full = settings.and_then(|set| set.when_full).unwrap_or(model.rules.when_full);
    if when_full != WhenFull::Wait {
        return None;
    }
    let wait = settings.and_then(|set| set.wait).unwrap_or(model.rules.wait);
    Some(fading::ttl_of(model, publish).map_or(wait, |ttl| ttl.min(wait)))
}

/// Whether a publish that is refused for want of room has waited for as long as it may, or need
/// not have waited.
pub(super) fn in_vain(model: &Model, asked: &Asked, publish: &Publish) -> bool {
    let Some((arrived, inbox)) = asked.arrived.zip(answers::only_inbox(publish)) else {
        return true;
    };
    // Who waits where nobody does any more gets in or is refused.
    let Some(wait) = arrived.wait.filter(|_| last_change(model, &inbox) < arrived.command) else {
        return true;
    };
    let over = |ttl| arrived.at.wall.after(ttl) <= model.now.wall;
    model.elapsed(arrived.at.mono, arrived.absent) >= nanos(wait)
        || fading::ttl_of(model, publish).is_some_and(over)
        || (arrived.command == model.command
            && before(model, &inbox, arrived.order) >= model.rules.waiting_outside)
}

/// The last command by which it may have changed how an inbox is run.
fn last_change(model: &Model, inbox: &InboxAddress) -> u64 {
    model.changed.get(inbox).copied().unwrap_or_default().max(model.configured)
}

/// How many may have waited outside an inbox when somebody came: all who came before, over
/// connections that are there, and had not got in before what is being handled.
fn before(model: &Model, inbox: &InboxAddress, order: u64) -> usize {
    let all = model.sessions.values();
    let waits = all.flat_map(|session| session.asked.values().map(move |asked| (session, asked)));
    let waits = waits.filter(|(session, asked)| {
        let Operation::Publish(publish) = &asked.operation else { return false };
        let here = |connection| session.connection == Some(connection);
        let earlier = asked.arrived.is_some_and(|it| it.order < order && here(it.connection));
        let out = asked.record.is_none_or(|at| at > model.latest);
        let open = asked.handled && !asked.done && !asked.refused && out;
        // What goes to several, or to a topic, waits as well if that comes to one inbox.
        open && earlier && answers::only_inbox(publish).is_none_or(|only| only == *inbox)
    });
    waits.count()
}

/// Checks, right after the broker was told the time, that nobody waits for longer than he may.
pub(crate) fn nobody_too_long(model: &Model) -> Check {
    if !bounds::are_tight(model) {
        return Ok(());
    }
    for session in model.sessions.values() {
        for (number, asked) in &session.asked {
            let Some((inbox, _)) = outside::waits(model, session, asked) else { continue };
            let Some(arrived) = asked.arrived else { continue };
            // What the broker takes for its own absence may be more than it was.
            let certain = arrived.absent == model.absent;
            let Some(wait) = arrived.wait.filter(|_| certain) else { continue };
            let waited = model.now.mono - arrived.at.mono;
            ensure!(
                waited <= nanos(wait) + SLACK,
                "outside",
                "operation {number} of {} waits outside {inbox} for {waited} ns, not {wait:?}",
                session.id
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::nobody_too_long;
    use crate::check::Check;
    use crate::laws::answers::refused;
    use crate::model::Fact;
    use crate::model::testing::{SENDER, Scene, WORKERS, broken, publish, skill};
    use std::sync::Arc;
    use std::time::Duration;
    use trunkline_types::session::Operation;
    use trunkline_types::{
        InboxAddress, InboxChange, InboxSettings, Publish, Refusal, RefusalCode, SessionId,
        WhenFull,
    };

    /// An inbox that is full, and one to wait for.
    fn full() -> Scene {
        let mut scene = Scene::new();
        scene.model.rules.tight = true;
        scene.model.rules.when_full = WhenFull::Wait;
        (1..=3).for_each(|number| scene.accept_synced(number));
        scene.at(1000);
        scene
    }

    /// Somebody comes at 1000 ms.
    fn come(scene: &mut Scene, session: SessionId, change: fn(&mut Publish)) -> u64 {
        let mut publish = publish(9);
        change(&mut publish);
        scene.operate(session, Operation::Publish(Arc::new(publish)))
    }

    fn refuse(scene: &mut Scene, session: SessionId, number: u64) -> Check {
        let refusal = Refusal::new(RefusalCode::InboxFull, "full");
        refused(&mut scene.model, session, number, &refusal)
    }

    fn refused_at(millis: u64, change: fn(&mut Publish)) -> Check {
        let mut scene = full();
        let number = come(&mut scene, SENDER, change);
        if millis > 1000 {
            scene.at(millis);
        }
        refuse(&mut scene, SENDER, number)
    }

    #[test]
    fn nobody_is_refused_before_he_has_waited_for_as_long_as_he_may() {
        let short = |publish: &mut Publish| publish.envelope.ttl = Some(Duration::from_millis(50));
        broken(refused_at(1000, |_| ()), "refusals", "without a reason");
        broken(refused_at(1099, |_| ()), "refusals", "without a reason");
        assert_eq!(refused_at(1100, |_| ()), Ok(()));
        broken(refused_at(1049, short), "refusals", "without a reason");
        assert_eq!(refused_at(1050, short), Ok(()));
        let mut scene = full();
        let number = come(&mut scene, SENDER, |_| ());
        scene.at(1100);
        scene.model.was_absent(Duration::from_millis(1));
        broken(refuse(&mut scene, SENDER, number), "refusals", "without a reason");
    }

    #[test]
    fn who_finds_too_many_waiting_is_refused_at_once() {
        let mut scene = full();
        come(&mut scene, SENDER, |_| ());
        let number = come(&mut scene, WORKERS[0], |publish| {
            publish.envelope.id = crate::model::testing::id(10);
        });
        assert_eq!(refuse(&mut scene, WORKERS[0], number), Ok(()));
    }

    #[test]
    fn who_waits_where_nobody_does_any_more_may_be_refused() {
        let mut scene = full();
        let number = come(&mut scene, SENDER, |_| ());
        scene.at(1001);
        let inbox = InboxAddress::Skill(skill());
        let change = InboxChange { when_full: Some(WhenFull::Reject), ..InboxChange::default() };
        let settings = Box::new(InboxSettings::default().changed(&change));
        let set = Operation::SetInbox { inbox: inbox.clone(), change: Box::new(change) };
        let operation = scene.operate(WORKERS[0], set);
        let session = WORKERS[0];
        scene.fact(Fact::InboxSet { inbox, settings, session, operation }).expect("asked for");
        assert_eq!(refuse(&mut scene, SENDER, number), Ok(()));
    }

    #[test]
    fn nobody_waits_for_longer_than_he_may() {
        let mut scene = full();
        come(&mut scene, SENDER, |_| ());
        scene.at(1102);
        assert_eq!(nobody_too_long(&scene.model), Ok(()));
        scene.at(1103);
        broken(nobody_too_long(&scene.model), "outside", "waits outside");
    }
}
