//! Law 9: a task's events are numbered without gaps, move along legal transitions, end with the
//! final one, and never change once told, not even by a crash (law 1).

use super::following;
use crate::check::{Check, ensure};
use crate::model::{Asked, Ending, Model};
use trunkline_types::{
    Durability, MessageId, Publish, SessionId, TaskEvent, TaskEventBody, TaskState, TaskUpdate,
};

/// More events than any task has in a run.
const PLENTY: usize = 1000;

/// Checks news of a task that a session is told of.
pub(crate) fn told(
    model: &mut Model,
    session: SessionId,
    task: MessageId,
    update: &TaskUpdate,
) -> Check {
    match update {
        TaskUpdate::Progress(_) => Ok(()),
        TaskUpdate::Gap { first, last } => {
            let cut = model.rules.task_events < PLENTY;
            ensure!(cut, "9 tasks", "task {task}: events {first} to {last} are missing");
            in_turn(model, session, task, *first, *last + 1)
        }
        TaskUpdate::Event(event) => {
            in_turn(model, session, task, event.number, event.number + 1)?;
            durable(model, task, event)?;
            note(model, task, event)?;
            following::told(model, session, task, update);
            Ok(())
        }
    }
}

/// The state that ended a task, if a client was told of it.
pub(crate) fn told_end(model: &Model, task: MessageId) -> Option<TaskState> {
    let events = &model.told.get(&task)?.events;
    let states = events.values().filter_map(status);
    states.into_iter().find(|state| state.is_terminal())
}

/// Checks that an event is the next one for a session that follows the task.
fn in_turn(
    model: &mut Model,
    session: SessionId,
    task: MessageId,
    number: u64,
    then: u64,
) -> Check {
    let followed = model.sessions.get_mut(&session).and_then(|row| row.watches.get_mut(&task));
    if let Some(followed) = followed {
        let wanted = followed.front().copied().unwrap_or_default();
        while followed.len() > 1 && followed.front() != Some(&number) {
            followed.pop_front();
        }
        ensure!(
            followed.front() == Some(&number),
            "9 tasks",
            "task {task}: event {number} comes instead of {wanted}"
        );
        followed[0] = then;
    }
    Ok(())
}

/// The number of the event that ended a task, if a client was told of it.
pub(super) fn end_number(model: &Model, task: MessageId) -> Option<u64> {
    let events = &model.told.get(&task)?.events;
    let is_end = |event: &TaskEvent| status(event).is_some_and(TaskState::is_terminal);
    events.iter().find(|(_, event)| is_end(event)).map(|(number, _)| *number)
}

/// Checks that a message which is said to be called off was so, at some time: not if it had ended
/// in another way.
pub(super) fn called_off(model: &Model, asked: &Asked, id: MessageId) -> Check {
    let synced = |publish: &Publish| publish.durability() == Durability::Synced;
    let known = model.book.sent.get(&id).is_some_and(|sent| synced(&sent.publish));
    if !known || asked.record.is_some() || asked.recovered {
        return Ok(());
    }
    let mut copies = model.book.entries_of(id);
    let off = copies.any(|entry| entry.is_open() || entry.end == Some(Ending::Canceled));
    ensure!(off, "9 tasks", "{id} is said to be called off, it had ended before");
    Ok(())
}

pub(super) fn status(event: &TaskEvent) -> Option<TaskState> {
    match event.body {
        TaskEventBody::Status { state, .. } => Some(state),
        TaskEventBody::Artifact(_) | TaskEventBody::Message { .. } => None,
    }
}

/// Checks that an event's record is durable: the end's in particular.
fn durable(model: &mut Model, task: MessageId, event: &TaskEvent) -> Check {
    let Some(publish) = model.published.get(&task) else { return Ok(()) };
    let level = publish.durability();
    if !level.is_logged() {
        return Ok(());
    }
    if level == Durability::Synced {
        model.lasting.insert(task);
    }
    let Some(entry) = model.book.entries_of(task).next() else {
        ensure!(false, "1 durable", "task {task} is told of, but no record tells of it");
        return Ok(());
    };
    ensure!(
        model.reached(entry.accepted, level),
        "1 durable",
        "task {task} is told of before its record {} is {level}",
        entry.accepted.0
    );
    let Some(state) = status(event).filter(|state| state.is_terminal()) else { return Ok(()) };
    let right = entry.end.as_ref().is_some_and(|end| state_of(end) == state);
    ensure!(right, "9 tasks", "task {task} is told to be {state}, it ended {:?}", entry.end);
    ensure!(
        model.reached(entry.latest, level),
        "1 durable",
        "task {task} is told to be {state} before record {} is {level}",
        entry.latest.0
    );
    Ok(())
}

/// Checks an event against those told before, and notes it.
fn note(model: &mut Model, task: MessageId, event: &TaskEvent) -> Check {
    let number = event.number;
    let events = &mut model.told.entry(task).or_default().events;
    if let Some(before) = events.get(&number) {
        ensure!(
            before == event,
            "1 durable",
            "task {task}: event {number} was {before:?} and is now {event:?}"
        );
    }
    let ended =
        events.range(..number).find(|(_, event)| status(event).is_some_and(TaskState::is_terminal));
    ensure!(ended.is_none(), "9 tasks", "task {task}: {event:?} comes after the end {ended:?}");
    let mut at = number;
    while let (Some(before), Some(state)) = (events.get(&(at - 1)), status(event)) {
        if let Some(before) = status(before) {
            let legal = before.may_become(state);
            ensure!(legal, "9 tasks", "task {task}: {before} becomes {state} at {number}");
            break;
        }
        at -= 1;
    }
    let first = number != 1 || status(event) == Some(TaskState::Submitted);
    ensure!(first, "9 tasks", "task {task} begins with {event:?}");
    events.insert(number, event.clone());
    Ok(())
}

/// The state in which a task is after its entry ended.
pub(crate) fn state_of(end: &Ending) -> TaskState {
    match end {
        Ending::Completed(_) => TaskState::Completed,
        Ending::Rejected => TaskState::Rejected,
        Ending::Canceled => TaskState::Canceled,
        Ending::Failed | Ending::Expired | Ending::DeadLettered | Ending::Dropped => {
            TaskState::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::told;
    use crate::laws::answers::done;
    use crate::model::testing::{SENDER, Scene, WORKERS, broken, id};
    use crate::model::{Ending, Fact};
    use trunkline_types::session::Operation;
    use trunkline_types::{
        Epoch, Outcome, TaskEvent, TaskEventBody, TaskState, TaskUpdate, WallTime,
    };

    fn status(number: u64, state: TaskState) -> TaskUpdate {
        let body = TaskEventBody::Status { state, reason: None };
        TaskUpdate::Event(TaskEvent { number, epoch: Epoch(1), at: WallTime(1), body })
    }

    #[test]
    fn events_come_in_turn_along_legal_transitions_and_never_change() {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.operate(SENDER, Operation::Watch { task: id(1), after: 0 });
        let mut tell = |update| told(&mut scene.model, SENDER, id(1), &update);
        broken(tell(status(2, TaskState::Working)), "9 tasks", "instead of 1");
        broken(tell(TaskUpdate::Gap { first: 1, last: 2 }), "9 tasks", "are missing");
        assert_eq!(tell(status(1, TaskState::Submitted)), Ok(()));
        broken(tell(status(2, TaskState::InputRequired)), "9 tasks", "becomes input-required");
        let mut scene = Scene::new();
        scene.accept_synced(1);
        let mut tell = |update| told(&mut scene.model, SENDER, id(1), &update);
        broken(tell(status(1, TaskState::Working)), "9 tasks", "begins with");
        assert_eq!(tell(status(1, TaskState::Submitted)), Ok(()));
        assert_eq!(tell(status(2, TaskState::Working)), Ok(()));
        broken(tell(status(2, TaskState::Canceled)), "9 tasks", "it ended None");
        broken(tell(status(2, TaskState::AuthRequired)), "1 durable", "is now");
    }

    #[test]
    fn nothing_is_told_of_a_task_that_is_not_on_disk() {
        let mut scene = Scene::new();
        scene.accept(1, |_| ()).unwrap();
        let submitted = status(1, TaskState::Submitted);
        broken(told(&mut scene.model, SENDER, id(1), &submitted), "1 durable", "is told of before");
    }

    #[test]
    fn what_has_ended_in_another_way_is_not_called_off() {
        let cancel = || Operation::Cancel { id: id(1), reason: "no".into(), descendants: false };
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.settle(WORKERS[0], 1, Outcome::Complete { reply: None });
        scene.fact(Fact::Ended { entry: 1, how: Ending::Completed(None), said: 0 }).unwrap();
        scene.sync();
        let number = scene.operate(SENDER, cancel());
        broken(done(&mut scene.model, SENDER, number, None), "9 tasks", "it had ended before");
        let mut scene = Scene::new();
        scene.accept_synced(1);
        let number = scene.operate(SENDER, cancel());
        scene.fact(Fact::Ended { entry: 1, how: Ending::Canceled, said: 0 }).unwrap();
        scene.sync();
        assert_eq!(done(&mut scene.model, SENDER, number, None), Ok(()));
        let again = scene.operate(SENDER, cancel());
        assert_eq!(done(&mut scene.model, SENDER, again, None), Ok(()), "said again");
    }
}
