//! What is dropped by rule: the oldest event of a full inbox for a newer one, or an event whose
//! time has come and that nobody wants.

use super::bounds;
use crate::check::{Check, Violation, ensure};
use crate::model::{Entry, Model, Place, pending};
use trunkline_types::{InboxAddress, Kind, WhenFull};

/// Whether an entry may be dropped now.
///
/// # Errors
/// Law 7 if an older one should have gone first.
pub(crate) fn right(model: &Model, entry: &Entry) -> Result<bool, Violation> {
    if entry.inbox == pending() {
        return Ok(super::pending::may_drop(model, entry));
    }
    let waits = entry.place == Place::Waiting;
    let allowed =
        when_full(model, &entry.inbox) == WhenFull::DropOldest && bounds::are_tight(model);
    let may = waits && allowed && is_event_like(entry.publish.envelope.kind);
    oldest(model, entry)?;
    ensure!(
        !may || bounds::is_full(model, &entry.inbox),
        "10 bounds",
        "{} is dropped from {}, which has room",
        entry.id(),
        entry.inbox
    );
    Ok(may)
}

fn oldest(model: &Model, entry: &Entry) -> Check {
    let open = model.book.open.get(&entry.inbox).into_iter().flatten();
    let older = open.filter_map(|number| model.book.entries.get(number)).find(|other| {
        other.number < entry.number
            && other.place == Place::Waiting
            && other.leases == 0
            && !other.delayed
            && is_event_like(other.publish.envelope.kind)
            && other.publish.envelope.ordering_key.is_none()
            && other.expires_at().is_none_or(|at| at > model.now.wall)
            // Of what becomes ready all at once some may be dropped before the rest is there.
            && model.had_reached(other.accepted, other.durability())
    });
    // What came back may be older than what never left; it is in its place all the same.
    let passed = older.filter(|_| entry.leases == 0 && !entry.delayed);
    ensure!(
        passed.is_none(),
        "7 order",
        "{} is dropped before an older event: {passed:?}",
        entry.id()
    );
    Ok(())
}

fn when_full(model: &Model, inbox: &InboxAddress) -> WhenFull {
    let settings = model.book.settings.get(inbox);
    settings.and_then(|settings| settings.when_full).unwrap_or(model.rules.when_full)
}

fn is_event_like(kind: Kind) -> bool {
    matches!(kind, Kind::Event | Kind::Broadcast | Kind::ContextShare | Kind::Status)
}

#[cfg(test)]
mod tests {
    use super::right;
    use crate::model::testing::{Scene, WORKERS, broken};
    use crate::model::{Ending, Fact};
    use trunkline_types::{Kind, Publish, WhenFull};

    fn event(publish: &mut Publish) {
        publish.envelope.kind = Kind::Event;
        publish.options.task = false;
    }

    /// Two events and a request wait in an inbox that drops the oldest.
    fn scene() -> Scene {
        let mut scene = Scene::new();
        scene.model.rules.tight = true;
        scene.model.rules.when_full = WhenFull::DropOldest;
        scene.accept(1, event).unwrap();
        scene.accept(2, event).unwrap();
        scene.accept(3, |_| ()).unwrap();
        scene.sync();
        scene.at(1001);
        scene
    }

    fn dropped(scene: &mut Scene, entry: u64) -> crate::check::Check {
        scene.fact(Fact::Ended { entry, how: Ending::Dropped, said: 0 })
    }

    #[test]
    fn the_oldest_event_is_dropped_first() {
        let mut scene = scene();
        broken(dropped(&mut scene, 2), "7 order", "is dropped before an older event");
        assert_eq!(dropped(&mut scene, 1), Ok(()));
        scene.model.rules.inbox_logged = 2;
        assert_eq!(dropped(&mut scene, 2), Ok(()));
    }

    #[test]
    fn only_events_that_wait_are_dropped_and_only_where_that_is_the_rule() {
        let mut scene = scene();
        let request = scene.model.book.entries[&3].clone();
        dropped(&mut scene, 1).unwrap();
        scene.model.rules.inbox_logged = 2;
        dropped(&mut scene, 2).unwrap();
        assert_eq!(right(&scene.model, &request), Ok(false));
        broken(dropped(&mut scene, 3), "5 fencing", "without a reason");
        let mut scene = self::scene();
        scene.lease(1, 1, WORKERS[0]).unwrap();
        broken(dropped(&mut scene, 1), "5 fencing", "without a reason");
        for change in [
            |scene: &mut Scene| scene.model.rules.when_full = WhenFull::Reject,
            |scene: &mut Scene| scene.model.rules.tight = false,
        ] {
            let mut scene = self::scene();
            change(&mut scene);
            broken(dropped(&mut scene, 1), "5 fencing", "without a reason");
        }
    }

    #[test]
    fn what_becomes_ready_with_the_drop_may_be_passed_over() {
        let mut scene = Scene::new();
        scene.model.rules.tight = true;
        scene.model.rules.when_full = WhenFull::DropOldest;
        scene.accept(1, event).unwrap();
        scene.accept(2, event).unwrap();
        scene.sync();
        scene.model.rules.inbox_logged = 2;
        assert_eq!(dropped(&mut scene, 2), Ok(()));
    }
}
