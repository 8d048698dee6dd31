//! The gRPC services as routes.

use super::health::HealthService;
use super::service::BrokerService;
use crate::hub::Hub;
use axum::Router;
use std::convert::Infallible;
use std::sync::Arc;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::NamedService;
use tonic_health::pb::health_server::HealthServer;
use tower::{Service, ServiceExt};
use trunkline_proto::v1::FILE_DESCRIPTOR_SET;
use trunkline_proto::v1::broker_server::BrokerServer;

/// The broker's service, health and reflection.
pub(crate) fn routes(hub: &Arc<Hub>) -> Router {
    let broker = BrokerServer::new(BrokerService::new(hub.clone()))
        .max_decoding_message_size(hub.config.max_frame_bytes);
    let health = HealthServer::new(HealthService::new(hub.clone()));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptor sets are made by the build and decode");
    Router::new().merge(route(broker)).merge(route(health)).merge(route(reflection))
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
