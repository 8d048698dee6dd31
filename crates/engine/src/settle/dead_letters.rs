//! Dead letters: kept with every attempt's reason, up to a bound.

use crate::table::TenantKey;
use std::collections::BTreeMap;
use trunkline_types::DeadLetter;

/// The dead letters of all tenants, oldest first.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    letters: BTreeMap<u64, (TenantKey, DeadLetter)>,
    next: u64,
    /// How many were forgotten because there were too many.
    pub(crate) forgotten: u64,
}

impl DeadLetters {
    /// Keeps one, and forgets the oldest if there are more than `bound`.
    pub(crate) fn push(&mut self, tenant: TenantKey, letter: DeadLetter, bound: usize) {
        self.letters.insert(self.next, (tenant, letter));
        self.next += 1;
        if self.letters.len() > bound {
            self.letters.pop_first();
            self.forgotten += 1;
        }
    }

    /// A tenant's, newest first.
    pub(crate) fn of(&self, tenant: TenantKey) -> impl Iterator<Item = &DeadLetter> {
        let of_tenant = move |(owner, _): &&(TenantKey, DeadLetter)| *owner == tenant;
        self.letters.values().rev().filter(of_tenant).map(|(_, letter)| letter)
    }
}
