//! What an engine is told.

use crate::config::EngineConfig;
use std::sync::Arc;
use trunkline_types::session::{ClientFrame, Hello};
use trunkline_types::{Filter, Principal, Publish, Query, Sequence};

/// One connection of a session, numbered by the driver and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionKey(pub u64);

/// One question, numbered by the driver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueryKey(pub u64);

/// Which filters want the events of a frame: for each operation by its place in the frame, the
/// filters that were evaluated and whether they want it. What is not said here the engine finds
/// out for itself, which costs the partition the time; so a driver that knows the subscriptions
/// evaluates their filters before it brings the frame.
pub type Verdicts = Vec<(usize, Vec<(Filter, Verdict)>)>;

/// What a filter says of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It wants it.
    Wanted,
    /// It does not want it.
    Unwanted,
    /// It was not evaluated, because nothing was left of the work that there may be with one
    /// event. Who has the filter misses the event; that is counted as dropped, and told to the
    /// sender and to who misses it.
    LeftOut,
}

impl From<bool> for Verdict {
    fn from(wanted: bool) -> Self {
        if wanted { Self::Wanted } else { Self::Unwanted }
    }
}

/// What an engine is told.
#[derive(Clone, Debug)]
pub enum Command {
    /// A session introduces itself over a new connection.
    Connect {
        /// The connection.
        connection: ConnectionKey,
        /// Who the edge found to be speaking.
        principal: Principal,
        /// What it says.
        hello: Box<Hello>,
    },
    /// A session says something.
    Frame {
        /// Over which connection.
        connection: ConnectionKey,
        /// What it says.
        frame: ClientFrame,
        /// Which filters want the events in it, as far as that was found out before.
        verdicts: Verdicts,
    },
    /// Other settings are in force from now on. What was decided by the ones before stays.
    Configure(Box<EngineConfig>),
    /// A connection broke without a goodbye.
    Disconnect {
        /// Which connection.
        connection: ConnectionKey,
    },
    /// Somebody asks something.
    Ask {
        /// Under which number the answer is expected.
        query: QueryKey,
        /// Who asks.
        principal: Principal,
        /// What.
        question: Box<Query>,
    },
    /// The log says whether it has room for new work.
    Space {
        /// Whether it has.
        ample: bool,
    },
    /// The log says whether it is as far behind as it may be.
    Congestion {
        /// Whether it is.
        congested: bool,
    },
    /// The index has the idempotency keys of all records up to this one, the tasks that they ended
    /// and the dead letters that they made, and no longer those that they cleared.
    Indexed {
        /// The place of the last of them.
        through: Sequence,
    },
    /// The index takes in nothing more until the next start. What it has can still be read; what it
    /// has not is bounded in memory as if there were none.
    IndexStopped,
    /// What was asked for with [`Effect::Load`](crate::Effect::Load) was read, all of it.
    Loaded {
        /// The places of the records, and what each of them tells was published, or why it cannot
        /// be read.
        payloads: Vec<(Sequence, Result<Arc<Publish>, String>)>,
    },
    /// Says all durable things again of which only records before a place tell, so that these may
    /// go: a bounded part of it at a time. To be said again for as long as
    /// [`Engine::cleaning`](crate::Engine::cleaning) tells that it goes on, with pauses while the
    /// log is congested; meanwhile the place is the one that was said first.
    Clean {
        /// The place of the first record that is to stay.
        before: Sequence,
    },
    /// The broker is shutting down: nothing new is taken or delivered from now on, and every
    /// session is sent away as soon as it neither holds a delivery nor waits for the reply to one
    /// that is held. To be said again after whatever else is handled, until the end: that is when
    /// sessions are looked at anew.
    Drain,
    /// The broker is stopping: what is ephemeral is counted as lost.
    Stop,
}
