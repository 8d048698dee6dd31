//! The edges of a broker: one port that carries gRPC, framed sessions, health, reflection, probes and metrics.
//!
//! [`Server::bind`] listens, [`BoundServer::serve`] serves; the broker may come later, until then
//! everything answers that it is not ready. The server knows the broker only by its public
//! interface: for each client stream it opens a session there, and for the unary calls of each
//! principal one more. It refuses to decide anything about messages: it decodes, checks what the
//! protocol says, hands over and encodes.
//!
//! ```no_run
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! use tokio_util::sync::CancellationToken;
//! use trunkline_broker::{Broker, BrokerConfig};
//! use trunkline_server::{Server, ServerConfig};
//!
//! let server = Server::bind(ServerConfig::default())?;
//! let (handle, shutdown) = (server.handle(), CancellationToken::new());
//! let serving = tokio::spawn(server.serve(shutdown.clone()));
//! // Probes are answered while the broker recovers.
//! handle.set_broker(Broker::open(BrokerConfig::durable("data")).await?);
//! tokio::signal::ctrl_c().await?;
//! shutdown.cancel();
//! serving.await?;
//! # Ok(()) }
//! ```

mod a2a_agent_json;
mod backend;
mod config;
mod connection;
mod entropy;
mod error;
mod framed;
mod grpc;
mod http;
mod hub;
mod proxy;
mod push;
mod router;
mod server;
mod session;
mod stats_json;
#[cfg(test)]
mod tests;

pub use a2a_agent_json::a2a_agent_json;
pub use config::ServerConfig;
pub use error::BindError;
pub use proxy::LetPrivate;
pub use push::Allowed;
pub use server::{BoundServer, Server, ServerHandle};
pub use stats_json::stats_json;
pub use trunkline_a2a::SigningKey;
