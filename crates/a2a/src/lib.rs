//! `Agent2Agent` (A2A) 1.0 and 0.3: every agent at a broker is an agent of the standard.
//!
//! Owns the wire types ([`wire`]), what a message, a task and a card are on either side, the
//! operations, and their bindings: JSON-RPC and HTTP+JSON, both with event streams, and gRPC. It
//! opens no socket and holds no session: whoever mounts it hands it requests and a [`Gateway`] to
//! the broker. For agents elsewhere that are called through the broker it knows what is said to
//! them and what their answers mean. Read [`A2a`] first, then `handler/`, then `docs/a2a.md`.

mod beside;
mod binding;
mod card;
mod check;
mod compat;
mod content;
mod downstream;
mod endpoint;
mod fault;
mod fold;
mod gateway;
mod handler;
mod hash;
mod jcs;
mod push;
mod sign;
mod task;
pub mod wire;

pub use beside::Beside;
pub use binding::A2a;
#[doc(hidden)]
pub use binding::fuzzing;
pub use content::take_metadata;
pub use downstream::{
    Ask, Binding, DownstreamCard, End, EventReader, Interface, LINK, LONGEST_LABEL, Link, Outgoing,
    PROXIER, Recall, Relay, Spoken, Step, Trouble, VIA, Why, first_message, is_note, whole_reply,
};
pub use fault::{Fault, FaultKind};
pub use gateway::{Gateway, Updates};
pub use handler::A2aConfig;
pub use push::{Notice, PUSHER, SENT, Webhook};
pub use sign::SigningKey;

use trunkline_types::AgentId;

/// The ids of the broker's own agents.
const OWN: [&str; 2] = [PUSHER, PROXIER];

/// Whether an agent of this id is one of the broker's own, which serves no clients: its work tells
/// where others are called, and with what.
pub fn is_own(agent: &str) -> bool {
    OWN.contains(&agent)
}

/// The broker's own agents.
pub(crate) fn own_agents() -> Vec<AgentId> {
    OWN.iter().filter_map(|id| id.parse().ok()).collect()
}
