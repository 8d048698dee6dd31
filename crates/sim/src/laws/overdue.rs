//! What is due happens: expiry, lapsed leases, lost sessions. Checked right after the broker was
//! told the time.

use crate::check::{Check, ensure};
use crate::model::{Model, Place, Session, nanos};

/// Nanoseconds that the broker may be late with what it does on its own.
const SLACK: u64 = 2_000_000;

/// Checks that nothing that should have happened by now has not.
pub(crate) fn nothing(model: &Model) -> Check {
    let now = model.now;
    for entry in model.book.open_entries() {
        let id = entry.id();
        if let Some(at) = entry.expires_at() {
            // What waited outside while the broker was away may come in too late; it expires next.
            let late = now.wall.0 > at.0 + 1 && entry.accepted <= model.latest;
            ensure!(!late, "timers", "{id} is {:?} at {:?}, expired {at:?}", entry.place, now.wall);
        }
        let grant = entry.token.and_then(|token| model.granted.get(&token));
        let (Place::Leased, Some(grant)) = (entry.place, grant) else { continue };
        // What the broker takes for its own absence may be more than it was.
        if grant.absent != model.absent {
            continue;
        }
        let holder = entry.holder.and_then(|holder| model.sessions.get(&holder));
        let runs = grant.granted.1 == model.absent && grant.runs;
        if let (Some(most), true) = (entry.publish.options.max_run.or(model.rules.max_run), runs) {
            let ran = grant.before + now.mono - grant.granted.0;
            let late = ran > nanos(most) + SLACK;
            ensure!(!late, "timers", "{id} still runs after {ran} ns, {most:?} were allowed");
        }
        let silent = now.mono - grant.touched.max(grant.renewed);
        let lease = holder.map_or(model.rules.lease, |holder| holder.lease);
        let heard = holder.is_none_or(|holder| holder.connection.is_none() || holder.welcomed);
        let late = heard && silent > nanos(lease) + SLACK;
        ensure!(!late, "timers", "{id} is still leased, its holder is silent for {silent} ns");
        let has_grace = |h: &&Session| {
            let settled = h.back_for.is_none_or(|span| span > 2 * nanos(h.lease));
            !h.restarted && settled && h.lost_absent == model.absent
        };
        let Some(holder) = holder.filter(has_grace) else { continue };
        let away = holder.lost_at.map_or(0, |at| now.mono - at.mono);
        let late = away > nanos(model.rules.resume_grace) + SLACK;
        ensure!(!late, "timers", "{id} is still leased, its holder is away for {away} ns");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::nothing;
    use crate::model::testing::{Scene, WORKERS, broken};
    use std::time::Duration;

    #[test]
    fn expiry_and_lapse_are_not_missed() {
        let mut scene = Scene::new();
        scene.accept(1, |publish| publish.envelope.ttl = Some(Duration::from_millis(5))).unwrap();
        assert_eq!(nothing(&scene.model), Ok(()));
        scene.at(1007);
        broken(nothing(&scene.model), "timers", "expired");
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.at(2003);
        broken(nothing(&scene.model), "timers", "is silent for");
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.model.disconnected(2);
        scene.at(1203);
        broken(nothing(&scene.model), "timers", "is away for");
    }
}
