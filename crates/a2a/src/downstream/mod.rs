//! The other side of the standard: an agent elsewhere, which the broker calls as its client.
//!
//! Owns what there is to know without a socket: which interface of a card is spoken here
//! ([`DownstreamCard`]), what a request is in its words ([`Interface::outgoing`]), what an answer
//! means ([`Interface::answer`]), and what the broker's own task is told of it ([`Relay`]). Whoever
//! mounts A2A makes the calls.

mod answer;
mod card;
mod head;
mod recall;
mod relay;
mod request;
mod sse;

pub use answer::{Trouble, Why};
pub use card::{Binding, DownstreamCard, Interface, LONGEST_LABEL, Spoken};
pub(crate) use head::Head;
pub use head::is_note;
pub use recall::{LINK, Link, Recall};
pub use relay::{End, Relay, Step, whole_reply};
pub use request::{Ask, Outgoing, first_message};
pub use sse::EventReader;

/// The agent that keeps which servers elsewhere are agents of this broker.
pub const PROXIER: &str = "a2a-proxy";
/// The header that names the brokers which a message has passed, parted by commas.
pub const VIA: &str = "trunkline-via";
/// The same as a header of the envelope.
pub(crate) const PASSED: &str = "a2a-via";
