//! The broker's end in order: once it has begun nothing is taken in and nothing is handed out, and
//! every session is sent away as soon as it neither holds a delivery nor waits for the reply to
//! one that is held; not before.

use crate::check::{Check, ensure};
use crate::model::{Entry, Model, Place};
use trunkline_types::{MessageId, SessionId};

/// Checks that something may be delivered as far as the broker's end is concerned.
pub(crate) fn hands_out_nothing(model: &Model, id: MessageId) -> Check {
    ensure!(model.draining.is_none(), "draining", "{id} is delivered by a broker that drains");
    Ok(())
}

/// Checks that what an operation brings may be accepted as far as the broker's end is concerned:
/// only what had come before, and waited.
pub(crate) fn takes_in_nothing(model: &Model, session: SessionId, operation: u64) -> Check {
    let asked = model.sessions.get(&session).and_then(|row| row.asked.get(&operation));
    let came = asked.and_then(|asked| asked.arrived).map(|arrived| arrived.order);
    let late = model.draining.is_some_and(|since| came.is_none_or(|order| order > since));
    ensure!(!late, "draining", "operation {operation} of {session} is accepted while draining");
    Ok(())
}

/// Checks that a session may be sent away over a connection.
pub(crate) fn sent_away(model: &mut Model, session: SessionId, connection: u64) -> Check {
    ensure!(model.draining.is_some(), "draining", "{session} is sent away, nobody drains");
    let part = model.book.open_entries().find(|entry| takes_part(model, entry, session));
    ensure!(part.is_none(), "draining", "{session} is sent away, it has a part in {part:?}");
    let first = model.sent_away.insert(connection);
    ensure!(first, "draining", "{session} is sent away twice");
    Ok(())
}

/// Checks that nobody stays without a reason, once everything that was to be told was. No record
/// tells who holds what is ephemeral, so it says nothing where there is any.
pub(crate) fn nobody_stays(model: &Model) -> Check {
    for session in model.sessions.values().filter(|session| session.welcomed && model.pure) {
        let Some(connection) = session.connection else { continue };
        let part = model.book.open_entries().any(|entry| takes_part(model, entry, session.id));
        let right = part || model.sent_away.contains(&connection);
        ensure!(right, "draining", "{} has nothing to wait for, and stays", session.id);
    }
    Ok(())
}

/// Whether a connected session holds an entry, and this one is the holder or awaits its reply.
fn takes_part(model: &Model, entry: &Entry, session: SessionId) -> bool {
    let holder = entry.holder.filter(|_| entry.place == Place::Leased);
    let held = holder.and_then(|holder| model.sessions.get(&holder));
    let held = held.is_some_and(|holder| holder.connection.is_some());
    let awaits = entry.publish.options.reply && entry.sender == session;
    held && (holder == Some(session) || awaits)
}

#[cfg(test)]
mod tests {
    use super::{nobody_stays, sent_away};
    use crate::model::testing::{SENDER, Scene, WORKERS, broken};
    use trunkline_types::Publish;

    fn asks(publish: &mut Publish) {
        publish.options.reply = true;
    }

    /// A worker holds what the sender awaits, and the broker begins its end.
    fn draining() -> Scene {
        let mut scene = Scene::new();
        scene.model.pure = true;
        scene.accept(1, asks).unwrap();
        scene.sync();
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.accept_synced(2);
        for session in scene.model.sessions.values_mut() {
            session.welcomed = true;
        }
        scene.model.drains();
        scene
    }

    #[test]
    fn nothing_is_handed_out_or_taken_in() {
        let mut scene = draining();
        broken(scene.lease(2, 2, WORKERS[1]), "draining", "is delivered by a broker");
        broken(scene.accept(3, |_| ()), "draining", "is accepted while draining");
    }

    #[test]
    fn who_holds_something_or_waits_for_it_stays_and_the_others_go_once() {
        let mut scene = draining();
        broken(sent_away(&mut scene.model, WORKERS[0], 2), "draining", "it has a part");
        broken(sent_away(&mut scene.model, SENDER, 1), "draining", "it has a part");
        broken(nobody_stays(&scene.model), "draining", "has nothing to wait for");
        assert_eq!(sent_away(&mut scene.model, WORKERS[1], 3), Ok(()));
        assert_eq!(nobody_stays(&scene.model), Ok(()));
        broken(sent_away(&mut scene.model, WORKERS[1], 3), "draining", "twice");
        let mut scene = Scene::new();
        broken(sent_away(&mut scene.model, WORKERS[1], 3), "draining", "nobody drains");
    }
}
