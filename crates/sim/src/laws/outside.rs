//! Who waits outside a full inbox is admitted in order of arrival: nobody who came later gets in
//! before. What goes to several inboxes waits for one of them after the other, each time behind
//! those who are there, so that it is overtaken by what has fewer to wait for.
//!
//! That a publish waits is seen by what it lacks: it came in its turn, over a connection that is
//! still there, and was neither recorded nor answered. What waits is looked at once everything is
//! done that one thing led to, for it may have been refused, or have left, meanwhile.

use super::{answers, bounds, keys};
use crate::check::{Check, ensure};
use crate::model::{Admitted, Asked, Model, Session};
use std::collections::BTreeMap;
use trunkline_types::session::Operation;
use trunkline_types::{InboxAddress, SessionId};

/// Notes that an envelope of an operation, or of none, got into inboxes.
///
/// # Errors
/// If another one that waited longer got in just before it, but after one that waited less long.
pub(crate) fn admitted(
    model: &mut Model,
    by: Option<(SessionId, u64)>,
    inboxes: &[InboxAddress],
    logged: bool,
) -> Check {
    let asked = by.and_then(|(id, number)| model.sessions.get(&id)?.asked.get(&number));
    let arrived = asked.and_then(|asked| asked.arrived);
    let order = arrived.map(|arrived| arrived.order);
    let only = asked.is_some_and(|asked| match &asked.operation {
        Operation::Publish(publish) => answers::only_inbox(publish).is_some(),
        _ => false,
    });
    let waited = only && arrived.is_some_and(|arrived| arrived.command < model.command);
    for inbox in inboxes {
        let later = |other: &&Admitted| {
            other.inbox == *inbox && other.logged == logged && other.order > order
        };
        let overtaken = model.admitted.iter().find(later);
        ensure!(
            overtaken.is_none() || !waited,
            "outside",
            "operation {by:?} gets into {inbox} after one that came later"
        );
        model.admitted.push(Admitted { inbox: inbox.clone(), order, logged });
    }
    Ok(())
}

/// Checks, once all is done that one thing led to, that nobody was overtaken, and that no more wait
/// than may.
pub(crate) fn nobody_overtaken(model: &mut Model) -> Check {
    let mut counts: BTreeMap<InboxAddress, usize> = BTreeMap::new();
    if !bounds::are_tight(model) {
        return Ok(());
    }
    let mut found = Vec::new();
    for session in model.sessions.values() {
        for (number, asked) in &session.asked {
            let Some((inbox, order)) = waits(model, session, asked) else { continue };
            let passes = |other: &Admitted| {
                other.inbox == inbox && other.order.is_none_or(|other| other > order)
            };
            let overtaken = model.admitted.iter().any(passes);
            ensure!(
                !overtaken,
                "outside",
                "operation {number} of {} waits outside {inbox} and was overtaken",
                session.id
            );
            *counts.entry(inbox).or_default() += 1;
            if !asked.waited {
                found.push((session.id, *number));
            }
        }
    }
    for (session, number) in found {
        let asked = model.sessions.get_mut(&session).and_then(|s| s.asked.get_mut(&number));
        model.waited +=
            u64::from(asked.is_some_and(|asked| !std::mem::replace(&mut asked.waited, true)));
    }
    let most = model.rules.waiting_outside;
    let over = counts.iter().find(|(_, count)| **count > most);
    ensure!(over.is_none(), "10 bounds", "too many wait outside: {over:?}, the bound is {most}");
    Ok(())
}

/// Whether somebody may wait outside an inbox.
pub(crate) fn anybody(model: &Model, inbox: &InboxAddress) -> bool {
    let waits = |asked: &Asked| match &asked.operation {
        Operation::Publish(publish) => {
            let open = asked.handled && !asked.done && !asked.refused && asked.record.is_none();
            // What goes to several, or to a topic, waits as well if that comes to one inbox.
            open && answers::only_inbox(publish).is_none_or(|only| only == *inbox)
        }
        _ => false,
    };
    model.sessions.values().flat_map(|session| session.asked.values()).any(waits)
}

/// Where an operation waits, and its place among all that came in, if it waits and did before.
pub(super) fn waits(
    model: &Model,
    session: &Session,
    asked: &Asked,
) -> Option<(InboxAddress, u64)> {
    let Operation::Publish(publish) = &asked.operation else { return None };
    let open = asked.handled && !asked.done && !asked.refused && asked.record.is_none();
    let arrived = asked.arrived.filter(|arrived| {
        open && session.connection == Some(arrived.connection) && arrived.command < model.command
    })?;
    let envelope = &publish.envelope;
    // What repeats an idempotency key is answered once the first is durable.
    let repeats = envelope.idempotency_key.as_ref();
    let repeats = repeats.is_some_and(|key| keys::was_used(model, key));
    if repeats || publish.options.gather.is_some() {
        return None;
    }
    Some((answers::only_inbox(publish)?, arrived.order))
}

#[cfg(test)]
mod tests {
    use super::{admitted, nobody_overtaken};
    use crate::model::testing::{SENDER, Scene, WORKERS, broken, publish, skill};
    use std::sync::Arc;
    use trunkline_types::session::Operation;
    use trunkline_types::{Destination, InboxAddress};

    fn waiting(scene: &mut Scene, number: u64) {
        scene.at(1000 + number);
        scene.operate(SENDER, Operation::Publish(Arc::new(publish(number))));
    }

    #[test]
    fn who_waits_is_not_overtaken() {
        let inbox = [InboxAddress::Skill(skill())];
        let mut scene = Scene::new();
        scene.model.rules.tight = true;
        waiting(&mut scene, 1);
        scene.at(1002);
        assert_eq!(nobody_overtaken(&mut scene.model), Ok(()));
        let number = scene.operate(WORKERS[0], Operation::Publish(Arc::new(publish(2))));
        admitted(&mut scene.model, Some((WORKERS[0], number)), &inbox, true).unwrap();
        broken(nobody_overtaken(&mut scene.model), "outside", "was overtaken");
        scene.at(1003);
        admitted(&mut scene.model, None, &inbox, true).unwrap();
        broken(nobody_overtaken(&mut scene.model), "outside", "was overtaken");
    }

    #[test]
    fn those_who_wait_get_in_in_order_and_are_not_too_many() {
        let inbox = [InboxAddress::Skill(skill())];
        let mut scene = Scene::new();
        scene.model.rules.tight = true;
        waiting(&mut scene, 1);
        waiting(&mut scene, 2);
        scene.at(1003);
        broken(nobody_overtaken(&mut scene.model), "10 bounds", "too many");
        admitted(&mut scene.model, Some((SENDER, 2)), &inbox, true).unwrap();
        broken(
            admitted(&mut scene.model, Some((SENDER, 1)), &inbox, true),
            "outside",
            "came later",
        );
    }

    #[test]
    fn what_goes_to_several_waits_for_each_and_may_be_overtaken() {
        let inbox = [InboxAddress::Skill(skill())];
        let mut scene = Scene::new();
        scene.model.rules.tight = true;
        scene.at(1001);
        let mut several = publish(1);
        several.envelope.destination = Destination::All;
        scene.operate(SENDER, Operation::Publish(Arc::new(several)));
        waiting(&mut scene, 2);
        scene.at(1003);
        admitted(&mut scene.model, Some((SENDER, 2)), &inbox, true).unwrap();
        assert_eq!(admitted(&mut scene.model, Some((SENDER, 1)), &inbox, true), Ok(()));
    }
}
