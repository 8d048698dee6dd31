//! What a part of a stopped broker's log tells of, for tests that damage it.
//!
//! Reads the whole log and writes nothing: most records name an entry, and which message that is was
//! said elsewhere.

use crate::error::OpenError;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use trunkline_engine::{AcceptedRecord, Carried, EntryId, PartOf, Record};
use trunkline_log::{Directory, Storage};
use trunkline_types::MessageId;

/// The messages that the records in some bytes of a segment are about. What is damaged already
/// tells of nothing.
///
/// # Errors
/// [`OpenError::Log`] as [`verify`](crate::verify), and if a record cannot be decoded.
pub fn told_of(
    path: &Path,
    segment: u64,
    bytes: &Range<u64>,
) -> Result<BTreeSet<MessageId>, OpenError> {
    let storage: Arc<dyn Storage> = Arc::new(Directory::inspect(path)?);
    let mut told = Told::default();
    trunkline_log::inspect(&storage, |found| {
        let record = Record::decode(found.tag, found.body)?;
        let location = found.location;
        let asked = location.segment == segment && bytes.contains(&location.offset);
        told.record(&record, asked);
        Ok(())
    })?;
    Ok(told.messages())
}

/// What was read.
#[derive(Default)]
struct Told {
    /// Which message each entry is, whichever record says so.
    entries: HashMap<EntryId, MessageId>,
    /// Entries that were asked for.
    asked: Vec<EntryId>,
    /// Messages that were asked for and are named themselves.
    named: BTreeSet<MessageId>,
    /// Where entries go that waited as another: the first of them, how many, and that one.
    routed: Vec<(EntryId, usize, EntryId)>,
}

impl Told {
    fn record(&mut self, record: &Record, asked: bool) {
        match record {
            Record::Accepted(accepted) | Record::Fired { accepted, .. } => {
                self.accepted(accepted, asked);
            }
            Record::Redriven { letter, accepted, .. } => {
                self.accepted(accepted, asked);
                self.name(*letter, asked);
            }
            Record::Purged { letter, .. } => self.name(*letter, asked),
            Record::Leased { entry, .. }
            | Record::Begun { entry }
            | Record::Ran { entry, .. }
            | Record::Paused { entry, .. }
            | Record::Continued { entry, .. }
            | Record::Settled { entry, .. }
            | Record::Artifact { entry, .. } => self.entry(*entry, asked),
            Record::Returned(returned) => self.entry(returned.entry, asked),
            Record::Routed { entry, first_entry, inboxes, .. } => {
                self.routed.push((*first_entry, inboxes.len(), *entry));
                self.entry(*entry, asked);
            }
            Record::Carried(carried) => self.carried(carried, asked),
            Record::Boot { .. }
            | Record::Agent(_)
            | Record::Subscribed { .. }
            | Record::Unsubscribed { .. }
            | Record::Lost { .. }
            | Record::AgentSet { .. }
            | Record::AgentGone { .. }
            | Record::InboxSet { .. }
            | Record::Scheduled(_)
            | Record::Unscheduled { .. } => {}
        }
    }

    fn carried(&mut self, carried: &Carried, asked: bool) {
        match carried {
            Carried::Entry(entry) => {
                let id = entry.publish.envelope.id;
                self.entries.insert(entry.entry, id);
                self.name(id, asked);
            }
            Carried::Ended(task) => self.name(task.publish.envelope.id, asked),
            Carried::Letter(letter) => self.name(letter.publish.envelope.id, asked),
            Carried::Parts { of: PartOf::Entry(entry), .. } => self.entry(*entry, asked),
            Carried::Parts { of: PartOf::Task(id), .. } => self.name(*id, asked),
            // Notes of a letter's attempts are no part of a task.
            Carried::Parts { of: PartOf::Letter(_), .. }
            | Carried::Agent { .. }
            | Carried::Subscribed { .. }
            | Carried::Inbox { .. }
            | Carried::Tenant { .. }
            | Carried::Schedule(_)
            | Carried::Window { .. }
            | Carried::Key { .. }
            | Carried::Tokens(_)
            | Carried::Marks(_) => {}
        }
    }

    fn accepted(&mut self, accepted: &AcceptedRecord, asked: bool) {
        let id = accepted.publish.envelope.id;
        let first = accepted.first_entry.0;
        // What waits is one entry that is in no inbox.
        let entries = accepted.inboxes.len().max(1) as u64;
        self.entries.extend((first..first + entries).map(|entry| (EntryId(entry), id)));
        self.name(id, asked);
    }

    fn entry(&mut self, entry: EntryId, asked: bool) {
        if asked {
            self.asked.push(entry);
        }
    }

    fn name(&mut self, id: MessageId, asked: bool) {
        if asked {
            self.named.insert(id);
        }
    }

    fn messages(mut self) -> BTreeSet<MessageId> {
        for (first, count, waited) in self.routed {
            let Some(&id) = self.entries.get(&waited) else { continue };
            let entries = first.0..first.0 + count as u64;
            self.entries.extend(entries.map(|entry| (EntryId(entry), id)));
        }
        self.named.extend(self.asked.iter().filter_map(|entry| self.entries.get(entry)));
        self.named
    }
}
