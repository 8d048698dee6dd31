//! Keys of the metadata that accompanies calls.

/// Says which principal is speaking, where the edge takes a caller's word for it.
pub const PRINCIPAL: &str = "trunkline-principal";

/// Says for which tenant that principal acts; `default` if it is left out.
pub const TENANT: &str = "trunkline-tenant";
