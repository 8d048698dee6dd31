//! The state as the simulator and property tests check it.

use crate::engine::Engine;
use crate::queue::{Entry, Place};
use crate::record::EntryId;
use crate::table::{EntryKey, InboxKey};
use std::collections::BTreeMap;
use std::fmt::Write;

impl Engine {
    /// Everything that the log must be able to rebuild, as texts under sorted names: equal for
    /// two engines exactly if their durable parts are.
    pub fn durable_state(&self) -> BTreeMap<String, String> {
        let mut state = BTreeMap::new();
        let logged = self.entries.iter().filter(|(_, entry)| entry.is_logged());
        for (key, entry) in logged {
            state.insert(format!("entry {:012}", entry.id.0), self.entry_line(key, entry));
        }
        for (_, agent) in self.agents.iter() {
            let tenant = &self.tenants[agent.tenant].id;
            let known = agent.registration.as_ref().map(|known| (&known.owner, &known.card));
            let mut patterns = agent.subscriptions.clone();
            patterns.sort_unstable();
            if known.is_some() || !patterns.is_empty() {
                state.insert(
                    format!("agent {tenant} {}", agent.id),
                    format!("{known:?} {patterns:?}"),
                );
            }
        }
        for (_, task) in self
            .tasks
            .rows
            .iter()
            .filter(|(_, task)| self.config.logged && task.publish.durability().is_logged())
        {
            let mut events = String::new();
            for event in &task.events {
                let _ = write!(events, " {}:{:?}", event.number, event.body);
            }
            state.insert(
                format!("task {}", task.publish.envelope.id),
                format!(
                    "{} {:?} {:?} deliveries {} result {:?} last {}{events}",
                    task.state,
                    task.reason,
                    task.agent,
                    task.deliveries,
                    task.result,
                    task.last_event
                ),
            );
        }
        for (_, tenant) in self.tenants.iter() {
            for (key, row) in tenant.keys.sorted() {
                state.insert(format!("key {} {key}", tenant.id), format!("{row:?}"));
            }
            let key = self.tenant_keys[&tenant.id];
            let durable =
                self.dead_letters.of(key).filter(|letter| letter.publish.durability().is_logged());
            for letter in durable {
                let name =
                    format!("dead {} {} {}", tenant.id, letter.inbox, letter.publish.envelope.id);
                state.insert(name, format!("{} {:?}", letter.reason, letter.attempts));
            }
        }
        state.insert("next".to_owned(), format!("{:?} {:?}", self.epoch, self.sequence));
        state
    }

    fn entry_line(&self, key: EntryKey, entry: &Entry) -> String {
        let place = match entry.place {
            Place::Leased => "leased",
            Place::Paused => "paused",
            Place::Staged | Place::Delayed | Place::Blocked | Place::Ready => "waiting",
        };
        let lease = entry.lease.map(|lease| (lease.token, lease.session, lease.begun));
        let behind = self.key_queue(key).and_then(|queue| {
            let before = queue.iter().take_while(|&&other| other != key);
            before.last().map(|&other| self.entries[other].id).filter(|_| queue.contains(&key))
        });
        let behind = behind.filter(|&id| self.is_logged_entry(id));
        format!(
            "{} {:?} {place} attempts {} losses {} due {:?} lease {lease:?} messages {} notes {:?} \
             returned {} behind {behind:?}",
            entry.publish.envelope.id,
            self.address(entry.inbox),
            entry.attempts,
            entry.losses,
            entry.due,
            entry.messages.len(),
            entry.notes,
            entry.returned,
        )
    }

    fn is_logged_entry(&self, id: EntryId) -> bool {
        self.entries.iter().any(|(_, entry)| entry.id == id && entry.is_logged())
    }

    /// Checks conservation for each inbox: whatever was accepted has ended or is in one place,
    /// and the places hold what they are counted to hold.
    ///
    /// # Errors
    /// A text that names the inbox and the sums that differ.
    pub fn conservation(&self) -> Result<(), String> {
        let mut found: BTreeMap<InboxKey, [u32; Place::COUNT]> = BTreeMap::new();
        for (_, entry) in self.entries.iter() {
            found.entry(entry.inbox).or_default()[entry.place as usize] += 1;
        }
        for (_, session) in self.sessions.iter() {
            let Some(events) = &session.events else { continue };
            let places = found.entry(self.tenants[session.tenant].bare).or_default();
            let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
            places[Place::Ready as usize] += count(events.waiting.len());
            places[Place::Leased as usize] += count(events.unacknowledged.len());
        }
        for (key, inbox) in self.inboxes.iter() {
            let places = found.remove(&key).unwrap_or_default();
            let name = self.address(key);
            if places != inbox.places {
                return Err(format!(
                    "inbox {name:?} counts {:?} but holds {places:?}",
                    inbox.places
                ));
            }
            let (accepted, ended) = (inbox.counters.accepted, inbox.counters.ended());
            let present = inbox.gauges().total();
            if accepted != ended + present {
                return Err(format!(
                    "inbox {name:?}: {accepted} accepted, but {ended} ended and {present} present"
                ));
            }
        }
        Ok(())
    }
}
