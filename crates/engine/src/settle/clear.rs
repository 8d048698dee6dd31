//! Which letter is meant, in memory or in the index, and that it is gone.

use super::died::ClearedLetter;
use crate::engine::Engine;
use crate::past::{Handed, Past};
use crate::table::TenantKey;
use trunkline_types::session::LetterAddress;
use trunkline_types::{
    DeadLetter, InboxAddress, MessageId, Refusal, RefusalCode, Sequence, WallTime,
};

/// A letter that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    /// In memory, by its number; whether it is in the log.
    Memory(u64, bool),
    /// In the index, by the place of the record by which it died.
    Index(Sequence),
}

impl Which {
    /// Whether it is in the log.
    pub(crate) const fn is_logged(self) -> bool {
        matches!(self, Self::Index(_) | Self::Memory(_, true))
    }
}

impl Engine {
    /// The letter that an address names, and the inbox it is in.
    ///
    /// # Errors
    /// A [`Refusal`] if there is none, if copies of it died in several inboxes and none of these is
    /// named, or if the index cannot be read.
    pub(crate) fn find_letter(
        &self,
        at: WallTime,
        tenant: TenantKey,
        address: &LetterAddress,
    ) -> Result<(Which, InboxAddress), Refusal> {
        let LetterAddress { id, inbox } = address;
        let on_disk = self.past_letters(at, tenant, *id, inbox.as_ref());
        let on_disk = on_disk.map_err(|problem| unreadable(*id, &problem))?;
        let mut inboxes: Vec<_> = self.dead_letters.inboxes(tenant, *id).collect();
        inboxes.extend(on_disk.iter().map(|dead| &dead.inbox));
        inboxes.retain(|other| inbox.as_ref().is_none_or(|inbox| inbox == *other));
        inboxes.sort_unstable();
        inboxes.dedup();
        let inbox = match inboxes[..] {
            [only] => only,
            [] => {
                let place =
                    inbox.as_ref().map_or_else(String::new, |inbox| format!(" of '{inbox}'"));
                let message = format!(
                    "dead letter {id}{place} is gone: it was redriven, purged or forgotten, or it \
                     never was; list those that there are"
                );
                return Err(Refusal::new(RefusalCode::NotFound, message));
            }
            ref several => {
                let several: Vec<_> = several.iter().map(ToString::to_string).collect();
                let message = format!(
                    "copies of message {id} died in several inboxes; say which is meant: {}",
                    several.join(", ")
                );
                return Err(Refusal::new(RefusalCode::Invalid, message));
            }
        };
        let known = self.dead_letters.number(tenant, *id, inbox);
        let known = known.map(|(number, is_logged)| Which::Memory(number, is_logged));
        // Of those in the log the oldest is meant, which has left memory first.
        let oldest = on_disk.iter().find(|dead| dead.inbox == *inbox);
        let oldest = oldest.map(|dead| Which::Index(dead.place));
        let which = oldest.or(known).expect("an inbox is of one of them");
        Ok((which, inbox.clone()))
    }

    /// A letter that was found, whole.
    pub(crate) fn read_letter(
        &self,
        which: Which,
        address: &LetterAddress,
    ) -> Result<DeadLetter, Refusal> {
        let read = match which {
            Which::Memory(number, _) => {
                Ok(self.dead_letters.get(number).map(|kept| kept.letter.clone()))
            }
            Which::Index(place) => match &self.config.letter_index {
                Some(index) => index.read(place).map(|read| read.map(|died| died.letter)),
                None => Ok(None),
            },
        };
        let gone = || Err("it has just been forgotten".to_owned());
        read.and_then(|read| read.map_or_else(gone, Ok))
            .map_err(|problem| unreadable(address.id, &problem))
    }

    /// The state after a letter was sent again or deleted, by the record at a place if it was in
    /// the log.
    pub(crate) fn clear_letter(
        &mut self,
        tenant: TenantKey,
        which: Which,
        (id, inbox): (MessageId, InboxAddress),
        at: Sequence,
    ) {
        let died = match which {
            Which::Memory(number, is_logged) => {
                let died = self.dead_letters.get(number).map(|kept| kept.place);
                self.dead_letters.take(number);
                if !is_logged {
                    return;
                }
                died
            }
            Which::Index(place) => {
                let tally = &mut self.tenants[tenant].tally;
                // It was counted when it left memory.
                tally.letters_forgotten = tally.letters_forgotten.saturating_sub(1);
                Some(place)
            }
        };
        self.hand_over_cleared(tenant, (id, inbox), at, died);
    }

    /// The same while records are replayed. What was cleared by a record that the index has taken
    /// in was there by then too.
    pub(crate) fn replay_cleared(
        &mut self,
        at: WallTime,
        tenant: TenantKey,
        id: MessageId,
        inbox: InboxAddress,
    ) {
        let here = self.sequence;
        // If it cannot be read, it cannot be listed either.
        let on_disk = if self.has_letters(here) {
            Vec::new()
        } else {
            self.past_letters(at, tenant, id, Some(&inbox)).unwrap_or_default()
        };
        let known = self.dead_letters.number(tenant, id, &inbox);
        let known = known.map(|(number, is_logged)| Which::Memory(number, is_logged));
        match on_disk.first().map(|dead| Which::Index(dead.place)).or(known) {
            Some(which) => self.clear_letter(tenant, which, (id, inbox), here),
            // It may be on its way to the index.
            None => self.hand_over_cleared(tenant, (id, inbox), here, None),
        }
    }

    fn hand_over_cleared(
        &mut self,
        tenant: TenantKey,
        (id, inbox): (MessageId, InboxAddress),
        place: Sequence,
        died: Option<Sequence>,
    ) {
        if self.config.letter_index.is_none() || place <= self.indexed {
            return;
        }
        let owner = self.tenants[tenant].id.clone();
        let cleared = ClearedLetter { place, tenant: owner, id, inbox, died };
        self.dead_letters.clear(tenant, cleared.clone());
        let past = Past::Cleared(Box::new(cleared));
        self.handed.push(Handed { past, unread: None });
    }
}

fn unreadable(id: MessageId, problem: &str) -> Refusal {
    let message = format!("dead letter {id} cannot be read ({problem}); start the broker again");
    Refusal::new(RefusalCode::StoreFailed, message)
}
