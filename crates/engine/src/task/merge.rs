//! What is in memory and what the index has, made one answer. Drivers do that outside of the
//! engine's turn: first comes the engine's answer, then what the index has of the tasks that were
//! no longer in memory when that was given.

use super::ended::EndedTask;
use super::history::{Latest, unknown_context};
use crate::stats::page::{self, Room};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use trunkline_types::{
    Change, ContextId, ContextSnapshot, History, Refusal, RefusalCode, TaskFilter, TaskPage,
};

/// A page of tasks from the page of those in memory and the page of those in the index, both
/// answers to the same filter. A task that is in both is shown as it is in memory.
#[must_use]
pub fn merge_tasks(filter: &TaskFilter, memory: TaskPage, index: TaskPage) -> TaskPage {
    // What lies beyond the end of either page may be missing from that one.
    let floor = memory.next.max(index.next);
    let (mut memory, mut index) =
        (memory.tasks.into_iter().peekable(), index.tasks.into_iter().peekable());
    let merged = std::iter::from_fn(|| {
        let ids = (memory.peek().map(|task| task.id), index.peek().map(|task| task.id));
        match ids {
            (Some(known), Some(other)) if known == other => {
                index.next();
                memory.next()
            }
            (known, other) if known >= other => memory.next(),
            _ => index.next(),
        }
    });
    let mut page = TaskPage { next: floor, ..TaskPage::default() };
    // The engine has checked the limit.
    let Ok(mut room) = Room::new(filter.limit) else { return page };
    for task in merged {
        if floor.is_some_and(|floor| task.id < floor) {
            break;
        }
        if !room.take(page::task(&task)) {
            page.next = page.tasks.last().map(|last| last.id);
            break;
        }
        page.tasks.push(task);
    }
    page
}

/// A page of tasks by their latest changes from two that have the latest of different tasks each, both
/// answers to the same filter. A task that is in both has changed in between, and is shown as it was
/// later.
#[must_use]
pub fn merge_changes(filter: &TaskFilter, one: TaskPage, other: TaskPage) -> TaskPage {
    // What lies beyond the end of either page may be missing from that one.
    let floor = one.next_change.max(other.next_change);
    let total = one.total.zip(other.total).map(|(one, other)| one.saturating_add(other));
    let mut page = TaskPage { next_change: floor, total, ..TaskPage::default() };
    let mut tasks = one.tasks;
    tasks.extend(other.tasks);
    tasks.sort_by_key(|task| Reverse(Change::of(task)));
    // The engine has checked the limit.
    let Ok(mut room) = Room::new(filter.limit) else { return page };
    let mut shown = BTreeSet::new();
    for task in tasks {
        if floor.is_some_and(|floor| Change::of(&task) < floor) {
            break;
        }
        if !shown.insert(task.id) {
            continue;
        }
        if !room.take(page::task(&task)) {
            page.next_change = page.tasks.last().map(Change::of);
            break;
        }
        page.tasks.push(task);
    }
    page
}

/// A conversation from what is in memory of it and from its tasks in the index, newest first;
/// `more` says that the index has older ones. `length` is that of the question.
///
/// # Errors
/// What the engine answered if that says more than that no task of it is in memory, or that nobody
/// knows it.
pub fn merge_context(
    id: &ContextId,
    memory: Result<ContextSnapshot, Refusal>,
    index: &[EndedTask],
    more: bool,
    length: Option<u32>,
) -> Result<ContextSnapshot, Refusal> {
    let mut context = match memory {
        Ok(context) => context,
        Err(refusal) if refusal.code == RefusalCode::NotFound => {
            if index.is_empty() {
                return Err(unknown_context(id));
            }
            let history = History::default();
            ContextSnapshot { id: id.clone(), tasks: 0, tasks_open: 0, history }
        }
        Err(refusal) => return Err(refusal),
    };
    context.tasks += index.len() as u64;
    if length == Some(0) {
        return Ok(context);
    }
    let History { messages, more: more_known } = std::mem::take(&mut context.history);
    let of_index = index.iter().flat_map(|task| task.talk().said().take(page::MOST_MESSAGES + 1));
    let mut found: Vec<_> = messages.into_iter().rev().collect();
    found.extend(of_index.map(|said| said.message()));
    // Latest first; within a task the order of its own.
    found.sort_by_key(|message| Reverse((message.at, message.task)));
    let mut latest = Latest::new(length);
    let all = found.into_iter().all(|message| latest.take_message(message));
    context.history = latest.history(more || more_known || !all);
    Ok(context)
}
