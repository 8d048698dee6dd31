//! Every logged task that ends is handed over to the index once, as it ended.
//!
//! A replay may hand one over twice whose time is over: it does not keep what the index has, which
//! in the live engine may have held up those that ended later, and so forgets one sooner that is
//! said again behind. For the index that is the same task.

use super::tasks::state_of;
use crate::check::{Check, ensure};
use crate::model::{Ending, Fact, Model};
use trunkline_types::{MessageId, Payload, Sequence, TaskState};

/// A task as the index gets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handed<'a> {
    /// The place of the record that ended it.
    pub(crate) place: Sequence,
    pub(crate) id: MessageId,
    pub(crate) state: TaskState,
    pub(crate) result: Option<&'a Payload>,
    pub(crate) payload: &'a Payload,
}

/// Notes that a task ended which is to be handed over.
pub(crate) fn ended(model: &mut Model, at: Sequence, fact: &Fact) {
    let Fact::Ended { entry, .. } = fact else { return };
    let entry = model.book.entries.get(entry);
    if model.indexed && entry.is_some_and(|it| it.publish.is_task() && it.durability().is_logged())
    {
        model.to_hand.insert(at);
    }
}

/// Checks a task that is handed over.
pub(crate) fn handed(model: &mut Model, task: Handed<'_>) -> Check {
    let Handed { place, id, state, result, payload } = task;
    model.to_hand.remove(&place);
    let again = !model.handed.insert(place);
    let entry = model.book.entries_of(id).find(|entry| entry.latest == place);
    let Some((entry, end)) = entry.and_then(|entry| Some((entry, entry.end.as_ref()?))) else {
        ensure!(false, "index", "task {id} is handed over, record {} did not end it", place.0);
        return Ok(());
    };
    let keep = model.rules.ended_task_keep;
    let over = model.ended.get(&entry.number).is_some_and(|at| at.after(keep) <= model.latest_wall);
    let twice = again && !over;
    ensure!(!twice, "index", "task {id}, ended by record {}, is handed over twice", place.0);
    let right = state_of(end);
    ensure!(state == right, "index", "task {id} is handed over as {state}, it is {right}");
    let said = if let Ending::Completed(reply) = end { reply.as_ref() } else { None };
    ensure!(result == said, "index", "task {id} is handed over with {result:?}, not {said:?}");
    let sent = &entry.publish.envelope.payload;
    ensure!(payload == sent, "index", "task {id} is handed over with the payload {payload:?}");
    Ok(())
}

/// Checks that all tasks that ended were handed over.
pub(crate) fn none_kept_back(model: &Model) -> Check {
    let kept = model.to_hand.first();
    ensure!(kept.is_none(), "index", "what record {kept:?} ended is not handed over");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Handed, handed, none_kept_back};
    use crate::model::testing::{Scene, WORKERS, broken, id};
    use crate::model::{Ending, Fact};
    use trunkline_types::{Outcome, Payload, Sequence, TaskState};

    #[test]
    fn a_task_that_ends_is_handed_over_once_and_as_it_is() {
        let mut scene = Scene::new();
        scene.model.indexed = true;
        scene.accept_synced(1);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        let reply = Some(Payload::text("done"));
        scene.settle(WORKERS[0], 1, Outcome::Complete { reply: reply.clone() });
        let how = Ending::Completed(reply.clone());
        scene.fact(Fact::Ended { entry: 1, how, said: 0 }).unwrap();
        broken(none_kept_back(&scene.model), "index", "is not handed over");
        let place = scene.model.book.entries[&1].latest;
        let (payload, nothing) = (Payload::text("work"), Payload::default());
        let (state, result) = (TaskState::Completed, reply.as_ref());
        let right = Handed { place, id: id(1), state, result, payload: &payload };
        let mut hand = |task| {
            scene.model.handed.clear();
            handed(&mut scene.model, task)
        };
        let early = Handed { place: Sequence(place.0 - 1), ..right };
        broken(hand(early), "index", "did not end it");
        broken(hand(Handed { state: TaskState::Failed, ..right }), "index", "as failed");
        broken(hand(Handed { result: None, ..right }), "index", "with None");
        broken(hand(Handed { payload: &nothing, ..right }), "index", "with the payload");
        assert_eq!(hand(right), Ok(()));
        assert_eq!(none_kept_back(&scene.model), Ok(()));
        broken(handed(&mut scene.model, right), "index", "is handed over twice");
        scene.at(5000);
        assert_eq!(handed(&mut scene.model, right), Ok(()), "its time is over");
    }
}
