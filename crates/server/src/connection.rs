//! The connections of a server: how each one is served, and how all of them end.

use crate::hub::Hub;
use crate::{ServerConfig, framed};
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How much a peer may send on one stream before it is read: room for a few full frames.
const STREAM_WINDOW: u32 = 4 << 20;
/// How much a peer may send on all streams of a connection before it is read.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Largest piece of a message on the wire. Larger than the usual 16 KiB: a batch of envelopes
/// then takes few pieces, and other streams of the connection hardly wait longer.
const PIECE: u32 = 64 << 10;
/// Largest set of request headers.
const HEADER_BYTES: u32 = 32 << 10;
/// How long a peer may be silent before it is asked whether it lives. Longer than a client of ours
/// waits before it asks: one of the two is enough.
const SILENCE: Duration = Duration::from_mins(1);
/// How long it may take to answer that, and how long HTTP/1.1 headers may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The connections being served.
pub(crate) struct Connections {
    hub: Arc<Hub>,
    http: Arc<Http>,
    tasks: JoinSet<()>,
    /// Cancelled when connections are to finish what they carry and close.
    closing: CancellationToken,
}

impl Connections {
    /// No connections yet; each one will be served with `router`.
    pub(crate) fn new(hub: Arc<Hub>, router: Router) -> Self {
        let http = Arc::new(Http { builder: builder(&hub.config), router });
        Self { hub, http, tasks: JoinSet::new(), closing: CancellationToken::new() }
    }

    /// Serves a connection, or closes it at once if there are too many.
    pub(crate) fn serve(&mut self, socket: TcpStream) {
        let limit = self.hub.config.max_connections;
        if self.tasks.len() >= limit {
            self.hub.connections_refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(limit, "closed a new connection: there are too many");
            return;
        }
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "a connection closed before it was served");
            return;
        }
        let count = self.hub.count_connection();
        let (hub, http, closing) = (self.hub.clone(), self.http.clone(), self.closing.clone());
        self.tasks.spawn(async move {
            let _count = count;
            match Box::pin(protocol(&socket, &closing)).await {
                Protocol::None => tracing::debug!("a connection ended before it said a word"),
                Protocol::Framed => {
                    drop(http);
                    framed::serve(socket, hub, closing).await;
                }
                Protocol::Http => {
                    drop(hub);
                    Box::pin(serve_http(socket, &http, closing)).await;
                }
            }
        });
    }

    /// Clears away one connection that has ended; pending while all are open.
    pub(crate) async fn reap(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Lets connections finish what they carry, for a while, and closes those that do not.
    pub(crate) async fn end(mut self, patience: Duration) {
        self.closing.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::debug!(left = self.tasks.len(), "closing connections that go on");
        }
        self.tasks.shutdown().await;
    }
}

/// How HTTP is served.
struct Http {
    builder: Builder<TokioExecutor>,
    router: Router,
}

/// What a connection speaks.
enum Protocol {
    Framed,
    Http,
    /// Nothing: it is over.
    None,
}

/// Tells by the first byte what a connection speaks.
async fn protocol(socket: &TcpStream, closing: &CancellationToken) -> Protocol {
    let mut first = [0];
    tokio::select! {
        peeked = tokio::time::timeout(PATIENCE, socket.peek(&mut first)) => match peeked {
            Ok(Ok(1)) if framed::speaks(first[0]) => Protocol::Framed,
            Ok(Ok(1)) => Protocol::Http,
            Ok(Ok(_) | Err(_)) | Err(_) => Protocol::None,
        },
        () = closing.cancelled() => Protocol::None,
    }
}

/// Serves HTTP/1.1 or HTTP/2, gRPC among it.
async fn serve_http(socket: TcpStream, http: &Http, closing: CancellationToken) {
    let service = TowerToHyperService::new(http.router.clone());
    let mut connection = pin!(http.builder.serve_connection(TokioIo::new(socket), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

fn builder(config: &ServerConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(PIECE)
        .max_header_list_size(HEADER_BYTES)
        .max_concurrent_streams(config.max_streams)
        .keep_alive_interval(SILENCE)
        .keep_alive_timeout(PATIENCE);
    builder
}
