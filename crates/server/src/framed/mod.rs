//! Sessions without HTTP/2: pieces on a plain stream, see `framed.proto`.
//!
//! A connection is one task that polls its session, which reads and calls the broker on the way,
//! and writes what comes of it. So a client that does not read is not read either, as over gRPC.

mod inbound;

use self::inbound::Inbound;
use crate::grpc::named;
use crate::hub::Hub;
use crate::session::{self, Opened, SessionStream};
use bytes::{Buf, BytesMut};
use futures_util::Stream;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use trunkline_proto::framed::{self, Kind, PREFACE};
use trunkline_proto::status::from_refusal;
use trunkline_proto::v1;
use trunkline_types::{Refusal, RefusalCode};

/// How long a client may say nothing, and take nothing: it asks for a sign of life well within.
const SILENCE: Duration = Duration::from_secs(50);
/// How long a client may take to hang up after it was told that its connection is over.
const FAREWELL: Duration = Duration::from_secs(2);
/// What is read and thrown away meanwhile, at most.
const FAREWELL_BYTES: u64 = 1 << 20;
/// How large an idle connection's buffer may stay.
const KEPT: usize = 4 << 10;

/// Whether a connection that begins with this byte is one of these.
pub(crate) fn speaks(first: u8) -> bool {
    first == PREFACE[0]
}

/// Serves a connection to its end.
pub(crate) async fn serve(socket: TcpStream, hub: &Hub, closing: &CancellationToken) {
    let (reading, mut writing) = socket.into_split();
    let mut inbound = Inbound::new(reading, hub.config.max_frame_bytes);
    let deadline = Instant::now() + hub.config.hello_deadline;
    let greeted = tokio::select! {
        greeted = timeout_at(deadline, inbound.preface()) => greeted,
        () = closing.cancelled() => return,
    };
    match greeted {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return tracing::debug!(%error, "closed what is no framed connection"),
        Err(_elapsed) => return tracing::debug!("closed a connection that said too little"),
    }
    let mut out = BytesMut::from(&PREFACE[..]);
    let opened = tokio::select! {
        opened = open(hub, &mut inbound, deadline) => opened,
        () = closing.cancelled() => Err(Status::unavailable("the broker shuts down")),
    };
    let ended = match opened {
        Ok(opened) => follow(opened.stream(inbound, true), &mut writing, &mut out).await,
        Err(status) => {
            framed::put(Kind::Ended, &framed::ended(&status), &mut out);
            write(&mut writing, &mut out).await.map(|()| Some(inbound))
        }
    };
    match ended {
        Ok(inbound) => hang_up(inbound, writing).await,
        Err(error) => tracing::debug!(%error, "a framed connection broke"),
    }
}

/// Hears who it is and opens the session.
async fn open(
    hub: &Hub,
    inbound: &mut Inbound<OwnedReadHalf>,
    deadline: Instant,
) -> Result<Opened, Status> {
    let opening = timeout_at(deadline, inbound.opening()).await;
    let opening = opening.unwrap_or_else(|_elapsed| {
        let message = format!("no opening came within {:?}", hub.config.hello_deadline);
        Err(from_refusal(&Refusal::new(RefusalCode::Invalid, message)))
    })?;
    // An empty name is none.
    let name = Some(opening.principal.as_bytes()).filter(|name| !name.is_empty());
    let principal = named(name).map_err(|refusal| from_refusal(&refusal))?;
    session::open(hub, principal, inbound).await
}

/// What a session's task does next.
enum Next {
    /// Says something, or ends.
    Frame(Option<Result<v1::ServerFrame, Status>>),
    /// Answers a client that asked whether it lives.
    Pong,
    /// Looks whether the client still lives.
    Look,
}

/// Says what the session has to say until it is over. Gives back what the client may still send.
async fn follow(
    mut session: SessionStream<Inbound<OwnedReadHalf>>,
    writing: &mut OwnedWriteHalf,
    out: &mut BytesMut,
) -> io::Result<Option<Inbound<OwnedReadHalf>>> {
    let mut look = pin!(sleep(SILENCE));
    loop {
        let next = poll_fn(|context| poll_next(&mut session, look.as_mut(), context)).await;
        match next {
            Next::Frame(Some(Ok(frame))) => framed::put(Kind::Frame, &frame, out),
            Next::Frame(end) => {
                let status = end.and_then(Result::err).unwrap_or_else(|| Status::ok(""));
                framed::put(Kind::Ended, &framed::ended(&status), out);
                write(writing, out).await?;
                return Ok(session.into_inbound());
            }
            Next::Pong => framed::put_empty(Kind::Pong, out),
            Next::Look => {
                let heard = session.inbound().map_or_else(Instant::now, |inbound| inbound.heard);
                let until = heard + SILENCE;
                if until <= Instant::now() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                look.as_mut().reset(until);
                continue;
            }
        }
        write(writing, out).await?;
        if out.capacity() > KEPT {
            *out = BytesMut::new();
        }
    }
}

fn poll_next(
    session: &mut SessionStream<Inbound<OwnedReadHalf>>,
    look: Pin<&mut Sleep>,
    context: &mut Context<'_>,
) -> Poll<Next> {
    let frame = Pin::new(&mut *session).poll_next(context);
    if let Poll::Ready(frame) = frame {
        return Poll::Ready(Next::Frame(frame));
    }
    if session.inbound().is_some_and(|inbound| std::mem::take(&mut inbound.asked)) {
        return Poll::Ready(Next::Pong);
    }
    look.poll(context).map(|()| Next::Look)
}

/// Writes all there is, as long as some of it is taken now and then.
async fn write(writing: &mut OwnedWriteHalf, out: &mut BytesMut) -> io::Result<()> {
    while !out.is_empty() {
        // No timer for what goes at once, which is nearly everything.
        match writing.try_write(out) {
            Ok(written) => out.advance(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                timeout(SILENCE, writing.writable()).await??;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Lets the client read what was said last: with something unread, the system would take that
/// back.
async fn hang_up(inbound: Option<Inbound<OwnedReadHalf>>, mut writing: OwnedWriteHalf) {
    let shut = writing.shutdown().await;
    if let (Ok(()), Some(inbound)) = (shut, inbound) {
        let mut rest = inbound.into_inner().take(FAREWELL_BYTES);
        // Whether it hangs up or not, the connection is over.
        let _ = timeout(FAREWELL, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}
