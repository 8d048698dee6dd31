//! Requests that would wait for themselves: an ancestor holds the ordering key that they need, and
//! goes on only once they are answered.

use crate::engine::Engine;
use crate::queue::Place;
use crate::route::Targets;
use crate::table::TenantKey;
use std::fmt::Write;
use trunkline_types::{AgentId, MessageId, Publish, Refusal, RefusalCode};

/// How far up the chain of causes is looked.
const LONGEST_CHAIN: usize = 256;

impl Engine {
    /// Refuses a request whose reply is waited for, if one of those who wait for it holds the
    /// ordering key behind which it would queue.
    pub(crate) fn check_deadlock(
        &self,
        tenant: TenantKey,
        publish: &Publish,
        targets: &Targets,
    ) -> Result<(), Refusal> {
        let envelope = &publish.envelope;
        let ([inbox], Some(key), true) =
            (&targets.inboxes[..], &envelope.ordering_key, publish.options.reply)
        else {
            return Ok(());
        };
        let mut chain: Vec<(MessageId, &AgentId)> = Vec::new();
        let mut cause = envelope.causation_id;
        while let Some(id) = cause.filter(|_| chain.len() < LONGEST_CHAIN) {
            let open = self.open_copies(tenant, id);
            let leased = open.into_iter().map(|entry| &self.entries[entry]);
            let mut leased = leased.filter(|entry| entry.place == Place::Leased).peekable();
            let Some(first) = leased.peek().copied() else { return Ok(()) };
            let held = |entry: &&crate::queue::Entry| {
                entry.inbox == *inbox && entry.body.ordering_key() == Some(key)
            };
            let holder = leased.find(held);
            if let Some(lease) = self.lease_of(holder.unwrap_or(first)) {
                chain.push((id, &self.agents[lease.agent].id));
            }
            if holder.is_some() {
                return Err(deadlock(publish, &chain));
            }
            // Whoever sent it waits for it only if it wants the reply.
            cause = first.body.causation_id().filter(|_| first.body.options().reply);
        }
        Ok(())
    }
}

fn deadlock(publish: &Publish, chain: &[(MessageId, &AgentId)]) -> Refusal {
    let envelope = &publish.envelope;
    let key = envelope.ordering_key.as_ref().map_or("", |key| key.as_str());
    let mut message = format!(
        "request to '{}' with ordering key '{key}' would wait for itself: ",
        envelope.destination
    );
    for (at, (id, agent)) in chain.iter().rev().enumerate() {
        let _ = write!(message, "{agent} ({id}){} → ", if at == 0 { " holds the key" } else { "" });
    }
    message.push_str("this request; send it without the key or do not wait for its reply");
    Refusal::new(RefusalCode::Deadlock, message)
}
