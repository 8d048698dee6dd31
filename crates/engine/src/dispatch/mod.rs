//! Who gets what: sessions, credit, leases, and the events of bare subscriptions.

mod events;
mod lease;
mod matching;
mod session;
mod timers;

pub(crate) use session::Session;
