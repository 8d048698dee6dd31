//! The Rust client: a session that survives its connections.
//!
//! [`Client`] implements [`trunkline_types::session::Connector`], so whatever runs on a broker in
//! process runs on a remote one. It owns reconnecting, resuming, resending and batching. It
//! refuses to interpret: what a delivery means and when a lease is renewed is for the layer above.
//!
//! Read [`ClientConfig`] first, then `session/mod.rs` for how a session works.

mod client;
mod config;
mod dialer;
mod failure;
mod framed;
mod parts;
mod query;
mod session;

pub use client::{Client, SessionFuture};
pub use config::{ClientConfig, Transport};
