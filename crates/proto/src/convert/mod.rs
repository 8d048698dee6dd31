//! Conversions between the generated types and the vocabulary, one file per concept.

mod a2a_agent;
mod call;
mod card;
mod client;
mod destination;
mod directory;
mod envelope;
mod gather;
mod history;
mod inbox;
mod message;
mod operation;
mod query;
mod schedule;
mod server;
mod settle;
mod stats;
mod task;
pub(crate) mod words;

pub use server::server_frame;
