//! A schedule makes one message for each time that it is due, and one for all that were missed.

use super::{outside, routing};
use crate::check::{Check, ensure};
use crate::model::{AcceptedFact, Model, Recurring, wants};
use trunkline_types::{DUE_HEADER, Schedule, ScheduleInfo, ScheduleName, SchedulePage, WallTime};

/// Checks when a new schedule is due first.
pub(crate) fn scheduled(model: &Model, schedule: &Schedule, next: Option<WallTime>) -> Check {
    let name = &schedule.name;
    // No due time comes twice, not even if the clock was set back. The same rhythm again goes on
    // where it was, unless what it waits for was found when the clock was ahead.
    let known = model.book.schedules.get(name);
    let (count, most) = (model.book.schedules.len(), model.rules.schedules);
    let fits = known.is_some() || count < most;
    ensure!(fits, "10 bounds", "{name} is one more schedule, there are {count} of {most}");
    let old = known.map(|known| &known.schedule);
    let same = old.is_some_and(|old| old.cron == schedule.cron && old.zone == schedule.zone);
    let last = known.and_then(|known| known.last).unwrap_or_default();
    let wall = model.now.wall;
    let soonest = wants::next_due(&schedule.cron, wall.max(last));
    let wanted = match known.and_then(|known| known.next).filter(|_| same) {
        Some(due) if due > wall => soonest.map(|soonest| soonest.min(due)),
        Some(due) => Some(due),
        None => soonest,
    };
    ensure!(next == wanted, "schedules", "{name} is first due at {next:?} instead of {wanted:?}");
    Ok(())
}

/// Notes, before and after a record is entered, whether there are as many schedules as may be.
pub(crate) fn note_all(model: &mut Model) {
    if model.book.schedules.len() >= model.rules.schedules {
        model.all_scheduled = model.command;
    }
}

/// Whether there are, or were while the present one was handled, as many schedules as may be.
pub(super) fn are_all(model: &Model) -> bool {
    model.book.schedules.len() >= model.rules.schedules || model.all_scheduled == model.command
}

/// Checks that schedules are shown as they were when somebody asked for all of them.
pub(super) fn shown(before: &[Recurring], page: &SchedulePage) -> Check {
    let right = |(known, info): (&Recurring, &ScheduleInfo)| {
        let Recurring { schedule, next, last, fired } = known;
        let due = info.last.map(|(_, due)| due);
        info.schedule == *schedule && (info.next, due, info.fired) == (*next, *last, *fired)
    };
    let all = before.len() == page.schedules.len() && page.next.is_none();
    let same = all && before.iter().zip(&page.schedules).all(right);
    ensure!(same, "schedules", "{:?} are shown, there are {before:?}", page.schedules);
    Ok(())
}

/// Checks that a schedule was due and made the right message.
pub(crate) fn fired(
    model: &mut Model,
    name: &ScheduleName,
    due: WallTime,
    next: Option<WallTime>,
    accepted: &AcceptedFact,
) -> Check {
    let Some(Recurring { schedule, next: known, .. }) = model.book.schedules.get(name).cloned()
    else {
        ensure!(false, "schedules", "{name} fires, but is not there");
        return Ok(());
    };
    ensure!(known == Some(due), "schedules", "{name} fires for {due:?}, it was due at {known:?}");
    let wall = model.now.wall;
    ensure!(due <= wall, "schedules", "{name} fires at {wall:?}, before it is due at {due:?}");
    let wanted = wants::next_due(&schedule.cron, wall.max(due));
    ensure!(next == wanted, "schedules", "{name} is next due at {next:?} instead of {wanted:?}");
    let envelope = &accepted.publish.envelope;
    let same = envelope.payload == schedule.publish.envelope.payload
        && envelope.destination == schedule.publish.envelope.destination;
    ensure!(same, "schedules", "{name} makes a message that was not asked for");
    let told = envelope.headers.iter().find(|(header, _)| header == DUE_HEADER);
    let right = told.is_some_and(|(_, value)| *value == due.0.to_string());
    ensure!(right, "schedules", "{name} is due at {due:?}, its message says {told:?}");
    outside::admitted(model, None, &accepted.inboxes, true)?;
    routing::new_message(model, accepted)
}

#[cfg(test)]
mod tests {
    use crate::check::Check;
    use crate::laws::answers::refused;
    use crate::model::testing::{SENDER, Scene, broken, publish, skill};
    use crate::model::{AcceptedFact, Fact};
    use std::sync::Arc;
    use trunkline_types::session::Operation;
    use trunkline_types::{
        DUE_HEADER, InboxAddress, Payload, Publish, Refusal, RefusalCode, Schedule, ScheduleInfo,
        ScheduleName, SchedulePage, WallTime,
    };

    fn name() -> ScheduleName {
        ScheduleName::new("one").expect("a name")
    }

    fn set(scene: &mut Scene, cron: &str, next: u64) -> Check {
        let publish = Arc::new(publish(1));
        let schedule = Schedule { name: name(), cron: cron.into(), zone: "UTC".into(), publish };
        let (session, operation, next) = (SENDER, 1, Some(WallTime(next)));
        scene.fact(Fact::Scheduled { schedule: Box::new(schedule), next, session, operation })
    }

    fn fire(scene: &mut Scene, due: u64, next: u64, change: impl FnOnce(&mut Publish)) -> Check {
        let mut publish = publish(100 + due);
        publish.envelope.headers.push((DUE_HEADER.into(), due.to_string().into()));
        change(&mut publish);
        let accepted = AcceptedFact {
            publish: Arc::new(publish),
            session: SENDER,
            operation: 0,
            at: scene.model.now.wall,
            first_entry: due,
            inboxes: vec![InboxAddress::Skill(skill())],
            pending: false,
        };
        let (due, next, accepted) = (WallTime(due), Some(WallTime(next)), Box::new(accepted));
        scene.fact(Fact::Fired { name: name(), due, next, accepted })
    }

    /// It is due every 100 ms, first at 1100.
    fn scheduled() -> Scene {
        let mut scene = Scene::new();
        set(&mut scene, "every 100", 1100).expect("nothing is wrong with it");
        scene
    }

    #[test]
    fn a_schedule_is_due_when_its_rhythm_says_so() {
        broken(set(&mut Scene::new(), "every 100", 1200), "schedules", "first due");
        let mut scene = scheduled();
        broken(fire(&mut scene, 1100, 1200, |_| ()), "schedules", "before it is due");
        scene.at(1101);
        broken(fire(&mut scene, 1101, 1200, |_| ()), "schedules", "it was due at");
        broken(fire(&mut scene, 1100, 1300, |_| ()), "schedules", "is next due");
        assert_eq!(fire(&mut scene, 1100, 1200, |_| ()), Ok(()));
        broken(fire(&mut Scene::new(), 1100, 1200, |_| ()), "schedules", "is not there");
    }

    #[test]
    fn there_are_no_more_schedules_than_may_be_and_none_is_refused_before() {
        let refuse = |scene: &mut Scene| {
            let publish = Arc::new(publish(1));
            let (cron, zone) = ("every 100".into(), "UTC".into());
            let schedule = Schedule { name: name(), cron, zone, publish };
            let number = scene.operate(SENDER, Operation::SetSchedule(Box::new(schedule)));
            let refusal = Refusal::new(RefusalCode::TooLarge, "many");
            refused(&mut scene.model, SENDER, number, &refusal)
        };
        broken(refuse(&mut Scene::new()), "refusals", "without a reason");
        let mut scene = scheduled();
        assert_eq!(refuse(&mut scene), Ok(()));
        assert_eq!(set(&mut scene, "every 100", 1100), Ok(()), "it is there already");
        scene.model.rules.schedules = 0;
        scene.model.book.schedules.clear();
        broken(set(&mut scene, "every 100", 1100), "10 bounds", "one more schedule");
    }

    #[test]
    fn schedules_are_shown_as_they_are() {
        let mut scene = scheduled();
        scene.at(1100);
        fire(&mut scene, 1100, 1200, |_| ()).expect("it is due");
        let before: Vec<_> = scene.model.book.schedules.values().cloned().collect();
        let info = ScheduleInfo {
            schedule: before[0].schedule.clone(),
            next: Some(WallTime(1200)),
            fired: 1,
            last: Some((crate::model::testing::id(1), WallTime(1100))),
            refused: None,
        };
        let shown = |change: fn(&mut ScheduleInfo)| {
            let mut info = info.clone();
            change(&mut info);
            super::shown(&before, &SchedulePage { schedules: vec![info], next: None })
        };
        assert_eq!(shown(|_| ()), Ok(()));
        broken(shown(|info| info.fired = 2), "schedules", "are shown");
        broken(shown(|info| info.last = None), "schedules", "are shown");
        broken(shown(|info| info.next = None), "schedules", "are shown");
        broken(shown(|info| info.schedule.zone = "CET".into()), "schedules", "are shown");
        broken(super::shown(&before, &SchedulePage::default()), "schedules", "are shown");
    }

    #[test]
    fn due_times_that_were_missed_make_one_message() {
        let mut scene = scheduled();
        scene.at(1350);
        broken(fire(&mut scene, 1100, 1200, |_| ()), "schedules", "is next due");
        assert_eq!(fire(&mut scene, 1100, 1400, |_| ()), Ok(()));
    }

    #[test]
    fn no_due_time_comes_twice_though_the_clock_is_set_back() {
        let mut scene = scheduled();
        scene.at(1350);
        fire(&mut scene, 1100, 1400, |_| ()).expect("it is due");
        scene.at(1000);
        broken(set(&mut scene, "every 50", 1050), "schedules", "first due");
        assert_eq!(set(&mut scene, "every 50", 1150), Ok(()));
    }

    #[test]
    fn its_message_is_the_one_that_was_asked_for_and_says_when_it_was_due() {
        let mut scene = scheduled();
        scene.at(1100);
        let other = |publish: &mut Publish| publish.envelope.payload = Payload::text("other");
        broken(fire(&mut scene, 1100, 1200, other), "schedules", "was not asked for");
        let untold = |publish: &mut Publish| publish.envelope.headers.clear();
        broken(fire(&mut scene, 1100, 1200, untold), "schedules", "its message says None");
    }
}
