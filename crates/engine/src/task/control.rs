//! What holders say while they work, and what callers do about their tasks.

use crate::effect::Output;
use crate::engine::Engine;
use crate::gate::Held;
use crate::now::Now;
use crate::queue::{AT_ONCE, Moment, Place, Standing};
use crate::record::Record;
use crate::table::{EntryKey, SessionKey};
use crate::task::unknown_task;
use trunkline_types::session::{Update, UpdateBody};
use trunkline_types::{
    AgentId, Durability, MessageId, Payload, Refusal, RefusalCode, TaskState, WallTime,
};

impl Engine {
    /// Takes in what the holder of a delivery says while it works. Returns how durable it must
    /// be before it is confirmed.
    pub(crate) fn update(
        &mut self,
        now: Now,
        session: SessionKey,
        operation: u64,
        update: Update,
        out: &mut Output,
    ) -> Result<Durability, Refusal> {
        let key = self.held_entry(session, update.token)?;
        self.was_received(key);
        let entry = &self.entries[key];
        let (id, logged, task) = (entry.id, entry.is_logged(), entry.task.get());
        let of_task = |what: &str| {
            let message = format!("only a task has {what}; this is a plain envelope");
            task.ok_or_else(|| Refusal::new(RefusalCode::Invalid, message))
        };
        match update.body {
            UpdateBody::Started => {
                let leased = entry.place == Place::Leased;
                if let Some(lease) = self.lease_mut(key).filter(|_| leased)
                    && !std::mem::replace(&mut lease.begun, true)
                    && logged
                {
                    self.emit(Record::Begun { entry: id }, out);
                }
                Ok(Durability::Ephemeral)
            }
            UpdateBody::Progress(progress) => {
                let task = of_task("progress")?;
                let (size, limit) = (progress.text.len(), self.config.limits.reason_bytes);
                if size > limit {
                    let message =
                        format!("the progress text has {size} bytes, the limit is {limit}");
                    return Err(Refusal::new(RefusalCode::TooLarge, message));
                }
                if progress.percent > 100 {
                    let message = format!("progress is {} %, the limit is 100", progress.percent);
                    return Err(Refusal::new(RefusalCode::Invalid, message));
                }
                self.tell_progress(task, &progress, out);
                self.tasks.rows[task].more_mut().progress = Some(progress);
                Ok(Durability::Ephemeral)
            }
            UpdateBody::Artifact(chunk) => {
                let task = of_task("artifacts")?;
                self.check_payload("the artifact chunk", Some(&chunk.payload))?;
                let (size, limit) = (chunk.name.len(), self.config.limits.header_bytes);
                if size > limit {
                    let message =
                        format!("the artifact name has {size} bytes, the limit is {limit}");
                    return Err(Refusal::new(RefusalCode::TooLarge, message));
                }
                let level = if logged { Durability::Buffered } else { Durability::Ephemeral };
                if logged {
                    self.check_log()?;
                    let session = self.sessions[session].id;
                    let (chunk, at) = (chunk.clone(), now.wall);
                    self.emit(Record::Artifact { entry: id, session, operation, chunk, at }, out);
                }
                self.task_artifact(task, chunk, now.wall);
                // Watchers are told only what no crash can take back, or the number of a lost
                // chunk would come to mean another event to those who had seen it.
                let told = if logged { Durability::Synced } else { Durability::Ephemeral };
                self.tell_task_watchers(now, task, told, out);
                Ok(level)
            }
        }
    }

    /// Answers what a paused task waits for.
    pub(crate) fn continue_task(
        &mut self,
        now: Now,
        session: SessionKey,
        operation: u64,
        id: MessageId,
        payload: Payload,
        out: &mut Output,
    ) -> Result<Durability, Refusal> {
        self.check_payload("the message", Some(&payload))?;
        let key = self.open_entry(session, id)?;
        let entry = &self.entries[key];
        if entry.place != Place::Paused {
            let message = format!("task {id} does not wait for its caller");
            return Err(Refusal::new(RefusalCode::WrongState, message));
        }
        let (entry_id, level, logged) = (entry.id, entry.durability, entry.is_logged());
        self.check_messages(key, &payload)?;
        if logged {
            self.check_log()?;
        }
        let row = &self.sessions[session];
        let from = row.agent.map(|agent| self.agents[agent].id.clone());
        if logged {
            let record = Record::Continued {
                entry: entry_id,
                payload: payload.clone(),
                from: from.clone(),
                session: row.id,
                operation,
                at: now.wall,
            };
            self.emit(record, out);
        }
        self.apply_continued(key, payload, from, now.wall);
        self.tell_watchers(now, key, out);
        if let Some(staged) = self.staged(key) {
            self.hold(now, level, Held::Continued(staged), out);
        }
        Ok(level)
    }

    /// The state after a paused task was continued; shared by live commands and replay.
    pub(crate) fn apply_continued(
        &mut self,
        key: EntryKey,
        payload: Payload,
        from: Option<AgentId>,
        at: WallTime,
    ) {
        self.put(key, Place::Staged);
        let entry = &mut self.entries[key];
        entry.standing = Standing::Rejoined;
        self.key_rejoin(key);
        let entry = &mut self.entries[key];
        entry.set_due(AT_ONCE);
        entry.set_delay_over(Moment::NONE);
        entry.past.get_or_insert_default().messages.push(payload.clone());
        if let Some(task) = entry.task.get() {
            self.task_continued(task, payload, from, at);
        }
    }

    /// All messages travel with the next delivery, so there must not be too much of them.
    fn check_messages(&self, key: EntryKey, payload: &Payload) -> Result<(), Refusal> {
        let (most, most_bytes) = (self.config.task_messages, self.config.task_message_bytes);
        let messages = self.entries[key].messages();
        let bytes = messages.iter().map(|message| message.data.len()).sum::<usize>();
        if messages.len() >= most || bytes + payload.data.len() > most_bytes {
            let message = format!(
                "the task has {} messages of {bytes} bytes, the limit is {most} of {most_bytes}; \
                 send what comes next as a new task",
                messages.len()
            );
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        Ok(())
    }

    fn open_entry(&self, session: SessionKey, id: MessageId) -> Result<EntryKey, Refusal> {
        let tenant = self.sessions[session].tenant;
        let over = |state: TaskState| {
            let message = format!("task {id} is {state} already, which is final");
            Refusal::new(RefusalCode::WrongState, message)
        };
        let Some(task) = self.tasks.find(tenant, id) else {
            let past = self.past_task(tenant, id)?;
            return Err(past.map_or_else(|| unknown_task(id), |past| over(past.task.state)));
        };
        let task = &self.tasks.rows[task];
        task.entry.get().ok_or_else(|| over(task.state))
    }
}
