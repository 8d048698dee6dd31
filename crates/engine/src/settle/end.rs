//! The end of an entry.

use super::dead_letters::Most;
use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::gate::Held;
use crate::now::Now;
use crate::queue::{Entry, Owner, Place};
use crate::record::{End, Record};
use crate::spill::Sent;
use crate::table::{AgentKey, EntryKey, GatherKey, InboxKey, TaskKey, TenantKey};
use std::mem;
use trunkline_types::session::{Reply, SessionItem};
use trunkline_types::{
    DeadLetter, Failure, FailureCode, MessageId, Payload, Sequence, SessionId, WallTime,
};

/// What remains to be told after an entry ended.
#[derive(Debug)]
pub(crate) struct Ended {
    message: MessageId,
    inbox: InboxKey,
    task: Option<TaskKey>,
    gather: Option<GatherKey>,
    sender: SessionId,
    /// Who held it last.
    agent: Option<AgentKey>,
    /// The entry that was blocked by it.
    next: Option<EntryKey>,
}

impl Engine {
    /// Ends an entry: records it, counts it, tells whoever waits for it.
    pub(crate) fn end_entry(&mut self, now: Now, key: EntryKey, end: End, out: &mut Output) {
        let entry = &self.entries[key];
        let (level, holder) = (entry.durability, self.holder(key));
        let is_held = entry.place == Place::Leased;
        if entry.is_logged()
            && !(self.planted(Defect::UnrecordedSettlement) && self.rng.u8(..) < 64)
        {
            let entry = self.entries[key].id;
            self.emit(Record::Settled { entry, end: end.clone(), at: now.wall }, out);
        }
        let reply = self.entries[key].body.options().reply.then(|| result(&end));
        let called_off = match &end {
            End::Expired => Some("its time to live has ended".to_owned()),
            End::Canceled { reason } => Some(format!("canceled: {reason}")),
            _ => None,
        };
        let untold = self.planted(Defect::RestGoesOn);
        let called_off = called_off.filter(|reason| !untold || !reason.contains("enough answers"));
        if let Some(reason) = called_off
            && let Some(lease) = self.lease(key).filter(|_| is_held)
            && let Some(connection) = self.sessions[lease.holder].connection
        {
            let token = lease.token;
            let item = SessionItem::Cancel { token, reason };
            self.hold_item(now, level, (connection, item), out);
        }
        let Ended { message, inbox, task, gather, sender, agent, next } =
            self.apply_ended(key, end, now.wall);
        if let Some(task) = task {
            self.tell_task_watchers(now, task, level, out);
        }
        if let (Some(gather), Some(result)) = (gather, &reply) {
            self.gathered_part(now, gather, inbox, result.clone(), out);
        } else if let Some(result) = reply {
            let request = message;
            let agent = agent.map(|agent| self.agents[agent].id.clone());
            let reply = SessionItem::Reply(Reply { request, agent, result });
            let tenant = self.inboxes[inbox].tenant;
            if level.is_logged() {
                self.hold(now, level, Held::Reply(tenant, sender, Box::new(reply)), out);
            } else {
                self.tell_reply(tenant, sender, reply, out);
            }
        }
        self.let_go(level, next);
        self.dispatch_holder(now, holder, out);
    }

    /// The state after an entry ended; shared by live commands and replay.
    pub(crate) fn apply_ended(&mut self, key: EntryKey, end: End, at: WallTime) -> Ended {
        self.forget_past(at);
        self.take_out(key);
        self.clear_timer(key);
        let next = self.key_leave(key);
        let agent = self.forget_token(key);
        let mut entry = self.entries.remove(key);
        if entry.is_logged() {
            self.uncount_payload(&entry);
        }
        self.note_ended(key, &entry, agent, &end);
        let uncounted = match end {
            End::Expired => self.planted(Defect::UncountedExpiry),
            End::Dropped => self.planted(Defect::UntoldDrop),
            _ => false,
        };
        let address = matches!(end, End::DeadLettered { .. }).then(|| self.address(entry.inbox));
        let inbox = &mut self.inboxes[entry.inbox];
        inbox.places[entry.place as usize] -= 1;
        if !entry.is_logged() {
            inbox.ephemeral -= 1;
            inbox.ephemeral_bytes -= entry.size();
        } else if inbox.owner == Owner::Pending {
            self.tenants[inbox.tenant].pending.logged_bytes -= entry.size();
        }
        let counters = inbox.counters_of(entry.is_logged());
        let counter = match &end {
            End::Completed { .. } | End::Failed { .. } | End::Rejected { .. } => {
                &mut counters.settled
            }
            End::Expired => &mut counters.expired,
            End::Dropped => &mut counters.dropped,
            End::Canceled { .. } => &mut counters.canceled,
            End::DeadLettered { .. } => &mut counters.dead_lettered,
        };
        *counter += u64::from(!uncounted);
        let tenant = inbox.tenant;
        if let End::DeadLettered { reason, note } = &end {
            entry.add_note(note.clone());
            let sent = entry.sent().cloned();
            // Nothing is read while records are replayed: it is a stub until the start.
            let publish = if self.replaying {
                sent.stub()
            } else {
                let whole = self.whole_or_lost(entry.base, &sent);
                entry.body = Sent::whole(whole.clone()).body;
                whole
            };
            let letter = DeadLetter {
                publish,
                inbox: address.flatten().expect("bare subscriptions have no entries"),
                reason: reason.clone(),
                at,
                accepted_at: entry.accepted_at,
                attempts: entry
                    .past
                    .as_mut()
                    .map(|past| mem::take(&mut past.notes))
                    .unwrap_or_default(),
            };
            let base = entry.is_logged().then_some(entry.base);
            self.keep_letter(tenant, letter, base, self.sequence);
        }
        if let Some(task) = entry.task.get() {
            self.task_ended(task, &entry, end, at);
        }
        let (task, gather) = (entry.task.get(), entry.gather());
        let Entry { message, inbox, sender, .. } = entry;
        Ended { message, inbox, task, gather, sender, agent, next }
    }

    /// Keeps a dead letter that died by the record at a place, unless the index has it, and hands it
    /// over to that. With one that is in the log comes its base.
    pub(crate) fn keep_letter(
        &mut self,
        tenant: TenantKey,
        letter: DeadLetter,
        base: Option<Sequence>,
        place: Sequence,
    ) {
        if base.is_some() && self.has_letters(place) {
            return;
        }
        let number = self.dead_letters.push(tenant, letter, base, place);
        if base.is_some() {
            self.hand_over_letter(number);
        }
        self.forget_letters();
    }

    /// Keeps no more dead letters in memory than the bounds allow.
    pub(crate) fn forget_letters(&mut self) {
        let config = &self.config;
        let more = usize::from(self.planted(Defect::IgnoredLetterBound));
        let counted = u64::from(!self.planted(Defect::UncountedLetter));
        let most = Most { letters: config.dead_letters + more, bytes: config.dead_letter_bytes };
        let waits = config.letter_index.is_some() && self.index_follows();
        for is_logged in [true, false] {
            if is_logged && waits {
                continue;
            }
            for owner in self.dead_letters.forget_beyond(is_logged, most) {
                self.tenants[owner].tally.letters_forgotten += counted;
            }
        }
    }
}

/// What the sender of a request is told.
fn result(end: &End) -> Result<Payload, Failure> {
    let (code, reason) = match end {
        End::Completed { reply } => return Ok(reply.clone().unwrap_or_default()),
        End::Failed { reason } => (FailureCode::Failed, reason.clone()),
        End::Rejected { reason } => (FailureCode::Rejected, reason.clone()),
        End::Dropped => (FailureCode::Lost, "it was dropped for a newer event".to_owned()),
        End::Expired => (FailureCode::Expired, "its time to live has ended".to_owned()),
        End::Canceled { reason } => (FailureCode::Canceled, reason.clone()),
        End::DeadLettered { reason, .. } => (FailureCode::DeadLettered, reason.clone()),
    };
    Err(Failure { code, reason })
}
