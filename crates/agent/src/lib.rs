//! The agent runtime and the Rust API over the session protocol.
//!
//! Owns sessions (numbered operations, replies, subscriptions, watched tasks), handlers and their
//! worker pools, the leases that stay alive while handlers run, and executables as agents. It
//! speaks to a broker through [`Connector`](trunkline_types::session::Connector) alone and refuses
//! to know whether that broker is in this process. Read [`Host`] first, then [`AgentBuilder`] and
//! [`Task`].

mod agent;
mod builder;
mod core;
mod error;
mod events;
#[cfg(unix)]
pub mod exec;
mod handler;
mod host;
mod keeper;
mod outgoing;
mod pool;
pub mod prelude;
mod send;
mod session;
mod task;
mod ticket;
mod watch;

pub use agent::{Agent, AgentStats};
pub use builder::AgentBuilder;
pub use error::RequestError;
pub use events::{Event, Events};
pub use handler::{Handler, HandlerError, HandlerFuture, HandlerResult, IntoReply};
pub use host::Host;
pub use outgoing::{MessageBuilder, Outgoing, RequestBuilder, SendBuilder};
pub use send::{Acceptance, Reply};
pub use session::{Session, SessionOptions};
pub use task::Task;
pub use ticket::{BatchOutcome, Ticket};
pub use watch::TaskUpdates;
