//! The standard health service: serving while the broker takes work.

use crate::backend::Readiness;
use crate::hub::Hub;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use trunkline_broker::BrokerState;

/// The services whose health is told; the empty name stands for the server as a whole.
const SERVICES: [&str; 2] = ["", "trunkline.v1.Broker"];

/// Tells the broker's readiness.
pub(crate) struct HealthService {
    hub: Arc<Hub>,
}

impl HealthService {
    /// The health of the broker of `hub`.
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if SERVICES.contains(&service.as_str()) {
            return Ok(Response::new(answer(&self.hub.readiness())));
        }
        let service: String = service.chars().take(128).collect();
        Err(Status::not_found(format!("there is no service '{service}'")))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if !SERVICES.contains(&request.get_ref().service.as_str()) {
            // The protocol wants this told once and the stream left open.
            let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown as i32 };
            let told = stream::iter([Ok(unknown)]).chain(stream::pending());
            return Ok(Response::new(told.boxed()));
        }
        let watch = Watch { hub: self.hub.clone(), state: None, told: None };
        Ok(Response::new(stream::unfold(watch, Watch::next).boxed()))
    }
}

/// One caller's view of the broker's readiness.
struct Watch {
    hub: Arc<Hub>,
    /// How the broker is, once it is there.
    state: Option<watch::Receiver<BrokerState>>,
    told: Option<HealthCheckResponse>,
}

impl Watch {
    /// Waits until there is something new to tell. Ends with the broker.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            let now = self.hub.readiness();
            let news = answer(&now);
            if self.told.as_ref() != Some(&news) {
                self.told = Some(news);
                return Some((Ok(news), self));
            }
            if now == Readiness::Is(BrokerState::Closed) {
                return None;
            }
            match &mut self.state {
                None => self.state = Some(self.hub.watch_broker().await?),
                Some(state) => state.changed().await.ok()?,
            }
        }
    }
}

fn answer(readiness: &Readiness) -> HealthCheckResponse {
    let status =
        if readiness.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status as i32 }
}
