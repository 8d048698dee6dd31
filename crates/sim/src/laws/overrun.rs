//! How long a handler has run is told by records, so that a restart of the broker does not let it
//! run anew. The broker's absence is no part of it.

use crate::check::{Check, ensure};
use crate::model::{Model, Place, nanos};
use std::time::Duration;

/// Checks that a handler can have run for so long.
pub(crate) fn ran(model: &Model, number: u64, ran: Duration) -> Check {
    let entry = model.book.entries.get(&number);
    let held = entry.filter(|entry| entry.place == Place::Leased);
    let grant = held.and_then(|entry| model.granted.get(&entry.token?));
    let (Some(entry), Some(grant)) = (held, grant) else {
        ensure!(false, "timers", "entry {number} is noted to run, but nobody holds it: {entry:?}");
        return Ok(());
    };
    let id = entry.id();
    let most = grant.before + model.elapsed(grant.granted.0, grant.granted.1);
    let right = ran > entry.ran && nanos(ran) <= most;
    ensure!(
        right,
        "timers",
        "{id} is noted to run {ran:?} after {:?}, it ran {most} ns",
        entry.ran
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::check::Check;
    use crate::model::Fact;
    use crate::model::testing::{Scene, WORKERS, broken};
    use std::time::Duration;

    fn ran(scene: &mut Scene, millis: u64) -> Check {
        scene.fact(Fact::Ran { entry: 1, ran: Duration::from_millis(millis) })
    }

    #[test]
    fn a_handler_has_run_no_longer_than_since_it_was_handed_its_work() {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        broken(ran(&mut scene, 1), "timers", "nobody holds it");
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.at(1050);
        broken(ran(&mut scene, 51), "timers", "it ran 50000000 ns");
        assert_eq!(ran(&mut scene, 50), Ok(()));
        broken(ran(&mut scene, 50), "timers", "after 50ms");
    }

    #[test]
    fn the_absence_of_the_broker_is_no_part_of_a_run() {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.at(1500);
        scene.model.was_absent(Duration::from_millis(400));
        broken(ran(&mut scene, 101), "timers", "it ran 100000000 ns");
        assert_eq!(ran(&mut scene, 100), Ok(()));
    }
}
