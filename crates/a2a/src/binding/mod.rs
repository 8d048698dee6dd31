//! The bindings: which request is whose, and what all of them have in common.
//!
//! [`A2a::answer`] is the one way in. Each binding reads its request, calls the operation and
//! writes what comes of it; none of them knows what an operation does.

mod body;
pub mod fuzzing;
mod grpc;
mod grpc_03;
mod jsonrpc;
mod negotiate;
mod query;
mod rest;
mod sse;
mod v03;
mod well_known;

use crate::endpoint::{Route, route};
use crate::fault::{Fault, FaultKind};
use crate::gateway::Gateway;
use crate::handler::{A2aConfig, Call, Handler};
use crate::push::Webhook;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use negotiate::Version;
use std::fmt;
use std::sync::Arc;
use trunkline_types::{MessageId, Payload, Principal};

/// A2A in front of a broker. Clones are the same.
#[derive(Clone)]
pub struct A2a {
    handler: Arc<Handler>,
    versions: Arc<well_known::Versions>,
}

impl A2a {
    /// A2A in front of the broker behind `gateway`.
    pub fn new(gateway: Arc<dyn Gateway>, config: A2aConfig) -> Self {
        let handler = Handler { gateway, config, answering: Default::default() };
        Self { handler: Arc::new(handler), versions: Arc::default() }
    }

    /// What the webhook of an order for [`PUSHER`](crate::PUSHER) is to be told. `orders` are the
    /// order's id and, if it was redriven, that of the one before it; `said` is what it says.
    /// `None` if there is nothing to be told: the order keeps that its webhook was deleted.
    ///
    /// # Errors
    /// A [`Fault`]: this is no order, its task was forgotten, or the broker is not there.
    pub async fn webhook(
        &self,
        orders: &[MessageId],
        said: &Payload,
    ) -> Result<Option<Webhook>, Fault> {
        Webhook::open(&self.handler, orders, said).await
    }

    /// Whether a request is one of ours.
    pub fn takes(&self, method: &Method, path: &str) -> bool {
        route(method, path).is_some()
    }

    /// Answers a request of a caller whom the edge found to be `principal`, or could not let in.
    pub async fn answer(&self, principal: Result<Principal, Fault>, request: Request) -> Response {
        let found = route(request.method(), request.uri().path());
        let (mut endpoint, route) = match found {
            Some(Ok(found)) => found,
            nothing => {
                let response = nowhere(&request, nothing.and_then(Result::err));
                self.pass_over(request).await;
                return response;
            }
        };
        let version = negotiate::version(&request, self.handler.config.earlier);
        if version == Ok(Version::V03) {
            v03::strip(&mut endpoint);
        }
        let call = principal.map(|principal| {
            let url = self.handler.config.url.as_deref();
            negotiate::call(principal, endpoint, version.clone().ok(), &request, url)
        });
        match route {
            // A body can be moved between threads, but not be looked at by several.
            Route::Card => {
                let headers = request.into_parts().0.headers;
                well_known::answer((&self.handler, &self.versions), call, &headers).await
            }
            Route::Keys => well_known::keys(&self.handler),
            Route::Rpc => Box::pin(jsonrpc::answer(&self.handler, call, version, request)).await,
            Route::Rest(rest) if version == Ok(Version::V03) => {
                Box::pin(v03::answer(&self.handler, call, rest, request)).await
            }
            Route::Rest(rest) => {
                let call = admitted(call, version);
                Box::pin(rest::answer(&self.handler, call, rest, request)).await
            }
            Route::Grpc03(_) | Route::Grpc(_) if !grpc::is_grpc(request.headers()) => {
                let response = grpc::foreign(request.headers());
                self.pass_over(request).await;
                response
            }
            Route::Grpc03(method) => {
                let spoken = self.handler.config.earlier;
                let call = if spoken { call } else { Err(negotiate::only_in_1_0()) };
                grpc_03::answer(&self.handler, call, &method, request).await
            }
            Route::Grpc(method) => {
                let call = admitted(call, version);
                grpc::answer(&self.handler, call, &method, request).await
            }
        }
    }

    /// Reads the body of a request that is refused, within bounds.
    async fn pass_over(&self, request: Request) {
        let (parts, body) = request.into_parts();
        body::unwanted(&parts.headers, body, self.handler.config.body_bytes).await;
    }
}

/// What is answered where nothing is, or nothing by this method; `allowed` are those that there are.
fn nowhere(request: &Request, allowed: Option<&'static str>) -> Response {
    let Some(allowed) = allowed else {
        let path: String = request.uri().path().chars().take(128).collect();
        let message = format!("nothing of A2A is at {path}");
        return rest::refused(&Fault::new(FaultKind::MethodNotFound, message));
    };
    let message = format!("{} is not taken here, but {allowed}", request.method());
    let mut response = rest::refused(&Fault::new(FaultKind::MethodNotAllowed, message));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// JSON with a status and a media type.
fn json(status: StatusCode, kind: &'static str, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, kind)], Body::from(body)).into_response()
}

/// Says when it may be worth trying again, if that is known.
fn hint(response: &mut Response, fault: &Fault) {
    if let Some(seconds) = fault.retry_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
}

/// The call of a caller who was let in and speaks 1.0.
fn admitted(call: Result<Call, Fault>, version: Result<Version, Fault>) -> Result<Call, Fault> {
    let call = call?;
    match version? {
        Version::V1 => Ok(call),
        Version::V03 => Err(negotiate::only_in_1_0()),
    }
}

impl fmt::Debug for A2a {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("A2a").field("handler", &self.handler).finish_non_exhaustive()
    }
}
