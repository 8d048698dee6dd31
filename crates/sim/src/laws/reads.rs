//! An answer never shows what a crash could take back, nor less than was told before.

use super::bounds;
use super::directory::{self, Before};
use super::mortuary::{self, Letters};
use super::pages;
use super::schedules;
use super::tasks::{self, state_of};
use crate::check::{Check, ensure};
use crate::model::{Ending, Entry, Model, Place, Recurring};
use trunkline_types::{
    Answer, CopyState, DeadLetter, History, MessageId, MessageStatus, Publish, Query, Refusal,
    RefusalCode, Role, Stats, TaskSnapshot, TaskState,
};

/// What an answer must not fall behind: known when the question was asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) query: Query,
    /// How the task in question ended, if a client knew.
    ended: Option<TaskState>,
    /// The number of the latest event that a client knew, if no crash may take it back.
    events: u64,
    /// Whether the task in question must be there.
    there: bool,
    /// Which agents were there: an answer may be told after one of them has gone.
    agents: Before,
    /// The schedules that there were.
    schedules: Vec<Recurring>,
    /// The dead letters that there were.
    letters: Letters,
    /// The tasks that a list must have.
    tasks: Vec<MessageId>,
}

impl Question {
    pub(crate) fn new(model: &Model, query: Query) -> Self {
        if let Query::Message(id) = query {
            let there = model
                .book
                .entries_of(id)
                .any(|entry| entry.is_open() && model.reached(entry.accepted, entry.durability()));
            return Self { there, ..Self::bare(query) };
        }
        if let Query::Agents(_) = query {
            return Self { agents: Before::new(model), ..Self::bare(query) };
        }
        if let Query::Schedules(_) = query {
            let schedules = model.book.schedules.values().cloned().collect();
            return Self { schedules, ..Self::bare(query) };
        }
        if let Query::DeadLetters(_) | Query::Stats = query {
            return Self { letters: Letters::new(model), ..Self::bare(query) };
        }
        if let Query::Tasks(filter) = &query {
            return Self { tasks: pages::wanted(model, filter), ..Self::bare(query) };
        }
        let Query::Task { id: task, .. } = query else { return Self::bare(query) };
        let told = model.told.get(&task).filter(|_| model.lasting.contains(&task));
        let known = told.and_then(|told| told.events.last_key_value());
        let present =
            |(_, event): &(&u64, &trunkline_types::TaskEvent)| event.epoch == model.book.epoch;
        let events = known.filter(present).map_or(0, |(number, _)| *number);
        let sent = model.book.sent.get(&task);
        let there = sent.is_some_and(|sent| {
            sent.publish.is_task() && model.reached(sent.at, sent.publish.durability())
        });
        Self { ended: tasks::told_end(model, task), events, there, ..Self::bare(query) }
    }

    fn bare(query: Query) -> Self {
        let (agents, schedules) = (Before::default(), Vec::new());
        let (letters, tasks) = (Letters::default(), Vec::new());
        Self { query, ended: None, events: 0, there: false, agents, schedules, letters, tasks }
    }
}

/// Checks an answer.
pub(crate) fn answered(
    model: &Model,
    question: &Question,
    result: &Result<Answer, Refusal>,
) -> Check {
    match result {
        Ok(Answer::Task(task)) => {
            if let Some(state) = question.ended {
                let shown = task.state;
                ensure!(
                    shown == state,
                    "9 tasks",
                    "task {} is shown {shown}, it was {state}",
                    task.id
                );
            }
            ensure!(
                task.last_event >= question.events,
                "1 durable",
                "task {} is shown with {} events after {} were told",
                task.id,
                task.last_event,
                question.events
            );
            snapshot(model, task)
        }
        Ok(Answer::Tasks(page)) => {
            if let Query::Tasks(filter) = &question.query {
                pages::shown(filter, &question.tasks, page)?;
            }
            page.tasks.iter().try_for_each(|task| snapshot(model, task))
        }
        Ok(Answer::Context(context)) => {
            let (open, all) = (context.tasks_open, context.tasks);
            ensure!(open <= all, "answers", "{open} of {all} tasks of {} are open", context.id);
            Ok(())
        }
        Ok(Answer::DeadLetters(page)) => {
            mortuary::shown(&question.letters, page)?;
            page.letters.iter().try_for_each(|letter| dead_letter(model, letter))
        }
        Ok(Answer::Stats(stats)) => {
            mortuary::counted(&question.letters, stats)?;
            figures(stats)
        }
        Ok(Answer::Agents(page)) => match &question.query {
            Query::Agents(filter) => directory::shown(model, (filter, &question.agents), page),
            _ => Ok(()),
        },
        Ok(Answer::Message(status)) => message(model, status),
        Ok(Answer::Inbox(info)) => bounds::shown(model, info),
        Ok(Answer::Schedules(page)) => schedules::shown(&question.schedules, page),
        Err(refusal) => missing(model, question, refusal),
    }
}

fn missing(model: &Model, question: &Question, refusal: &Refusal) -> Check {
    if let Query::Message(id) = question.query {
        let right = refusal.code == RefusalCode::NotFound && !question.there;
        ensure!(right, "messages", "{id} is refused, though it lies there: {refusal}");
        return Ok(());
    }
    if let Query::Inbox(_) = question.query {
        // Nobody has sent anything there yet.
        let right = refusal.code == RefusalCode::NotFound;
        ensure!(right, "answers", "{:?} is refused: {refusal}", question.query);
        return Ok(());
    }
    let Query::Task { id: task, .. } = question.query else {
        ensure!(false, "answers", "{:?} is refused: {refusal}", question.query);
        return Ok(());
    };
    ensure!(refusal.code == RefusalCode::NotFound, "answers", "{task} is refused: {refusal}");
    let ended = model.book.sent.keys().filter(|id| has_ended(model, **id)).count();
    let kept = |entry: &Entry| {
        let at = model.ended.get(&entry.number);
        at.is_some_and(|at| at.after(model.rules.ended_task_keep) <= model.latest_wall)
    };
    let over = model.book.entries_of(task).all(kept);
    let forgotten = has_ended(model, task) && (over || ended > model.rules.ended_tasks);
    ensure!(
        !question.there || forgotten,
        "1 durable",
        "task {task} is not found, but its record is durable"
    );
    Ok(())
}

/// Checks that a message is shown as it is.
fn message(model: &Model, status: &MessageStatus) -> Check {
    let id = status.id;
    for copy in &status.copies {
        let entry =
            model.book.entries_of(id).find(|entry| Some(&entry.inbox) == copy.inbox.as_ref());
        let Some(entry) = entry else { continue };
        if let (true, Some(end)) = (copy.state.is_ended(), &entry.end) {
            let right = match end {
                Ending::Completed(_) => CopyState::Completed,
                Ending::Failed => CopyState::Failed,
                Ending::Rejected => CopyState::Rejected,
                Ending::Expired => CopyState::Expired,
                Ending::Canceled => CopyState::Canceled,
                Ending::DeadLettered => CopyState::DeadLettered,
                Ending::Dropped => CopyState::Dropped,
            };
            ensure!(copy.state == right, "messages", "{id} is shown {}, it is {right}", copy.state);
        }
        ensure!(
            !copy.state.is_ended() || entry.end.is_some(),
            "1 durable",
            "{id} is shown {} before a record says so",
            copy.state
        );
    }
    Ok(())
}

fn has_ended(model: &Model, task: MessageId) -> bool {
    model.book.entries_of(task).any(|entry| entry.place == Place::Ended)
}

/// Checks that everything a snapshot shows is durable.
fn snapshot(model: &Model, task: &TaskSnapshot) -> Check {
    let id = task.id;
    let Some(publish) = model.published.get(&id) else {
        ensure!(false, "answers", "task {id} is shown, which nobody sent");
        return Ok(());
    };
    let level = publish.durability();
    if !level.is_logged() {
        return Ok(());
    }
    let Some(entry) = model.book.entries_of(id).next() else {
        ensure!(false, "1 durable", "task {id} is shown, of which no record tells");
        return Ok(());
    };
    let durable = model.reached(entry.accepted, level);
    ensure!(durable, "1 durable", "task {id} is shown before record {} is", entry.accepted.0);
    if task.state.is_terminal() {
        let right = entry.end.as_ref().is_some_and(|end| state_of(end) == task.state);
        ensure!(right, "9 tasks", "task {id} is shown {}, it ended {:?}", task.state, entry.end);
        let durable = model.reached(entry.latest, level);
        ensure!(durable, "1 durable", "the end of {id} is shown before {} is", entry.latest.0);
        let said =
            if let Some(Ending::Completed(reply)) = &entry.end { reply.as_ref() } else { None };
        let shown = task.result.as_ref();
        ensure!(shown == said, "9 tasks", "task {id} is shown with {shown:?}, not {said:?}");
    }
    history(publish, task)
}

/// Checks that what was said in a task begins with what was sent and ends with the result.
fn history(publish: &Publish, task: &TaskSnapshot) -> Check {
    let History { messages, more } = &task.history;
    let (id, sent) = (task.id, &publish.envelope.payload);
    let Some(first) = messages.first().filter(|_| !more) else { return Ok(()) };
    let right = first.role == Role::Caller && first.payload == *sent;
    ensure!(right, "9 tasks", "what was said in {id} begins with {first:?}, not {sent:?}");
    let last = messages.last().map(|message| &message.payload);
    let right = task.result.is_none() || last == task.result.as_ref();
    ensure!(right, "9 tasks", "what was said in {id} ends with {last:?}, not {:?}", task.result);
    Ok(())
}

fn dead_letter(model: &Model, letter: &DeadLetter) -> Check {
    let id = letter.publish.envelope.id;
    let level = letter.publish.durability();
    if !level.is_logged() {
        return Ok(());
    }
    let entry = model.book.entries_of(id).find(|entry| entry.inbox == letter.inbox);
    let dead = entry.filter(|entry| entry.end == Some(Ending::DeadLettered));
    ensure!(dead.is_some(), "1 durable", "{id} is shown as a dead letter, it is {entry:?}");
    let durable = dead.is_some_and(|entry| model.reached(entry.latest, level));
    ensure!(durable, "1 durable", "dead letter {id} is shown before its record is durable");
    Ok(())
}

/// Law 4, as clients see it.
fn figures(stats: &Stats) -> Check {
    let Stats { counters, gauges, .. } = stats;
    let (accepted, found) = (counters.accepted, counters.ended() + gauges.total());
    ensure!(
        accepted == found,
        "4 conservation",
        "{accepted} entries were accepted, {found} are accounted for: {counters:?} {gauges:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Question, answered};
    use crate::model::testing::{Scene, WORKERS, broken, id, snapshot};
    use crate::model::{Ending, Fact};
    use trunkline_types::{
        Answer, Counters, History, HistoryMessage, Outcome, Payload, Query, Refusal, RefusalCode,
        Role, Stats, TaskSnapshot, TaskState, WallTime,
    };

    #[test]
    fn an_answer_shows_what_is_on_disk_and_no_less() {
        let mut scene = Scene::new();
        let asked = |scene: &Scene| Question::new(&scene.model, Query::task(id(1)));
        let submitted = Ok(Answer::Task(Box::new(snapshot(1, TaskState::Submitted))));
        broken(answered(&scene.model, &asked(&scene), &submitted), "answers", "nobody sent");
        scene.accept(1, |_| ()).unwrap();
        broken(answered(&scene.model, &asked(&scene), &submitted), "1 durable", "before record");
        scene.sync();
        assert_eq!(answered(&scene.model, &asked(&scene), &submitted), Ok(()));
        let done = Ok(Answer::Task(Box::new(snapshot(1, TaskState::Completed))));
        broken(answered(&scene.model, &asked(&scene), &done), "9 tasks", "it ended None");
        let missing = Err(Refusal::new(RefusalCode::NotFound, "no"));
        broken(answered(&scene.model, &asked(&scene), &missing), "1 durable", "is not found");
    }

    #[test]
    fn an_ended_task_is_found_for_as_long_as_it_is_kept() {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.settle(WORKERS[0], 1, Outcome::Complete { reply: None });
        scene.fact(Fact::Ended { entry: 1, how: Ending::Completed(None), said: 0 }).unwrap();
        scene.sync();
        let asked = Question::new(&scene.model, Query::task(id(1)));
        let missing = Err(Refusal::new(RefusalCode::NotFound, "no"));
        scene.at(1999);
        broken(answered(&scene.model, &asked, &missing), "1 durable", "is not found");
        scene.at(2000);
        assert_eq!(answered(&scene.model, &asked, &missing), Ok(()));
    }

    #[test]
    fn figures_add_up() {
        let scene = Scene::new();
        let counters = Counters { accepted: 2, settled: 1, ..Counters::default() };
        let stats = Stats { counters, ..Stats::default() };
        let question = Question::new(&scene.model, Query::Stats);
        let answer = Ok(Answer::Stats(Box::new(stats)));
        broken(answered(&scene.model, &question, &answer), "4 conservation", "2 entries");
    }

    #[test]
    fn a_task_is_shown_with_its_result_and_with_what_was_said() {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        let reply = Some(Payload::text("done"));
        scene.settle(WORKERS[0], 1, Outcome::Complete { reply: reply.clone() });
        let how = Ending::Completed(reply.clone());
        scene.fact(Fact::Ended { entry: 1, how, said: 0 }).unwrap();
        scene.sync();
        let query = Query::Task { id: id(1), history_length: None };
        let asked = Question::new(&scene.model, query);
        let said = |role, text: &str| HistoryMessage {
            task: id(1),
            role,
            from: None,
            at: WallTime(1),
            payload: Payload::text(text),
        };
        let check = |result: &Option<Payload>, first, last| {
            let messages = vec![said(Role::Caller, first), said(Role::Agent, last)];
            let history = History { messages, more: false };
            let result = result.clone();
            let shown = TaskSnapshot { result, history, ..snapshot(1, TaskState::Completed) };
            answered(&scene.model, &asked, &Ok(Answer::Task(Box::new(shown))))
        };
        assert_eq!(check(&reply, "work", "done"), Ok(()));
        broken(check(&None, "work", "done"), "9 tasks", "is shown with None");
        broken(check(&reply, "", "done"), "9 tasks", "begins with");
        broken(check(&reply, "work", "other"), "9 tasks", "ends with");
    }
}
