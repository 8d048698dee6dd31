//! A server: binds its port, serves connections, and ends in order.
//!
//! Owns the listening socket and the tasks of its connections. One port carries everything:
//! whether a connection speaks HTTP/1.1 or HTTP/2 is told by its first bytes.

use crate::backend::Backend;
use crate::connection::Connections;
use crate::hub::Hub;
use crate::router::router;
use crate::{BindError, ServerConfig};
use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use trunkline_broker::Broker;

/// How many connections may wait to be accepted: thousands of agents may come back at once.
const BACKLOG: u32 = 4_096;
/// How long accepting pauses when the system has no more file descriptors: the error returns at
/// once and would be had again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long ended streams may take to reach their clients at shutdown.
const FAREWELL: Duration = Duration::from_secs(2);

/// A server that does not listen yet.
#[derive(Debug)]
pub struct Server;

/// A server that listens. It answers that it is not ready until it is given its broker.
pub struct BoundServer {
    listener: TcpListener,
    address: SocketAddr,
    hub: Arc<Hub>,
}

/// Reaches a server that is being served.
#[derive(Clone)]
pub struct ServerHandle {
    hub: Arc<Hub>,
}

impl Server {
    /// Listens where `config` says. Nothing is accepted before [`BoundServer::serve`].
    ///
    /// # Errors
    /// [`BindError`] if the address is beyond loopback without permission, taken or not ours, or
    /// if a setting is out of its range.
    ///
    /// # Panics
    /// If it is called outside a tokio runtime.
    pub fn bind(config: ServerConfig) -> Result<BoundServer, BindError> {
        config.check()?;
        let asked = config.listen;
        let listener = listen(asked).map_err(|error| BindError::listen(asked, error))?;
        let address = listener.local_addr().map_err(|error| BindError::listen(asked, error))?;
        Ok(BoundServer { listener, address, hub: Arc::new(Hub::new(config)) })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of the broker before this one may still be closing.
    socket.set_reuseaddr(true)?;
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether an error of accepting says nothing about the next connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

impl BoundServer {
    /// Where it listens, with the port that it was given.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A handle by which it can be given its broker while it is being served.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { hub: self.hub.clone() }
    }

    /// Serves until `shutdown` is cancelled, then ends in order: drains the broker, which sends
    /// sessions away as they finish what they hold, accepts nothing more, and closes what is left
    /// open. Until the broker has drained, probes and callers are told that it drains.
    pub async fn serve(self, shutdown: CancellationToken) {
        let Self { listener, address, hub } = self;
        let mut connections = Connections::new(hub.clone(), router(&hub, address));
        let resuming = {
            let hub = hub.clone();
            tokio::spawn(async move { hub.pushes.resume(&hub).await })
        };
        let taking_up = {
            let hub = hub.clone();
            tokio::spawn(async move { hub.proxies.resume(&hub).await })
        };
        accept_until(shutdown.cancelled(), &listener, &mut connections).await;
        resuming.abort();
        taking_up.abort();
        accept_until(hub.proxies.stop(), &listener, &mut connections).await;
        accept_until(hub.pushes.stop(), &listener, &mut connections).await;
        accept_until(drained(&hub), &listener, &mut connections).await;
        drop(listener);
        hub.close_calls();
        hub.streams.end_all(&Status::unavailable("the broker shuts down"));
        connections.end(FAREWELL).await;
    }
}

/// Serves whoever comes until something has happened.
async fn accept_until(
    end: impl Future<Output = ()>,
    listener: &TcpListener,
    connections: &mut Connections,
) {
    let mut end = pin!(end);
    loop {
        tokio::select! {
            biased;
            () = &mut end => return,
            () = connections.reap() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => connections.serve(socket),
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection broke before it was accepted");
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Drains the broker, if it is there.
async fn drained(hub: &Hub) {
    let Some(broker) = hub.broker() else { return };
    tokio::select! {
        () = broker.drain(hub.config.drain_grace) => {}
        // The broker waits for all sessions, those behind the unary calls too.
        () = async { hub.finish_calls().await; pending().await } => {}
    }
}

impl ServerHandle {
    /// Gives the server its broker: from now on it answers what the broker answers. Returns
    /// whether it was the first; a second broker is ignored, because sessions know the first.
    pub fn set_broker(&self, broker: Broker) -> bool {
        self.set_backend(broker)
    }

    /// The same for anything that behaves as a broker.
    pub(crate) fn set_backend(&self, broker: impl Backend) -> bool {
        self.hub.set_broker(Box::new(broker))
    }

    /// Whether no unary call waits for the broker.
    #[cfg(test)]
    pub(crate) fn has_no_callers(&self) -> bool {
        self.hub.has_no_callers()
    }
}

impl fmt::Debug for BoundServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").finish_non_exhaustive()
    }
}
