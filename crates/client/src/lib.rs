//! The Rust client over gRPC: a session that survives its connections.
//!
//! [`Client`] implements [`trunkline_types::session::Connector`], so whatever runs on a broker in
//! process runs on a remote one. It owns reconnecting, resuming, resending and batching. It
//! refuses to interpret: what a delivery means and when a lease is renewed is for the layer above.
//!
//! Read [`ClientConfig`] first, then `session/mod.rs` for how a session works.

mod client;
mod config;
mod failure;
mod query;
mod session;
mod transport;

pub use client::Client;
pub use config::ClientConfig;
