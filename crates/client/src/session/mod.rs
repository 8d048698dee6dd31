//! A session over connections that come and go.
//!
//! [`state::State`] is what the session knows, behind one lock: the [`ledger`] of unanswered
//! operations, the [`memory`] of what the broker must be told again, and what is to be said next.
//! Senders add to it ([`connection`]); the request stream takes frames from it when the transport
//! has room ([`outgoing`]), so that what gathered during one write is the next frame; and one
//! task ([`driver`]) reads, tells the sink, and reconnects. [`outcome`] finds out what became of
//! tasks whose reply went to a broker that no longer knows the session.

mod connection;
mod driver;
mod ledger;
mod memory;
mod outcome;
mod outgoing;
mod policy;
mod shared;
mod state;

pub(crate) use driver::open;
pub(crate) use policy::Policy;
