//! A client's session over one bidirectional stream.
//!
//! [`SessionStream`] is the response stream and does everything itself: polling it reads what the
//! client sent, hands that to the broker (which may answer at once, into the outbox) and yields
//! all that waits as one frame. There is no task and no channel between socket and broker, and a
//! client that does not read is not read either. Dropping the stream drops the connection to the
//! broker, which loses the session unless it said goodbye.

use crate::hub::Hub;
use crate::session::{BrokerSide, Outbox, Place};
use futures_util::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tonic::{Code, Status, Streaming};
use trunkline_proto::status::from_refusal;
use trunkline_proto::{DecodeError, server_frame, v1};
use trunkline_types::session::{ClientFrame, Connected, Hello, SessionItem};
use trunkline_types::{Principal, Refusal, RefusalCode};

/// How many frames are read before other tasks get their turn.
const FRAMES_PER_TURN: usize = 32;

/// A session's stream.
pub(crate) struct SessionStream {
    /// What the client sends; `None` once it sends no more.
    inbound: Option<Streaming<v1::ClientFrame>>,
    outbox: Arc<Outbox>,
    /// The first frame, until it is sent.
    welcome: Option<v1::ServerFrame>,
    /// Items on their way into a frame; empty between two polls.
    batch: Vec<SessionItem>,
    /// The highest number that the next operation may have.
    next_operation: u64,
    most_operations: usize,
    most_bytes: usize,
    is_over: bool,
    _place: Place,
}

/// Opens a session for what a client sends: waits for its hello, for its turn and for the broker's
/// welcome.
pub(crate) async fn open(
    hub: &Arc<Hub>,
    principal: Principal,
    mut inbound: Streaming<v1::ClientFrame>,
) -> Result<SessionStream, Status> {
    let connector = hub.connector(principal).map_err(|refusal| from_refusal(&refusal))?;
    let most_bytes = hub.config.max_frame_bytes;
    let deadline = hub.config.hello_deadline;
    let first = tokio::time::timeout(deadline, inbound.message()).await;
    let hello = match first {
        Ok(Ok(Some(frame))) => Hello::try_from(frame).map_err(|error| malformed(&error))?,
        Ok(Ok(None)) => return Err(no_hello("the stream ended")),
        Ok(Err(status)) => return Err(unreadable(&status, most_bytes)),
        Err(_elapsed) => return Err(no_hello(&format!("nothing came within {deadline:?}"))),
    };
    let next_operation = hello.next_operation;
    let turn = hub.welcomes.place().await.map_err(|refusal| from_refusal(&refusal))?;
    let (outbox, place) = hub.streams.open(hub.config.max_waiting_bytes);
    let Connected { connection, welcome } = connector
        .connect(hello, Arc::new(BrokerSide(outbox.clone())))
        .await
        .map_err(|refusal| from_refusal(&refusal))?;
    drop(turn);
    outbox.attach(connection);
    Ok(SessionStream {
        inbound: Some(inbound),
        outbox,
        most_operations: welcome.limits.operations_per_frame,
        welcome: Some(welcome.into()),
        batch: Vec::new(),
        next_operation,
        most_bytes,
        is_over: false,
        _place: place,
    })
}

impl SessionStream {
    /// Reads what has come, up to a bound. Whether there may be more.
    fn read(&mut self, context: &mut Context<'_>) -> bool {
        for _ in 0..FRAMES_PER_TURN {
            let Some(inbound) = &mut self.inbound else { return false };
            let end = match Pin::new(inbound).poll_next(context) {
                Poll::Pending => return false,
                Poll::Ready(Some(Ok(frame))) => match self.handle(frame) {
                    Ok(true) => continue,
                    Ok(false) => Ok(()),
                    Err(status) => Err(status),
                },
                Poll::Ready(Some(Err(status))) => Err(unreadable(&status, self.most_bytes)),
                Poll::Ready(None) => Ok(()),
            };
            self.inbound = None;
            if let Err(status) = &end {
                tracing::debug!(code = ?status.code(), reason = status.message(), "ended a stream");
            }
            self.outbox.end(end);
        }
        self.inbound.is_some()
    }

    /// Hands a frame to the broker. Whether another one may follow.
    fn handle(&mut self, frame: v1::ClientFrame) -> Result<bool, Status> {
        let frame = ClientFrame::try_from(frame).map_err(|error| malformed(&error))?;
        let Some(connection) = self.outbox.connection() else { return Ok(false) };
        match frame {
            ClientFrame::Goodbye => {
                // Ends well, whatever the broker does to the connection in return.
                self.outbox.end(Ok(()));
                connection.close();
                return Ok(false);
            }
            ClientFrame::Operations { first, ref operations } => {
                self.next_operation = self
                    .check_numbers(first, operations.len())
                    .map_err(|refusal| from_refusal(&refusal))?;
            }
            ClientFrame::Heartbeat { .. }
            | ClientFrame::Credit(_)
            | ClientFrame::Acknowledge { .. }
            | ClientFrame::Drain => {}
        }
        connection.send(frame);
        Ok(true)
    }

    /// The number of the operation after these. Numbers from before may come again; they may not
    /// leave a gap.
    fn check_numbers(&self, first: u64, count: usize) -> Result<u64, Refusal> {
        if count > self.most_operations {
            let message =
                format!("the frame has {count} operations, the limit is {}", self.most_operations);
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        let expected = self.next_operation;
        if first > expected {
            let message = format!(
                "operations.first is {first}, the next operation has the number {expected}"
            );
            return Err(Refusal::new(RefusalCode::OutOfOrder, message));
        }
        let after = first.checked_add(count as u64).ok_or_else(|| {
            let message = format!("operations.first is {first}, there are no numbers after it");
            Refusal::new(RefusalCode::Invalid, message)
        })?;
        Ok(after.max(expected))
    }
}

impl Stream for SessionStream {
    type Item = Result<v1::ServerFrame, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        if let Some(welcome) = this.welcome.take() {
            return Poll::Ready(Some(Ok(welcome)));
        }
        this.outbox.awake();
        let more_may_come = this.read(context);
        let taken = this.outbox.poll_take(context, &mut this.batch);
        if taken.is_pending() && more_may_come {
            context.waker().wake_by_ref();
        }
        match ready!(taken) {
            None => {
                let frame = server_frame(&mut this.batch);
                Poll::Ready(Some(Ok(frame)))
            }
            Some(end) => {
                this.is_over = true;
                Poll::Ready(end.err().map(Err))
            }
        }
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        self.outbox.end(Ok(()));
    }
}

fn malformed(error: &DecodeError) -> Status {
    from_refusal(&error.clone().into())
}

fn no_hello(what: &str) -> Status {
    let message = format!("{what}; the first frame of a connection is a hello");
    from_refusal(&Refusal::new(RefusalCode::Invalid, message))
}

/// What is said of a frame that the transport could not read. What is the client's doing is told
/// as such; the rest (a reset, a lost connection) stays as it is.
fn unreadable(status: &Status, most_bytes: usize) -> Status {
    match status.code() {
        Code::OutOfRange => {
            let message =
                format!("a frame is over the limit of {most_bytes} bytes ({})", status.message());
            Status::resource_exhausted(message)
        }
        Code::Internal => {
            let message = format!("malformed frame: {}", status.message());
            from_refusal(&Refusal::new(RefusalCode::Invalid, message))
        }
        _ => status.clone(),
    }
}
