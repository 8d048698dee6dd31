//! Who could take a delivery, as far as that is certain.
//!
//! It can be told from the records only where everything is logged. A session counts as able to
//! take one if it was so before the present thing came and is so still: what becomes free is
//! served at once, whatever the policy.

use super::breakers;
use crate::model::{Entry, Model, Place, Session};
use std::collections::BTreeMap;
use trunkline_types::{AgentControl, AgentId, Binding, InboxAddress, Routing, SessionId};

/// A session that could take a delivery.
#[derive(Debug)]
pub(super) struct Able {
    pub(super) agent: AgentId,
    pub(super) held: u64,
    pub(super) credit: u64,
}

/// Who could take an entry: was able to before what is being handled came, and is so still.
pub(super) fn able(model: &Model, entry: &Entry, policy: Routing) -> BTreeMap<SessionId, Able> {
    let mut held: BTreeMap<SessionId, u64> = BTreeMap::new();
    for other in model.book.open_entries().filter(|other| other.place == Place::Leased) {
        if let Some(holder) = other.holder {
            *held.entry(holder).or_default() += 1;
        }
    }
    let there = |row: &&Session| {
        row.connection.is_some()
            && row.welcomed
            && !row.draining
            && !row.dismissed
            && row.eased < model.command
    };
    let rows = model.sessions.values().filter(there).filter_map(|row| {
        let agent = row.agent.clone()?;
        let held = held.get(&row.id).copied().unwrap_or_default();
        let credit = u64::from(row.credit.deliveries);
        let fits = held < credit && fits(model, entry, policy, &agent);
        fits.then_some((row.id, Able { agent, held, credit }))
    });
    rows.collect()
}

/// Whether an agent may have an entry, whatever its sessions hold.
fn fits(model: &Model, entry: &Entry, policy: Routing, agent: &AgentId) -> bool {
    let Some(card) = model.book.agents.get(agent) else { return false };
    let control = control(model, agent);
    let serves = match &entry.inbox {
        InboxAddress::Agent(own) => own == agent,
        InboxAddress::Skill(skill) => card.skills.contains(skill),
    };
    let bindings = model.book.settings.get(&entry.inbox).map(|row| &row.bindings);
    let bound = bindings.into_iter().flatten().find(|row| row.priority == entry.priority());
    let carries = |row: &Binding| card.labels.contains(&(row.key.clone(), row.value.clone()));
    serves
        && !control.draining
        && control.healthy
        && (policy != Routing::Weighted || control.weight > 0)
        && bound.is_none_or(carries)
        && breakers::is_closed(model, agent, &entry.inbox)
}

/// What operators have set about an agent.
pub(super) fn control(model: &Model, agent: &AgentId) -> AgentControl {
    model.book.controls.get(agent).copied().unwrap_or_default()
}
