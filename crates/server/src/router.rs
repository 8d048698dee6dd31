//! Everything that the one port answers, in one place.

use crate::grpc;
use crate::http::{
    A2aEdge, Guard, a2a, add_agent, agents, guard, healthz, metrics, readyz, remove_agent, stats,
};
use crate::hub::Hub;
use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get};
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
                .route("/api/v1/agents", get(agents).post(add_agent))
                .route("/api/v1/agents/{id}", delete(remove_agent))
                .with_state(hub.clone()),
        )
        // A2A, whose paths have an agent and a tenant in front, and whatever else is asked for.
        .fallback_service(a2a.with_state(A2aEdge::new(hub)))
        // Before all of it: pages of others stay out.
        .layer(from_fn_with_state(Guard::new(address), guard))
}
