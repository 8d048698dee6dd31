//! tonic and nothing else: a server in a process of its own that sends back what it gets, as one call
//! for each message or over one call in both directions. Payloads are the messages themselves, with
//! no protobuf around them: what gRPC takes before anybody does anything.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Waker, Poll};
use std::time::Instant;

use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes};
use futures_util::{Stream, StreamExt};
use http::uri::PathAndQuery;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{self, NamedService, StreamingService, UnaryService};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::{join, not_done};
use crate::load::{BATCH, Load, Turn};
use crate::row::{Call, Work};

const UNARY: &str = "/compare.Echo/Unary";
const STREAM: &str = "/compare.Echo/Stream";
/// Messages that wait to be written to a stream, at most: as many as are in flight one way.
const WAITING: usize = 4096;
/// HTTP/2 windows, as Trunkline has them.
const WINDOW: u32 = 4 << 20;

/// What is sent to one receiver and waits for it to come back.
type Asked = Arc<Mutex<HashMap<Bytes, oneshot::Sender<Bytes>>>>;

pub(super) async fn turn(
    work: Work,
    call: Call,
    load: &Arc<Load>,
    port: u16,
    seconds: f64,
) -> Result<Turn> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
    let endpoint = endpoint
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .tcp_nodelay(true);
    let channel = endpoint.connect().await.context("cannot connect")?;
    match (work, call) {
        (Work::Oneway, Call::Stream) => oneway(load, channel, seconds).await,
        (Work::Request(many), Call::Unary) => unary(load, &channel, many, seconds).await,
        (Work::Request(many), Call::Stream) => request(load, channel, many, seconds).await,
        (other, _) => not_done(other),
    }
}

/// Opens a stream: what is put into the one end goes out, what comes back comes out of the other.
async fn open(channel: Channel) -> Result<(mpsc::Sender<Bytes>, Streaming<Bytes>)> {
    let (sender, mut receiver) = mpsc::channel(WAITING);
    let outgoing = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    let mut client = Grpc::new(channel);
    client.ready().await?;
    let path = PathAndQuery::from_static(STREAM);
    let response = client.streaming(Request::new(outgoing), path, Raw).await?;
    Ok((sender, response.into_inner()))
}

/// One way: settled when it is back.
async fn oneway(load: &Arc<Load>, channel: Channel, seconds: f64) -> Result<Turn> {
    let (sender, mut back) = open(channel).await?;
    let handler = Arc::clone(load);
    tokio::spawn(async move {
        while let Some(Ok(payload)) = back.next().await {
            handler.handle(&payload);
        }
    });
    let work = async |until: Instant| {
        while Instant::now() < until {
            load.room(BATCH).await;
            for payload in load.make(BATCH) {
                sender.send(payload).await?;
            }
        }
        Ok(())
    };
    load.measure(seconds, work).await
}

async fn unary(load: &Arc<Load>, channel: &Channel, many: u32, seconds: f64) -> Result<Turn> {
    let work = async |until: Instant| {
        let mut callers = JoinSet::new();
        for _ in 0..many {
            let (load, mut client) = (Arc::clone(load), Grpc::new(channel.clone()));
            callers.spawn(async move {
                let path = PathAndQuery::from_static(UNARY);
                while Instant::now() < until {
                    let begun = Instant::now();
                    let payload = load.make_one(1);
                    client.ready().await?;
                    let request = Request::new(payload.clone());
                    let reply = client.unary(request, path.clone(), Raw).await?.into_inner();
                    load.handle(&reply);
                    load.reply(&payload, &reply, begun.elapsed());
                }
                Ok(())
            });
        }
        join(callers).await
    };
    load.measure(seconds, work).await
}

/// Requests over one stream: whoever asks is told when what it sent is back.
async fn request(load: &Arc<Load>, channel: Channel, many: u32, seconds: f64) -> Result<Turn> {
    let (sender, mut back) = open(channel).await?;
    let asked = Asked::default();
    let (waiting, handler) = (Arc::clone(&asked), Arc::clone(load));
    tokio::spawn(async move {
        while let Some(Ok(payload)) = back.next().await {
            handler.handle(&payload);
            let caller = waiting.lock().remove(&payload);
            // Who asked and went does not want to know.
            let _ = caller.map(|caller| caller.send(payload));
        }
    });
    let work = async |until: Instant| {
        let mut callers = JoinSet::new();
        for _ in 0..many {
            let (load, sender, asked) = (Arc::clone(load), sender.clone(), Arc::clone(&asked));
            callers.spawn(async move {
                while Instant::now() < until {
                    let begun = Instant::now();
                    let payload = load.make_one(1);
                    let (caller, reply) = oneshot::channel();
                    asked.lock().insert(payload.clone(), caller);
                    sender.send(payload.clone()).await?;
                    load.reply(&payload, &reply.await?, begun.elapsed());
                }
                Ok(())
            });
        }
        join(callers).await
    };
    load.measure(seconds, work).await
}

/// Serves the echo on a port of loopback until the process is ended.
///
/// # Errors
/// It cannot listen.
pub(crate) fn serve(port: u16) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::builder()
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .tcp_nodelay(true)
            .add_service(Echo);
        Ok(server.serve((Ipv4Addr::LOCALHOST, port).into()).await?)
    })
}

/// The service that the server is. Written by hand: a description for a generator would say no more.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "compare.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Waker<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = server::Grpc::new(Raw);
            Ok(match request.uri().path() {
                UNARY => grpc.unary(Echo, request).await,
                STREAM => grpc.streaming(Echo, request).await,
                path => Status::unimplemented(path).into_http(),
            })
        })
    }
}

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

impl StreamingService<Bytes> for Echo {
    type Response = Bytes;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        ready(Ok(Response::new(Box::pin(request.into_inner()))))
    }
}

/// Bytes as they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_call_brings_back_what_was_sent() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Server::builder().add_service(Echo);
        let serving = tokio::spawn(server.serve((Ipv4Addr::LOCALHOST, port).into()));
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            tokio::task::yield_now().await;
        }
        for (work, call) in [
            (Work::Oneway, Call::Stream),
            (Work::Request(4), Call::Unary),
            (Work::Request(4), Call::Stream),
        ] {
            let load = Load::new(512);
            let turn = turn(work, call, &load, port, 0.1).await.unwrap();
            assert!(turn.rate_per_s > 0.0, "{work:?} {call:?}");
        }
        serving.abort();
    }
}
