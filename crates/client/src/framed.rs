//! A connection without HTTP/2: pieces on a plain stream, see `framed.proto`.
//!
//! [`Link`] is the stream of what the broker says, and polling it also writes what the session
//! has to say, so that one task drives both directions.

use crate::parts::{Part, Parts};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use prost::{DecodeError, Message};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::io::poll_read_buf;
use tonic::Status;
use trunkline_proto::framed::{self, Kind, PREFACE, PieceError, Pieces};
use trunkline_proto::{FRAME_BYTES, v1};

/// How large an idle connection's buffer may stay.
const KEPT: usize = 4 << 10;

/// How many frames are read before something is said, if they come without a pause.
const FRAMES_PER_TURN: usize = 32;

/// A connection of a session.
pub(crate) struct Link<F> {
    socket: TcpStream,
    /// What the session has to say; `None` once it has said all.
    frames: Option<F>,
    out: BytesMut,
    pieces: Pieces,
    parts: Parts,
    /// How many frames were read since something was said.
    unanswered: usize,
    /// Whether others had their turn since there was nothing more to read.
    let_others: bool,
    life: Life,
}

/// Whether the broker lives, as far as can be told.
struct Life {
    interval: Duration,
    patience: Duration,
    heard: Instant,
    /// When it was asked, if it has said nothing since.
    asked: Option<Instant>,
    look: Pin<Box<Sleep>>,
}

impl<F: Stream<Item = v1::ClientFrame> + Unpin> Link<F> {
    /// Says who dials and what the session has to say first. Returns once the other side has
    /// shown that it speaks the protocol. It is asked for a sign of life after an `interval` in
    /// which it said nothing, and given up after `patience` more.
    ///
    /// # Errors
    /// It speaks something else, or the connection broke before that could be told.
    pub(crate) async fn open(
        socket: TcpStream,
        opening: &v1::Opening,
        frames: F,
        [interval, patience]: [Duration; 2],
    ) -> io::Result<Self> {
        let mut out = BytesMut::from(&PREFACE[..]);
        framed::put(Kind::Opening, opening, &mut out);
        let look = Box::pin(sleep(interval));
        let life = Life { interval, patience, heard: Instant::now(), asked: None, look };
        let frames = Some(frames);
        let pieces = Pieces::default();
        let mut link = Self {
            socket,
            frames,
            out,
            pieces,
            parts: Parts::default(),
            unanswered: 0,
            let_others: false,
            life,
        };
        poll_fn(|context| link.poll_greeted(context)).await?;
        Ok(link)
    }

    fn poll_greeted(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.say(context)?;
        let strange = |error: PieceError| io::Error::new(io::ErrorKind::InvalidData, error);
        while !self.pieces.take_preface().map_err(strange)? {
            if ready!(self.poll_read(context))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes as much as goes.
    fn say(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.unanswered = 0;
        loop {
            while !self.out.is_empty() {
                match Pin::new(&mut self.socket).poll_write(context, &self.out) {
                    Poll::Ready(written) => self.out.advance(written?),
                    Poll::Pending => return Ok(()),
                }
            }
            let Some(frames) = &mut self.frames else { return Ok(()) };
            match Pin::new(frames).poll_next(context) {
                Poll::Ready(Some(frame)) => framed::put(Kind::Frame, &frame, &mut self.out),
                Poll::Ready(None) => {
                    self.frames = None;
                    // Does not wait: there is nothing to be flushed.
                    let _ = Pin::new(&mut self.socket).poll_shutdown(context)?;
                }
                Poll::Pending => {
                    if self.out.capacity() > KEPT {
                        self.out = BytesMut::new();
                    }
                    return Ok(());
                }
            }
        }
    }

    /// The next piece; `None` at the end of the connection.
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<(Kind, Bytes), Status>>> {
        loop {
            match self.pieces.take(FRAME_BYTES) {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(Status::internal(error.to_string())))),
            }
            match ready!(self.poll_read(context)) {
                Ok(0) => return Poll::Ready(None),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(broken(&error)))),
            }
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = poll_read_buf(Pin::new(&mut self.socket), context, self.pieces.room());
        match &read {
            Poll::Pending => self.pieces.rest(),
            Poll::Ready(_) => {
                self.pieces.came();
                (self.life.heard, self.life.asked) = (Instant::now(), None);
            }
        }
        read
    }

    /// Ready once the broker has been silent for too long. Asks it before that.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        loop {
            ready!(self.life.look.as_mut().poll(context));
            let now = Instant::now();
            let until = match self.life.asked {
                Some(asked) if now >= asked + self.life.patience => {
                    let silence = self.life.interval + self.life.patience;
                    let message = format!("the broker has said nothing for {silence:?}");
                    return Poll::Ready(Status::unavailable(message));
                }
                Some(asked) => asked + self.life.patience,
                None if now >= self.life.heard + self.life.interval => {
                    self.life.asked = Some(now);
                    framed::put_empty(Kind::Ping, &mut self.out);
                    if let Err(error) = self.say(context) {
                        return Poll::Ready(broken(&error));
                    }
                    now + self.life.patience
                }
                None => self.life.heard + self.life.interval,
            };
            self.life.look.as_mut().reset(until);
        }
    }
}

impl<F: Stream<Item = v1::ClientFrame> + Unpin> Stream for Link<F> {
    type Item = Result<Part, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.parts.has_more() {
            // Whoever the part before was for has something to say now.
            this.let_others = !this.let_others;
            if this.let_others {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            // What was said to this before counts, whether or not this can be said.
            let _ = this.say(context);
            let part = this.parts.next();
            return Poll::Ready(Some(part.map_err(|error| undecoded(&error))));
        }
        loop {
            let said = this.poll_piece(context);
            return Poll::Ready(match said {
                Poll::Ready(Some(Ok((Kind::Frame, body)))) => {
                    this.unanswered += 1;
                    if this.unanswered >= FRAMES_PER_TURN {
                        // What was said to this before counts, whether or not this can be said.
                        let _ = this.say(context);
                    }
                    Some(this.parts.first(body).map_err(|error| undecoded(&error)))
                }
                Poll::Ready(Some(Ok((Kind::Ended, body)))) => match v1::Ended::decode(body) {
                    Ok(ended) if ended.code == 0 => None,
                    Ok(ended) => Some(Err(framed::status(ended))),
                    Err(error) => Some(Err(undecoded(&error))),
                },
                Poll::Ready(Some(Ok((Kind::Pong, _)))) => continue,
                Poll::Ready(Some(Ok((kind, _)))) => {
                    Some(Err(Status::internal(format!("a broker sends no piece of kind {kind:?}"))))
                }
                Poll::Ready(Some(Err(status))) => Some(Err(status)),
                Poll::Ready(None) if this.frames.is_none() => None,
                Poll::Ready(None) => Some(Err(Status::unavailable("the connection broke"))),
                Poll::Pending => {
                    // Whoever else is awake may have something to say too: one write for all.
                    this.let_others = !this.let_others;
                    if this.let_others {
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    match (this.say(context), this.poll_silence(context)) {
                        (Err(error), _) => Some(Err(broken(&error))),
                        (Ok(()), Poll::Ready(status)) => Some(Err(status)),
                        (Ok(()), Poll::Pending) => return Poll::Pending,
                    }
                }
            });
        }
    }
}

fn undecoded(error: &DecodeError) -> Status {
    Status::internal(error.to_string())
}

fn broken(error: &io::Error) -> Status {
    Status::unavailable(format!("the connection broke: {error}"))
}
