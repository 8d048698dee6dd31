//! Watching a task: every event once, in order, and only once it is durable.

use crate::command::ConnectionKey;
use crate::defect::Defect;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::now::Now;
use crate::table::{EntryKey, SessionKey, TaskKey};
use crate::task::ended::{EndedTask, updates};
use trunkline_types::session::SessionItem;
use trunkline_types::{Durability, MessageId, Progress, Refusal, RefusalCode, TaskUpdate};

impl Engine {
    /// Lets a session follow a task from an event number on.
    pub(crate) fn watch(
        &mut self,
        now: Now,
        session: SessionKey,
        id: MessageId,
        after: u64,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let tenant = self.sessions[session].tenant;
        let Some(key) = self.tasks.find(tenant, id) else {
            let past = self.past_task(tenant, id)?.ok_or_else(|| unknown_task(id))?;
            let EndedTask { task, events, .. } = *past;
            check_number(id, after, task.last_event)?;
            let updates = updates(&events, task.last_event, task.progress.as_ref(), after);
            if !self.planted(Defect::UntoldPast) {
                self.tell_updates(now, session, id, updates, out);
            }
            return Ok(());
        };
        let task = &self.tasks.rows[key];
        let more = task.more();
        check_number(id, after, more.last_event)?;
        if self.sessions[session].connection.is_none() {
            return Ok(());
        }
        let updates = updates(&task.events(), more.last_event, more.progress.as_ref(), after);
        let open = !task.state.is_terminal();
        self.tell_updates(now, session, id, updates, out);
        let sequence = self.sequence;
        let task = self.tasks.rows[key].more_mut();
        task.told_when_synced = sequence;
        task.told = task.last_event;
        if open && !task.watchers.contains(&session) {
            task.watchers.push(session);
            self.sessions[session].watching.push(key);
        }
        Ok(())
    }

    /// Tells a session about a task, once nothing of that can be taken back.
    fn tell_updates(
        &mut self,
        now: Now,
        session: SessionKey,
        id: MessageId,
        updates: Vec<TaskUpdate>,
        out: &mut Output,
    ) {
        let Some(connection) = self.sessions[session].connection else { return };
        for update in updates {
            let item = SessionItem::Task { task: id, update };
            self.hold_item(now, Durability::Synced, (connection, item), out);
        }
    }

    /// A session follows a task no longer.
    pub(crate) fn unwatch(&mut self, session: SessionKey, id: MessageId) -> Result<(), Refusal> {
        let tenant = self.sessions[session].tenant;
        let Some(key) = self.tasks.find(tenant, id) else {
            // One that left memory had ended, and nobody followed it any longer.
            return self.past_task(tenant, id)?.map(drop).ok_or_else(|| unknown_task(id));
        };
        self.unfollow(key, session);
        self.sessions[session].watching.retain(|&other| other != key);
        Ok(())
    }

    /// A session follows nothing any longer.
    pub(crate) fn unwatch_all(&mut self, session: SessionKey) {
        for key in std::mem::take(&mut self.sessions[session].watching) {
            self.unfollow(key, session);
        }
    }

    fn unfollow(&mut self, key: TaskKey, session: SessionKey) {
        if self.tasks.rows[key].more().watchers.contains(&session) {
            self.tasks.rows[key].more_mut().watchers.retain(|&other| other != session);
        }
    }

    /// Tells the watchers of an entry's task, if it is one, what is new.
    pub(crate) fn tell_watchers(&mut self, now: Now, entry: EntryKey, out: &mut Output) {
        let entry = &self.entries[entry];
        if let Some(task) = entry.task.get() {
            let level = if entry.is_logged() { Durability::Synced } else { Durability::Ephemeral };
            self.tell_task_watchers(now, task, level, out);
        }
    }

    /// Tells a task's watchers what is new, as soon as it is as durable as `level` says and
    /// everything before it was told.
    pub(crate) fn tell_task_watchers(
        &mut self,
        now: Now,
        key: TaskKey,
        level: Durability,
        out: &mut Output,
    ) {
        let (synced, sequence) = (self.synced, self.sequence);
        let held = self.until_synced.front().map(|&(at, _)| at);
        let Some(row) = self.tasks.rows.get_mut(key).filter(|row| !row.is_new()) else { return };
        let ended = row.state.is_terminal();
        let task = row.more_mut();
        let told = std::mem::replace(&mut task.told, task.last_event);
        if task.watchers.is_empty() {
            return;
        }
        // Also while the log's progress is being worked off: what was held may still be to come.
        let behind = held.is_some_and(|at| at <= task.told_when_synced);
        let level =
            if behind || task.told_when_synced > synced { Durability::Synced } else { level };
        if level == Durability::Synced {
            task.told_when_synced = sequence;
        }
        // One command may make more events than are kept.
        let news = updates(&task.events, task.last_event, None, told);
        let watchers = task.watchers.clone();
        let id = self.task_sent(&self.tasks.rows[key]).id;
        for session in watchers {
            let Some(connection) = self.sessions[session].connection else { continue };
            for update in &news {
                let item = SessionItem::Task { task: id, update: update.clone() };
                self.hold_item(now, level, (connection, item), out);
            }
            if ended {
                self.sessions[session].watching.retain(|&other| other != key);
            }
        }
        if ended {
            self.tasks.rows[key].more_mut().watchers.clear();
        }
    }

    /// Tells a task's watchers how far it is: at once, for it is of no use later.
    pub(crate) fn tell_progress(&mut self, key: TaskKey, progress: &Progress, out: &mut Output) {
        let task = &self.tasks.rows[key];
        let id = self.task_sent(task).id;
        let connections =
            task.more().watchers.iter().filter_map(|&who| self.sessions[who].connection);
        for connection in connections.collect::<Vec<ConnectionKey>>() {
            let update = TaskUpdate::Progress(progress.clone());
            let item = SessionItem::Task { task: id, update };
            out.effects.push(Effect::Item { connection, item });
        }
    }
}

/// Whether a task has an event of a number, behind which somebody wants to go on.
fn check_number(id: MessageId, after: u64, last: u64) -> Result<(), Refusal> {
    if after > last {
        let message = format!("task {id} has {last} events, none can be after number {after}");
        return Err(Refusal::new(RefusalCode::Invalid, message));
    }
    Ok(())
}

/// There is no such task.
pub(crate) fn unknown_task(id: MessageId) -> Refusal {
    let message = format!("task {id} is unknown: it never was, or it ended and was forgotten");
    Refusal::new(RefusalCode::NotFound, message)
}
