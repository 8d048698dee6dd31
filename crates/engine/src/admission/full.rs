//! Full inboxes: what happens to an envelope for an inbox that holds as much as it may.

use super::origin::Origin;
use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::queue::{Inbox, Owner, is_event_like};
use crate::record::End;
use crate::route::Targets;
use crate::table::{EntryKey, InboxKey, SessionKey};
use trunkline_types::{Durability, Publish, Refusal, RefusalCode, WhenFull};

/// What became of the search for room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// There is enough, for those that are still among the targets.
    Enough,
    /// The publish of this session is to wait outside this inbox.
    Outside(InboxKey, SessionKey),
}

impl Engine {
    /// Most ephemeral envelopes in an inbox.
    pub(crate) fn ephemeral_limit(&self, inbox: &Inbox) -> u32 {
        let most = self.config.inbox_ephemeral;
        if self.planted(Defect::IgnoredLimit) {
            return most;
        }
        inbox.settings().limit.map_or(most, |limit| limit.min(most))
    }

    /// Most logged envelopes in an inbox.
    pub(crate) fn logged_limit(&self, inbox: &Inbox) -> u64 {
        let most = self.config.inbox_logged;
        if self.planted(Defect::IgnoredLimit) {
            return most;
        }
        inbox.settings().limit.map_or(most, |limit| u64::from(limit).min(most))
    }

    /// What an inbox may hold, if it has no room for another envelope.
    pub(crate) fn over_bound(
        &self,
        inbox: InboxKey,
        level: Durability,
        size: u64,
    ) -> Option<String> {
        let row = &self.inboxes[inbox];
        if level.is_logged() {
            let limit = self.logged_limit(row);
            let limit = limit - u64::from(self.planted(Defect::FullTooSoon) && limit > 1);
            return (row.logged() >= limit).then(|| format!("{limit} durable envelopes"));
        }
        let (count, bytes) = (self.ephemeral_limit(row), self.config.inbox_ephemeral_bytes);
        if row.ephemeral >= count {
            return Some(format!("{count} ephemeral envelopes"));
        }
        let over = row.ephemeral_bytes + size > bytes;
        over.then(|| format!("{bytes} bytes of ephemeral envelopes"))
    }

    /// Sees to it that there is room for an envelope: refuses what goes to one full inbox, lets
    /// it wait or drops something for it, as the inbox is set. Leaves out full inboxes among
    /// several. What no session waits for is refused where others wait.
    pub(crate) fn make_room(
        &mut self,
        now: Now,
        origin: &Origin,
        publish: &Publish,
        level: Durability,
        targets: &mut Targets,
        out: &mut Output,
    ) -> Result<Room, Refusal> {
        let [only] = targets.inboxes[..] else {
            self.leave_out_full(now, publish, level, targets, out);
            return Ok(Room::Enough);
        };
        if !targets.sessions.is_empty() {
            self.leave_out_full(now, publish, level, targets, out);
            return Ok(Room::Enough);
        }
        let size = publish.envelope.payload.data.len() as u64;
        let behind = !origin.in_turn && self.is_queued_outside(only);
        let full = self.over_bound(only, level, size);
        if full.is_none() && !behind {
            return Ok(Room::Enough);
        }
        let why = match full {
            Some(limit) => format!("is full: it may hold {limit}"),
            None => format!("has {} waiting outside, which go first", self.outside_count(only)),
        };
        match self.when_full(only) {
            WhenFull::Reject => Err(self.no_room(publish, &why)),
            WhenFull::Wait => {
                let Some(session) = origin.sender else {
                    return Err(self.no_room(publish, &why));
                };
                let Some(limit) = self.over_outside(only, size) else {
                    return Ok(Room::Outside(only, session));
                };
                Err(self.no_room(publish, &format!("{why}, and {limit}")))
            }
            WhenFull::DropOldest if self.drop_for(now, only, publish, level, out) => {
                Ok(Room::Enough)
            }
            WhenFull::DropOldest if is_event_like(publish.envelope.kind) => {
                let why = format!("{why}, and there are no older events to drop for this one");
                Err(self.no_room(publish, &why))
            }
            WhenFull::DropOldest => {
                let kind = publish.envelope.kind;
                let why =
                    format!("{why}, and events are dropped for events only, not for a {kind}");
                Err(self.no_room(publish, &why))
            }
        }
    }

    fn no_room(&self, publish: &Publish, why: &str) -> Refusal {
        let message = format!("the inbox of '{}' {why}", publish.envelope.destination);
        Refusal::new(RefusalCode::InboxFull, message).retry_after(self.config.full_hint)
    }

    /// Takes full inboxes out of the targets. What they miss is counted and told: to the sender
    /// as dropped, to the recipient as a number that it missed.
    pub(crate) fn leave_out_full(
        &mut self,
        now: Now,
        publish: &Publish,
        level: Durability,
        targets: &mut Targets,
        out: &mut Output,
    ) {
        let size = publish.envelope.payload.data.len() as u64;
        let all = std::mem::take(&mut targets.inboxes);
        for inbox in all {
            let behind = self.is_queued_outside(inbox);
            let full = behind || self.over_bound(inbox, level, size).is_some();
            let drops = full && !behind && self.when_full(inbox) == WhenFull::DropOldest;
            if !full || (drops && self.drop_for(now, inbox, publish, level, out)) {
                targets.inboxes.push(inbox);
            } else {
                targets.dropped += 1;
                self.leave_out(inbox);
            }
        }
    }

    /// An inbox misses an envelope: that is counted there, and told to who takes from it.
    pub(crate) fn leave_out(&mut self, inbox: InboxKey) {
        let row = &mut self.inboxes[inbox];
        row.fleeting.accepted += 1;
        row.fleeting.dropped += 1;
        row.arrived += 1;
        row.missed.push(row.arrived);
    }

    pub(crate) fn when_full(&self, inbox: InboxKey) -> WhenFull {
        self.inboxes[inbox].settings().when_full.unwrap_or(self.config.when_full)
    }

    /// Drops the oldest events of an inbox to make room for an event. Whether there is room then;
    /// if there cannot be enough, nothing is dropped.
    fn drop_for(
        &mut self,
        now: Now,
        inbox: InboxKey,
        publish: &Publish,
        level: Durability,
        out: &mut Output,
    ) -> bool {
        if !is_event_like(publish.envelope.kind) {
            return false;
        }
        let size = publish.envelope.payload.data.len() as u64;
        let limit = u64::from(self.ephemeral_limit(&self.inboxes[inbox]));
        let logged_limit = self.logged_limit(&self.inboxes[inbox]);
        let row = &mut self.inboxes[inbox];
        let (mut surplus, mut excess) = if level.is_logged() {
            (row.logged().saturating_sub(logged_limit.saturating_sub(1)), 0)
        } else {
            let bytes = row.ephemeral_bytes + size;
            let excess = bytes.saturating_sub(self.config.inbox_ephemeral_bytes);
            (u64::from(row.ephemeral).saturating_sub(limit.saturating_sub(1)), excess)
        };
        let mut dropped: Vec<EntryKey> = Vec::new();
        for key in row.droppable(&self.entries).oldest(level.is_logged()) {
            if surplus == 0 && excess == 0 {
                break;
            }
            dropped.push(key);
            surplus = surplus.saturating_sub(1);
            excess = excess.saturating_sub(self.entries[key].size());
        }
        if surplus > 0 || excess > 0 {
            return false;
        }
        for key in dropped {
            self.end_entry(now, key, End::Dropped, out);
        }
        true
    }

    /// Notes that an entry was dropped from its inbox, so that who takes from it is told.
    pub(crate) fn note_dropped(&mut self, inbox: InboxKey, number: u64) {
        let told = !self.planted(Defect::UntoldDrop) && !self.replaying;
        let row = &mut self.inboxes[inbox];
        if told && row.owner != Owner::Pending {
            row.missed.push(number);
        }
    }
}
