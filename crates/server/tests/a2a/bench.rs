//! A server with a broker and an agent, and a client of the standard.

use axum::body::{Body, to_bytes};
use futures_util::StreamExt;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use trunkline_agent::{Agent, HandlerError, HandlerResult, Host, Task};
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_server::{Server, ServerConfig};
use trunkline_types::{PauseReason, Payload};

/// A server with a broker and an agent behind it.
pub(crate) struct Bench {
    pub(crate) address: SocketAddr,
    pub(crate) broker: Broker,
    agent: Agent,
    serving: JoinHandle<()>,
    stop: DropGuard,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: axum::http::HeaderMap,
    text: String,
}

/// A connection over which one request comes after another.
pub(crate) struct Connection<'a> {
    bench: &'a Bench,
    sender: SendRequest<Body>,
}

impl Connection<'_> {
    /// Sends a request as it is.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        soon(async {
            self.sender.ready().await.expect("the connection is good");
            let request = self.bench.request(method, path, headers, body.into());
            answer(&mut self.sender, request).await
        })
        .await
    }
}

/// A stream of events.
pub(crate) struct Events {
    body: axum::body::BodyDataStream,
    text: String,
    _connection: SendRequest<Body>,
}

/// One event: its id and its data.
#[derive(Debug, PartialEq, Clone)]
pub(crate) struct Event {
    pub(crate) id: Option<u64>,
    pub(crate) data: Value,
}

/// What the agent does with what it is told, by the first word:
/// - `ask` asks once and then tells what it got, `both` asks twice; `auth` asks to be let in;
///   `nonsense` answers with a broken message;
/// - `fail` and `reject` do so; `whole` answers with two parts; `empty` says nothing; `bare` answers
///   with a message and nothing else; `file` makes an artifact of a link with a name;
/// - `write` makes an artifact of two pieces and completes when told `go`; `hold` never ends;
/// - anything else is answered with itself.
async fn work(task: Task) -> HandlerResult<Option<Payload>> {
    let text = task.text().into_owned();
    let word = text.split(' ').next().unwrap_or_default();
    match word {
        "ask" => match task.messages().last() {
            None => Err(HandlerError::pause(PauseReason::Input, Some("which?".into()))),
            Some(said) => Ok(Some(format!("{text}: {}", said.to_text()).into())),
        },
        "both" => match task.messages() {
            [] => Err(HandlerError::pause(PauseReason::Input, Some("first?".into()))),
            [_] => Err(HandlerError::pause(PauseReason::Input, Some("second?".into()))),
            [first, second, ..] => {
                Ok(Some(format!("{} {}", first.to_text(), second.to_text()).into()))
            }
        },
        "auth" => match task.messages().last() {
            None => Err(HandlerError::pause(PauseReason::Auth, Some("the key, please".into()))),
            Some(said) => Ok(Some(format!("let in by {}", said.to_text()).into())),
        },
        "fail" => Err(HandlerError::fail("no luck")),
        "reject" => Err(HandlerError::reject("not mine")),
        "empty" => Ok(None),
        "nonsense" => Ok(Some(Payload::new("application/a2a+json", "{\"parts\":[]}"))),
        "whole" => {
            let parts = r#"{"parts":[{"text":"a"},{"data":{"n":5}}]}"#;
            Ok(Some(Payload::new("application/a2a+json", parts)))
        }
        "bare" => {
            let message = r#"{"parts":[{"text":"just this"}]}"#;
            Ok(Some(Payload::new("application/a2a+json; as=message", message)))
        }
        "file" => {
            let link = r#"{"parts":[{"url":"https://x/f","filename":"f","mediaType":"text/csv"}],
                "name":"table","description":"numbers"}"#;
            let link = Payload::new("application/a2a+json", link);
            task.artifact("out", link, false, true).await?;
            Ok(None)
        }
        "write" => {
            if task.messages().is_empty() {
                task.artifact("out", "one", false, false).await?;
                return Err(HandlerError::pause(PauseReason::Input, None));
            }
            task.progress(50, "half").await?;
            task.artifact("out", "two", true, true).await?;
            Ok(Some("written".into()))
        }
        "hold" => std::future::pending().await,
        _ => Ok(Some(text.into())),
    }
}

/// What other agents do.
pub(crate) async fn always(_task: Task) -> HandlerResult<&'static str> {
    Ok("always")
}

impl Bench {
    /// A server with the usual settings.
    pub(crate) async fn start() -> Self {
        Self::with(ServerConfig::default()).await
    }

    /// What lets agents elsewhere be on this machine, whatever their cards name.
    pub(crate) fn allowing() -> ServerConfig {
        let a2a_proxy_allow = vec!["127.0.0.1".parse().unwrap()];
        ServerConfig { a2a_proxy_allow, ..ServerConfig::default() }
    }

    /// A server to which agents elsewhere are added whose cards are not where they are.
    pub(crate) async fn near() -> Self {
        Self::with(Self::allowing()).await
    }

    /// A server with these settings, on a free port.
    pub(crate) async fn with(config: ServerConfig) -> Self {
        Self::open(config, BrokerConfig::ephemeral()).await
    }

    /// A server with these settings, on a free port, and a broker with those.
    pub(crate) async fn open(config: ServerConfig, broker: BrokerConfig) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let drain_grace = Duration::ZERO;
        let bound = Server::bind(ServerConfig { listen, drain_grace, ..config }).unwrap();
        let (address, handle) = (bound.local_addr(), bound.handle());
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(bound.serve(shutdown.clone()));
        let broker = Broker::open(broker).await.unwrap();
        assert!(handle.set_broker(broker.clone()));
        // The agent has a skill and no handler for what is sent to itself.
        let agent = broker.agent("helper").description("Helps.").skill("help", work);
        let agent = agent.start().await.unwrap();
        Self { address, broker, agent, serving, stop: shutdown.drop_guard() }
    }

    /// Ends it in order.
    pub(crate) async fn end(self) {
        let Self { broker, agent, serving, stop, .. } = self;
        agent.stop().await;
        drop(stop);
        soon(serving).await.unwrap();
        drop(broker);
    }

    async fn connect(&self) -> SendRequest<Body> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// A connection to the server.
    pub(crate) async fn connection(&self) -> Connection<'_> {
        Connection { bench: self, sender: soon(self.connect()).await }
    }

    /// Sends a request as it is.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        soon(async {
            let mut sender = self.connect().await;
            answer(&mut sender, self.request(method, path, headers, body.into())).await
        })
        .await
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> axum::http::Request<Body> {
        let mut request = axum::http::Request::builder().method(method).uri(path);
        request = request.header("Host", self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).unwrap()
    }

    /// Sends JSON of the HTTP binding.
    pub(crate) async fn rest(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("A2A-Version", "1.0"), ("Content-Type", "application/a2a+json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.raw(method, path, &headers, body).await
    }

    /// Calls a method of JSON-RPC at the agent's endpoint.
    pub(crate) async fn rpc(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let headers = [("A2A-Version", "1.0"), ("Content-Type", "application/json")];
        let answer = self.raw("POST", "/agents/helper", &headers, body.to_string()).await;
        assert_eq!((answer.status, answer.kind()), (200, "application/json"));
        let answer = answer.json();
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)));
        answer
    }

    /// Has a text sent, and returns the task.
    pub(crate) async fn task(&self, text: &str) -> Value {
        let answer = self.rpc("SendMessage", json!({ "message": said(text) })).await;
        answer["result"]["task"].clone()
    }

    /// Has a text sent without waiting, and returns the task's id.
    pub(crate) async fn begun(&self, text: &str) -> String {
        let configuration = json!({"returnImmediately": true});
        let params = json!({"message": said(text), "configuration": configuration});
        let answer = self.rpc("SendMessage", params).await;
        answer["result"]["task"]["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a task is in a state, and returns it.
    pub(crate) async fn until(&self, id: &str, state: &str) -> Value {
        let state = format!("TASK_STATE_{state}");
        soon(async {
            loop {
                let task = self.rpc("GetTask", json!({ "id": id })).await["result"].clone();
                if task["status"]["state"] == state.as_str() {
                    return task;
                }
            }
        })
        .await
    }

    /// Opens a stream.
    pub(crate) async fn stream(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Events {
        let mut all = vec![("A2A-Version", "1.0")];
        all.extend(headers);
        self.stream_as(method, path, &all, body).await
    }

    /// Opens a stream as a client that says its version itself, or none.
    pub(crate) async fn stream_as(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Events {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend(headers);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut sender = self.connect().await;
        let request = self.request(method, path, &all, body.into());
        let response = soon(sender.send_request(request)).await.unwrap();
        let kind = response.headers()["content-type"].clone();
        let body = Body::new(response.into_body());
        assert_eq!(kind, "text/event-stream");
        Events { body: body.into_data_stream(), text: String::new(), _connection: sender }
    }
}

async fn answer(sender: &mut SendRequest<Body>, request: axum::http::Request<Body>) -> Answer {
    let response = sender.send_request(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = to_bytes(Body::new(response.into_body()), 16 << 20).await.unwrap();
    Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn kind(&self) -> &str {
        self.header("content-type")
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl Events {
    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        soon(async {
            loop {
                if let Some(end) = self.text.find("\n\n") {
                    let event: String = self.text.drain(..end + 2).collect();
                    let field = |name: &str| {
                        event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
                    };
                    let id = field("id:").map(|id| id.parse().unwrap());
                    let data = field("data:").map(|data| serde_json::from_str(data).unwrap());
                    if let Some(data) = data {
                        return Some(Event { id, data });
                    }
                    continue;
                }
                let bytes = self.body.next().await?.unwrap();
                self.text.push_str(std::str::from_utf8(&bytes).unwrap());
            }
        })
        .await
    }

    /// Every event to the end.
    pub(crate) async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

impl Event {
    /// The state that the event tells of; empty if it tells of something else.
    pub(crate) fn state(&self) -> &str {
        let data = self.data.get("result").unwrap_or(&self.data);
        let status = data.get("statusUpdate").or(data.get("task")).map(|told| &told["status"]);
        let state = status.and_then(|status| status["state"].as_str()).unwrap_or_default();
        state.trim_start_matches("TASK_STATE_")
    }
}

/// A message of a client with one text.
pub(crate) fn said(text: &str) -> Value {
    json!({"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": text}]})
}

/// A message of a client to a task that goes on.
pub(crate) fn answered(task: &str, text: &str) -> Value {
    let parts = json!([{ "text": text }]);
    json!({"messageId": "m-2", "taskId": task, "role": "ROLE_USER", "parts": parts})
}

/// How long something may take that must happen: a test that waits longer has failed.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), work).await.expect("it happens in time")
}
