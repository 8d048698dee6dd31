//! `Agent2Agent` (A2A) 1.0 and 0.3: every agent at a broker is an agent of the standard.
//!
//! Owns the wire types ([`wire`]), what a message, a task and a card are on either side, the
//! operations, and their bindings: JSON-RPC and HTTP+JSON, both with event streams, and gRPC. It
//! opens no socket and holds no session: whoever mounts it hands it requests and a [`Gateway`] to
//! the broker. Read [`A2a`] first, then `handler/`, then `docs/a2a.md`.

mod binding;
mod card;
mod check;
mod compat;
mod content;
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

pub use binding::A2a;
pub use fault::{Fault, FaultKind};
pub use gateway::{Gateway, Updates};
pub use handler::A2aConfig;
pub use push::{Notice, PUSHER, SENT, Webhook};
pub use sign::SigningKey;
