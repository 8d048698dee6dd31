//! Calling an agent elsewhere by gRPC, through the same guarded clients as by anything else.

use super::http::{MOST, retry_after, unsent};
use reqwest::Client;
use reqwest::header::HeaderMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::{Status, Streaming};
use trunkline_a2a::wire::a2a_service_client::A2aServiceClient;
use trunkline_a2a::wire::{
    CancelTaskRequest, GetTaskRequest, SendMessageResponse, StreamResponse, SubscribeToTaskRequest,
    Task, send_message_response, stream_response::Payload,
};
use trunkline_a2a::{Ask, Interface, Trouble, Why};

/// Makes one call.
pub(super) struct Caller(A2aServiceClient<Wire>);

/// What carries a call: a client of HTTP.
struct Wire {
    client: Client,
    headers: HeaderMap,
    /// Whether the call begins work.
    begins: bool,
}

/// Why a call was not carried, or that something else answered it than gRPC.
#[derive(Debug)]
struct Failed(Trouble);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl Error for Failed {}

impl Service<http::Request<Body>> for Wire {
    type Response = http::Response<reqwest::Body>;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failed>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (client, headers) = (self.client.clone(), std::mem::take(&mut self.headers));
        let begins = self.begins;
        Box::pin(async move {
            let refused = |why: String| Failed(Trouble::new(Why::Refused, why));
            let (mut parts, body) = request.into_parts();
            parts.headers.extend(headers);
            // One message, which is there already.
            let body = axum::body::to_bytes(axum::body::Body::new(body), MOST).await;
            let body = body.map_err(|error| refused(error.to_string()))?;
            let request = reqwest::Request::try_from(http::Request::from_parts(parts, body));
            let request = request.map_err(|error| refused(error.to_string()))?;
            let response = client.execute(request).await;
            let response = response.map_err(|error| Failed(unsent(error)))?;
            // What stands in front may have sent it on before it broke: a status of HTTP says that
            // better than the one of gRPC that would be made of it.
            if !response.status().is_success() {
                let (status, after) = (response.status().as_u16(), retry_after(&response));
                return Err(Failed(Trouble::of_http(begins, status, after)));
            }
            Ok(response.into())
        })
    }
}

/// What an error of a call means.
fn trouble(ask: &Ask, status: &Status) -> Trouble {
    let failed = status.source().and_then(|source| source.downcast_ref::<Failed>());
    failed.map_or_else(|| Trouble::of_grpc(ask, status), |Failed(trouble)| trouble.clone())
}

fn task(task: Task) -> StreamResponse {
    StreamResponse { payload: Some(Payload::Task(task)) }
}

fn sent(response: SendMessageResponse) -> StreamResponse {
    let payload = response.payload.map(|payload| match payload {
        send_message_response::Payload::Task(task) => Payload::Task(task),
        send_message_response::Payload::Message(message) => Payload::Message(message),
    });
    StreamResponse { payload }
}

impl Caller {
    /// A caller that asks this and sends these headers.
    pub(super) fn new(
        client: Client,
        url: &str,
        ask: &Ask,
        mut headers: HeaderMap,
    ) -> Result<Self, Trouble> {
        let origin = url.parse::<http::Uri>();
        let origin = origin.map_err(|error| Trouble::new(Why::Refused, error.to_string()))?;
        headers.insert("a2a-version", http::HeaderValue::from_static("1.0"));
        let wire = Wire { client, headers, begins: ask.begins() };
        let client = A2aServiceClient::with_origin(wire, origin);
        Ok(Self(client.max_decoding_message_size(MOST).max_encoding_message_size(MOST)))
    }

    /// Asks something that has one answer.
    pub(super) async fn one(
        self,
        interface: &Interface,
        ask: &Ask,
    ) -> Result<StreamResponse, Trouble> {
        let Self(mut client) = self;
        let tenant = interface.tenant.clone();
        let answered = match ask {
            Ask::Send(request) => {
                let mut request = (**request).clone();
                request.tenant = tenant;
                client.send_message(request).await.map(|it| sent(it.into_inner()))
            }
            Ask::Get(id, messages) => {
                let history_length = Some(i32::try_from(*messages).unwrap_or(i32::MAX));
                let request = GetTaskRequest { tenant, id: id.clone(), history_length };
                client.get_task(request).await.map(|it| task(it.into_inner()))
            }
            Ask::Cancel(id) => {
                let id = id.clone();
                let request = CancelTaskRequest { tenant, id, ..Default::default() };
                client.cancel_task(request).await.map(|it| task(it.into_inner()))
            }
            Ask::Stream(_) | Ask::Subscribe(_) => {
                let first = Self(client).many(interface, ask).await?.next().await?;
                let nothing = || Trouble::new(Why::Unknown, "its stream ended without a word");
                return first.ok_or_else(nothing);
            }
        };
        ask.checked(answered.map_err(|status| trouble(ask, &status))?)
    }

    /// Asks something that is answered by messages.
    pub(super) async fn many(self, interface: &Interface, ask: &Ask) -> Result<Messages, Trouble> {
        let Self(mut client) = self;
        let tenant = interface.tenant.clone();
        let stream = match ask {
            Ask::Stream(request) => {
                let mut request = (**request).clone();
                request.tenant = tenant;
                client.send_streaming_message(request).await
            }
            Ask::Subscribe(id) => {
                let request = SubscribeToTaskRequest { tenant, id: id.clone() };
                client.subscribe_to_task(request).await
            }
            Ask::Send(_) | Ask::Get(..) | Ask::Cancel(_) => {
                return Err(Trouble::new(Why::Refused, "it has one answer"));
            }
        };
        let stream = stream.map_err(|status| trouble(ask, &status))?.into_inner();
        Ok(Messages { stream, ask: ask.clone() })
    }
}

/// The messages of a stream.
pub(super) struct Messages {
    stream: Streaming<StreamResponse>,
    ask: Ask,
}

impl Messages {
    /// The next one; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<StreamResponse>, Trouble> {
        match self.stream.message().await {
            Ok(Some(said)) => self.ask.checked(said).map(Some),
            Ok(None) => Ok(None),
            Err(status) => Err(trouble(&self.ask, &status)),
        }
    }
}
