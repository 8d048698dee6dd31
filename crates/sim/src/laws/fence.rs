//! Law 5: only the holder of the latest token can say anything about a delivery.

use crate::check::{Check, ensure};
use crate::model::{Fence, Model, Place};
use trunkline_types::session::Welcome;
use trunkline_types::{SessionId, Token};

/// What must become of a settlement with this token, as far as it is certain.
pub(crate) fn verdict(model: &Model, session: SessionId, token: Token) -> Fence {
    let Some(grant) = model.granted.get(&token) else { return Fence::Stale };
    let Some(number) = grant.entry else {
        let key = (grant.id, grant.inbox.clone());
        let Some(fleeting) = model.fleeting.get(&key) else {
            // What was ephemeral in an earlier life of the broker is gone.
            let gone = token.epoch < model.book.epoch;
            return if gone { Fence::Stale } else { Fence::Open };
        };
        let superseded = fleeting.latest.is_some_and(|latest| latest != token);
        return if superseded { Fence::Stale } else { Fence::Open };
    };
    let Some(entry) = model.book.entries.get(&number).filter(|entry| entry.id() == grant.id) else {
        return Fence::Stale;
    };
    if entry.token != Some(token) {
        // A record does not name the operation that led to it. After a restart, whatever is said
        // with a token that was used is taken for the repeat of its use.
        let used = token.epoch < model.book.epoch && model.book.used.contains(&token);
        return if used { Fence::Open } else { Fence::Stale };
    }
    let late = entry.expires_at().is_some_and(|at| at <= model.now.wall);
    let holds = entry.holder == Some(session) && entry.place == Place::Leased;
    if holds && !late { Fence::Good } else { Fence::Open }
}

/// Checks that a session that comes back keeps exactly what is still its own.
pub(crate) fn welcome(model: &Model, connection: u64, welcome: &Welcome) -> Check {
    let Some(id) = model.connections.get(&connection) else { return Ok(()) };
    for token in &welcome.revoked {
        let own = verdict(model, *id, *token) == Fence::Good;
        ensure!(!own, "6 absence", "token {token} is revoked although its lease runs");
    }
    let lease = model.sessions.get(id).map(|session| session.lease);
    ensure!(
        lease.is_none_or(|lease| lease == welcome.lease),
        "6 absence",
        "a session is told a lease of {:?}, its leases last {lease:?}",
        welcome.lease
    );
    ensure!(
        welcome.epoch == model.book.epoch,
        "5 fencing",
        "a session is welcomed in epoch {} of {}",
        welcome.epoch.0,
        model.book.epoch.0
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{verdict, welcome};
    use crate::model::Fence;
    use crate::model::testing::{Scene, WORKERS, broken, token};
    use std::time::Duration;
    use trunkline_types::session::Welcome;
    use trunkline_types::{Epoch, Limits, WallTime};

    #[test]
    fn only_the_latest_token_is_good() {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        assert_eq!(verdict(&scene.model, WORKERS[0], token(1)), Fence::Stale);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        assert_eq!(verdict(&scene.model, WORKERS[0], token(1)), Fence::Good);
        assert_eq!(verdict(&scene.model, WORKERS[1], token(1)), Fence::Open);
    }

    #[test]
    fn what_runs_is_not_revoked_and_the_epoch_is_told() {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        let mut answer = Welcome {
            epoch: Epoch(1),
            resumed: true,
            lease: Duration::from_secs(1),
            revoked: vec![token(1)],
            limits: Limits::default(),
            now: WallTime(0),
        };
        broken(welcome(&scene.model, 2, &answer), "6 absence", "is revoked");
        answer.revoked.clear();
        assert_eq!(welcome(&scene.model, 2, &answer), Ok(()));
        answer.lease = Duration::from_secs(2);
        broken(welcome(&scene.model, 2, &answer), "6 absence", "is told a lease of 2s");
        answer.lease = Duration::from_secs(1);
        answer.epoch = Epoch(2);
        broken(welcome(&scene.model, 2, &answer), "5 fencing", "epoch 2 of 1");
    }
}
