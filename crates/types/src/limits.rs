//! The bounds on what a client may send.

use std::time::Duration;

/// Bounds on envelopes and sessions. Each is enforced at admission and named in the refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest payload of one envelope in bytes. Default 1 MiB, at most 8 MiB.
    pub payload_bytes: usize,
    /// Most headers of one envelope. Default 64.
    pub headers: usize,
    /// Largest header, name and value together, in bytes. Default 1 KiB.
    pub header_bytes: usize,
    /// Most agents named in one destination. Default 256.
    pub destinations: usize,
    /// Most operations in one frame. Default 4,096.
    pub operations_per_frame: usize,
    /// Most subscriptions of one agent or session. Default 1,024.
    pub subscriptions: usize,
    /// Most skills, types, capabilities or labels in one agent card, each. Default 256.
    pub card_entries: usize,
    /// Largest JSON Schema that an agent declares for the input or the output of a skill, in bytes.
    /// Default 64 KiB, at most 1 MiB; with 0 none is taken.
    pub schema_bytes: usize,
    /// Most bytes of all schemas in one agent card together. Default 256 KiB.
    pub card_schema_bytes: usize,
    /// Most deliveries one session may hold. Default 4,096.
    pub credit: u32,
    /// Longest time to live, delay or retry delay. Default 365 days.
    pub longest_span: Duration,
    /// Most delivery attempts a sender may ask for. Default 100.
    pub attempts: u32,
    /// Longest text of a reason or progress, in bytes; what is longer is cut at the edge that
    /// makes it and refused here. Default 8 KiB.
    pub reason_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload_bytes: 1 << 20,
            headers: 64,
            header_bytes: 1 << 10,
            destinations: 256,
            operations_per_frame: 4096,
            subscriptions: 1024,
            card_entries: 256,
            schema_bytes: 64 << 10,
            card_schema_bytes: 256 << 10,
            credit: 4096,
            longest_span: Duration::from_hours(365 * 24),
            attempts: 100,
            reason_bytes: 8 << 10,
        }
    }
}
