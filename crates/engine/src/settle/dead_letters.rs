//! Dead letters: kept with every attempt's reason, up to a bound.

use crate::table::TenantKey;
use std::collections::{BTreeMap, VecDeque};
use trunkline_types::DeadLetter;

/// The dead letters of all tenants, oldest first. Logged and ephemeral ones are bounded apart, so
/// that what is not in the log never decides what of it is forgotten.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    letters: BTreeMap<u64, (TenantKey, DeadLetter)>,
    /// The numbers of the logged ones.
    logged: VecDeque<u64>,
    /// The numbers of the ephemeral ones.
    ephemeral: VecDeque<u64>,
    next: u64,
    /// How many were forgotten because there were too many.
    pub(crate) forgotten: u64,
}

impl DeadLetters {
    /// Keeps one, and forgets the oldest of its class if there are more than `bound`.
    pub(crate) fn push(
        &mut self,
        tenant: TenantKey,
        letter: DeadLetter,
        is_logged: bool,
        bound: usize,
    ) {
        self.letters.insert(self.next, (tenant, letter));
        let class = if is_logged { &mut self.logged } else { &mut self.ephemeral };
        class.push_back(self.next);
        self.next += 1;
        if class.len() > bound
            && let Some(oldest) = class.pop_front()
        {
            self.letters.remove(&oldest);
            self.forgotten += 1;
        }
    }

    /// A tenant's, newest first.
    pub(crate) fn of(&self, tenant: TenantKey) -> impl Iterator<Item = &DeadLetter> {
        self.older(tenant, u64::MAX).map(|(_, letter)| letter)
    }

    /// Those of them whose numbers are below `before`, with their numbers. A restart leaves out ephemeral ones and so
    /// gives a letter the same number or a lower one: who goes on from a number skips nothing.
    pub(crate) fn older(
        &self,
        tenant: TenantKey,
        before: u64,
    ) -> impl Iterator<Item = (u64, &DeadLetter)> {
        let of_tenant = move |(_, (owner, _)): &(&u64, &(TenantKey, DeadLetter))| *owner == tenant;
        let older = self.letters.range(..before).rev().filter(of_tenant);
        older.map(|(number, (_, letter))| (*number, letter))
    }
}
