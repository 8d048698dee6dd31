//! Keys of the metadata that accompanies calls.

/// Says which principal is speaking, where the edge takes a caller's word for it.
pub const PRINCIPAL: &str = "trunkline-principal";
