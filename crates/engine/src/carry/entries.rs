//! Taking in entries that were said again.

use crate::engine::Engine;
use crate::now::Mono;
use crate::queue::{Entry, Lease, Owner, Place, Standing};
use crate::record::{CarriedEntry, CarriedLease};
use crate::replay::ReplayError;
use crate::table::{EntryKey, InboxKey, Key, Maybe, SessionKey};
use trunkline_types::Sequence;

impl Engine {
    /// Takes in an entry; its parts follow.
    pub(super) fn carried_entry(
        &mut self,
        at: Sequence,
        said: CarriedEntry,
    ) -> Result<(), ReplayError> {
        let wrong = |problem| Err(ReplayError::Contradiction { at, problem });
        let level = said.publish.durability();
        if !level.is_logged() || said.publish.is_task() != said.task.is_some() {
            return wrong("an entry is said again that cannot be what it is said to be");
        }
        let tenant = self.tenant_key(&said.publish.envelope.tenant);
        let inbox = match &said.inbox {
            Some(address) => self.inbox(tenant, address),
            None => self.pending_inbox(tenant),
        };
        if let Some(known) = self.replay_ids.remove(&said.entry) {
            self.discard(known);
        }
        let key = self.insert_carried(at, inbox, &said);
        self.replay_ids.insert(said.entry, key);
        self.origins.missing.remove(&said.entry);
        if let Some(task) = said.task {
            self.yield_id(said.publish.envelope.id);
            let task = self.insert_task(tenant, task, Ok(key));
            self.entries[key].task = Maybe::new(task);
        } else {
            self.messages.add(said.publish.envelope.id, key);
        }
        if said.paused {
            self.put(key, Place::Paused);
            return Ok(());
        }
        if let Some(lease) = said.lease
            && !self.carried_lease(key, lease)
        {
            return wrong("a session without an agent holds a lease");
        }
        if self.inboxes[inbox].owner != Owner::Pending {
            self.key_rejoin(key);
        }
        Ok(())
    }

    /// Gives an entry its lease back. Whether its session can have it.
    fn carried_lease(&mut self, key: EntryKey, said: CarriedLease) -> bool {
        let CarriedLease { token, session: id, agent, begun, called_off, ran, held } = said;
        let mut holder = SessionKey::from_slot(0);
        if held {
            holder = self.replay_session(key, id, &agent);
            if self.sessions[holder].agent.is_none() {
                return false;
            }
        }
        let tenant = self.inboxes[self.entries[key].inbox].tenant;
        let agent = self.agent_key(tenant, &agent);
        // A token that stays good is of no session any more.
        let lease = Lease {
            token,
            agent,
            session: id,
            holder,
            deadline: Mono(u64::MAX),
            begun,
            run_until: None,
            run_timer: None,
            ran,
            called_off,
            probe: 0,
        };
        let lease = self.leases.insert(lease);
        self.entries[key].lease = Maybe::new(lease);
        self.tokens.insert(token, key);
        if held {
            self.put(key, Place::Leased);
            let row = &mut self.sessions[holder];
            row.leases.push_back(&mut self.entries, key);
            row.in_flight += 1;
            row.held_bytes += self.entries[key].size();
            self.count_available(holder);
        }
        true
    }

    fn insert_carried(&mut self, at: Sequence, inbox: InboxKey, said: &CarriedEntry) -> EntryKey {
        let publish = &said.publish;
        let key = self.entries.insert(Entry {
            durability: publish.durability(),
            attempts: said.attempts,
            deliveries: said.deliveries,
            standing: Standing::recorded(said.returned, said.rejoined),
            base: at,
            sender: said.session,
            listed: said.task.is_none(),
            ..Entry::new(said.entry, publish, inbox, said.accepted_at)
        });
        let over = self.delay_of(publish, said.accepted_at);
        let entry = &mut self.entries[key];
        entry.set_losses(said.losses);
        entry.set_due(said.due);
        entry.set_delay_over(over);
        let row = &mut self.inboxes[inbox];
        row.places[Place::Staged as usize] += 1;
        if row.owner == Owner::Pending {
            let size = publish.envelope.payload.data.len() as u64;
            self.tenants[row.tenant].pending.logged_bytes += size;
        }
        self.count_payload(key);
        key
    }

    /// Takes out what is known of an entry, for another word about it or its end.
    pub(super) fn discard(&mut self, key: EntryKey) {
        self.unqueue(key);
        self.key_leave(key);
        self.forget_token(key);
        let entry = self.entries.remove(key);
        self.uncount_payload(&entry);
        self.unlist_copy(key, &entry);
        let inbox = &mut self.inboxes[entry.inbox];
        inbox.places[Place::Staged as usize] -= 1;
        if inbox.owner == Owner::Pending {
            self.tenants[inbox.tenant].pending.logged_bytes -= entry.size();
        }
        if let Some(task) = entry.task.get() {
            let task = self.remove_task(task, entry.sent());
            self.tenants[task.tenant].tally.open -= 1;
        }
    }
}
