//! A logged envelope goes to no more inboxes than one record may name. One that would go to more is
//! refused; one that waited goes to as many as may be, and the others are told that they missed it.

use super::{bounds, numbers};
use crate::check::{Check, ensure};
use crate::model::{Model, wants};
use std::collections::BTreeSet;
use trunkline_types::{Destination, InboxAddress, MessageId, Publish};

/// Checks that so many inboxes may be named at once.
pub(super) fn are_few(model: &Model, id: MessageId, inboxes: &[InboxAddress]) -> Check {
    let (count, most) = (inboxes.len(), model.rules.logged_copies);
    ensure!(count <= most, "10 bounds", "{id} goes to {count} inboxes, the limit is {most}");
    Ok(())
}

/// Whether an envelope may be for more inboxes than that.
pub(super) fn may_be_many(model: &Model, publish: &Publish) -> bool {
    let wanted = match &publish.envelope.destination {
        Destination::Agent(_) | Destination::Skill(_) => 1,
        Destination::Agents(ids) => ids.iter().collect::<BTreeSet<_>>().len(),
        Destination::All => model.book.agents.len() + model.gone_now,
        Destination::Topic(_) => wanting(model, publish) + model.gone_now,
    };
    publish.durability().is_logged() && wanted > model.rules.logged_copies
}

/// How many of those who may want an event that waited are too many.
pub(super) fn too_many(model: &Model, publish: &Publish) -> usize {
    let wanted = match &publish.envelope.destination {
        Destination::Topic(_) => wanting(model, publish),
        _ => model.book.agents.len(),
    };
    wanted.saturating_sub(model.rules.logged_copies)
}

fn wanting(model: &Model, publish: &Publish) -> usize {
    let rows = model.book.subscriptions.iter();
    let rows = rows.filter(|(_, wanted)| wants::subscribed(wanted, publish));
    rows.map(|(agent, _)| agent).collect::<BTreeSet<_>>().len()
}

/// Checks that those who are left out have no room, or are among so many that were too many.
pub(super) fn left_out<'a>(
    model: &mut Model,
    id: MessageId,
    missing: impl Iterator<Item = &'a InboxAddress>,
    mut too_many: usize,
) -> Check {
    for inbox in missing {
        let full = bounds::left_out(model, id, inbox);
        if full.is_err() && too_many > 0 {
            too_many -= 1;
            numbers::dropped(model, inbox);
        } else {
            full?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{are_few, left_out, may_be_many};
    use crate::laws::numbers;
    use crate::model::testing::{Scene, broken, id, publish};
    use trunkline_types::{Destination, InboxAddress, Publish};

    fn inboxes() -> Vec<InboxAddress> {
        ["agent:a2", "agent:a3"].map(|name| name.parse().unwrap()).to_vec()
    }

    #[test]
    fn an_envelope_goes_to_no_more_inboxes_than_may_be_and_is_refused_only_then() {
        let mut scene = Scene::new();
        let mut both: Publish = publish(1);
        both.envelope.destination = Destination::All;
        assert_eq!(are_few(&scene.model, id(1), &inboxes()), Ok(()));
        assert!(!may_be_many(&scene.model, &both));
        scene.model.rules.logged_copies = 1;
        broken(are_few(&scene.model, id(1), &inboxes()), "10 bounds", "goes to 2 inboxes");
        assert!(may_be_many(&scene.model, &both));
        assert!(!may_be_many(&scene.model, &publish(1)), "it is for one skill");
    }

    #[test]
    fn who_is_left_out_is_one_of_too_many_and_is_told() {
        let mut scene = Scene::new();
        let inboxes = inboxes();
        let none = left_out(&mut scene.model, id(1), inboxes.iter(), 1);
        broken(none, "routing", "which has room");
        let one = left_out(&mut scene.model, id(1), inboxes[..1].iter(), 1);
        assert_eq!(one, Ok(()));
        assert!(numbers::owes(&scene.model, &inboxes[0]));
        assert!(!numbers::owes(&scene.model, &inboxes[1]));
    }
}
