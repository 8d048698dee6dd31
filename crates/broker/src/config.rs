//! What can be set about a broker.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use trunkline_engine::EngineConfig;
use trunkline_log::{LogConfig, Storage};

/// Settings of a broker.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Where accepted work is kept.
    pub store: Store,
    /// Settings of the engine. `logged`, `seed`, `rules` and `key_index` are set by the broker.
    pub engine: EngineConfig,
    /// Settings of the log; of no effect without one.
    pub log: LogConfig,
    /// Called on a thread of the broker's own that works on its tables when it has had nothing to do
    /// for a second. A program whose allocator keeps what a thread has freed has it given back here.
    /// Default: does nothing. Of no effect without a log, for then there is no such thread.
    pub at_rest: fn(),
}

/// Where accepted work is kept.
#[derive(Clone)]
pub enum Store {
    /// In memory only: nothing outlives the process, whatever durability was asked for.
    Memory,
    /// In a data directory, which is made if it is not there.
    Directory(PathBuf),
    /// On some other storage.
    Custom(Arc<dyn Storage>),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("Memory"),
            Self::Directory(path) => f.debug_tuple("Directory").field(path).finish(),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

impl BrokerConfig {
    /// A broker that keeps everything in memory.
    pub fn ephemeral() -> Self {
        Self {
            store: Store::Memory,
            engine: EngineConfig::default(),
            log: LogConfig::default(),
            at_rest: || (),
        }
    }

    /// A broker that keeps accepted work in a data directory.
    pub fn durable(path: impl Into<PathBuf>) -> Self {
        Self { store: Store::Directory(path.into()), ..Self::ephemeral() }
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self::ephemeral()
    }
}
