//! The gRPC services as routes.

use super::health::HealthService;
use super::service::BrokerService;
use crate::backend::Readiness;
use crate::hub::Hub;
use axum::Router;
use axum::extract::State;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use std::convert::Infallible;
use std::sync::Arc;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::NamedService;
use tonic_health::pb::health_server::HealthServer;
use tower::{Service, ServiceExt};
use trunkline_broker::{Broker, BrokerState};
use trunkline_proto::status::from_refusal;
use trunkline_proto::v1::FILE_DESCRIPTOR_SET;
use trunkline_proto::v1::broker_server::BrokerServer;

/// The broker's service, health and reflection.
pub(crate) fn routes(hub: &Arc<Hub>) -> Router {
    let broker = BrokerServer::new(BrokerService::new(hub.clone()))
        .max_decoding_message_size(hub.config.max_frame_bytes);
    let health = HealthServer::new(HealthService::new(hub.clone()));
    let mut reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    if hub.config.a2a {
        // The service itself is behind the fallback, where agents stand in front of its path.
        let a2a = trunkline_a2a::wire::FILE_DESCRIPTOR_SET;
        reflection = reflection.register_encoded_file_descriptor_set(a2a);
    }
    let reflection =
        reflection.build_v1().expect("the descriptor sets are made by the build and decode");
    // Calls in flight go on, and what follows the broker's health is told that it drains.
    let broker = route(broker).layer(from_fn_with_state(hub.clone(), refuse_while_draining));
    Router::new().merge(broker).merge(route(health)).merge(route(reflection))
}

/// Refuses a call that begins while the broker drains.
async fn refuse_while_draining(
    State(hub): State<Arc<Hub>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    if hub.readiness() == Readiness::Is(BrokerState::Draining) {
        return from_refusal(&Broker::draining()).into_http();
    }
    next.run(request).await
}

/// A service under its name. Methods that it does not have it refuses itself.
fn route<S>(service: S) -> Router
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    let service = service.map_request(|request: axum::extract::Request| request.map(Body::new));
    Router::new().route_service(&format!("/{}/{{*method}}", S::NAME), service)
}
