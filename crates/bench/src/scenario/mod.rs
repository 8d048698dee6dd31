//! The scenarios, one file for each way of working.

mod a2a;
mod accept;
mod burst;
mod chatter;
pub(crate) mod deep;
mod defaults;
mod failure;
mod flow;
mod idle;
mod kind;
mod many;
mod mix;
mod open;
mod reconnect;
mod recovery;
mod request;
mod sessions;
mod soak;
mod stalled;
#[cfg(test)]
mod tests;
mod up;

pub use kind::Scenario;
