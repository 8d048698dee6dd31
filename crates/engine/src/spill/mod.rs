//! Spilling: payloads of waiting work leave memory, and come back ahead of their delivery.
//!
//! The log has every logged payload anyway, in the record at its entry's **base**: so a payload
//! leaves memory by being let go of, and comes back by that record being read again. What stays is
//! what the engine has to know while it waits (see [`body`]): its entry has what is its own, that
//! is its id, its size, its times; a **shape** that it shares with all that were sent to the same
//! place in the same way has the rest. Only what it belongs to, such as a conversation or an
//! ordering key, takes room of its own. What only a delivery needs, such as headers, goes with the
//! payload.
//!
//! **Which leave.** Only what is logged and goes to one agent or skill: what goes to many is shared
//! by all its copies. While more bytes than [`EngineConfig::payload_memory`] are held, whatever
//! comes to wait is spilled, which is what is delivered last; the first of a lane is not while
//! somebody serves its inbox. Behind something that is spilled everything else is spilled too, lest
//! what comes last takes the room of what comes first. A replay spills as it goes.
//!
//! **How they come back.** An inbox that somebody serves asks for those that are next in its lanes,
//! some at a time, with [`Effect::Load`]; the driver reads them outside of the engine's turn and
//! answers with [`Command::Loaded`]. A lane whose first payload is not there yet is not delivered
//! from, so the order stays; other lanes go on. So that memory stays bounded however many inboxes
//! there are, only a few are asked for while twice as many bytes are held as may be.
//!
//! **Who else looks at a payload** asks the [`PayloadStore`] then and there, for one record at a
//! time: the histories of tasks and conversations, cleaning when it carries an entry or an ended
//! task, a paused task that goes back to its agent, and the end of an entry that becomes a dead
//! letter. Those that a replay makes are **stubs** until the engine starts, and are read then (see
//! [`stub`]): a dead letter is always whole, so that showing, redriving and carrying one is nothing
//! special. A task that ends while its payload is out stays as it is.
//!
//! **A payload that cannot be read** makes its entry a dead letter of what is known of it, with a
//! header that says why and keeps it from being sent again as if it were whole. Another start may be
//! able to read it: so that a replay keeps what the live engine keeps, it counts against the bounds
//! with the bytes that were sent, which are known whether they can be read or not.
//!
//! A base is read only once its record is written, and cleaning gives nothing up before all that
//! rests on it is said again: an entry is read for that, and stays in memory until its new record
//! is written too.
//!
//! [`Effect::Load`]: crate::Effect::Load
//! [`Command::Loaded`]: crate::Command::Loaded
//! [`EngineConfig::payload_memory`]: crate::EngineConfig::payload_memory

mod ahead;
mod away;
mod body;
mod over;
mod recall;
mod store;
mod stub;

pub(crate) use ahead::Ahead;
pub use away::PayloadFigures;
pub(crate) use away::{Spill, stalled};
pub(crate) use body::{Body, Sent, SentRef, size_of_payload};
pub use store::PayloadStore;
pub(crate) use stub::{bytes_as_sent, is_lost, is_stub, replace_lost};
