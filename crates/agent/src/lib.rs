//! The agent runtime and the Rust API over the session protocol.
//!
//! Owns sessions (numbered operations, replies, subscriptions, what is watched, payloads compressed
//! on their way, the pace for inboxes under pressure), handlers and their
//! worker pools, the leases that stay alive while handlers run, and executables as agents. It
//! speaks to a broker through [`Connector`](trunkline_types::session::Connector) alone and refuses
//! to know whether that broker is in this process. Read [`Host`] first, then [`AgentBuilder`] and
//! [`Task`].

mod agent;
mod agent_watch;
mod batch;
mod blocking;
mod builder;
mod calls;
mod content;
mod core;
mod error;
mod events;
#[cfg(unix)]
pub mod exec;
mod handler;
mod health;
mod host;
mod keeper;
mod outgoing;
mod overlap;
mod pool;
pub mod prelude;
mod profile;
mod redrive;
mod send;
mod session;
mod task;
mod ticket;
mod watch;

pub use crate::core::now;
pub use agent::{Agent, AgentStats, WorkerStats};
pub use agent_watch::AgentWatch;
pub use batch::{Batch, batch};
pub use blocking::{Blocking, blocking};
pub use builder::AgentBuilder;
pub use error::RequestError;
pub use events::{Event, Events};
pub use handler::{
    BatchFuture, Handler, HandlerError, HandlerFuture, HandlerResult, Intake, IntoReply, Parallel,
};
pub use host::Host;
pub use outgoing::{Cause, GatherBuilder, MessageBuilder, Outgoing, RequestBuilder, SendBuilder};
pub use pool::WorkerFuture;
pub use profile::Profile;
pub use redrive::RedriveBuilder;
pub use send::{Acceptance, Reply};
pub use session::{Session, SessionOptions};
pub use task::Task;
pub use ticket::{BatchOutcome, Ticket};
pub use trunkline_content::{Compression, ContentError, Json, MsgPack};
pub use watch::TaskUpdates;
