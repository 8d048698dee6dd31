//! The scenarios, one file for each way of working.

mod accept;
mod chatter;
mod flow;
mod idle;
mod kind;
mod many;
mod reconnect;
mod recovery;
mod request;
mod stalled;
#[cfg(test)]
mod tests;
mod up;

pub use kind::Scenario;
