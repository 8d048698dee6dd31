//! Somebody's server of the standard, which does what the test says, by whichever binding it is asked.

use super::bench::Bench;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tonic::Status;
use tower::Service;
use trunkline_a2a::wire;
use trunkline_a2a::wire::a2a_service_server::{A2aService, A2aServiceServer};

/// What the server does with a call.
pub(crate) enum React {
    /// Answers with a result.
    Result(Value),
    /// Answers with an error.
    Error(Value),
    /// Answers with a status and nothing else.
    Status(u16),
    /// The same, and says to try again at once.
    Later(u16),
    /// Tells these results as events, and then what follows.
    Events(Vec<Value>, Then),
    /// Breaks off: the connection over HTTP/1.1; by gRPC it ends the call with `UNAVAILABLE`.
    Break,
    /// Never answers.
    Never,
}

/// How a stream ends.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    Close,
    Break,
    Silence,
}

/// Told the method, its parameters and how often it was called before.
type Script = Box<dyn Fn(&str, &Value, usize) -> React + Send + Sync>;

/// One call that was made.
#[derive(Clone)]
pub(crate) struct Called {
    pub(crate) method: String,
    pub(crate) headers: HeaderMap,
    pub(crate) params: Value,
}

struct Inner {
    address: SocketAddr,
    card: Mutex<Value>,
    /// With what status the card is answered; 200 usually.
    card_status: Mutex<u16>,
    /// What the card waits for before it is answered.
    gate: Mutex<Option<Arc<Notify>>>,
    called: Mutex<Vec<Called>>,
    cards: Mutex<Vec<HeaderMap>>,
    /// Told when every connection is to break.
    cut: Notify,
    script: Script,
}

/// A server elsewhere.
#[derive(Clone)]
pub(crate) struct Far(Arc<Inner>);

impl Far {
    /// A server that streams.
    pub(crate) async fn start(
        script: impl Fn(&str, &Value, usize) -> React + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Inner {
            address,
            card: Mutex::new(card(&format!("http://{address}/rpc"))),
            card_status: Mutex::new(200),
            gate: Mutex::default(),
            called: Mutex::default(),
            cards: Mutex::default(),
            cut: Notify::new(),
            script: Box::new(script),
        };
        let far = Self(Arc::new(inner));
        let router = Router::new().fallback(answer).with_state(far.clone());
        tokio::spawn(far.clone().serve(listener, router));
        far
    }

    /// Serves each connection until it ends or is cut.
    async fn serve(self, listener: TcpListener, router: Router) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (far, router) = (self.clone(), router.clone());
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                let service = TowerToHyperService::new(router);
                tokio::select! {
                    _over = builder.serve_connection(TokioIo::new(stream), service) => {}
                    () = far.0.cut.notified() => {}
                }
            });
        }
    }

    /// Breaks all connections as they are, without a word.
    pub(crate) fn cut(&self) {
        self.0.cut.notify_waiters();
    }

    /// One that does not stream.
    pub(crate) async fn plain(
        script: impl Fn(&str, &Value, usize) -> React + Send + Sync + 'static,
    ) -> Self {
        let far = Self::start(script).await;
        far.change(|card| card["capabilities"]["streaming"] = false.into());
        far
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.0.card.lock());
    }

    pub(crate) fn card_status(&self, status: u16) {
        *self.0.card_status.lock() = status;
    }

    /// Lets whoever reads the card wait until it is let go.
    pub(crate) fn hold_card(&self) -> Arc<Notify> {
        self.0.gate.lock().get_or_insert_default().clone()
    }

    /// Has its card name another binding.
    pub(crate) fn speaks(&self, binding: &str) {
        let address = self.0.address;
        let url = match binding {
            "GRPC" => address.to_string(),
            "HTTP+JSON" => format!("http://{address}/rest"),
            _ => format!("http://{address}/rpc"),
        };
        self.change(|card| {
            card["supportedInterfaces"][0]["url"] = url.into();
            card["supportedInterfaces"][0]["protocolBinding"] = binding.into();
        });
    }

    /// What it does with a call, which is noted.
    fn react(&self, method: &str, headers: HeaderMap, params: Value) -> React {
        let before = self.called(method).len();
        let call = Called { method: method.to_owned(), headers, params };
        self.0.called.lock().push(call.clone());
        (self.0.script)(method, &call.params, before)
    }

    /// The calls of a method so far.
    pub(crate) fn called(&self, method: &str) -> Vec<Called> {
        self.0.called.lock().iter().filter(|call| call.method == method).cloned().collect()
    }

    /// The headers with which the card was asked for so far.
    pub(crate) fn cards(&self) -> Vec<HeaderMap> {
        self.0.cards.lock().clone()
    }
}

/// A card with one interface.
pub(crate) fn card(url: &str) -> Value {
    json!({
        "name": "Far Agent", "description": "Elsewhere.", "version": "3",
        "supportedInterfaces": [
            {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
        "capabilities": {"streaming": true},
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "far skill", "name": "Far", "description": "x", "tags": ["distant"]}],
    })
}

async fn answer(State(far): State<Far>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if parts.uri.path() == "/.well-known/agent-card.json" {
        far.0.cards.lock().push(parts.headers.clone());
        let gate = far.0.gate.lock().clone();
        if let Some(gate) = gate {
            gate.notified().await;
        }
        let status = StatusCode::from_u16(*far.0.card_status.lock()).unwrap();
        let card = far.0.card.lock().to_string();
        let tag = format!("\"{}\"", card.len());
        let has = parts.headers.get(header::IF_NONE_MATCH).is_some_and(|known| *known == tag);
        if has && status.is_success() {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        return (status, [(header::ETAG, tag)], card).into_response();
    }
    if parts.uri.path().starts_with("/lf.a2a.v1.A2AService/") {
        let answered = A2aServiceServer::new(far).call(Request::from_parts(parts, body)).await;
        return answered.unwrap().map(Body::new);
    }
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let call = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let rest = parts.uri.path().strip_prefix("/rest/").map(|path| match path {
        "message:send" => "SendMessage",
        "message:stream" => "SendStreamingMessage",
        _ if path.ends_with(":subscribe") => "SubscribeToTask",
        _ if path.ends_with(":cancel") => "CancelTask",
        _ => "GetTask",
    });
    let (method, params) = match (rest, call["method"].as_str()) {
        (Some(method), _) => (method, call.clone()),
        (None, Some(method)) => (method, call["params"].clone()),
        (None, None) => return StatusCode::NOT_FOUND.into_response(),
    };
    let rpc = |name: &str, value: Value| match (rest, name) {
        (None, _) => json!({"jsonrpc": "2.0", "id": 1, name: value}),
        (Some(_), "result") => value,
        (Some(_), _) => json!({ name: value }),
    };
    match far.react(method, parts.headers, params) {
        React::Result(result) => axum::Json(rpc("result", result)).into_response(),
        React::Error(error) => {
            let status = if rest.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
            (status, axum::Json(rpc("error", error))).into_response()
        }
        React::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        React::Later(status) => {
            (StatusCode::from_u16(status).unwrap(), [(header::RETRY_AFTER, "0")]).into_response()
        }
        React::Break => {
            let broken = stream::iter([Err::<Bytes, _>(io::Error::other("cut"))]);
            Body::from_stream(broken).into_response()
        }
        React::Never => std::future::pending().await,
        React::Events(results, then) => {
            let event = |result| format!("data: {}\n\n", rpc("result", result));
            let events: Vec<_> =
                results.into_iter().map(|result| Ok(Bytes::from(event(result)))).collect();
            let end = match then {
                Then::Close => stream::empty().boxed(),
                Then::Break => stream::once(async {
                    // What was told before is on its way then.
                    tokio::task::yield_now().await;
                    Err(io::Error::other("cut"))
                })
                .boxed(),
                Then::Silence => stream::pending().boxed(),
            };
            let body = Body::from_stream(stream::iter(events).chain(end));
            ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
        }
    }
}

impl Far {
    /// What answers a call of gRPC that has one answer.
    async fn one<T: DeserializeOwned>(
        &self,
        method: &str,
        request: tonic::Request<impl Serialize>,
    ) -> Result<tonic::Response<T>, Status> {
        let (metadata, _, request) = request.into_parts();
        let params = serde_json::to_value(request).unwrap();
        match self.react(method, metadata.into_headers(), params) {
            React::Result(result) => {
                Ok(tonic::Response::new(serde_json::from_value(result).unwrap()))
            }
            React::Never => std::future::pending().await,
            other => Err(refused(&other)),
        }
    }

    /// What answers a call of gRPC by a stream.
    async fn many(
        &self,
        method: &str,
        request: tonic::Request<impl Serialize>,
    ) -> Result<tonic::Response<Told>, Status> {
        let (metadata, _, request) = request.into_parts();
        let params = serde_json::to_value(request).unwrap();
        let (results, then) = match self.react(method, metadata.into_headers(), params) {
            React::Events(results, then) => (results, then),
            React::Never => std::future::pending().await,
            other => return Err(refused(&other)),
        };
        let told = results.into_iter().map(|result| Ok(serde_json::from_value(result).unwrap()));
        let end = match then {
            Then::Close => stream::empty().boxed(),
            Then::Break => stream::iter([Err(Status::unavailable("cut"))]).boxed(),
            Then::Silence => stream::pending().boxed(),
        };
        let told = stream::iter(told.collect::<Vec<_>>()).chain(end);
        Ok(tonic::Response::new(told.boxed()))
    }
}

/// How gRPC tells what is no answer.
fn refused(react: &React) -> Status {
    match react {
        React::Error(error) => Status::failed_precondition(error["message"].as_str().unwrap()),
        React::Status(404) => Status::not_found("unknown"),
        // Bare: it may have been said by whoever stands in front.
        _ => Status::unavailable("cut"),
    }
}

type Told = BoxStream<'static, Result<wire::StreamResponse, Status>>;
type Answered<T> = Result<tonic::Response<T>, Status>;

fn nothing<T>() -> Answered<T> {
    Err(Status::unimplemented("not in these tests"))
}

#[tonic::async_trait]
impl A2aService for Far {
    type SendStreamingMessageStream = Told;
    type SubscribeToTaskStream = Told;

    async fn send_message(
        &self,
        request: tonic::Request<wire::SendMessageRequest>,
    ) -> Answered<wire::SendMessageResponse> {
        self.one("SendMessage", request).await
    }

    async fn send_streaming_message(
        &self,
        request: tonic::Request<wire::SendMessageRequest>,
    ) -> Answered<Told> {
        self.many("SendStreamingMessage", request).await
    }

    async fn get_task(
        &self,
        request: tonic::Request<wire::GetTaskRequest>,
    ) -> Answered<wire::Task> {
        self.one("GetTask", request).await
    }

    async fn subscribe_to_task(
        &self,
        request: tonic::Request<wire::SubscribeToTaskRequest>,
    ) -> Answered<Told> {
        self.many("SubscribeToTask", request).await
    }

    async fn cancel_task(
        &self,
        request: tonic::Request<wire::CancelTaskRequest>,
    ) -> Answered<wire::Task> {
        self.one("CancelTask", request).await
    }

    async fn list_tasks(
        &self,
        _: tonic::Request<wire::ListTasksRequest>,
    ) -> Answered<wire::ListTasksResponse> {
        nothing()
    }

    async fn create_task_push_notification_config(
        &self,
        _: tonic::Request<wire::TaskPushNotificationConfig>,
    ) -> Answered<wire::TaskPushNotificationConfig> {
        nothing()
    }

    async fn get_task_push_notification_config(
        &self,
        _: tonic::Request<wire::GetTaskPushNotificationConfigRequest>,
    ) -> Answered<wire::TaskPushNotificationConfig> {
        nothing()
    }

    async fn list_task_push_notification_configs(
        &self,
        _: tonic::Request<wire::ListTaskPushNotificationConfigsRequest>,
    ) -> Answered<wire::ListTaskPushNotificationConfigsResponse> {
        nothing()
    }

    async fn get_extended_agent_card(
        &self,
        _: tonic::Request<wire::GetExtendedAgentCardRequest>,
    ) -> Answered<wire::AgentCard> {
        nothing()
    }

    async fn delete_task_push_notification_config(
        &self,
        _: tonic::Request<wire::DeleteTaskPushNotificationConfigRequest>,
    ) -> Answered<()> {
        nothing()
    }
}

/// A task of the server.
pub(crate) fn task(state: &str, parts: &[&str]) -> Value {
    let parts: Vec<_> = parts.iter().map(|text| json!({ "text": text })).collect();
    let mut task = json!({
        "id": "far-1", "contextId": "far-c", "status": {"state": format!("TASK_STATE_{state}")},
    });
    if !parts.is_empty() {
        task["artifacts"] = json!([{"artifactId": "out", "parts": parts}]);
    }
    task
}

/// The same as what a stream tells.
pub(crate) fn shown(state: &str, parts: &[&str]) -> Value {
    json!({"task": task(state, parts)})
}

/// A piece of its artifact.
pub(crate) fn piece(text: &str, append: bool) -> Value {
    json!({"artifactUpdate": {"taskId": "far-1", "contextId": "far-c", "append": append,
        "artifact": {"artifactId": "out", "parts": [{ "text": text }]}}})
}

impl Bench {
    /// Adds an agent elsewhere at a loopback address, with whatever else is to be said of it.
    pub(crate) async fn add(&self, url: &str, more: Value) -> super::bench::Answer {
        let mut added = json!({"a2a": url, "id": "far", "allow_private": true});
        for (name, value) in more.as_object().unwrap() {
            added[name] = value.clone();
        }
        let headers = [("Content-Type", "application/json")];
        self.raw("POST", "/api/v1/agents", &headers, added.to_string()).await
    }

    /// Sends a text to the agent elsewhere, and returns the task once it has ended or waits.
    pub(crate) async fn far(&self, text: &str) -> Value {
        let body = json!({ "message": super::bench::said(text) });
        let answer = self.rest("POST", "/agents/far/message:send", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["task"].clone()
    }

    /// Has a text sent to the agent elsewhere without waiting, and returns the task's id.
    pub(crate) async fn far_begun(&self, text: &str) -> String {
        let body = json!({
            "message": super::bench::said(text), "configuration": {"returnImmediately": true},
        });
        let answer = self.rest("POST", "/agents/far/message:send", &body).await;
        answer.json()["task"]["id"].as_str().unwrap().to_owned()
    }

    /// A task as it stands.
    pub(crate) async fn shown(&self, id: &str) -> Value {
        self.rest("GET", &format!("/tasks/{id}"), &Value::Null).await.json()
    }

    /// Waits until the agent elsewhere is so present.
    pub(crate) async fn until_far_is(&self, state: &str) -> Value {
        super::bench::soon(async {
            loop {
                let path = format!("/api/v1/agents?state={state}");
                let listed = self.raw("GET", &path, &[], "").await.json();
                let found = listed["agents"].as_array().unwrap().iter();
                if let Some(far) = found.clone().find(|agent| agent["id"] == "far") {
                    return far.clone();
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// Waits until a task, whoever has it, is in a state.
    pub(crate) async fn until_task(&self, id: &str, state: &str) -> Value {
        let state = format!("TASK_STATE_{state}");
        super::bench::soon(async {
            loop {
                let task = self.shown(id).await;
                if task["status"]["state"] == state.as_str() {
                    return task;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

/// The texts of a task's artifact.
pub(crate) fn texts(task: &Value) -> Vec<&str> {
    let parts = task["artifacts"][0]["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().map(|part| part["text"].as_str().unwrap()).collect()
}

/// What the status of a task says.
pub(crate) fn reason(task: &Value) -> String {
    task["status"]["message"]["parts"][0]["text"].as_str().unwrap_or_default().to_owned()
}
