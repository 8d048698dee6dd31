//! What an engine is told.

use trunkline_types::session::{ClientFrame, Hello};
use trunkline_types::{Principal, Query};

/// One connection of a session, numbered by the driver and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionKey(pub u64);

/// One question, numbered by the driver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueryKey(pub u64);

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
    },
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
        question: Query,
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
    /// The broker is stopping: what is ephemeral is counted as lost.
    Stop,
}
