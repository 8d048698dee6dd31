//! Shared workloads and scenarios that measure Trunkline through its public interface.
//!
//! Owns what is sent and how it is counted: every payload is unique and checked where it is
//! handled, every settlement is confirmed, and the broker's own counters must agree; otherwise
//! there is no rate. It refuses to know anything of the broker that a user could not know. Read
//! [`cli`] for what can be asked, `ledger` for how it is counted, `scenario` for what is done.

mod broker;
mod clock;
mod crew;
mod disk;
mod error;
mod http;
mod ledger;
mod load;
mod machine;
mod observe;
mod pace;
mod payload;
mod plan;
mod progress;
mod proxy;
mod report;
mod rounds;
mod scenario;
mod seen;
mod serializers;
mod settings;
mod stage;
mod summary;
mod wire;

pub mod cli;

pub use crew::CrewArgs;
pub use error::BenchError;
pub use report::{BenchReport, CpuSeconds, DiskLimit, Figure, Goal, LatencyMicros, Measures};
pub use rounds::{Rounds, Spread};
pub use scenario::Scenario;
pub use serializers::{SerializerRow, SerializersReport, sample, serializers};
pub use settings::Config;
pub use summary::{Earlier, common, summary};
