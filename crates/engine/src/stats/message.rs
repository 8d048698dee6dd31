//! Messages by their ids: where their copies are, and how the latest of them ended.

use crate::engine::Engine;
use crate::queue::{EndedCopy, Entry, Owner, Place};
use crate::record::End;
use crate::settle::unknown_message;
use crate::spill::Body;
use crate::table::{AgentKey, EntryKey, TaskKey, TenantKey};
use trunkline_types::{CopyState, CopyStatus, MessageId, MessageStatus, Refusal, WallTime};

impl Engine {
    /// A tenant's message as it stands.
    pub(crate) fn message_status(
        &self,
        tenant: TenantKey,
        id: MessageId,
    ) -> Result<Box<MessageStatus>, Refusal> {
        let open = self.open_copies(tenant, id);
        let ended = self.messages.ended(tenant, id);
        let task = self.tasks.find(tenant, id).filter(|_| open.is_empty());
        let nothing = open.is_empty() && ended.is_empty() && task.is_none();
        let past = if nothing { self.past_task(tenant, id)? } else { None };
        if nothing && past.is_none() {
            return Err(unknown_message(id));
        }
        let mut status = MessageStatus {
            id,
            kind: None,
            destination: None,
            accepted_at: None,
            copies: Vec::new(),
        };
        for copy in ended {
            status.copies.push(self.ended_status(&copy));
            status.kind = Some(copy.kind);
            status.accepted_at = Some(copy.accepted_at);
            status.destination = copy.destination.map(|it| *it).or(status.destination.take());
        }
        for key in open {
            let entry = &self.entries[key];
            describe(&mut status, &entry.body, entry.accepted_at);
            status.copies.push(self.open_status(entry));
        }
        if let Some(key) = task {
            let task = &self.tasks.rows[key];
            describe(&mut status, self.task_sent(task).body, task.created_at);
            status.copies.extend(self.task_status(key));
        }
        if let Some(past) = past {
            status.kind = Some(past.kind);
            status.destination = Some(past.task.destination.clone());
            status.accepted_at = Some(past.task.created_at);
            status.copies.extend(past.copy_status());
        }
        status.copies.sort_by(|a, b| a.inbox.cmp(&b.inbox));
        Ok(Box::new(status))
    }

    /// The open copy of a message that the table of tasks finds.
    pub(crate) fn task_copy(&self, id: MessageId) -> Option<EntryKey> {
        let task = self.tasks.ids.get(&id)?;
        self.tasks.rows[*task].entry.get().filter(|&key| !self.entries[key].listed)
    }

    /// Another task is about to have an id, which must never happen live: the copy that was found
    /// by it goes into the index. So do all but the last of the copies that a task has.
    pub(crate) fn yield_id(&mut self, id: MessageId) {
        if let Some(key) = self.task_copy(id) {
            self.entries[key].listed = true;
            self.messages.add(id, key);
        }
    }

    /// Takes a copy out of the index that was taken out.
    pub(crate) fn unlist_copy(&mut self, key: EntryKey, entry: &Entry) {
        if entry.listed {
            self.messages.remove(entry.message, key);
        }
    }

    /// A tenant's open copies of a message.
    pub(crate) fn open_copies(&self, tenant: TenantKey, id: MessageId) -> Vec<EntryKey> {
        let mut open = self.messages.open(id);
        open.extend(self.task_copy(id));
        open.retain(|&key| self.inboxes[self.entries[key].inbox].tenant == tenant);
        open
    }

    fn open_status(&self, entry: &Entry) -> CopyStatus {
        let inbox = &self.inboxes[entry.inbox];
        let leased = entry.place == Place::Leased;
        let state = match entry.place {
            Place::Staged => CopyState::Staged,
            Place::Delayed => CopyState::Delayed,
            Place::Blocked | Place::Ready if inbox.servers.is_empty() => CopyState::Parked,
            Place::Blocked | Place::Ready => CopyState::Waiting,
            Place::Paused => CopyState::Paused,
            Place::Leased => CopyState::Leased,
        };
        let holder = self.lease_of(entry).filter(|_| leased).map(|lease| lease.agent);
        CopyStatus {
            inbox: self.address(entry.inbox),
            state,
            attempts: entry.attempts + u32::from(leased),
            agent: holder.map(|agent| self.agents[agent].id.clone()),
        }
    }

    fn ended_status(&self, copy: &EndedCopy) -> CopyStatus {
        let agent = copy.agent.and_then(|agent| self.agents.get(agent));
        CopyStatus {
            inbox: self.address(copy.inbox),
            state: copy.state,
            attempts: copy.attempts,
            agent: agent.map(|agent| agent.id.clone()),
        }
    }

    fn task_status(&self, key: TaskKey) -> Option<CopyStatus> {
        let task = &self.tasks.rows[key];
        let (inbox, state) = task.more().ended?;
        let (attempts, agent) = (task.more().deliveries, task.more().agent.clone());
        Some(CopyStatus { inbox: self.address(inbox), state, attempts, agent })
    }

    /// Remembers how an entry ended that was just taken out: drops of it are told to whoever
    /// takes from its inbox, whoever waits for its room may have it, and who asks for the message
    /// later is answered. Tasks are remembered in their own table.
    pub(crate) fn note_ended(
        &mut self,
        key: EntryKey,
        entry: &Entry,
        agent: Option<AgentKey>,
        end: &End,
    ) {
        self.unlist_copy(key, entry);
        self.room_made(entry.inbox);
        if *end == End::Dropped {
            self.note_dropped(entry.inbox, entry.number);
        }
        if entry.task.is_some() {
            return;
        }
        let tried = match end {
            End::Completed { .. } | End::Failed { .. } | End::Rejected { .. } => 1,
            End::DeadLettered { note, .. } => u32::from(note.is_some()),
            End::Expired | End::Canceled { .. } | End::Dropped => 0,
        };
        let row = &self.inboxes[entry.inbox];
        let waited = row.owner == Owner::Pending;
        let copy = EndedCopy {
            id: entry.message,
            tenant: row.tenant,
            kind: entry.body.kind(),
            accepted_at: entry.accepted_at,
            destination: waited.then(|| Box::new(entry.body.destination().clone())),
            inbox: entry.inbox,
            state: state_of(end),
            attempts: entry.attempts + tried,
            agent,
        };
        self.messages.remember(copy, self.config.ended_messages);
    }

    /// Checks that every open copy is found by its message's id and nothing else is, and that
    /// every event that waits for somebody is found by whoever comes.
    pub(crate) fn check_messages_index(&self) -> Result<(), String> {
        let (mut parked, mut listed) = (0, 0);
        for (key, entry) in self.entries.iter() {
            let id = entry.message;
            listed += usize::from(entry.listed);
            let by_task = self.task_copy(id) == Some(key);
            if self.messages.is_open(id, key) != entry.listed || by_task == entry.listed {
                return Err(format!("the copy {:?} of message {id} is not in the index", entry.id));
            }
            let waits = entry.place == Place::Ready;
            parked += usize::from(waits && self.inboxes[entry.inbox].owner == Owner::Pending);
        }
        let indexed = self.messages.open_count();
        if indexed != listed {
            return Err(format!("the index has {indexed} open copies, but there are {listed}"));
        }
        let known: usize = self.tenants.iter().map(|(_, tenant)| tenant.pending.parked()).sum();
        if known != parked {
            return Err(format!("{parked} events wait for somebody, but {known} are indexed"));
        }
        Ok(())
    }
}

fn describe(status: &mut MessageStatus, body: &Body, accepted_at: WallTime) {
    status.kind = Some(body.kind());
    status.destination = Some(body.destination().clone());
    status.accepted_at = Some(accepted_at);
}

pub(crate) fn state_of(end: &End) -> CopyState {
    match end {
        End::Completed { .. } => CopyState::Completed,
        End::Failed { .. } => CopyState::Failed,
        End::Rejected { .. } => CopyState::Rejected,
        End::Expired => CopyState::Expired,
        End::Canceled { .. } => CopyState::Canceled,
        End::DeadLettered { .. } => CopyState::DeadLettered,
        End::Dropped => CopyState::Dropped,
    }
}
