//! The gRPC binding, by the generated client of the standard's service.

use super::bench::{Bench, always, soon};
use serde_json::json;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use trunkline_a2a::wire::a2a_service_client::A2aServiceClient;
use trunkline_a2a::wire::{
    CancelTaskRequest, GetExtendedAgentCardRequest, GetTaskRequest, ListTasksRequest, Message,
    Part, Role, SendMessageConfiguration, SendMessageRequest, SendMessageResponse, StreamResponse,
    SubscribeToTaskRequest, Task, TaskState, part, send_message_response, stream_response,
};
use trunkline_agent::Host;

const HELPER: &str = "agents/helper";

async fn client(bench: &Bench) -> A2aServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", bench.address)).unwrap();
    A2aServiceClient::new(soon(endpoint.connect()).await.unwrap())
}

/// A request of a client that speaks 1.0.
pub(crate) fn v1<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("a2a-version", MetadataValue::from_static("1.0"));
    request
}

fn said(text: &str) -> SendMessageRequest {
    let part = Part { content: Some(part::Content::Text(text.into())), ..Part::default() };
    SendMessageRequest {
        tenant: HELPER.into(),
        message: Some(Message {
            message_id: "m-1".into(),
            role: Role::User.into(),
            parts: vec![part],
            ..Message::default()
        }),
        ..SendMessageRequest::default()
    }
}

fn answer(task: &str, text: &str) -> SendMessageRequest {
    let mut request = said(text);
    request.message.as_mut().unwrap().task_id = task.into();
    request
}

fn id_of(tenant: &str, id: &str) -> GetTaskRequest {
    GetTaskRequest { tenant: tenant.into(), id: id.into(), history_length: None }
}

fn task(response: SendMessageResponse) -> Task {
    match response.payload {
        Some(send_message_response::Payload::Task(task)) => task,
        other => panic!("{other:?}"),
    }
}

fn text(message: Option<&Message>) -> Option<&part::Content> {
    message.and_then(|message| message.parts[0].content.as_ref())
}

/// The state that a piece of a stream tells of.
fn state(response: &StreamResponse) -> Option<TaskState> {
    match response.payload.as_ref().unwrap() {
        stream_response::Payload::Task(task) => Some(task.status.as_ref().unwrap().state()),
        stream_response::Payload::StatusUpdate(event) => {
            Some(event.status.as_ref().unwrap().state())
        }
        _ => None,
    }
}

fn reason(status: &Status) -> (String, String) {
    let info = status.get_details_error_info().unwrap();
    (info.reason, info.domain)
}

#[tokio::test]
async fn a_task_is_sent_read_listed_and_cancelled_over_grpc() {
    let bench = Bench::start().await;
    let mut client = client(&bench).await;
    let done = task(client.send_message(v1(said("hello"))).await.unwrap().into_inner());
    let status = done.status.clone().unwrap();
    assert_eq!(status.state(), TaskState::Completed);
    assert_eq!(text(status.message.as_ref()), Some(&part::Content::Text("hello".into())));
    let read = client.get_task(v1(id_of(HELPER, &done.id))).await.unwrap().into_inner();
    assert_eq!((&read.status, read.history.len()), (&done.status, 1));
    // The same task over another binding.
    let over_http = bench.rpc("GetTask", json!({ "id": done.id })).await;
    assert_eq!(over_http["result"]["contextId"], done.context_id.as_str());

    let mut request = said("hold");
    let at_once = SendMessageConfiguration { return_immediately: true, ..Default::default() };
    request.configuration = Some(at_once);
    let held = task(client.send_message(v1(request)).await.unwrap().into_inner()).id;
    bench.until(&held, "WORKING").await;
    let list = ListTasksRequest { tenant: HELPER.into(), page_size: Some(1), ..Default::default() };
    let page = client.list_tasks(v1(list)).await.unwrap().into_inner();
    assert_eq!((page.total_size, page.tasks[0].id.as_str()), (2, held.as_str()));
    let cancel = CancelTaskRequest { tenant: HELPER.into(), id: held, metadata: None };
    let cancelled = client.cancel_task(v1(cancel)).await.unwrap().into_inner();
    assert_eq!(cancelled.status.unwrap().state(), TaskState::Canceled);
}

#[tokio::test]
async fn a_stream_over_grpc_tells_the_task_to_its_end_and_another_one_goes_on_with_it() {
    let bench = Bench::start().await;
    let mut client = client(&bench).await;
    let mut stream = client.send_streaming_message(v1(said("write"))).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(item) = soon(stream.message()).await.unwrap() {
        told.push(item);
    }
    let Some(stream_response::Payload::Task(first)) = &told[0].payload else {
        panic!("{told:?}");
    };
    assert_eq!(state(told.last().unwrap()), Some(TaskState::InputRequired));

    let subscribe = SubscribeToTaskRequest { tenant: HELPER.into(), id: first.id.clone() };
    let mut stream = client.subscribe_to_task(v1(subscribe)).await.unwrap().into_inner();
    let snapshot = soon(stream.message()).await.unwrap().unwrap();
    assert_eq!(state(&snapshot), Some(TaskState::InputRequired));
    let done = client.send_message(v1(answer(&first.id, "go"))).await.unwrap().into_inner();
    assert_eq!(task(done).artifacts[0].parts.len(), 2);
    let mut states = Vec::new();
    while let Some(item) = soon(stream.message()).await.unwrap() {
        states.extend(state(&item));
    }
    assert_eq!(states.last(), Some(&TaskState::Completed));
    assert!(states.contains(&TaskState::Working), "{states:?}");
}

#[tokio::test]
async fn the_agent_is_named_by_the_tenant_that_the_card_gives_or_by_the_path() {
    let bench = Bench::start().await;
    let mut client = client(&bench).await;
    let request = GetExtendedAgentCardRequest { tenant: HELPER.into() };
    let card = client.get_extended_agent_card(v1(request)).await.unwrap().into_inner();
    let grpc = &card.supported_interfaces[2];
    assert_eq!((grpc.protocol_binding.as_str(), grpc.tenant.as_str()), ("GRPC", HELPER));
    assert_eq!(grpc.url, bench.address.to_string());
    let broker = GetExtendedAgentCardRequest::default();
    let broker = client.get_extended_agent_card(v1(broker)).await.unwrap().into_inner();
    assert_eq!((broker.name.as_str(), &*broker.supported_interfaces[2].tenant), ("Trunkline", ""));

    let path = format!("http://{}/agents/helper", bench.address).parse().unwrap();
    let channel = Endpoint::from_shared(format!("http://{}", bench.address)).unwrap();
    let mut of_path = A2aServiceClient::with_origin(channel.connect().await.unwrap(), path);
    let mut request = said("x");
    request.tenant.clear();
    let done = task(of_path.send_message(v1(request)).await.unwrap().into_inner());
    assert_eq!(done.status.unwrap().state(), TaskState::Completed);
    let mut request = said("x");
    request.tenant = "agents/other".into();
    let status = of_path.send_message(v1(request)).await.unwrap_err();
    assert!(status.message().starts_with("tenant: names agent 'other'"), "{status}");
    // What was sent to an agent is unknown to others, and to other tenants.
    let other = bench.broker.agent("other").skill("s", always).start().await.unwrap();
    for tenant in ["agents/nobody", "agents/other", "agents/helper/acme"] {
        let status = client.get_task(v1(id_of(tenant, &done.id))).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{tenant}");
    }
    drop(other);
}

#[tokio::test]
async fn errors_over_grpc_have_the_standards_details() {
    let bench = Bench::start().await;
    let mut client = client(&bench).await;
    let standard = |reason: &str| (reason.to_owned(), "a2a-protocol.org".to_owned());
    let status = client.get_task(v1(id_of(HELPER, "unknown"))).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::NotFound, standard("TASK_NOT_FOUND")));
    let status = client.get_task(v1(id_of(HELPER, ""))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "id");
    let unversioned = Request::new(id_of(HELPER, "x"));
    let status = client.get_task(unversioned).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(reason(&status), standard("VERSION_NOT_SUPPORTED"));
    let nonsense = client.send_message(v1(said("nonsense"))).await.unwrap_err();
    assert_eq!(reason(&nonsense), standard("INVALID_AGENT_RESPONSE"));
    let large = client.send_message(v1(said(&"x".repeat(3 << 20)))).await.unwrap_err();
    assert_eq!(large.code(), Code::OutOfRange);
    assert_eq!(reason(&large), ("TOO_LARGE".to_owned(), "trunkline".to_owned()));
    // The connection lives on.
    assert!(client.send_message(v1(said("x"))).await.is_ok());
}

#[tokio::test]
async fn what_is_said_beside_a_call_is_said_by_metadata() {
    let bench = Bench::start().await;
    let picky = bench.broker.agent("picky").skill("pick", always);
    let picky = picky.label("a2a-required-extensions", "urn:x").start().await.unwrap();
    let mut client = client(&bench).await;
    let with = |mut request: Request<SendMessageRequest>, name: &'static str, value: &str| {
        request.metadata_mut().insert(name, value.parse().unwrap());
        request
    };
    // Under one key it is one task.
    let keyed = |key: &str| with(v1(said("x")), "idempotency-key", key);
    let mut ids = Vec::new();
    for key in ["k-1", "k-1", "k-2"] {
        ids.push(task(client.send_message(keyed(key)).await.unwrap().into_inner()).id);
    }
    assert!(ids[0] == ids[1] && ids[0] != ids[2], "{ids:?}");

    let to_picky = || {
        let mut request = said("x");
        request.tenant = "agents/picky".into();
        v1(request)
    };
    let status = client.send_message(to_picky()).await.unwrap_err();
    let required = ("EXTENSION_SUPPORT_REQUIRED".to_owned(), "a2a-protocol.org".to_owned());
    assert_eq!((status.code(), reason(&status)), (Code::FailedPrecondition, required));
    let declared = with(to_picky(), "a2a-extensions", "urn:y, urn:x");
    assert!(client.send_message(declared).await.is_ok());
    drop(picky);

    // The task has ended; whoever says what it saw last is told the rest.
    let asks = task(client.send_message(v1(said("write"))).await.unwrap().into_inner());
    client.send_message(v1(answer(&asks.id, "go"))).await.unwrap();
    let subscribe = || {
        let (tenant, id) = (HELPER.to_owned(), asks.id.clone());
        v1(SubscribeToTaskRequest { tenant, id })
    };
    let ended = client.subscribe_to_task(subscribe()).await.unwrap_err();
    assert_eq!(reason(&ended).0, "UNSUPPORTED_OPERATION");
    let mut resumed = subscribe();
    resumed.metadata_mut().insert("last-event-id", "3".parse().unwrap());
    let mut stream = client.subscribe_to_task(resumed).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(item) = soon(stream.message()).await.unwrap() {
        told.push(item);
    }
    let Some(stream_response::Payload::Task(then)) = &told[0].payload else { panic!("{told:?}") };
    // As it was after its first piece.
    assert_eq!((state(&told[0]), then.artifacts[0].parts.len()), (Some(TaskState::Working), 1));
    let states: Vec<_> = told[1..].iter().filter_map(state).collect();
    let expected =
        [TaskState::InputRequired, TaskState::Submitted, TaskState::Working, TaskState::Completed];
    assert_eq!(states, expected);
}
