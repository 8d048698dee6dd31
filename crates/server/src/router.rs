//! Everything that the one port answers, in one place.

use crate::grpc;
use crate::http::{Guard, guard, healthz, metrics, not_found, readyz, stats};
use crate::hub::Hub;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;

/// The routes of a server that listens on `address`.
pub(crate) fn router(hub: &Arc<Hub>, address: SocketAddr) -> Router {
    // gRPC: the broker's service, health and reflection.
    grpc::routes(hub)
        // Plain HTTP.
        .merge(
            Router::new()
                .route("/healthz", get(healthz))
                .route("/readyz", get(readyz))
                .route("/metrics", get(metrics))
                .route("/api/v1/stats", get(stats))
                .with_state(hub.clone()),
        )
        // Whatever else is asked for.
        .fallback(not_found)
        // Before all of it: pages of others stay out.
        .layer(from_fn_with_state(Guard::new(address), guard))
}
