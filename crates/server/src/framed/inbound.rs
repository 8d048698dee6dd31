//! What a client sends over a framed connection.

use bytes::Bytes;
use futures_util::Stream;
use prost::Message;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncRead;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;
use tonic::Status;
use trunkline_proto::framed::{Kind, PieceError, Pieces};
use trunkline_proto::v1;

/// The frames that come in, and what was noticed on the way.
pub(super) struct Inbound<R> {
    reading: R,
    pieces: Pieces,
    most_bytes: usize,
    /// When something came the last time.
    pub(super) heard: Instant,
    /// Whether the client asked for a sign of life since this was last looked at.
    pub(super) asked: bool,
}

impl<R: AsyncRead + Unpin> Inbound<R> {
    /// Reads pieces of up to `most_bytes`.
    pub(super) fn new(reading: R, most_bytes: usize) -> Self {
        let (pieces, heard) = (Pieces::default(), Instant::now());
        Self { reading, pieces, most_bytes, heard, asked: false }
    }

    /// The connection, to hear its end.
    pub(super) fn into_inner(self) -> R {
        self.reading
    }

    /// What every connection begins with.
    pub(super) async fn preface(&mut self) -> io::Result<()> {
        poll_fn(|context| {
            let strange = |error: PieceError| io::Error::new(io::ErrorKind::InvalidData, error);
            while !self.pieces.take_preface().map_err(strange)? {
                if ready!(self.poll_read(context))? == 0 {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// The first piece: who dials.
    pub(super) async fn opening(&mut self) -> Result<v1::Opening, Status> {
        match poll_fn(|context| self.poll_piece(context)).await {
            Some(Ok((Kind::Opening, body))) => {
                v1::Opening::decode(body).map_err(|error| undecoded(&error))
            }
            Some(Ok((kind, _))) => Err(unexpected(kind)),
            Some(Err(status)) => Err(status),
            None => Err(Status::internal("the connection ended before its opening")),
        }
    }

    /// The next piece; `None` at the end.
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<(Kind, Bytes), Status>>> {
        loop {
            match self.pieces.take(self.most_bytes) {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(no_piece(&error)))),
            }
            match ready!(self.poll_read(context)) {
                Ok(0) if self.pieces.is_empty() => return Poll::Ready(None),
                Ok(0) => {
                    let status = Status::unavailable("the connection ended within a piece");
                    return Poll::Ready(Some(Err(status)));
                }
                Ok(_) => {}
                Err(error) => {
                    let status = Status::unavailable(format!("the connection broke: {error}"));
                    return Poll::Ready(Some(Err(status)));
                }
            }
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = poll_read_buf(Pin::new(&mut self.reading), context, self.pieces.room());
        match &read {
            Poll::Pending => self.pieces.rest(),
            Poll::Ready(_) => {
                self.pieces.came();
                self.heard = Instant::now();
            }
        }
        read
    }
}

impl<R: AsyncRead + Unpin> Stream for Inbound<R> {
    type Item = Result<v1::ClientFrame, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            return Poll::Ready(match ready!(this.poll_piece(context)) {
                Some(Ok((Kind::Frame, body))) => {
                    Some(v1::ClientFrame::decode(body).map_err(|error| undecoded(&error)))
                }
                Some(Ok((Kind::Ping, _))) => {
                    this.asked = true;
                    continue;
                }
                Some(Ok((kind, _))) => Some(Err(unexpected(kind))),
                Some(Err(status)) => Some(Err(status)),
                None => None,
            });
        }
    }
}

fn undecoded(error: &prost::DecodeError) -> Status {
    Status::internal(error.to_string())
}

/// What a session's stream takes for a frame over its limit, or for a malformed one.
fn no_piece(error: &PieceError) -> Status {
    match error {
        PieceError::TooLarge { .. } => Status::out_of_range(error.to_string()),
        PieceError::UnknownKind(_) | PieceError::OtherProtocol(_) => {
            Status::internal(error.to_string())
        }
    }
}

fn unexpected(kind: Kind) -> Status {
    Status::internal(format!("a client sends no piece of the kind {kind:?} here"))
}
