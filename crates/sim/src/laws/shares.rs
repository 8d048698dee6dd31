//! Law 8: a priority that has work gets its share: it is never passed over for longer than two
//! rounds, the rest of one and the higher priorities of the next.

use crate::check::{Check, ensure};
use crate::model::{Entry, Model, Place};
use trunkline_types::{InboxAddress, Priority};

/// The largest round that any settings of a run make.
const LARGEST: u32 = 15;

/// Notes, before an entry of a priority is delivered, which others are passed over.
pub(crate) fn next(model: &mut Model, inbox: &InboxAddress, priority: Priority) {
    // Where some agents may have some priorities only, each such choice has rounds of its own.
    let bound = model.book.settings.get(inbox).is_some_and(|row| !row.bindings.is_empty());
    // One that waits for its payload to be read is passed over meanwhile.
    if bound || model.rules.breaker_failures > 0 || model.rules.spills {
        model.passed.remove(inbox);
        return;
    }
    let waiting = ready(model, inbox);
    let passed = model.passed.entry(inbox.clone()).or_default();
    for other in Priority::ALL {
        let at = usize::from(other.number());
        let counts = *other != priority && waiting[at];
        passed[at] = if counts { passed[at] + 1 } else { 0 };
    }
}

/// Checks, once all is done that one thing led to, that no priority was passed over for too long.
/// Not before, for what left no record is seen after what did.
pub(crate) fn nobody_starves(model: &Model) -> Check {
    let round: u32 = model.rules.weights.iter().map(|&weight| u32::from(weight.max(1))).sum();
    // The round under way may be one by the shares that were in force before.
    let rest = if model.reconfigured { round.max(LARGEST) } else { round };
    for (inbox, passed) in &model.passed {
        let most = passed.iter().max().copied().unwrap_or_default();
        ensure!(
            most <= rest + round,
            "8 shares",
            "a priority of {inbox} is passed over {most} times, a round is {round}: {passed:?}"
        );
    }
    Ok(())
}

/// Something of which no record tells is delivered, so that its priority was not passed over.
pub(crate) fn served(model: &mut Model, inbox: &InboxAddress, priority: Priority) {
    if let Some(passed) = model.passed.get_mut(inbox) {
        passed[usize::from(priority.number())] = 0;
    }
}

/// Which priorities have something that anybody might have now.
fn ready(model: &Model, inbox: &InboxAddress) -> [bool; 4] {
    let open = model.book.open.get(inbox).into_iter().flatten();
    let ready = |entry: &&Entry| {
        entry.place == Place::Waiting
            && entry.leases == 0
            && !entry.delayed
            && entry.publish.envelope.ordering_key.is_none()
            && model.had_reached(entry.accepted, entry.durability())
    };
    let mut found = [false; 4];
    for entry in open.filter_map(|number| model.book.entries.get(number)).filter(ready) {
        found[usize::from(entry.priority().number())] = true;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{next, nobody_starves, served};
    use crate::model::testing::{Scene, broken, skill};
    use trunkline_types::{InboxAddress, Priority};

    #[test]
    fn a_priority_with_work_is_not_passed_over_for_ever() {
        let inbox = InboxAddress::Skill(skill());
        let mut scene = Scene::new();
        scene.model.rules.breaker_failures = 0;
        scene.accept(1, |publish| publish.envelope.priority = Priority::Low).unwrap();
        scene.sync();
        scene.at(1001);
        for _ in 0..8 {
            next(&mut scene.model, &inbox, Priority::Urgent);
        }
        assert_eq!(nobody_starves(&scene.model), Ok(()));
        next(&mut scene.model, &inbox, Priority::Urgent);
        broken(nobody_starves(&scene.model), "8 shares", "passed over 9 times");
        served(&mut scene.model, &inbox, Priority::Low);
        assert_eq!(nobody_starves(&scene.model), Ok(()));
    }
}
