//! Law 8: a priority that has work gets its share: it is never passed over for longer than two
//! rounds, the rest of one and the higher priorities of the next.
//!
//! Where payloads leave memory a priority may have to wait for the one that is next in it, and
//! nothing else excuses that it is passed over. While nobody waits for any payload of an inbox, none
//! that is next is out, for it would have been asked for; and what came back is there.

use crate::check::{Check, ensure};
use crate::model::{Entry, Model, Place};
use trunkline_types::{InboxAddress, Priority};

/// The largest round that any settings of a run make.
const LARGEST: u32 = 15;

/// Notes, before an entry of a priority is delivered, which others are passed over.
pub(crate) fn next(model: &mut Model, inbox: &InboxAddress, priority: Priority) {
    // Where some agents may have some priorities only, each such choice has rounds of its own.
    let bound = model.book.settings.get(inbox).is_some_and(|row| !row.bindings.is_empty());
    if bound || model.rules.breaker_failures > 0 {
        model.passed.remove(inbox);
        return;
    }
    let waiting = ready(model, inbox);
    let there = there(model, inbox);
    let passed = model.passed.entry(inbox.clone()).or_default();
    for other in Priority::ALL {
        let at = usize::from(other.number());
        let counts = *other != priority && waiting[at] && there[at];
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

/// The payload of an entry is asked for: so far its priority may have had to wait for it.
pub(super) fn waits(model: &mut Model, inbox: &InboxAddress, number: u64) {
    let Some(entry) = model.book.entries.get(&number) else { return };
    let priority = entry.priority();
    served(model, inbox, priority);
}

/// In which priorities nothing that waits may have its payload elsewhere.
fn there(model: &Model, inbox: &InboxAddress) -> [bool; 4] {
    let mut there = [true; 4];
    if !model.rules.spills || !model.loaded_before.contains(inbox) {
        return there;
    }
    let open = model.book.open.get(inbox).into_iter().flatten();
    for entry in open.filter_map(|number| model.book.entries.get(number)) {
        let waits = entry.place == Place::Waiting && !entry.waits(model.now);
        if waits && entry.may_leave() && model.read.get(&entry.number) != Some(&entry.latest) {
            there[usize::from(entry.priority().number())] = false;
        }
    }
    there
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
    use crate::laws::spilling;
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

    #[test]
    fn only_waiting_for_a_payload_excuses_that_a_priority_is_passed_over() {
        let inbox = InboxAddress::Skill(skill());
        let mut scene = Scene::new();
        (scene.model.rules.breaker_failures, scene.model.rules.spills) = (0, true);
        scene.accept(1, |publish| publish.envelope.priority = Priority::Low).unwrap();
        scene.sync();
        let pass = |scene: &mut Scene| {
            (0..9).for_each(|_| next(&mut scene.model, &inbox, Priority::Urgent));
            nobody_starves(&scene.model)
        };
        scene.at(1001);
        broken(pass(&mut scene), "8 shares", "passed over 9 times");
        let place = scene.model.book.entries[&1].base;
        spilling::asked(&mut scene.model, place, 1).unwrap();
        assert_eq!(nobody_starves(&scene.model), Ok(()), "it may have waited for that");
        scene.at(1001);
        assert_eq!(pass(&mut scene), Ok(()), "it waits");
        spilling::came(&mut scene.model, place, true);
        broken(pass(&mut scene), "8 shares", "passed over 9 times");
    }
}
