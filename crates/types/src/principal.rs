//! Who is speaking.

use crate::TenantId;
use smol_str::SmolStr;

/// Who an edge found to be speaking. Identities belong to the principal that registered them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Principal {
    /// The tenant it acts for.
    pub tenant: TenantId,
    /// Its name within the tenant; `local` for a caller on loopback that gave none.
    pub subject: SmolStr,
}

impl Principal {
    /// A principal of the default tenant.
    pub fn named(subject: impl AsRef<str>) -> Self {
        Self { tenant: TenantId::default(), subject: SmolStr::new(subject) }
    }
}

impl Default for Principal {
    fn default() -> Self {
        Self::named("local")
    }
}
