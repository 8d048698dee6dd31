//! Probes for whoever runs the broker, and the answer to paths that do not exist.

use crate::hub::Hub;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use tonic::Status;

/// The process lives.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// The broker takes work, or the word for why it does not.
pub(crate) async fn readyz(State(hub): State<Arc<Hub>>) -> Response {
    let readiness = hub.readiness();
    let status =
        if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{readiness}\n")).into_response()
}

/// Nothing is here: said in the caller's own protocol.
pub(crate) async fn not_found(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(128).collect();
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return Status::unimplemented(format!("there is no method {path}")).into_http();
    }
    let text = format!(
        "nothing is at {path}; there are /healthz, /readyz, /metrics, /api/v1/stats, /api/v1/agents, gRPC and \
         A2A\n"
    );
    (StatusCode::NOT_FOUND, text).into_response()
}
