//! What becomes of dead letters: sent again as new messages, or deleted.

use crate::admission::{Answered, Cause, Origin};
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::record::Record;
use crate::spill::{is_lost, replace_lost};
use crate::table::SessionKey;
use std::sync::Arc;
use trunkline_types::session::{Accepted, LetterAddress, Redrive};
use trunkline_types::{
    Absent, DeadLetter, Destination, Durability, InboxAddress, Publish, Refusal, RefusalCode,
    Sequence,
};

impl Engine {
    /// Sends a dead letter again. The letter is gone in the moment in which the new message is
    /// accepted.
    pub(crate) fn redrive(
        &mut self,
        now: Now,
        session: SessionKey,
        operation: u64,
        redrive: Redrive,
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        let row = &self.sessions[session];
        let (tenant, sender, id) = (row.tenant, row.id, redrive.id);
        self.forget_past(now.wall);
        let (which, inbox) = self.find_letter(now.wall, tenant, &redrive.letter)?;
        let letter = self.read_letter(which, &redrive.letter)?;
        let old = redrive.letter.id;
        let publish = Arc::new(redriven(&letter, redrive)?);
        publish.check(&self.config.limits)?;
        self.check_new_id(&publish)?;
        let cause = Cause::Letter { letter: old, inbox: inbox.clone() };
        let origin = Origin {
            tenant,
            session: sender,
            operation,
            at: now.wall,
            sender: None,
            in_turn: false,
            cause,
        };
        let answered = self.admit(now, &origin, &publish, out)?;
        let placed = match &answered {
            Answered::Done(_) => true,
            Answered::Accepted(_, accepted) => accepted.targets > 0,
            Answered::Canceled(..) | Answered::Already | Answered::Later => false,
        };
        if placed {
            let tally = &mut self.tenants[tenant].tally;
            *(if which.is_logged() {
                &mut tally.recorded.redriven
            } else {
                &mut tally.redriven
            }) += 1;
            // Other records may have followed the one that says so.
            let says_so = |(_, record): &&(Sequence, Record)| matches!(record, Record::Redriven { letter, .. } if *letter == old);
            let at = out.records.iter().rev().find(says_so).map_or(self.sequence, |(at, _)| *at);
            self.clear_letter(tenant, which, (old, inbox), at);
        }
        let Answered::Done(level) = answered else { return Ok(answered) };
        let accepted =
            Accepted { operation, id, duplicate: false, targets: 1, dropped: 0, parked: 0 };
        Ok(Answered::Accepted(level, accepted))
    }

    /// Deletes a dead letter. Returns how durable that must be before it is confirmed.
    pub(crate) fn purge(
        &mut self,
        now: Now,
        session: SessionKey,
        operation: u64,
        letter: &LetterAddress,
        out: &mut Output,
    ) -> Result<Durability, Refusal> {
        let row = &self.sessions[session];
        let (key, session) = (row.tenant, row.id);
        self.forget_past(now.wall);
        let (which, inbox) = self.find_letter(now.wall, key, letter)?;
        let (tenant, letter, at) = (self.tenants[key].id.clone(), letter.id, now.wall);
        let tally = &mut self.tenants[key].tally;
        let is_logged = which.is_logged();
        *(if is_logged { &mut tally.recorded.purged } else { &mut tally.purged }) += 1;
        if is_logged {
            let inbox = inbox.clone();
            self.emit(Record::Purged { tenant, letter, inbox, session, operation, at }, out);
        }
        self.clear_letter(key, which, (letter, inbox), self.sequence);
        // What is not in the log is gone after a restart anyway.
        Ok(if is_logged { Durability::Synced } else { Durability::Ephemeral })
    }
}

/// The new message that a letter becomes. Whoever asked for a reply is gone, and the idempotency
/// key is that of the letter; all else stays as it was unless it is edited.
fn redriven(letter: &DeadLetter, redrive: Redrive) -> Result<Publish, Refusal> {
    let Redrive { letter: _, id, payload, destination, priority } = redrive;
    let mut publish = Publish::clone(&letter.publish);
    let is_lost = is_lost(&publish);
    replace_lost(&mut publish);
    let level = publish.durability();
    let envelope = &mut publish.envelope;
    let old = envelope.id;
    if id == old {
        let message = format!("the new message has the id {id} of the dead letter; make a new id");
        return Err(Refusal::new(RefusalCode::AlreadyTaken, message));
    }
    envelope.destination = match destination {
        Some(to @ (Destination::Agent(_) | Destination::Skill(_))) => to,
        Some(to) => {
            let message = format!("a dead letter is redriven to one agent or skill, not to '{to}'");
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        None => match &letter.inbox {
            InboxAddress::Agent(agent) => Destination::Agent(agent.clone()),
            InboxAddress::Skill(skill) => Destination::Skill(skill.clone()),
        },
    };
    envelope.id = id;
    envelope.redriven_from = Some(Box::new(old));
    envelope.root_id = envelope.root_id.or(Some(old));
    envelope.idempotency_key = None;
    if payload.is_none() && is_lost {
        let message = format!(
            "the payload of dead letter {old} was lost, as its reason says; redrive it with another \
             payload, or purge it"
        );
        return Err(Refusal::new(RefusalCode::Invalid, message));
    }
    envelope.payload = payload.unwrap_or_else(|| envelope.payload.clone());
    envelope.priority = priority.unwrap_or(envelope.priority);
    let options = &mut publish.options;
    options.reply = false;
    options.gather = None;
    // The letter goes only for a message that is there: nobody being there is no reason to lose it.
    options.absent = Some(Absent::Park);
    // Without its idempotency key it would be less durable.
    options.durability = Some(level);
    Ok(publish)
}
