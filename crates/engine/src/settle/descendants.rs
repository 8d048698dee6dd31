//! Calling off a message together with the tasks that its handling led to.

use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::record::{End, EntryId};
use crate::table::{EntryKey, SessionKey, TenantKey};
use std::collections::BTreeMap;
use trunkline_types::session::CANCELED_AT_ONCE;
use trunkline_types::{Durability, MessageId, Refusal};

impl Engine {
    /// Calls a message and its descendants off, ancestors first. Returns how durable that must be
    /// before it is confirmed, and how many messages were called off. That the message itself has
    /// ended is in the way only if nothing of what it led to goes on.
    pub(crate) fn cancel_descendants(
        &mut self,
        now: Now,
        session: SessionKey,
        id: MessageId,
        reason: &str,
        out: &mut Output,
    ) -> Result<(Durability, u32), Refusal> {
        self.check_reason(reason)?;
        let tenant = self.sessions[session].tenant;
        let (mut level, mut messages) = (Durability::Ephemeral, 0);
        let own = !self.open_copies(tenant, id).is_empty();
        let below = self.open_descendants(tenant, id, CANCELED_AT_ONCE - u32::from(own));
        if own {
            level = self.cancel(now, session, id, reason, out)?;
            messages = 1;
        } else if below.is_empty() {
            return self.was_canceled(session, id).map(|level| (level, 0));
        }
        for (key, entry) in below {
            // Ends make room for other work, and what is found to have expired then may be it.
            let Some(task) = self.entries.get(key).filter(|task| task.id == entry) else {
                continue;
            };
            level = level.max(task.durability);
            messages += 1;
            self.end_entry(now, key, End::Canceled { reason: reason.to_owned() }, out);
        }
        Ok((level, messages))
    }

    /// The tasks below a message that have not ended, oldest first. Only open tasks of the same
    /// root are looked at.
    fn open_descendants(
        &self,
        tenant: TenantKey,
        id: MessageId,
        most: u32,
    ) -> Vec<(EntryKey, EntryId)> {
        let root = self.known_root(tenant, id).unwrap_or(id);
        let mut known = BTreeMap::new();
        let below = self.tasks.orders.open_of(tenant, root).filter(|&task| {
            task != id && (root == id || self.leads_to(tenant, task, id, &mut known))
        });
        let entries = below.filter_map(|task| {
            let task = self.tasks.find(tenant, task)?;
            let entry = self.tasks.rows[task].entry.get()?;
            Some((entry, self.entries[entry].id))
        });
        let spared = usize::from(self.planted(Defect::SparedDescendant));
        entries.skip(spared).take(most as usize).collect()
    }

    fn known_root(&self, tenant: TenantKey, id: MessageId) -> Option<MessageId> {
        if let Some(task) = self.tasks.find(tenant, id) {
            return self.task_sent(&self.tasks.rows[task]).body.root_id();
        }
        if let Some(&copy) = self.open_copies(tenant, id).first() {
            return self.entries[copy].body.root_id();
        }
        // An index that cannot be read knows no more than one that does not have it.
        self.past_task(tenant, id).ok()??.task.root_id
    }

    /// Whether the causes of a message lead to another one, as far as they are known. `known`
    /// holds what was found out about those on the way; what leads in a circle leads nowhere.
    fn leads_to(
        &self,
        tenant: TenantKey,
        from: MessageId,
        to: MessageId,
        known: &mut BTreeMap<MessageId, bool>,
    ) -> bool {
        let (mut at, mut way) = (from, Vec::new());
        let leads = loop {
            if at == to {
                break true;
            }
            if let Some(&leads) = known.get(&at) {
                break leads;
            }
            known.insert(at, false);
            way.push(at);
            match self.cause_of(tenant, at) {
                Some(cause) => at = cause,
                None => break false,
            }
        };
        if leads {
            known.extend(way.into_iter().map(|id| (id, true)));
        }
        leads
    }

    fn cause_of(&self, tenant: TenantKey, id: MessageId) -> Option<MessageId> {
        if let Some(task) = self.tasks.find(tenant, id) {
            return self.task_sent(&self.tasks.rows[task]).body.causation_id();
        }
        if let Some(&copy) = self.open_copies(tenant, id).first() {
            return self.entries[copy].body.causation_id();
        }
        self.past_task(tenant, id).ok()??.task.causation_id
    }
}
