//! Who follows a task that has ended is told how, in memory or in the index, once that is on disk.

use super::tasks;
use crate::check::{Check, ensure};
use crate::model::{Entry, Model, Place};
use trunkline_types::{MessageId, Sequence, SessionId, TaskState, TaskUpdate};

/// Notes that a session wants to follow a task from behind an event on.
pub(crate) fn begins(model: &mut Model, session: SessionId, task: MessageId, after: u64) {
    let connection = model.sessions.get(&session).and_then(|session| session.connection);
    let Some(connection) = connection else { return };
    let logged = |entry: &Entry| {
        entry.publish.is_task() && entry.durability().is_logged() && entry.place == Place::Ended
    };
    if !model.book.entries_of(task).next().is_some_and(logged) {
        return;
    }
    let more = after == 0 || tasks::end_number(model, task).is_some_and(|last| after < last);
    if more {
        // What is handled with it may still make records that it has to wait for.
        model.owed_news.insert((session, task), (connection, Sequence(u64::MAX)));
    }
}

/// A session was told something of a task.
pub(crate) fn told(model: &mut Model, session: SessionId, task: MessageId, update: &TaskUpdate) {
    let state = if let TaskUpdate::Event(event) = update { tasks::status(event) } else { None };
    if state.is_some_and(TaskState::is_terminal) {
        model.owed_news.remove(&(session, task));
    }
}

/// It is not told after all, and was told so.
pub(crate) fn refused(model: &mut Model, session: SessionId, task: MessageId) {
    model.owed_news.remove(&(session, task));
}

/// Checks, once all is done that one thing led to, that nobody still waits for what is on disk.
pub(crate) fn nobody_forgotten(model: &mut Model) -> Check {
    let (latest, synced) = (model.journal.last().map_or(Sequence(0), |(at, _)| *at), model.synced);
    for ((session, task), (_, at)) in &mut model.owed_news {
        *at = (*at).min(latest);
        ensure!(
            *at > synced,
            "9 tasks",
            "session {session} follows task {task} and is not told how it ended"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::nobody_forgotten;
    use crate::laws::tasks;
    use crate::model::testing::{SENDER, Scene, WORKERS, broken, id};
    use crate::model::{Ending, Fact};
    use trunkline_types::session::Operation;
    use trunkline_types::{
        Epoch, Outcome, TaskEvent, TaskEventBody, TaskState, TaskUpdate, WallTime,
    };

    fn ended() -> Scene {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.settle(WORKERS[0], 1, Outcome::Complete { reply: None });
        scene.fact(Fact::Ended { entry: 1, how: Ending::Completed(None), said: 0 }).unwrap();
        scene.at(1001);
        scene
    }

    #[test]
    fn who_follows_an_ended_task_is_told_its_end_once_that_is_on_disk() {
        let mut scene = ended();
        scene.operate(SENDER, Operation::Watch { task: id(1), after: 0 });
        assert_eq!(nobody_forgotten(&mut scene.model), Ok(()), "it is not on disk");
        scene.sync();
        broken(nobody_forgotten(&mut scene.model), "9 tasks", "is not told how it ended");
        for (number, state) in
            (1..).zip([TaskState::Submitted, TaskState::Working, TaskState::Completed])
        {
            let body = TaskEventBody::Status { state, reason: None };
            let event = TaskEvent { number, epoch: Epoch(1), at: WallTime(1), body };
            let update = TaskUpdate::Event(event);
            assert_eq!(tasks::told(&mut scene.model, SENDER, id(1), &update), Ok(()));
        }
        assert_eq!(nobody_forgotten(&mut scene.model), Ok(()));
        scene.operate(SENDER, Operation::Watch { task: id(1), after: 3 });
        assert_eq!(nobody_forgotten(&mut scene.model), Ok(()), "there is no more");
    }

    #[test]
    fn who_is_gone_is_owed_nothing() {
        let mut scene = ended();
        scene.sync();
        scene.operate(SENDER, Operation::Watch { task: id(1), after: 0 });
        scene.model.disconnected(1);
        assert_eq!(nobody_forgotten(&mut scene.model), Ok(()));
    }
}
