//! The gRPC binding.
//!
//! Nothing can stand in front of a path of gRPC for most clients, so that the field `tenant` says
//! besides the tenant which agent is meant: `agents/ID`, or `agents/ID/TENANT`. Cards say it that
//! way, and clients send back what the card says.

use crate::endpoint::SERVICE;
use crate::fault::Fault;
use crate::handler::{Call, Handler, TaskStream};
use crate::wire::a2a_service_server::{A2aService, A2aServiceServer};
use crate::wire::{self, StreamResponse};
use axum::body::Body;
use axum::extract::Request;
use axum::http::Uri;
use axum::response::Response;
use futures_util::Stream;
use futures_util::stream::unfold;
use std::pin::Pin;
use std::sync::Arc;
use tonic::Status;
use tonic::codegen::Service;
use trunkline_types::AgentId;

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
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
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
        if let Some(rest) = tenant.strip_prefix("agents/") {
            let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
            let id = AgentId::new(id)
                .map_err(|error| refused(Fault::field("tenant", error.to_string())))?;
            if let Some(known) = call.endpoint.agent.as_ref().filter(|known| **known != id) {
                let why = format!("names agent '{id}', but the path names '{known}'");
                return Err(refused(Fault::field("tenant", why)));
            }
            call.endpoint.agent = Some(id);
            *tenant = rest.to_owned();
        }
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
