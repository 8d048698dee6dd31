//! What a holder says about the end of its delivery.

use super::give_back::GiveBack;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::queue::{AT_ONCE, Place};
use crate::record::{End, Record};
use crate::table::{EntryKey, SessionKey};
use trunkline_types::{
    AttemptNote, Durability, Outcome, PauseReason, Payload, Refusal, RefusalCode, Settle, Span,
    Token, WallTime,
};

impl Engine {
    /// Settles a delivery. Returns how durable the settlement must be before it is confirmed.
    pub(crate) fn settle(
        &mut self,
        now: Now,
        session: SessionKey,
        settle: Settle,
        out: &mut Output,
    ) -> Result<Durability, Refusal> {
        let Settle { token, outcome } = settle;
        let key = match self.held_entry(session, token) {
            // Sent again after a restart, because its confirmation was lost with the broker.
            Err(_) if self.used_tokens.contains(token, self.sessions[session].agent, &outcome) => {
                return Ok(Durability::Ephemeral);
            }
            held => held?,
        };
        self.was_received(key);
        self.check_outcome(key, &outcome)?;
        match outcome {
            Outcome::Complete { .. } => self.note_outcome(now, key, true, out),
            Outcome::Fail { .. } | Outcome::Retry { .. } | Outcome::DeadLetter { .. } => {
                self.note_outcome(now, key, false, out);
            }
            Outcome::Reject { .. } | Outcome::Release | Outcome::Pause { .. } => {}
        }
        let entry = &self.entries[key];
        let level = entry.durability;
        match outcome {
            Outcome::Complete { reply } => self.end_entry(now, key, End::Completed { reply }, out),
            Outcome::Fail { reason } => self.end_entry(now, key, End::Failed { reason }, out),
            Outcome::Reject { reason } => self.end_entry(now, key, End::Rejected { reason }, out),
            Outcome::DeadLetter { reason } => {
                let note = Some(self.attempt_note(key, entry.attempts + 1, now.wall, &reason));
                self.end_entry(now, key, End::DeadLettered { reason, note }, out);
            }
            // The lease had run out and the entry is back in its inbox already.
            Outcome::Retry { .. } | Outcome::Release if entry.place != Place::Leased => {}
            Outcome::Retry { reason, delay } => self.retry(now, key, reason, delay, out),
            Outcome::Release => {
                let (attempts, losses) = (entry.attempts, entry.losses());
                let back =
                    GiveBack { attempts, losses, due: AT_ONCE, token_stays: false, note: None };
                self.give_back(now, key, back, out);
            }
            Outcome::Pause { reason, message } => self.pause(now, key, reason, message, out),
        }
        Ok(level)
    }

    /// The entry that a token of this session's agent speaks for.
    pub(crate) fn held_entry(
        &self,
        session: SessionKey,
        token: Token,
    ) -> Result<EntryKey, Refusal> {
        let agent = self.sessions[session].agent;
        let found = self.tokens.get(&token).copied().filter(|&key| {
            let lease = self.entries.get(key).and_then(|entry| self.lease_of(entry));
            lease.is_some_and(|lease| {
                Some(lease.agent) == agent
                    && (lease.token == token || self.planted(crate::defect::Defect::SkippedFence))
            })
        });
        found.ok_or_else(|| {
            let message = format!(
                "token {token} is not the latest of any delivery of this agent: it has ended, or \
                 somebody else has it"
            );
            Refusal::new(RefusalCode::StaleToken, message)
        })
    }

    fn check_outcome(&self, key: EntryKey, outcome: &Outcome) -> Result<(), Refusal> {
        let limits = &self.config.limits;
        let reason = outcome.reason().map_or(0, str::len);
        if reason > limits.reason_bytes {
            let limit = limits.reason_bytes;
            let message = format!("the reason has {reason} bytes, the limit is {limit}");
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        let payload = match outcome {
            Outcome::Complete { reply } => reply.as_ref(),
            Outcome::Pause { message, .. } => message.as_ref(),
            _ => None,
        };
        self.check_payload("the reply", payload)?;
        match outcome {
            Outcome::Retry { delay: Some(delay), .. } if *delay > limits.longest_span => {
                let (delay, limit) = (Span(*delay), Span(limits.longest_span));
                let message = format!("the delay is {delay}, the limit is {limit}");
                Err(Refusal::new(RefusalCode::TooLarge, message))
            }
            Outcome::Pause { .. } if self.entries[key].task.is_none() => {
                let message = "only a task can wait for its caller; this is a plain envelope";
                Err(Refusal::new(RefusalCode::Invalid, message))
            }
            _ => Ok(()),
        }
    }

    /// Checks the size of a payload that is no envelope's.
    pub(crate) fn check_payload(
        &self,
        what: &str,
        payload: Option<&Payload>,
    ) -> Result<(), Refusal> {
        let limits = &self.config.limits;
        let (data, content_type) =
            payload.map_or((0, 0), |payload| (payload.data.len(), payload.content_type.len()));
        if data > limits.payload_bytes {
            let limit = limits.payload_bytes;
            let message = format!("{what} has {data} bytes, the limit is {limit}");
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        if content_type > limits.header_bytes {
            let limit = limits.header_bytes;
            let message =
                format!("the content type has {content_type} bytes, the limit is {limit}");
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        Ok(())
    }

    /// What is kept of an attempt that did not succeed.
    pub(crate) fn attempt_note(
        &self,
        key: EntryKey,
        attempt: u32,
        at: WallTime,
        reason: &str,
    ) -> AttemptNote {
        let agent = self.lease(key).map(|lease| self.agents[lease.agent].id.clone());
        AttemptNote { attempt, agent, at, reason: reason.to_owned() }
    }

    fn pause(
        &mut self,
        now: Now,
        key: EntryKey,
        reason: PauseReason,
        message: Option<Payload>,
        out: &mut Output,
    ) {
        let entry = &self.entries[key];
        let (level, holder) = (entry.durability, self.holder(key));
        if entry.is_logged() {
            let record =
                Record::Paused { entry: entry.id, reason, message: message.clone(), at: now.wall };
            self.emit(record, out);
        }
        let next = self.apply_paused(key, reason, message, now.wall);
        self.tell_watchers(now, key, out);
        self.let_go(level, next);
        self.dispatch_holder(now, holder, out);
    }

    /// The state after a pause; shared by live commands and replay.
    pub(crate) fn apply_paused(
        &mut self,
        key: EntryKey,
        reason: PauseReason,
        message: Option<Payload>,
        at: WallTime,
    ) -> Option<EntryKey> {
        let agent = self.lease(key).map(|lease| self.agents[lease.agent].id.clone());
        self.unqueue(key);
        self.put(key, Place::Paused);
        self.forget_token(key);
        let next = self.key_leave(key);
        if let Some(task) = self.entries[key].task.get() {
            self.task_paused(task, reason, message, agent, at);
        }
        next
    }
}
