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
use std::sync::Arc;
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

/// Serves a connection to its end. What is needed only to begin and to end it is in memory only
/// then: a server has many connections that do nothing.
pub(crate) async fn serve(socket: TcpStream, hub: Arc<Hub>, closing: CancellationToken) {
    let Some(greeted) = Box::pin(greet(socket, hub, closing)).await else { return };
    let ended = match greeted {
        Greeted::Welcome(session, writing, out) => Box::pin(follow(session, writing, out)).await,
        Greeted::Refused(inbound, writing) => Ok((Some(inbound), writing)),
    };
    match ended {
        Ok((inbound, writing)) => Box::pin(hang_up(inbound, writing)).await,
        Err(error) => tracing::debug!(%error, "a framed connection broke"),
    }
}

/// What became of a client that said who it is.
enum Greeted {
    /// It has a session.
    Welcome(Session, OwnedWriteHalf, BytesMut),
    /// It was told why it has none.
    Refused(Inbound<OwnedReadHalf>, OwnedWriteHalf),
}

/// A session over a plain stream.
type Session = SessionStream<Inbound<OwnedReadHalf>>;

/// Hears who dials; `None` if the connection is over.
async fn greet(socket: TcpStream, hub: Arc<Hub>, closing: CancellationToken) -> Option<Greeted> {
    let (reading, mut writing) = socket.into_split();
    let mut inbound = Inbound::new(reading, hub.config.max_frame_bytes);
    let deadline = Instant::now() + hub.config.hello_deadline;
    let begun = tokio::select! {
        begun = timeout_at(deadline, inbound.preface()) => begun,
        () = closing.cancelled() => return None,
    };
    if let Err(error) = begun.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())) {
        tracing::debug!(%error, "closed what is no framed connection");
        return None;
    }
    let mut out = BytesMut::from(&PREFACE[..]);
    let opened = tokio::select! {
        opened = open(&hub, &mut inbound, deadline) => opened,
        () = closing.cancelled() => Err(Status::unavailable("the broker shuts down")),
    };
    match opened {
        Ok(opened) => Some(Greeted::Welcome(opened.stream(inbound, true), writing, out)),
        Err(status) => {
            framed::put(Kind::Ended, &framed::ended(&status), &mut out);
            let written = write(&mut writing, &mut out).await;
            written.is_ok().then_some(Greeted::Refused(inbound, writing))
        }
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
    // What is empty is not said.
    let [name, tenant] = [&opening.principal, &opening.tenant]
        .map(|text| Some(text.as_bytes()).filter(|text| !text.is_empty()));
    let principal = named(name, tenant).map_err(|refusal| from_refusal(&refusal))?;
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
    mut session: Session,
    mut writing: OwnedWriteHalf,
    mut out: BytesMut,
) -> io::Result<(Option<Inbound<OwnedReadHalf>>, OwnedWriteHalf)> {
    let mut look = pin!(sleep(SILENCE));
    loop {
        let next = poll_fn(|context| poll_next(&mut session, look.as_mut(), context)).await;
        let mut is_over = false;
        match next {
            Next::Frame(Some(Ok(frame))) => framed::put(Kind::Frame, &frame, &mut out),
            Next::Frame(end) => {
                let status = end.and_then(Result::err).unwrap_or_else(|| Status::ok(""));
                framed::put(Kind::Ended, &framed::ended(&status), &mut out);
                is_over = true;
            }
            Next::Pong => framed::put_empty(Kind::Pong, &mut out),
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
        if !try_write(&writing, &mut out)? {
            Box::pin(write(&mut writing, &mut out)).await?;
        }
        if is_over {
            return Ok((session.into_inbound(), writing));
        }
        if out.capacity() > KEPT {
            out = BytesMut::new();
        }
    }
}

fn poll_next(
    session: &mut Session,
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

/// Writes what goes at once, which is nearly always all; false if something is left.
fn try_write(writing: &OwnedWriteHalf, out: &mut BytesMut) -> io::Result<bool> {
    while !out.is_empty() {
        match writing.try_write(out) {
            Ok(written) => out.advance(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Writes all there is, as long as some of it is taken now and then.
async fn write(writing: &mut OwnedWriteHalf, out: &mut BytesMut) -> io::Result<()> {
    while !try_write(writing, out)? {
        timeout(SILENCE, writing.writable()).await??;
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
