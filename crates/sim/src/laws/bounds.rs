//! Law 10: inboxes, those who wait outside them and events that wait stay within their bounds.

use super::{fading, outside};
use crate::check::{Check, ensure};
use crate::model::{Fact, Fleeting, Model, pending};
use trunkline_types::{InboxAddress, InboxInfo, MessageId};

/// Whether bounds on inboxes are, or ever were, small enough to be met.
pub(crate) fn are_tight(model: &Model) -> bool {
    model.rules.tight || model.limited
}

/// Most logged envelopes in an inbox: what is set about it, below the broker's bound.
pub(super) fn most_logged(model: &Model, inbox: &InboxAddress) -> u64 {
    let most = model.rules.inbox_logged;
    limit(model, inbox).map_or(most, |limit| limit.min(most))
}

fn limit(model: &Model, inbox: &InboxAddress) -> Option<u64> {
    model.book.settings.get(inbox)?.limit.map(u64::from)
}

/// Whether an inbox holds as many logged envelopes as it may.
pub(crate) fn is_full(model: &Model, inbox: &InboxAddress) -> bool {
    let count = model.book.open.get(inbox).map_or(0, |open| open.len() as u64);
    count >= most_logged(model, inbox)
}

/// Notes, before and after a record is entered, which inboxes are full that it may concern.
pub(crate) fn note_full(model: &mut Model, fact: &Fact) {
    if let Fact::InboxSet { settings, .. } = fact {
        model.limited |= settings.limit.is_some();
    }
    if !are_tight(model) {
        return;
    }
    let inboxes: Vec<InboxAddress> = match fact {
        Fact::Accepted(accepted)
        | Fact::Fired { accepted, .. }
        | Fact::Redriven { accepted, .. } => accepted.inboxes.clone(),
        Fact::Routed { inboxes, .. } => inboxes.clone(),
        Fact::InboxSet { inbox, .. } => vec![inbox.clone()],
        Fact::Ended { entry, .. } => {
            model.book.entries.get(entry).map(|entry| entry.inbox.clone()).into_iter().collect()
        }
        _ => return,
    };
    for inbox in inboxes {
        if is_full(model, &inbox) {
            model.full.insert(inbox, model.command);
        }
    }
}

/// Whether an inbox was full at some time since a command, where records tell of all in it.
pub(crate) fn was_full(model: &Model, inbox: &InboxAddress, since: u64) -> bool {
    let before = model.full.get(inbox).is_some_and(|last| *last >= since);
    before || is_full(model, inbox)
}

/// Checks that one more logged envelope fits into each of several inboxes.
pub(crate) fn room(model: &Model, inboxes: &[InboxAddress]) -> Check {
    for inbox in inboxes {
        let most = most_logged(model, inbox);
        let count = model.book.open.get(inbox).map_or(0, |open| open.len() as u64);
        ensure!(count < most, "10 bounds", "{inbox} takes one more, it has {count} of {most}");
    }
    Ok(())
}

/// Checks that one more ephemeral envelope fits into an inbox, as far as it is certain what lies
/// there: what was accepted, was never delivered, and cannot have expired or been dropped.
pub(crate) fn room_for_fleeting(model: &Model, inbox: &InboxAddress) -> Check {
    if model.drops || model.unsettled {
        return Ok(());
    }
    let most = model.rules.inbox_ephemeral;
    let most = limit(model, inbox).map_or(most, |limit| limit.min(most));
    let lies = |entry: &&Fleeting| {
        entry.accepted
            && !entry.over
            && entry.latest.is_none()
            && !fading::may_expire(model, &entry.publish)
    };
    let rows = model.fleeting.iter().filter(|((_, at), _)| at == inbox);
    let count = rows.map(|(_, entry)| entry).filter(lies).count() as u64;
    ensure!(count < most, "10 bounds", "{inbox} takes one more, {count} of {most} are ephemeral");
    Ok(())
}

/// Checks that an inbox was left out of those that an envelope goes to for want of room only.
pub(crate) fn left_out(model: &Model, id: MessageId, inbox: &InboxAddress) -> Check {
    let right = are_tight(model) && (is_full(model, inbox) || outside::anybody(model, inbox));
    ensure!(right, "routing", "{id} leaves out {inbox}, which has room");
    Ok(())
}

/// Checks that one more event may wait.
pub(crate) fn room_for_pending(model: &Model) -> Check {
    let most = model.rules.pending_events;
    let count = model.book.open.get(&pending()).map_or(0, std::collections::BTreeSet::len);
    ensure!(count < most, "10 bounds", "one more event waits, {count} of {most} do");
    Ok(())
}

/// Checks that an inbox is shown within its bounds.
pub(crate) fn shown(model: &Model, info: &InboxInfo) -> Check {
    let (rules, address) = (&model.rules, &info.stats.address);
    let (count, most) = (info.stats.gauges.total(), rules.inbox_logged + rules.inbox_ephemeral);
    ensure!(count <= most, "10 bounds", "{address:?} holds {count}, the bounds are {most}");
    let (count, most) = (info.waiting_outside as usize, rules.waiting_outside);
    ensure!(count <= most, "10 bounds", "{count} wait outside {address:?}, the bound is {most}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{room_for_pending, shown};
    use crate::check::Check;
    use crate::laws::answers::{done, refused};
    use crate::model::testing::{SENDER, Scene, broken, publish, skill};
    use crate::model::{Ending, Fact};
    use std::sync::Arc;
    use trunkline_types::session::Operation;
    use trunkline_types::{
        Counters, Durability, Gauges, InboxAddress, InboxChange, InboxEffective, InboxInfo,
        InboxSettings, InboxStats, Kind, Publish, Refusal, RefusalCode, WhenFull,
    };

    /// A scene in which everything is logged and the inbox has a limit of its own.
    fn limited(limit: u32) -> Scene {
        let mut scene = Scene::new();
        scene.model.pure = true;
        set(&mut scene, InboxChange { limit: Some(limit), ..InboxChange::default() });
        scene
    }

    fn set(scene: &mut Scene, change: InboxChange) {
        let inbox = InboxAddress::Skill(skill());
        let before = scene.model.book.settings.get(&inbox).cloned().unwrap_or_default();
        let settings = Box::new(before.changed(&change));
        let operation = Operation::SetInbox { inbox: inbox.clone(), change: Box::new(change) };
        let operation = scene.operate(SENDER, operation);
        let fact = Fact::InboxSet { inbox, settings, session: SENDER, operation };
        scene.fact(fact).expect("it was asked for");
        scene.at(1001);
    }

    /// A publish comes and is refused for want of room.
    fn refuse(scene: &mut Scene, number: u64) -> Check {
        let number = scene.operate(SENDER, Operation::Publish(Arc::new(publish(number))));
        let refusal = Refusal::new(RefusalCode::InboxFull, "full");
        refused(&mut scene.model, SENDER, number, &refusal)
    }

    #[test]
    fn an_inbox_takes_no_more_than_the_limit_that_is_set_for_it() {
        let mut scene = limited(2);
        (1..=2).for_each(|number| scene.accept_synced(number));
        broken(scene.accept(3, |_| ()), "10 bounds", "it has 2 of 2");
        let mut scene = limited(9);
        (1..=3).for_each(|number| scene.accept_synced(number));
        broken(scene.accept(4, |_| ()), "10 bounds", "it has 3 of 3");
    }

    #[test]
    fn nothing_is_refused_by_an_inbox_that_has_had_room_since_it_came() {
        let mut scene = limited(2);
        scene.accept_synced(1);
        broken(refuse(&mut scene, 2), "refusals", "without a reason");
        let mut scene = limited(2);
        (1..=2).for_each(|number| scene.accept_synced(number));
        assert_eq!(refuse(&mut scene, 3), Ok(()));
        scene.fact(Fact::Ended { entry: 1, how: Ending::Expired, said: 0 }).expect_err("it lives");
        scene.model.book.open.clear();
        scene.at(1002);
        broken(refuse(&mut scene, 4), "refusals", "without a reason");
    }

    #[test]
    fn nothing_is_dropped_from_an_inbox_that_has_room() {
        let event = |publish: &mut Publish| {
            publish.envelope.kind = Kind::Event;
            publish.options.task = false;
        };
        let drops =
            || InboxChange { when_full: Some(WhenFull::DropOldest), ..InboxChange::default() };
        let dropped = || Fact::Ended { entry: 1, how: Ending::Dropped, said: 0 };
        let mut scene = limited(2);
        set(&mut scene, drops());
        scene.accept(1, event).unwrap();
        scene.sync();
        scene.at(1002);
        broken(scene.fact(dropped()), "10 bounds", "which has room");
        scene.accept(2, event).unwrap();
        scene.sync();
        assert_eq!(scene.fact(dropped()), Ok(()));
    }

    #[test]
    fn an_inbox_takes_no_more_ephemeral_envelopes_than_it_may() {
        let mut scene = limited(2);
        let mut accept = |number| {
            let mut publish = publish(number);
            publish.options.task = false;
            publish.options.durability = Some(Durability::Ephemeral);
            let number = scene.operate(SENDER, Operation::Publish(Arc::new(publish)));
            done(&mut scene.model, SENDER, number, None)
        };
        assert_eq!(accept(1), Ok(()));
        assert_eq!(accept(2), Ok(()));
        broken(accept(3), "10 bounds", "2 of 2 are ephemeral");
    }

    #[test]
    fn an_inbox_is_left_out_only_if_it_is_full() {
        let mut scene = limited(1);
        let inbox = InboxAddress::Skill(skill());
        let id = crate::model::testing::id(9);
        broken(super::left_out(&scene.model, id, &inbox), "routing", "which has room");
        scene.accept_synced(1);
        assert_eq!(super::left_out(&scene.model, id, &inbox), Ok(()));
        scene.model.limited = false;
        broken(super::left_out(&scene.model, id, &inbox), "routing", "which has room");
    }

    #[test]
    fn an_inbox_takes_no_more_than_its_bound() {
        let mut scene = Scene::new();
        (1..=3).for_each(|number| scene.accept_synced(number));
        broken(scene.accept(4, |_| ()), "10 bounds", "it has 3 of 3");
        scene.model.rules.pending_events = 0;
        broken(room_for_pending(&scene.model), "10 bounds", "one more event");
    }

    #[test]
    fn an_inbox_is_shown_within_its_bounds() {
        let scene = Scene::new();
        let address = Some(InboxAddress::Skill(skill()));
        let (counters, gauges) = (Counters::default(), Gauges { waiting: 6, ..Gauges::default() });
        let stats = InboxStats { address, counters, gauges };
        let (settings, effective) = (InboxSettings::default(), InboxEffective::default());
        let mut info = InboxInfo { settings, effective, stats, waiting_outside: 1, servers: 0 };
        assert_eq!(shown(&scene.model, &info), Ok(()));
        info.waiting_outside = 2;
        broken(shown(&scene.model, &info), "10 bounds", "wait outside");
        info.stats.gauges.leased = 1;
        broken(shown(&scene.model, &info), "10 bounds", "holds 7");
    }
}
