//! Calling a message off with its descendants takes the tasks below it that had not ended, and
//! nothing else.

use crate::check::{Check, ensure};
use crate::model::{Asked, Entry, Model};
use trunkline_types::MessageId;

/// Whether an entry is a task that the handling of a message led to.
pub(super) fn is_below(model: &Model, entry: &Entry, id: MessageId) -> bool {
    let envelope = &entry.publish.envelope;
    let (mut next, mut seen) = (envelope.causation_id, Vec::new());
    while let Some(cause) = next.filter(|cause| *cause != id && !seen.contains(cause)) {
        seen.push(cause);
        next = model.published.get(&cause).and_then(|sent| sent.envelope.causation_id);
    }
    let below = next == Some(id) || envelope.root_id == Some(id);
    below && entry.publish.is_task() && entry.id() != id
}

/// Checks, when that is told to be done, that of a whole family none goes on that was there before.
/// Who names as its root what has a root itself is of no family.
pub(super) fn all_called_off(model: &Model, asked: &Asked, id: MessageId) -> Check {
    let is_root = model.published.get(&id).is_none_or(|publish| publish.envelope.root_id.is_none());
    if model.jumped || asked.recovered || !is_root {
        return Ok(());
    }
    let left = model.book.open_entries().find(|entry| {
        // What waited outside meanwhile comes in later, as of the time at which it was sent.
        let before = entry.accepted <= asked.behind
            && entry.accepted_at < asked.handled_at
            && entry.publish.is_task();
        before && entry.id() != id && entry.publish.envelope.root_id == Some(id)
    });
    ensure!(left.is_none(), "family", "{id} is called off with all below it, not so {left:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::laws::answers::done;
    use crate::model::testing::{SENDER, Scene, broken, id};
    use crate::model::{Ending, Fact};
    use trunkline_types::session::Operation;

    /// A task, one below it and one beside it; the first is called off.
    fn scene(descendants: bool) -> (Scene, u64) {
        let mut scene = Scene::new();
        scene.accept(1, |_| ()).unwrap();
        scene
            .accept(2, |publish| {
                publish.envelope.causation_id = Some(id(1));
                publish.envelope.root_id = Some(id(1));
            })
            .unwrap();
        scene.accept(3, |_| ()).unwrap();
        scene.sync();
        scene.at(1001);
        let cancel = Operation::Cancel { id: id(1), reason: String::new(), descendants };
        let number = scene.operate(SENDER, cancel);
        scene.fact(Fact::Ended { entry: 1, how: Ending::Canceled, said: 0 }).unwrap();
        (scene, number)
    }

    #[test]
    fn what_is_below_a_message_is_called_off_with_it_and_nothing_beside_it() {
        let end = |entry| Fact::Ended { entry, how: Ending::Canceled, said: 0 };
        let (mut scene, number) = scene(true);
        broken(scene.fact(end(3)), "5 fencing", "without a reason");
        scene.sync();
        broken(done(&mut scene.model, SENDER, number, None), "family", "not so");
        let (mut scene, number) = self::scene(true);
        assert_eq!(scene.fact(end(2)), Ok(()));
        scene.sync();
        assert_eq!(done(&mut scene.model, SENDER, number, None), Ok(()));
    }

    #[test]
    fn without_being_asked_for_no_descendant_is_called_off() {
        let (mut scene, number) = scene(false);
        let end = Fact::Ended { entry: 2, how: Ending::Canceled, said: 0 };
        broken(scene.fact(end), "5 fencing", "without a reason");
        scene.sync();
        assert_eq!(done(&mut scene.model, SENDER, number, None), Ok(()));
    }
}
