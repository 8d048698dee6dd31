//! The broker in process: drives the engine, commits its records, performs its effects.
//!
//! Owns the clocks, the combining lock around the engine, the log's thread and the outboxes of
//! sessions. It refuses to know the network: sessions come through
//! [`Connector`](trunkline_types::session::Connector), whoever they are. Read [`Broker`] first,
//! then `partition`, where everything meets.

mod backup;
mod broker;
mod cleaning;
mod clock;
mod combine;
mod config;
mod connection;
mod core;
mod error;
mod filters;
#[doc(hidden)]
pub mod fuzzing;
mod gaps;
mod index;
mod listing;
mod loading;
mod open;
mod partition;
mod port;
mod read_back;
pub mod settings;
mod sync;
mod timer;
mod told;
mod verify;

pub use backup::{BackedUp, BackupError, backup, restore};
pub use broker::{Broker, BrokerHandle, BrokerState};
pub use config::{BrokerConfig, Store};
pub use error::OpenError;
pub use settings::check;
pub use told::told_of;
pub use trunkline_engine::EngineConfig;
pub use trunkline_log::LogConfig;
pub use verify::{Fault, Repair, Verified, verify};
