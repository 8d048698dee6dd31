//! Who gets what: sessions, credit, leases, and the events of bare subscriptions.

mod breaker;
mod drain;
mod events;
mod lease;
mod matching;
mod overrun;
mod routing;
mod session;
mod timers;

pub(crate) use breaker::Breaker;
pub(crate) use events::EventCopy;
pub(crate) use session::Session;
pub(crate) use timers::Alarm;
