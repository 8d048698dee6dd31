//! Push notifications, to a webhook that is a real HTTP server.

use super::bench::{Answer, Bench, answered, said, soon};
use super::grpc::v1 as at_v1;
use super::own::native;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use trunkline_a2a::wire::a2a_service_client::A2aServiceClient;
use trunkline_a2a::wire::{self, ListTaskPushNotificationConfigsRequest};
use trunkline_agent::Host;
use trunkline_broker::BrokerConfig;
use trunkline_proto::v1;
use trunkline_server::ServerConfig;
use trunkline_types::session::{LetterAddress, Redrive};
use trunkline_types::{
    DeadLetterFilter, Destination, MessageId, Partition, Payload, TaskFilter, TaskState,
};

/// Somebody's server that is told of tasks.
struct Hook {
    address: SocketAddr,
    told: UnboundedReceiver<(HeaderMap, Value)>,
    /// With what the next calls are answered; 200 after them. 0 stands for no answer at all.
    answers: Arc<Mutex<VecDeque<u16>>>,
}

type Seen = (UnboundedSender<(HeaderMap, Value)>, Arc<Mutex<VecDeque<u16>>>);

async fn hear(State((told, answers)): State<Seen>, request: Request) -> StatusCode {
    let headers = request.headers().clone();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let answer = answers.lock().pop_front().unwrap_or(200);
    match answer {
        0 => std::future::pending().await,
        200 => {
            let _late = told.send((headers, serde_json::from_slice(&body).unwrap()));
            StatusCode::OK
        }
        other => StatusCode::from_u16(other).unwrap(),
    }
}

impl Hook {
    async fn start(first: &[u16]) -> Self {
        let (sender, told) = unbounded_channel();
        let answers = Arc::new(Mutex::new(first.iter().copied().collect::<VecDeque<_>>()));
        let router = Router::new().fallback(hear).with_state((sender, answers.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, told, answers }
    }

    fn config(&self) -> Value {
        let auth = json!({"scheme": "Bearer", "credentials": "secret"});
        let url = format!("http://{}/hook", self.address);
        json!({"id": "c", "url": url, "token": "t-1", "authentication": auth})
    }

    async fn next(&mut self) -> (HeaderMap, Value) {
        soon(self.told.recv()).await.unwrap()
    }

    /// The states that it is told of up to this one.
    async fn states(&mut self, last: &str) -> Vec<String> {
        let mut states = Vec::new();
        loop {
            let (_, body) = self.next().await;
            let Some(state) = body["statusUpdate"]["status"]["state"].as_str() else { continue };
            states.push(state.trim_start_matches("TASK_STATE_").to_owned());
            if states.last().unwrap() == last {
                return states;
            }
        }
    }
}

fn settings() -> ServerConfig {
    let a2a_push_allow = vec!["127.0.0.1".parse().unwrap()];
    ServerConfig { a2a_push_allow, ..ServerConfig::default() }
}

/// Begins a task whose webhook this is.
async fn begun(bench: &Bench, text: &str, push: &Value) -> String {
    let configuration = json!({"returnImmediately": true, "taskPushNotificationConfig": push});
    let params = json!({"message": said(text), "configuration": configuration});
    let answer = bench.rpc("SendMessage", params).await;
    answer["result"]["task"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn continued(bench: &Bench, id: &str) {
    let message = answered(id, "go");
    bench.rpc("SendMessage", json!({ "message": message })).await;
}

async fn dead_reasons(bench: &Bench) -> Vec<String> {
    let page = bench.broker.dead_letters(DeadLetterFilter::default()).await.unwrap();
    page.letters.into_iter().map(|letter| letter.reason).collect()
}

async fn until_dead(bench: &Bench) -> String {
    soon(async {
        loop {
            if let Some(reason) = dead_reasons(bench).await.pop() {
                return reason;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_webhook_is_told_every_event_in_order_with_its_credentials() {
    let bench = Bench::with(settings()).await;
    let mut hook = Hook::start(&[]).await;
    let id = begun(&bench, "write", &hook.config()).await;
    bench.until(&id, "INPUT_REQUIRED").await;
    continued(&bench, &id).await;
    let (headers, first) = hook.next().await;
    assert_eq!(headers["content-type"], "application/a2a+json");
    assert_eq!(headers["x-a2a-notification-token"], "t-1");
    assert_eq!(headers["authorization"], "Bearer secret");
    let mut told = vec![first];
    while told.last().unwrap()["statusUpdate"]["status"]["state"] != "TASK_STATE_COMPLETED" {
        told.push(hook.next().await.1);
    }
    let kinds: Vec<_> = told
        .iter()
        .map(|body| match body["statusUpdate"]["status"]["state"].as_str() {
            Some(state) => state.trim_start_matches("TASK_STATE_"),
            None => body["artifactUpdate"]["artifact"]["parts"][0]["text"].as_str().unwrap(),
        })
        .collect();
    let expected = [
        "SUBMITTED",
        "WORKING",
        "one",
        "INPUT_REQUIRED",
        "SUBMITTED",
        "WORKING",
        "two",
        "COMPLETED",
    ];
    assert_eq!(kinds, expected);
    assert!(told.iter().all(|body| {
        let told = body.get("statusUpdate").or(body.get("artifactUpdate"));
        told.unwrap()["taskId"] == id.as_str()
    }));
}

#[tokio::test]
async fn whatever_scheme_was_said_the_credentials_are_said_by_it_and_without_one_none_are() {
    let bench = Bench::with(settings()).await;
    for (said, expected) in [
        (json!({"scheme": "Basic", "credentials": "dXNlcjpwYXNz"}), Some("Basic dXNlcjpwYXNz")),
        (json!({"scheme": "ApiKey", "credentials": "k-1"}), Some("ApiKey k-1")),
        (Value::Null, None),
    ] {
        let mut hook = Hook::start(&[]).await;
        let mut config = hook.config();
        config["authentication"] = said;
        begun(&bench, "x", &config).await;
        let (headers, _) = hook.next().await;
        let told = headers.get("authorization").map(|value| value.to_str().unwrap());
        assert_eq!(told, expected);
        // The token is another thing.
        assert_eq!(headers["x-a2a-notification-token"], "t-1");
    }
}

#[tokio::test]
async fn webhooks_are_set_read_listed_and_deleted_over_every_binding() {
    let bench = Bench::with(settings()).await;
    let mut hook = Hook::start(&[]).await;
    let id = begun(&bench, "write", &hook.config()).await;
    bench.until(&id, "INPUT_REQUIRED").await;
    hook.states("INPUT_REQUIRED").await;
    let path = format!("/agents/helper/tasks/{id}/pushNotificationConfigs");
    let ids = |list: &Value| -> Vec<String> {
        let configs = list["configs"].as_array().cloned().unwrap_or_default();
        configs.iter().map(|config| config["id"].as_str().unwrap().to_owned()).collect()
    };
    let url = hook.config()["url"].clone();
    let set: Answer = bench.rest("POST", &path, &json!({"url": url})).await;
    let named = set.json()["id"].as_str().unwrap().to_owned();
    assert_eq!((&set.json()["taskId"], &set.json()["url"]), (&json!(id), &url));
    let list = bench.rpc("ListTaskPushNotificationConfigs", json!({ "taskId": id })).await;
    assert_eq!(ids(&list["result"]), ["c", &named]);
    let read = bench.rest("GET", &format!("{path}/c"), &json!(null)).await.json();
    assert_eq!(read["authentication"]["credentials"], "secret");
    // One with the same id takes its place.
    let again = json!({"taskId": id, "id": "c", "url": url, "token": "t-2"});
    bench.rpc("CreateTaskPushNotificationConfig", again).await;
    let read = bench.rpc("GetTaskPushNotificationConfig", json!({"taskId": id, "id": "c"})).await;
    assert_eq!(read["result"]["token"], "t-2");
    for _ in 0..2 {
        let gone = bench.rest("DELETE", &format!("{path}/{named}"), &json!(null)).await;
        assert_eq!(gone.status, 200);
    }
    assert_eq!(bench.rest("GET", &format!("{path}/{named}"), &json!(null)).await.status, 404);

    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", bench.address));
    let mut client = A2aServiceClient::new(channel.unwrap().connect().await.unwrap());
    let tenant = "agents/helper".to_owned();
    let request = ListTaskPushNotificationConfigsRequest {
        tenant: tenant.clone(),
        task_id: id.clone(),
        ..Default::default()
    };
    let listed = client.list_task_push_notification_configs(at_v1(request.clone())).await.unwrap();
    assert_eq!(listed.into_inner().configs.len(), 1);
    let config = wire::TaskPushNotificationConfig {
        tenant: tenant.clone(),
        task_id: id.clone(),
        id: "g".into(),
        url: url.as_str().unwrap().into(),
        ..Default::default()
    };
    client.create_task_push_notification_config(at_v1(config)).await.unwrap();
    let delete = wire::DeleteTaskPushNotificationConfigRequest {
        tenant,
        task_id: id.clone(),
        id: "c".into(),
    };
    client.delete_task_push_notification_config(at_v1(delete)).await.unwrap();
    let left =
        client.list_task_push_notification_configs(at_v1(request)).await.unwrap().into_inner();
    assert_eq!(left.configs[0].id, "g");
    // What was deleted is told nothing: every event comes once.
    continued(&bench, &id).await;
    assert_eq!(hook.states("COMPLETED").await, ["SUBMITTED", "WORKING", "COMPLETED"]);
}

#[tokio::test]
async fn a_client_of_0_3_is_told_the_task_itself() {
    let bench = Bench::with(settings()).await;
    let mut hook = Hook::start(&[]).await;
    let call = async |method: &str, params: Value| {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let headers = [("Content-Type", "application/json")];
        bench.raw("POST", "/agents/helper", &headers, body.to_string()).await.json()
    };
    let id = bench.begun("write").await;
    bench.until(&id, "INPUT_REQUIRED").await;
    let auth = json!({"schemes": ["Bearer"], "credentials": "secret"});
    let config = json!({"url": hook.config()["url"], "authentication": auth});
    let set = call(
        "tasks/pushNotificationConfig/set",
        json!({"taskId": id, "pushNotificationConfig": config}),
    )
    .await;
    let named = set["result"]["pushNotificationConfig"]["id"].clone();
    assert!(named.is_string(), "{set}");
    let read = call("tasks/pushNotificationConfig/get", json!({ "id": id })).await;
    assert_eq!(read["result"], set["result"]);
    assert_eq!(read["result"]["pushNotificationConfig"]["authentication"], auth);
    let list = call("tasks/pushNotificationConfig/list", json!({ "id": id })).await;
    assert_eq!(list["result"], json!([set["result"]]));
    // Over HTTP the proto file has the config inside another one.
    let body = json!({
        "parent": format!("tasks/{id}"), "config_id": "h",
        "config": {"push_notification_config": config},
    });
    let path = format!("/agents/helper/v1/tasks/{id}/pushNotificationConfigs");
    let headers = [("Content-Type", "application/json")];
    let made = bench.raw("POST", &path, &headers, body.to_string()).await.json();
    assert_eq!(made["name"], format!("tasks/{id}/pushNotificationConfigs/h"));
    let delete = json!({"id": id, "pushNotificationConfigId": "h"});
    assert_eq!(call("tasks/pushNotificationConfig/delete", delete).await["result"], json!(null));
    continued(&bench, &id).await;
    loop {
        let (headers, task) = hook.next().await;
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!((&task["kind"], &task["id"]), (&json!("task"), &json!(id)));
        if task["status"]["state"] == "completed" {
            break;
        }
    }
}

#[tokio::test]
async fn credentials_without_a_scheme_are_refused_in_every_binding_and_version() {
    let bench = Bench::with(settings()).await;
    let hook = Hook::start(&[]).await;
    let id = bench.begun("hold").await;
    let auth = json!({"credentials": "secret"});
    let config = json!({"url": hook.config()["url"], "authentication": auth});
    let field = |details: &Value| details[1]["fieldViolations"][0]["field"].clone();

    let configuration = json!({ "taskPushNotificationConfig": config });
    let params = json!({"message": said("x"), "configuration": configuration});
    let refused = bench.rpc("SendMessage", params).await;
    let named = "configuration.taskPushNotificationConfig.authentication.scheme";
    assert_eq!(field(&refused["error"]["data"]), named);
    let path = format!("/agents/helper/tasks/{id}/pushNotificationConfigs");
    let refused = bench.rest("POST", &path, &config).await;
    assert_eq!(refused.status, 400);
    assert_eq!(field(&refused.json()["error"]["details"]), "authentication.scheme");

    let set = json!({"taskId": id, "pushNotificationConfig": config});
    let set = json!({"jsonrpc": "2.0", "id": 1,
        "method": "tasks/pushNotificationConfig/set", "params": set});
    let headers = [("Content-Type", "application/json")];
    let refused = bench.raw("POST", "/agents/helper", &headers, set.to_string()).await.json();
    let named = "pushNotificationConfig.authentication.schemes";
    assert_eq!(field(&refused["error"]["data"]), named);

    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", bench.address));
    let mut client = A2aServiceClient::new(channel.unwrap().connect().await.unwrap());
    let config = wire::TaskPushNotificationConfig {
        task_id: id.clone(),
        url: hook.config()["url"].as_str().unwrap().into(),
        authentication: Some(wire::AuthenticationInfo {
            credentials: "secret".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let refused = client.create_task_push_notification_config(at_v1(config)).await.unwrap_err();
    assert!(refused.message().starts_with("authentication.scheme: is required"), "{refused}");
    let list = bench.rpc("ListTaskPushNotificationConfigs", json!({ "taskId": id })).await;
    assert_eq!(list["result"]["configs"], Value::Null);
}

#[tokio::test]
async fn the_tenant_of_a_query_counts_for_one_webhook_too() {
    let bench = Bench::with(settings()).await;
    let hook = Hook::start(&[]).await;
    let id = begun(&bench, "hold", &hook.config()).await;
    let one = format!("/tasks/{id}/pushNotificationConfigs/c");
    for (method, tenant, status) in [
        ("GET", "acme", 404),
        ("DELETE", "acme", 404),
        ("DELETE", "agents/nobody", 404),
        ("GET", "default", 200),
        ("DELETE", "agents/helper", 200),
        ("GET", "default", 404),
    ] {
        let path = format!("{one}?tenant={tenant}");
        assert_eq!(
            bench.rest(method, &path, &json!(null)).await.status,
            status,
            "{method} {tenant}"
        );
    }
}

/// Waits until every order for a webhook has ended.
async fn until_all_orders_ended(bench: &Bench) {
    let session = bench.broker.shared_session().await.unwrap();
    soon(async {
        loop {
            let orders = TaskFilter {
                states: TaskState::ALL.iter().copied().filter(|it| !it.is_terminal()).collect(),
                agent: Some("a2a-push".parse().unwrap()),
                ..TaskFilter::default()
            };
            if session.tasks(orders).await.unwrap().tasks.is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A webhook whose order has ended, one way or the other, is deleted and stays so.
async fn deleted_after_the_end(answers: &[u16], set_twice: bool) {
    let data = tempfile::tempdir().unwrap();
    let config = ServerConfig { a2a_push_attempts: 1, ..settings() };
    let hook = Hook::start(answers).await;
    let bench = Bench::open(config.clone(), BrokerConfig::durable(data.path())).await;
    let id = begun(&bench, "x", &hook.config()).await;
    bench.until(&id, "COMPLETED").await;
    until_all_orders_ended(&bench).await;
    if set_twice {
        let mut again = hook.config();
        again["taskId"] = id.clone().into();
        bench.rpc("CreateTaskPushNotificationConfig", again).await;
        until_all_orders_ended(&bench).await;
    }
    let path = format!("/agents/helper/tasks/{id}/pushNotificationConfigs");
    let one = format!("{path}/c");
    assert_eq!(bench.rest("GET", &one, &json!(null)).await.status, 200);
    let mut bench = bench;
    for _again in 0..2 {
        assert_eq!(bench.rest("DELETE", &one, &json!(null)).await.status, 200);
        assert_eq!(bench.rest("GET", &one, &json!(null)).await.status, 404);
        let list = bench.rest("GET", &path, &json!(null)).await.json();
        assert_eq!(list["configs"].as_array().map_or(0, Vec::len), 0, "{list}");
        assert_eq!(dead_reasons(&bench).await, Vec::<String>::new(), "it could be redriven");
        bench.end().await;
        bench = Bench::open(config.clone(), BrokerConfig::durable(data.path())).await;
        assert_eq!(bench.rest("GET", &one, &json!(null)).await.status, 404);
    }
    // What is set anew is there.
    let mut again = hook.config();
    again["taskId"] = id.into();
    bench.rpc("CreateTaskPushNotificationConfig", again).await;
    assert_eq!(bench.rest("GET", &one, &json!(null)).await.status, 200);
    bench.end().await;
}

#[tokio::test]
async fn a_webhook_that_has_told_all_is_gone_once_it_is_deleted() {
    deleted_after_the_end(&[], false).await;
    deleted_after_the_end(&[], true).await;
}

#[tokio::test]
async fn a_webhook_that_is_a_dead_letter_is_gone_once_it_is_deleted() {
    deleted_after_the_end(&[500], false).await;
    deleted_after_the_end(&[500, 500], true).await;
}

#[tokio::test]
async fn a_webhook_that_was_set_again_and_deleted_does_not_come_back() {
    let bench = Bench::with(settings()).await;
    let mut hook = Hook::start(&[]).await;
    let id = begun(&bench, "x", &hook.config()).await;
    hook.states("COMPLETED").await;
    until_all_orders_ended(&bench).await;
    // The later one is still at work when it is deleted.
    hook.answers.lock().push_back(0);
    let mut again = hook.config();
    again["taskId"] = id.clone().into();
    bench.rpc("CreateTaskPushNotificationConfig", again).await;
    let one = json!({"taskId": id, "id": "c"});
    bench.rpc("DeleteTaskPushNotificationConfig", one.clone()).await;
    let read = bench.rpc("GetTaskPushNotificationConfig", one).await;
    assert_eq!(read["error"]["code"], -32001, "{read}");
}

#[tokio::test]
async fn only_public_addresses_and_what_is_allowed_are_called() {
    let hook = Hook::start(&[]).await;
    let bench = Bench::start().await;
    let configuration = json!({ "taskPushNotificationConfig": hook.config() });
    let params = json!({"message": said("x"), "configuration": configuration});
    let refused = bench.rpc("SendMessage", params).await;
    assert_eq!(refused["error"]["code"], -32602);
    let violation = &refused["error"]["data"][1]["fieldViolations"][0];
    assert_eq!(violation["field"], "url");
    assert!(violation["description"].as_str().unwrap().contains("server.a2a_push_allow"));
    // Nothing was begun.
    let list = bench.rest("GET", "/agents/helper/tasks", &json!(null)).await.json();
    assert_eq!(list["totalSize"], 0);
    // A name is looked up when it is called.
    let a2a_push_attempts = 1;
    let bench = Bench::with(ServerConfig { a2a_push_attempts, ..ServerConfig::default() }).await;
    let url = format!("http://localhost:{}/", hook.address.port());
    begun(&bench, "x", &json!({ "url": url })).await;
    let reason = until_dead(&bench).await;
    assert!(reason.contains("leads to localhost, which is no public address"), "{reason}");
}

#[tokio::test]
async fn a_webhook_that_fails_is_called_again_before_anything_else_is_told() {
    let bench = Bench::with(settings()).await;
    let mut hook = Hook::start(&[503]).await;
    begun(&bench, "x", &hook.config()).await;
    assert_eq!(hook.states("COMPLETED").await, ["SUBMITTED", "WORKING", "COMPLETED"]);
    assert_eq!(dead_reasons(&bench).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_taken_is_a_dead_letter_which_goes_on_where_it_stopped() {
    let bench = Bench::with(ServerConfig { a2a_push_attempts: 1, ..settings() }).await;
    let mut hook = Hook::start(&[200, 500]).await;
    let id = begun(&bench, "x", &hook.config()).await;
    assert_eq!(hook.states("SUBMITTED").await, ["SUBMITTED"]);
    let reason = until_dead(&bench).await;
    let url = format!("http://{}/hook", hook.address);
    assert!(reason.contains(&format!("event 2 did not reach {url}: it answered 500")), "{reason}");
    // It is still there for its owner.
    let params = json!({"taskId": id, "id": "c"});
    let read = bench.rpc("GetTaskPushNotificationConfig", params).await;
    assert_eq!(read["result"]["id"], "c");
    let letters = bench.broker.dead_letters(DeadLetterFilter::default()).await.unwrap();
    bench.broker.redrive(letters.letters[0].publish.envelope.id).await.unwrap();
    assert_eq!(hook.states("COMPLETED").await, ["WORKING", "COMPLETED"]);
    let list = bench.rpc("ListTaskPushNotificationConfigs", json!({ "taskId": id })).await;
    assert_eq!(list["result"]["configs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_url_is_looked_at_again_before_it_is_called() {
    let bench = Bench::with(ServerConfig { a2a_push_attempts: 1, ..settings() }).await;
    let hook = Hook::start(&[500]).await;
    begun(&bench, "x", &hook.config()).await;
    until_dead(&bench).await;
    let page = bench.broker.dead_letters(DeadLetterFilter::default()).await.unwrap();
    let envelope = &page.letters[0].publish.envelope;
    let mut order: Value = serde_json::from_slice(&envelope.payload.data).unwrap();
    order["url"] = format!("http://127.0.0.2:{}/", hook.address.port()).into();
    let payload = Some(Payload::new("application/json", order.to_string()));
    let id = MessageId::from_parts(1, Partition(0), 1);
    let letter = LetterAddress::from(envelope.id);
    let redrive = Redrive { letter, id, payload, destination: None, priority: None };
    let mut client = native(&bench).await;
    // What it is called with is told to nobody else.
    let destination = Some(Destination::agent("helper").unwrap());
    let elsewhere = Redrive { payload: None, destination, ..redrive.clone() };
    let told = client.redrive(v1::Redrive::from(elsewhere)).await.unwrap_err();
    assert_eq!(told.code(), tonic::Code::PermissionDenied, "{told}");
    client.redrive(v1::Redrive::from(redrive)).await.unwrap();
    let reason = until_dead(&bench).await;
    assert!(reason.contains("127.0.0.2, which is no public address"), "{reason}");
}

#[tokio::test]
async fn a_webhook_that_never_answers_is_given_up() {
    let a2a_push_timeout = Duration::from_millis(50);
    let bench =
        Bench::with(ServerConfig { a2a_push_timeout, a2a_push_attempts: 1, ..settings() }).await;
    let hook = Hook::start(&[0]).await;
    let id = begun(&bench, "x", &hook.config()).await;
    let reason = until_dead(&bench).await;
    assert!(reason.contains("timed out"), "{reason}");
    assert!(hook.answers.lock().is_empty());
    bench.until(&id, "COMPLETED").await;
}

#[tokio::test]
async fn a_webhook_that_is_set_too_late_is_told_the_task_once() {
    let bench = Bench::with(settings()).await;
    let mut hook = Hook::start(&[]).await;
    let done = bench.task("x").await["id"].clone();
    let mut config = hook.config();
    config["taskId"] = done.clone();
    bench.rpc("CreateTaskPushNotificationConfig", config).await;
    let (_, told) = hook.next().await;
    assert_eq!(
        (&told["task"]["id"], &told["task"]["status"]["state"]),
        (&done, &json!("TASK_STATE_COMPLETED"))
    );
}

#[tokio::test]
async fn a_webhook_outlives_its_broker_and_is_told_nothing_twice() {
    let data = tempfile::tempdir().unwrap();
    let mut hook = Hook::start(&[]).await;
    let bench = Bench::open(settings(), BrokerConfig::durable(data.path())).await;
    let id = begun(&bench, "write", &hook.config()).await;
    hook.states("INPUT_REQUIRED").await;
    bench.until(&id, "INPUT_REQUIRED").await;
    bench.end().await;
    let bench = Bench::open(settings(), BrokerConfig::durable(data.path())).await;
    continued(&bench, &id).await;
    assert_eq!(hook.states("COMPLETED").await, ["SUBMITTED", "WORKING", "COMPLETED"]);
    bench.end().await;
}

#[tokio::test]
async fn a_message_that_is_sent_again_under_its_key_has_one_webhook() {
    let bench = Bench::with(settings()).await;
    let mut hook = Hook::start(&[]).await;
    let push = json!({"url": hook.config()["url"]});
    let configuration = json!({ "taskPushNotificationConfig": push });
    let body = json!({"message": said("write"), "configuration": configuration}).to_string();
    let headers =
        [("A2A-Version", "1.0"), ("Content-Type", "application/json"), ("Idempotency-Key", "k")];
    let mut ids = Vec::new();
    for _ in 0..2 {
        let sent = bench.raw("POST", "/agents/helper/message:send", &headers, body.clone()).await;
        ids.push(sent.json()["task"]["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    let list = bench.rpc("ListTaskPushNotificationConfigs", json!({ "taskId": ids[0] })).await;
    assert_eq!(list["result"]["configs"].as_array().unwrap().len(), 1);
    continued(&bench, &ids[0]).await;
    let once = ["SUBMITTED", "WORKING", "INPUT_REQUIRED", "SUBMITTED", "WORKING", "COMPLETED"];
    assert_eq!(hook.states("COMPLETED").await, once);
}

#[tokio::test]
async fn what_calls_webhooks_is_no_agent_and_no_task_of_clients() {
    let bench = Bench::with(settings()).await;
    let mut hook = Hook::start(&[]).await;
    let id = begun(&bench, "x", &hook.config()).await;
    hook.states("COMPLETED").await;
    let list = bench.rest("GET", "/tasks", &json!(null)).await.json();
    assert_eq!((&list["totalSize"], &list["tasks"][0]["id"]), (&json!(1), &json!(id)));
    assert_eq!(bench.rest("GET", "/agents/a2a-push/tasks", &json!(null)).await.status, 404);
    let card = bench.rest("GET", "/extendedAgentCard", &json!(null)).await.json();
    assert_eq!(card["capabilities"]["extensions"][0]["params"]["agents"], json!(["helper"]));
    let listed = bench.raw("GET", "/api/v1/agents", &[], "").await.json();
    assert_eq!(listed["agents"].as_array().unwrap().len(), 1);
    let context = format!("a2a-push:{id}");
    let hidden = bench.rest("GET", &format!("/tasks?contextId={context}"), &json!(null)).await;
    assert_eq!(hidden.json()["totalSize"], 0);
}
