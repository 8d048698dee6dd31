//! What must hold of who may have work, whenever nothing is being handled.

use crate::engine::Engine;
use crate::queue::{ALL_LANES, Place};
use crate::table::{AgentKey, InboxKey};
use std::collections::BTreeMap;

impl Engine {
    /// Checks that what is counted about sessions and circuit breakers is so, and that nothing
    /// waits that somebody would take.
    pub(super) fn check_dispatch(&self) -> Result<(), String> {
        for (_, session) in self.sessions.iter() {
            if session.counted != session.is_available(self.config.session_bytes) {
                return Err(format!(
                    "session {} is counted as {}, which it is not",
                    session.id,
                    if session.counted { "available" } else { "unavailable" }
                ));
            }
        }
        let leased = self.entries.iter().filter(|(_, entry)| entry.lease.is_some()).count();
        if leased != self.leases.len() {
            return Err(format!("{leased} entries have a lease, there are {}", self.leases.len()));
        }
        let mut shut: BTreeMap<InboxKey, u32> = BTreeMap::new();
        for (key, agent) in self.agents.iter() {
            for (inbox, probes) in self.shut_breakers(key) {
                *shut.entry(inbox).or_default() += 1;
                let held = self.probes_held(key, inbox);
                if probes > held {
                    return Err(format!(
                        "agent {} holds {held} probes of {:?}, counted are {probes}",
                        agent.id,
                        self.address(inbox)
                    ));
                }
            }
        }
        for (key, inbox) in self.inboxes.iter() {
            let name = self.address(key);
            let servers = inbox.servers.iter().map(|&server| &self.sessions[server]);
            let available = servers.filter(|row| row.counted).count();
            if available != inbox.available as usize {
                let counted = inbox.available;
                return Err(format!(
                    "inbox {name:?} has {available} available sessions, counted are {counted}"
                ));
            }
            let breakers = shut.remove(&key).unwrap_or_default();
            if breakers != inbox.shut {
                let counted = inbox.shut;
                return Err(format!(
                    "inbox {name:?} has {breakers} breakers not closed, counted are {counted}"
                ));
            }
            self.check_idle(key)?;
        }
        Ok(())
    }

    /// How many deliveries from an inbox an agent holds as probes, those of breakers that opened
    /// again included.
    fn probes_held(&self, agent: AgentKey, inbox: InboxKey) -> u32 {
        let sessions = self.agents[agent].sessions.iter();
        let held = sessions.flat_map(|&session| self.sessions[session].leases.iter(&self.entries));
        let probes = held.filter(|&key| {
            let entry = &self.entries[key];
            let probe = self.lease_of(entry).is_some_and(|lease| lease.probe != 0);
            entry.inbox == inbox && entry.place == Place::Leased && probe
        });
        u32::try_from(probes.count()).unwrap_or(u32::MAX)
    }

    /// Whether everything ready in an inbox waits for want of somebody who may have it.
    fn check_idle(&self, key: InboxKey) -> Result<(), String> {
        let inbox = &self.inboxes[key];
        if self.congested || inbox.ready() == 0 {
            return Ok(());
        }
        let plain = self.is_plain(key);
        for &server in &inbox.servers {
            let row = &self.sessions[server];
            let lanes = if plain && row.counted { ALL_LANES } else { self.lanes_of(key, server) };
            if lanes & inbox.deliverable(&self.entries) != 0 {
                return Err(format!(
                    "inbox {:?} has {} ready, but session {} would take some of it",
                    self.address(key),
                    inbox.ready(),
                    row.id
                ));
            }
        }
        Ok(())
    }
}
