//! Version 0.3 over gRPC, by the generated client of its service.

use super::bench::{Bench, soon};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use trunkline_a2a::wire::earlier::a2a_service_client::A2aServiceClient;
use trunkline_a2a::wire::earlier::{
    CancelTaskRequest, CreateTaskPushNotificationConfigRequest,
    DeleteTaskPushNotificationConfigRequest, GetAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTaskPushNotificationConfigRequest,
    Message, Part, PushNotificationConfig, Role, SendMessageConfiguration, SendMessageRequest,
    SendMessageResponse, StreamResponse, Task, TaskPushNotificationConfig, TaskState,
    TaskSubscriptionRequest, part, send_message_response, stream_response,
};
use trunkline_server::ServerConfig;

/// A server with the agent at its root, where such a client finds it, and that client.
async fn opened() -> (Bench, A2aServiceClient<Channel>) {
    opened_as(ServerConfig::default()).await
}

async fn opened_as(config: ServerConfig) -> (Bench, A2aServiceClient<Channel>) {
    let a2a_agent = Some("helper".parse().unwrap());
    let bench = Bench::with(ServerConfig { a2a_agent, ..config }).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", bench.address)).unwrap();
    let client = A2aServiceClient::new(soon(endpoint.connect()).await.unwrap());
    (bench, client)
}

fn said(text: &str, task: &str) -> SendMessageRequest {
    let part = Part { part: Some(part::Part::Text(text.into())), metadata: None };
    let message = Message {
        message_id: "m-1".into(),
        task_id: task.into(),
        role: Role::User.into(),
        content: vec![part],
        ..Message::default()
    };
    let configuration = SendMessageConfiguration { blocking: true, ..Default::default() };
    SendMessageRequest {
        request: Some(message),
        configuration: Some(configuration),
        metadata: None,
    }
}

fn task(response: SendMessageResponse) -> Task {
    match response.payload {
        Some(send_message_response::Payload::Task(task)) => task,
        other => panic!("{other:?}"),
    }
}

fn state(response: &StreamResponse) -> Option<TaskState> {
    match response.payload.as_ref().unwrap() {
        stream_response::Payload::Task(task) => Some(task.status.as_ref().unwrap().state()),
        stream_response::Payload::StatusUpdate(event) => {
            Some(event.status.as_ref().unwrap().state())
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_task_is_sent_read_answered_and_cancelled_over_grpc_of_0_3() {
    let (_bench, mut client) = opened().await;
    let done = task(client.send_message(said("hello", "")).await.unwrap().into_inner());
    let status = done.status.as_ref().unwrap();
    assert_eq!(status.state(), TaskState::Completed);
    let update = status.update.as_ref().unwrap();
    assert_eq!(update.content[0].part, Some(part::Part::Text("hello".into())));
    let name = |id: &str| format!("tasks/{id}");
    let read = GetTaskRequest { name: name(&done.id), history_length: 0 };
    assert_eq!(client.get_task(read).await.unwrap().into_inner(), done);

    let asked = task(client.send_message(said("ask", "")).await.unwrap().into_inner());
    assert_eq!(asked.status.unwrap().state(), TaskState::InputRequired);
    let done = task(client.send_message(said("this", &asked.id)).await.unwrap().into_inner());
    assert_eq!(done.status.unwrap().state(), TaskState::Completed);

    // What is not said means that nobody waits.
    let mut request = said("hold", "");
    request.configuration.as_mut().unwrap().blocking = false;
    let held = task(client.send_message(request).await.unwrap().into_inner());
    let cancel = CancelTaskRequest { name: name(&held.id) };
    let cancelled = client.cancel_task(cancel).await.unwrap().into_inner();
    assert_eq!(cancelled.status.unwrap().state(), TaskState::Cancelled);

    let answer = client.send_message(said("bare", "")).await.unwrap().into_inner();
    let Some(send_message_response::Payload::Msg(message)) = answer.payload else {
        panic!("{answer:?}");
    };
    assert_eq!(message.content[0].part, Some(part::Part::Text("just this".into())));
}

#[tokio::test]
async fn a_stream_over_grpc_of_0_3_tells_the_task_and_another_one_goes_on_with_it() {
    let (_bench, mut client) = opened().await;
    let stream = client.send_streaming_message(said("write", "")).await.unwrap();
    let mut stream = stream.into_inner();
    let mut told = Vec::new();
    while let Some(item) = soon(stream.message()).await.unwrap() {
        told.push(item);
    }
    let Some(stream_response::Payload::Task(first)) = &told[0].payload else {
        panic!("{told:?}");
    };
    let Some(stream_response::Payload::StatusUpdate(last)) = &told.last().unwrap().payload else {
        panic!("{told:?}");
    };
    assert!(last.r#final);
    let subscribe = TaskSubscriptionRequest { name: format!("tasks/{}", first.id) };
    let mut stream = client.task_subscription(subscribe).await.unwrap().into_inner();
    let snapshot = soon(stream.message()).await.unwrap().unwrap();
    assert_eq!(state(&snapshot), Some(TaskState::InputRequired));
    let done = task(client.send_message(said("go", &first.id)).await.unwrap().into_inner());
    assert_eq!(done.artifacts[0].parts.len(), 2);
    let mut states = Vec::new();
    while let Some(item) = soon(stream.message()).await.unwrap() {
        states.extend(state(&item));
    }
    assert_eq!(states.last(), Some(&TaskState::Completed));
}

#[tokio::test]
async fn webhooks_are_set_read_listed_and_deleted_over_grpc_of_0_3() {
    let (_bench, mut client) = opened().await;
    let asked = task(client.send_message(said("ask", "")).await.unwrap().into_inner());
    let parent = format!("tasks/{}", asked.id);
    let name = format!("{parent}/pushNotificationConfigs/c");
    let config = PushNotificationConfig {
        url: "https://hooks.example.com/a".into(),
        token: "t".into(),
        ..Default::default()
    };
    let create = CreateTaskPushNotificationConfigRequest {
        parent: parent.clone(),
        config_id: "c".into(),
        config: Some(TaskPushNotificationConfig {
            name: name.clone(),
            push_notification_config: Some(config),
        }),
    };
    let made = client.create_task_push_notification_config(create).await.unwrap().into_inner();
    assert_eq!(made.name, name);
    let get = GetTaskPushNotificationConfigRequest { name: name.clone() };
    let read = client.get_task_push_notification_config(get).await.unwrap().into_inner();
    assert_eq!(read, made);
    assert_eq!(read.push_notification_config.unwrap().token, "t");
    let list =
        || ListTaskPushNotificationConfigRequest { parent: parent.clone(), ..Default::default() };
    let listed = client.list_task_push_notification_config(list()).await.unwrap().into_inner();
    assert_eq!(listed.configs, [made]);
    let delete = DeleteTaskPushNotificationConfigRequest { name };
    client.delete_task_push_notification_config(delete).await.unwrap();
    let listed = client.list_task_push_notification_config(list()).await.unwrap().into_inner();
    assert_eq!(listed.configs, []);
}

#[tokio::test]
async fn the_card_over_grpc_of_0_3_says_that_it_is_spoken() {
    let (bench, mut client) = opened().await;
    let card = client.get_agent_card(GetAgentCardRequest {}).await.unwrap().into_inner();
    assert_eq!((card.name.as_str(), card.protocol_version.as_str()), ("helper", "0.3.0"));
    let spoken = card.additional_interfaces.iter().find(|known| known.transport == "GRPC");
    assert_eq!(spoken.unwrap().url, bench.address.to_string());
}

#[tokio::test]
async fn errors_over_grpc_of_0_3_begin_with_their_names() {
    let (_bench, mut client) = opened().await;
    let get = |name: &str| GetTaskRequest { name: name.into(), history_length: 0 };
    let told = |status: Status| (status.code(), status.message().to_owned());
    let status = client.get_task(get("tasks/unknown")).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "TASK_NOT_FOUND");
    let (code, text) = told(status);
    assert_eq!(code, Code::NotFound);
    assert!(text.starts_with("TaskNotFoundError: task unknown is"), "{text}");
    let (code, text) = told(client.get_task(get("unknown")).await.unwrap_err());
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.starts_with("InvalidParamsError: name: "), "{text}");
    let mut request = said("x", "");
    request.request.as_mut().unwrap().content.clear();
    let (code, text) = told(client.send_message(request).await.unwrap_err());
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("message.parts"), "{text}");

    let (_bench, mut client) =
        opened_as(ServerConfig { a2a_03: false, ..ServerConfig::default() }).await;
    let status = client.get_agent_card(GetAgentCardRequest {}).await.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "VERSION_NOT_SUPPORTED");
}
