//! Reading a payload then and there, for those who look at it and do not deliver it.

use super::body::Sent;
use super::stub::{is_stub, lost};
use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::record::End;
use crate::table::{EntryKey, TaskKey};
use std::sync::Arc;
use trunkline_types::{MessageId, Publish, Refusal, RefusalCode, Sequence};

impl Engine {
    /// What was published, whole, with its record's place.
    fn read_stub(&self, at: Sequence, stub: &Arc<Publish>) -> Result<Arc<Publish>, String> {
        if !is_stub(stub) {
            return Ok(stub.clone());
        }
        let store = self.config.payloads.as_ref().ok_or("there is no log")?;
        checked((stub.envelope.id, stub.envelope.payload.data.len()), store.read(at))
    }

    /// The same, or what is left if it cannot be read.
    pub(crate) fn stub_or_lost(&self, at: Sequence, stub: &Arc<Publish>) -> Arc<Publish> {
        self.read_stub(at, stub).unwrap_or_else(|why| lost(stub, &why))
    }

    /// What was published, whole, with its record's place, or what is left if it cannot be read.
    pub(crate) fn whole_or_lost(&self, at: Sequence, sent: &Sent) -> Arc<Publish> {
        self.stub_or_lost(at, &sent.stub())
    }

    /// What a task was sent as, whole.
    ///
    /// # Errors
    /// A refusal that names the task and says why it cannot be read.
    pub(crate) fn whole_task(&self, key: TaskKey) -> Result<Arc<Publish>, Refusal> {
        let task = &self.tasks.rows[key];
        let at = task.entry.get().map_or(task.more().base, |entry| self.entries[entry].base);
        let sent = self.task_sent(task).cloned();
        self.read_stub(at, &sent.stub()).map_err(|why| {
            let message = format!(
                "the payload of task {} cannot be read: {why}; ask for it without its history",
                sent.id
            );
            Refusal::new(RefusalCode::StoreFailed, message)
        })
    }

    /// Reads the payload of an entry that is to be said again.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn recall_payload(&mut self, key: EntryKey) -> Result<(), String> {
        let entry = &self.entries[key];
        if entry.is_away() {
            let whole = self.read_stub(entry.base, &entry.sent().cloned().stub())?;
            self.unspill(key, whole);
            self.keep_until_written(key);
            // It may be what its lane waited for.
            self.stirred.push_back(self.entries[key].inbox);
        }
        Ok(())
    }

    /// Reads the payload of an ended task that is to be said again.
    pub(crate) fn recall_ended(&mut self, key: TaskKey) {
        let more = self.tasks.rows[key].more();
        if let Some(sent) = more.sent.as_ref().filter(|sent| sent.body.is_away()) {
            let whole = self.stub_or_lost(more.base, &sent.stub());
            let task = &mut self.tasks.rows[key];
            let before = task.bytes();
            task.more_mut().sent = Some(Sent::whole(whole));
            let bytes = &mut self.tasks.ended[0].bytes;
            *bytes = *bytes - before + task.bytes();
        }
    }

    /// Reads the payloads of the dead letters that a replay has made.
    pub(crate) fn recall_letters(&mut self) {
        for (number, base, stub) in self.dead_letters.published(is_stub) {
            let whole = self.stub_or_lost(base, &stub);
            self.dead_letters.replace(number, whole);
        }
    }

    /// An entry whose payload cannot be read is of no use to anybody.
    pub(crate) fn end_unreadable(&mut self, now: Now, key: EntryKey, why: &str, out: &mut Output) {
        let reason = format!("its payload cannot be read from the log: {why}");
        let end = End::DeadLettered { reason, note: None };
        if self.planted(Defect::SilentLoss) {
            self.apply_ended(key, end, now.wall);
            return;
        }
        self.end_entry(now, key, end, out);
    }
}

/// What was read, if it is what was wanted: of an id, with so many bytes of payload.
pub(super) fn checked(
    (id, bytes): (MessageId, usize),
    read: Result<Arc<Publish>, String>,
) -> Result<Arc<Publish>, String> {
    let whole = read?;
    let found = &whole.envelope;
    if found.id != id || found.payload.data.len() != bytes {
        return Err(format!("the record is of message {}", found.id));
    }
    Ok(whole)
}
