//! Version 0.3 over gRPC: the service of the package `a2a.v1`.
//!
//! Its messages are the JSON of that version's proto file in another coat, so that each request is
//! made into that JSON and read as HTTP+JSON reads it, and answers the other way round. Nothing in a
//! request names an agent: whoever stands at the root is meant, unless a path in front names one.

use super::body::message;
use super::grpc::explained;
use super::well_known::in_both_versions;
use crate::compat::{self, Form};
use crate::endpoint::SERVICE_03;
use crate::fault::{Fault, FaultKind};
use crate::handler::{Call, Handler, TaskStream};
use crate::wire;
use crate::wire::earlier::a2a_service_server::{A2aService, A2aServiceServer};
use crate::wire::earlier::{
    AgentCard, CancelTaskRequest, CreateTaskPushNotificationConfigRequest,
    DeleteTaskPushNotificationConfigRequest, GetAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigResponse, SendMessageRequest, SendMessageResponse,
    StreamResponse, Task, TaskPushNotificationConfig, TaskSubscriptionRequest,
};
use axum::extract::Request;
use axum::http::Uri;
use axum::response::Response;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;
use tonic::Status;
use tonic::codegen::Service;

/// Answers a call of a method.
pub(super) async fn answer(
    handler: &Arc<Handler>,
    call: Result<Call, Fault>,
    method: &str,
    mut request: Request,
) -> Response {
    // What is called says the version better than a header could.
    let call = call.map(|call| Call { in_03: true, ..call });
    let one = OneCall { handler: handler.clone(), call };
    match Uri::try_from(format!("/{SERVICE_03}/{method}")) {
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

/// The service, for one call.
struct OneCall {
    handler: Arc<Handler>,
    call: Result<Call, Fault>,
}

impl OneCall {
    fn call(&self) -> Result<&Call, Fault> {
        self.call.as_ref().map_err(Clone::clone)
    }
}

type Answered<T> = Result<tonic::Response<T>, Status>;
type Told = Pin<Box<dyn Stream<Item = Result<StreamResponse, Status>> + Send>>;

/// An error, of which clients read the name in front of the text.
fn refused(mut fault: Fault) -> Status {
    fault.message.insert_str(0, ": ");
    fault.message.insert_str(0, compat::fault_type(fault.kind));
    fault.to_status()
}

fn to_json(message: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(message)
        .map_err(|error| Fault::new(FaultKind::Internal, error.to_string()))
}

/// An answer out of the JSON of the proto file.
fn of_json<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    serde_json::from_value(value)
        .map_err(|error| Fault::new(FaultKind::Internal, error.to_string()))
}

fn answered<T: DeserializeOwned>(value: Result<Value, Fault>) -> Answered<T> {
    value.and_then(of_json).map(tonic::Response::new).map_err(refused)
}

/// A stream as this binding tells it.
fn told(stream: TaskStream) -> tonic::Response<Told> {
    let items = unfold(stream, async |mut stream| {
        let item = stream.next().await?;
        let told = item.and_then(|item| of_json(compat::streamed(Form::Proto, &item)));
        Some((told.map_err(refused), stream))
    });
    tonic::Response::new(Box::pin(items))
}

/// A request to send a message.
fn sent(request: &SendMessageRequest) -> Result<wire::SendMessageRequest, Fault> {
    let mut value = to_json(request)?;
    if let Some(Value::Object(fields)) = value.get_mut("configuration") {
        // Protobuf leaves out what is false.
        fields.entry("blocking").or_insert(false.into());
    }
    message(compat::send(value)?)
}

/// The task that a resource's name names.
fn task_of(field: &str, name: &str) -> Result<String, Fault> {
    match name.split('/').collect::<Vec<_>>().as_slice() {
        ["tasks", task] => Ok((*task).to_owned()),
        _ => Err(Fault::field(field, "is not written like tasks/ID")),
    }
}

/// A request about the task that a resource's name names.
fn named<T: DeserializeOwned>(name: &str, history_length: i32) -> Result<T, Fault> {
    let request = json!({"id": task_of("name", name)?, "historyLength": history_length});
    message(compat::named_task(request)?)
}

/// A request about the webhook that a resource's name names.
fn config_of<T: DeserializeOwned>(name: &str) -> Result<T, Fault> {
    match name.split('/').collect::<Vec<_>>().as_slice() {
        ["tasks", task, "pushNotificationConfigs", id] => {
            message(json!({"taskId": task, "id": id}))
        }
        _ => Err(Fault::field("name", "is not written like tasks/ID/pushNotificationConfigs/ID")),
    }
}

impl OneCall {
    async fn sent(&self, request: &SendMessageRequest) -> Result<Value, Fault> {
        let sent = self.handler.send(self.call()?, sent(request)?).await?;
        Ok(compat::sent(Form::Proto, &sent))
    }

    async fn got(&self, request: &GetTaskRequest) -> Result<Value, Fault> {
        let request = named(&request.name, request.history_length)?;
        let task = self.handler.get(self.call()?, request).await?;
        Ok(compat::task(Form::Proto, &task))
    }

    async fn cancelled(&self, request: &CancelTaskRequest) -> Result<Value, Fault> {
        let task = self.handler.cancel(self.call()?, named(&request.name, 0)?).await?;
        Ok(compat::task(Form::Proto, &task))
    }

    async fn created(
        &self,
        request: &CreateTaskPushNotificationConfigRequest,
    ) -> Result<Value, Fault> {
        let task = task_of("parent", &request.parent)?;
        let request = compat::push_config_of(&task, to_json(request)?)?;
        let config = self.handler.create_push(self.call()?, message(request)?).await?;
        Ok(compat::pushed(Form::Proto, &config))
    }

    async fn config(&self, name: &str) -> Result<Value, Fault> {
        let config = self.handler.get_push(self.call()?, config_of(name)?).await?;
        Ok(compat::pushed(Form::Proto, &config))
    }

    async fn configs(
        &self,
        request: &ListTaskPushNotificationConfigRequest,
    ) -> Result<Value, Fault> {
        let request = json!({"taskId": task_of("parent", &request.parent)?});
        let listed = self.handler.list_push(self.call()?, message(request)?).await?;
        let configs = listed.configs.iter().map(|known| compat::pushed(Form::Proto, known));
        Ok(json!({"configs": configs.collect::<Vec<_>>()}))
    }

    async fn card(&self) -> Result<Value, Fault> {
        let card = self.handler.extended_card(self.call()?, message(json!({}))?).await?;
        in_both_versions(&card)
    }
}

#[tonic::async_trait]
impl A2aService for OneCall {
    type SendStreamingMessageStream = Told;
    type TaskSubscriptionStream = Told;

    async fn send_message(
        &self,
        request: tonic::Request<SendMessageRequest>,
    ) -> Answered<SendMessageResponse> {
        answered(self.sent(request.get_ref()).await)
    }

    async fn send_streaming_message(
        &self,
        request: tonic::Request<SendMessageRequest>,
    ) -> Answered<Told> {
        let request = sent(request.get_ref()).map_err(refused)?;
        let call = self.call().map_err(refused)?;
        self.handler.send_stream(call, request).await.map(told).map_err(refused)
    }

    async fn get_task(&self, request: tonic::Request<GetTaskRequest>) -> Answered<Task> {
        answered(self.got(request.get_ref()).await)
    }

    async fn cancel_task(&self, request: tonic::Request<CancelTaskRequest>) -> Answered<Task> {
        answered(self.cancelled(request.get_ref()).await)
    }

    async fn task_subscription(
        &self,
        request: tonic::Request<TaskSubscriptionRequest>,
    ) -> Answered<Told> {
        let request = named(&request.get_ref().name, 0).map_err(refused)?;
        let call = self.call().map_err(refused)?;
        self.handler.subscribe(call, request).await.map(told).map_err(refused)
    }

    async fn create_task_push_notification_config(
        &self,
        request: tonic::Request<CreateTaskPushNotificationConfigRequest>,
    ) -> Answered<TaskPushNotificationConfig> {
        answered(self.created(request.get_ref()).await)
    }

    async fn get_task_push_notification_config(
        &self,
        request: tonic::Request<GetTaskPushNotificationConfigRequest>,
    ) -> Answered<TaskPushNotificationConfig> {
        answered(self.config(&request.get_ref().name).await)
    }

    async fn list_task_push_notification_config(
        &self,
        request: tonic::Request<ListTaskPushNotificationConfigRequest>,
    ) -> Answered<ListTaskPushNotificationConfigResponse> {
        answered(self.configs(request.get_ref()).await)
    }

    async fn get_agent_card(
        &self,
        _request: tonic::Request<GetAgentCardRequest>,
    ) -> Answered<AgentCard> {
        answered(self.card().await)
    }

    async fn delete_task_push_notification_config(
        &self,
        request: tonic::Request<DeleteTaskPushNotificationConfigRequest>,
    ) -> Answered<()> {
        let request = config_of(&request.get_ref().name).map_err(refused)?;
        let call = self.call().map_err(refused)?;
        let deleted = self.handler.delete_push(call, request).await;
        deleted.map(tonic::Response::new).map_err(refused)
    }
}
