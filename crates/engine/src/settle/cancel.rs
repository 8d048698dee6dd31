//! Calling a message off, whatever its kind: every copy that has not ended.

use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::record::End;
use crate::table::SessionKey;
use trunkline_types::{CopyState, Durability, MessageId, Refusal, RefusalCode, TaskState};

impl Engine {
    /// Calls a message off. Returns how durable that must be before it is confirmed.
    pub(crate) fn cancel(
        &mut self,
        now: Now,
        session: SessionKey,
        id: MessageId,
        reason: &str,
        out: &mut Output,
    ) -> Result<Durability, Refusal> {
        self.check_reason(reason)?;
        let tenant = self.sessions[session].tenant;
        let open = self.open_copies(tenant, id);
        if open.is_empty() {
            return self.was_canceled(session, id);
        }
        // The end of one copy makes room for other work, and what is found to have expired then
        // may be another copy.
        let open = open.into_iter().map(|key| (key, self.entries[key].id));
        let open: Vec<_> = open.collect();
        let mut level = Durability::Ephemeral;
        for (key, entry) in open {
            let Some(copy) = self.entries.get(key).filter(|copy| copy.id == entry) else {
                continue;
            };
            level = level.max(copy.durability);
            self.end_entry(now, key, End::Canceled { reason: reason.to_owned() }, out);
        }
        Ok(level)
    }

    /// Checks the size of the reason that is told to holders.
    pub(super) fn check_reason(&self, reason: &str) -> Result<(), Refusal> {
        let (size, limit) = (reason.len(), self.config.limits.reason_bytes);
        if size > limit {
            let message = format!("the reason has {size} bytes, the limit is {limit}");
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        Ok(())
    }

    /// Whether a message without open copies was called off: said again, perhaps because the
    /// answer was lost with a broker, that is confirmed.
    pub(super) fn was_canceled(
        &self,
        session: SessionKey,
        id: MessageId,
    ) -> Result<Durability, Refusal> {
        let tenant = self.sessions[session].tenant;
        let wrong = |what: &str, state: &str| {
            let message = format!("{what} {id} is {state} already, which is final");
            Err(Refusal::new(RefusalCode::WrongState, message))
        };
        let ended = self.messages.ended(tenant, id);
        let state = match self.tasks.find(tenant, id) {
            Some(task) => Some(self.tasks.rows[task].state),
            None if ended.is_empty() => {
                let past = self.past_task(tenant, id)?.map(|past| past.task.state);
                let called_off = past.is_some() && self.planted(Defect::PastCalledOff);
                if called_off { Some(TaskState::Canceled) } else { past }
            }
            None => None,
        };
        match state {
            Some(TaskState::Canceled) => return Ok(Durability::Synced),
            Some(state) => return wrong("task", state.as_str()),
            None => {}
        }
        match ended.last() {
            None => Err(unknown_message(id)),
            Some(_) if ended.iter().any(|copy| copy.state == CopyState::Canceled) => {
                Ok(Durability::Synced)
            }
            Some(copy) => wrong("message", copy.state.as_str()),
        }
    }
}

/// There is no such message.
pub(crate) fn unknown_message(id: MessageId) -> Refusal {
    let message = format!(
        "message {id} is unknown: it never was, it went only to subscriptions of sessions, or it \
         ended and was forgotten"
    );
    Refusal::new(RefusalCode::NotFound, message)
}
