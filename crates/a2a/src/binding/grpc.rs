//! The gRPC binding.
//!
//! Nothing can stand in front of a path of gRPC for most clients, so that the field `tenant` says
//! besides the tenant which agent is meant. Cards say it that way, and clients send back what the
//! card says.

use super::jsonrpc::unknown;
use crate::endpoint::SERVICE;
use crate::fault::{Fault, FaultKind};
use crate::handler::{Call, Handler, TaskStream};
use crate::wire::a2a_service_server::{A2aService, A2aServiceServer};
use crate::wire::{self, StreamResponse};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use futures_util::Stream;
use futures_util::stream::unfold;
use std::pin::Pin;
use std::sync::Arc;
use tonic::codegen::Service;
use tonic::{Code, Status};

/// Answers a call of a method.
pub(super) async fn answer(
    handler: &Arc<Handler>,
    call: Result<Call, Fault>,
    method: &str,
    mut request: Request,
) -> Response {
    let one = OneCall { handler: handler.clone(), call };
    // What stands in front has been read.
    match Uri::try_from(format!("/{SERVICE}/{method}")) {
        Ok(uri) => *request.uri_mut() = uri,
        Err(error) => return Status::unimplemented(error.to_string()).into_http(),
    }
    let most = handler.config.body_bytes;
    let mut service = A2aServiceServer::new(one).max_decoding_message_size(most);
    match service.call(request).await {
        Ok(response) => explained(method, response),
        Err(never) => match never {},
    }
}

/// Whether a request says that it is one of gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Answers what is no call of gRPC with the status of HTTP that its own specification has for that.
pub(super) fn foreign(headers: &HeaderMap) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind: String = String::from_utf8_lossy(kind).chars().take(64).collect();
    let fault =
        Fault::new(FaultKind::NotJson, format!("the body is '{kind}'; send application/grpc"));
    let mut response = fault.to_status().into_http();
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

/// An answer whose error is told as every error is, also where no operation was asked because what
/// carries the calls has refused it.
pub(super) fn explained(
    method: &str,
    response: tonic::codegen::http::Response<tonic::body::Body>,
) -> Response {
    let status = Status::from_header_map(response.headers());
    let told = |status: &Status| status.code() == Code::Ok || !status.details().is_empty();
    let Some(status) = status.filter(|status| !told(status)) else {
        return response.map(Body::new);
    };
    let said = status.message();
    let status = match status.code() {
        // It says no more of a method that there is not.
        Code::Unimplemented if said.is_empty() => unknown(method).to_status_as(status.code()),
        Code::Unimplemented => {
            Fault::new(FaultKind::UnsupportedOperation, said).to_status_as(status.code())
        }
        Code::OutOfRange | Code::ResourceExhausted => {
            Fault::new(FaultKind::TooLarge, said).to_status_as(status.code())
        }
        _ => Fault::new(FaultKind::InvalidRequest, said).to_status(),
    };
    status.into_http()
}

/// The service, for one call.
struct OneCall {
    handler: Arc<Handler>,
    call: Result<Call, Fault>,
}

impl OneCall {
    /// The call with the agent that the field `tenant` names, which is left with the tenant.
    fn named(&self, tenant: &mut String) -> Result<Call, Status> {
        let mut call = self.call.clone().map_err(refused)?;
        call.name_agent(tenant).map_err(refused)?;
        Ok(call)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is what an error is mapped with")]
fn refused(fault: Fault) -> Status {
    fault.to_status()
}

type Answered<T> = Result<tonic::Response<T>, Status>;
type Told = Pin<Box<dyn Stream<Item = Result<StreamResponse, Status>> + Send>>;

/// A stream as this binding tells it.
fn told(stream: TaskStream) -> tonic::Response<Told> {
    let items = unfold(stream, async |mut stream| {
        let item = stream.next().await?;
        Some((item.map(|item| item.response).map_err(refused), stream))
    });
    tonic::Response::new(Box::pin(items))
}

/// Answers by the operation of the handler.
macro_rules! answered {
    ($self:ident, $request:ident, $operation:ident) => {{
        let mut request = $request.into_inner();
        let call = $self.named(&mut request.tenant)?;
        $self.handler.$operation(&call, request).await.map_err(refused)?
    }};
}

#[tonic::async_trait]
impl A2aService for OneCall {
    type SendStreamingMessageStream = Told;
    type SubscribeToTaskStream = Told;

    async fn send_message(
        &self,
        request: tonic::Request<wire::SendMessageRequest>,
    ) -> Answered<wire::SendMessageResponse> {
        Ok(tonic::Response::new(answered!(self, request, send)))
    }

    async fn send_streaming_message(
        &self,
        request: tonic::Request<wire::SendMessageRequest>,
    ) -> Answered<Told> {
        Ok(told(answered!(self, request, send_stream)))
    }

    async fn get_task(
        &self,
        request: tonic::Request<wire::GetTaskRequest>,
    ) -> Answered<wire::Task> {
        Ok(tonic::Response::new(answered!(self, request, get)))
    }

    async fn list_tasks(
        &self,
        request: tonic::Request<wire::ListTasksRequest>,
    ) -> Answered<wire::ListTasksResponse> {
        Ok(tonic::Response::new(answered!(self, request, list)))
    }

    async fn cancel_task(
        &self,
        request: tonic::Request<wire::CancelTaskRequest>,
    ) -> Answered<wire::Task> {
        Ok(tonic::Response::new(answered!(self, request, cancel)))
    }

    async fn subscribe_to_task(
        &self,
        request: tonic::Request<wire::SubscribeToTaskRequest>,
    ) -> Answered<Told> {
        Ok(told(answered!(self, request, subscribe)))
    }

    async fn create_task_push_notification_config(
        &self,
        request: tonic::Request<wire::TaskPushNotificationConfig>,
    ) -> Answered<wire::TaskPushNotificationConfig> {
        Ok(tonic::Response::new(answered!(self, request, create_push)))
    }

    async fn get_task_push_notification_config(
        &self,
        request: tonic::Request<wire::GetTaskPushNotificationConfigRequest>,
    ) -> Answered<wire::TaskPushNotificationConfig> {
        Ok(tonic::Response::new(answered!(self, request, get_push)))
    }

    async fn list_task_push_notification_configs(
        &self,
        request: tonic::Request<wire::ListTaskPushNotificationConfigsRequest>,
    ) -> Answered<wire::ListTaskPushNotificationConfigsResponse> {
        Ok(tonic::Response::new(answered!(self, request, list_push)))
    }

    async fn get_extended_agent_card(
        &self,
        request: tonic::Request<wire::GetExtendedAgentCardRequest>,
    ) -> Answered<wire::AgentCard> {
        Ok(tonic::Response::new(answered!(self, request, extended_card)))
    }

    async fn delete_task_push_notification_config(
        &self,
        request: tonic::Request<wire::DeleteTaskPushNotificationConfigRequest>,
    ) -> Answered<()> {
        answered!(self, request, delete_push);
        Ok(tonic::Response::new(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::StatusExt;

    fn refused(method: &str, status: &Status) -> Status {
        let response = explained(method, status.clone().into_http());
        Status::from_header_map(response.headers()).unwrap()
    }

    #[test]
    fn what_was_refused_before_any_operation_has_an_error_info() {
        for (status, code, reason) in [
            (Status::unimplemented(""), Code::Unimplemented, "METHOD_NOT_FOUND"),
            (Status::unimplemented("zip"), Code::Unimplemented, "UNSUPPORTED_OPERATION"),
            (Status::out_of_range("large"), Code::OutOfRange, "TOO_LARGE"),
            (Status::internal("no message"), Code::InvalidArgument, "INVALID_REQUEST"),
        ] {
            let told = refused("Sing", &status);
            let info = told.get_details_error_info().unwrap();
            assert_eq!((told.code(), info.reason.as_str()), (code, reason));
        }
        assert!(refused("Sing", &Status::unimplemented("")).message().contains("'Sing'"));
        let own = Fault::new(FaultKind::Unavailable, "x").to_status();
        let told = refused("Sing", &own);
        assert_eq!((told.code(), told.details()), (own.code(), own.details()));
    }
}
