//! A schedule makes one message for each time that it is due, and one for all that were missed.

use super::{outside, routing};
use crate::check::{Check, ensure};
use crate::model::{AcceptedFact, Model, Recurring, wants};
use trunkline_types::{DUE_HEADER, Schedule, ScheduleName, WallTime};

/// Checks when a new schedule is due first.
pub(crate) fn scheduled(model: &Model, schedule: &Schedule, next: Option<WallTime>) -> Check {
    let name = &schedule.name;
    // No due time comes twice, not even if the clock was set back. The same rhythm again goes on
    // where it was, unless what it waits for was found when the clock was ahead.
    let known = model.book.schedules.get(name);
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
