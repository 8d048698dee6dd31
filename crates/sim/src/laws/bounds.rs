//! Law 10: inboxes, those who wait outside them and events that wait stay within their bounds.

use crate::check::{Check, ensure};
use crate::model::{Model, pending};
use trunkline_types::{InboxAddress, InboxInfo};

/// Checks that one more logged envelope fits into each of several inboxes.
pub(crate) fn room(model: &Model, inboxes: &[InboxAddress]) -> Check {
    let most = model.rules.inbox_logged;
    for inbox in inboxes {
        let count = model.book.open.get(inbox).map_or(0, |open| open.len() as u64);
        ensure!(count < most, "10 bounds", "{inbox} takes one more, it has {count} of {most}");
    }
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
    use crate::model::testing::{Scene, broken, skill};
    use trunkline_types::{
        Counters, Gauges, InboxAddress, InboxEffective, InboxInfo, InboxSettings, InboxStats,
    };

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
