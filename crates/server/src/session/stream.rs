//! A client's session over one bidirectional stream of frames, whatever carries them.
//!
//! [`SessionStream`] is the stream of answers and does everything itself: polling it reads what the
//! client sent, hands that to the broker (which may answer at once, into the outbox) and yields
//! all that waits as one frame. There is no task and no channel between socket and broker, and a
//! client that does not read is not read either. Dropping the stream drops the connection to the
//! broker, which loses the session unless it said goodbye.

use super::guard::{self, Refused};
use super::lasting;
use super::outbox::{BrokerSide, Outbox};
use super::streams::Place;
use crate::hub::Hub;
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tonic::{Code, Status};
use trunkline_a2a::is_own;
use trunkline_proto::status::from_refusal;
use trunkline_proto::{DecodeError, server_frame, v1};
use trunkline_types::session::{
    BoxFuture, ClientFrame, Connected, Connector, Hello, SessionItem, Welcome,
};
use trunkline_types::{Principal, Refusal, RefusalCode};

/// How many frames are read before other tasks get their turn.
const FRAMES_PER_TURN: usize = 32;

/// A session's stream, fed by what the client sends.
pub(crate) struct SessionStream<I> {
    inbound: Option<I>,
    outbox: Arc<Outbox>,
    connector: Arc<dyn Connector>,
    /// A frame whose operations are looked at; what comes after it is not read meanwhile.
    asking: Option<BoxFuture<'static, (ClientFrame, Refused)>>,
    /// The first frame, until it is sent.
    welcome: Option<Box<v1::ServerFrame>>,
    /// Items on their way into a frame; empty between two polls.
    batch: Vec<SessionItem>,
    /// The highest number that the next operation may have.
    next_operation: u64,
    most_operations: usize,
    most_bytes: usize,
    phase: Phase,
    /// Whether others get a turn before a frame is made, because nothing else gathers what they
    /// have for this client.
    gathers: bool,
    /// Whether they had it.
    let_others: bool,
    _place: Place,
}

/// How far a stream is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// What the client sends is read.
    Listening,
    /// It is not any more; what waits for the client is still said.
    Deaf,
    /// All is said.
    Over,
}

/// What a client sends.
pub(crate) trait Inbound: Stream<Item = Result<v1::ClientFrame, Status>> + Unpin {}

impl<I: Stream<Item = Result<v1::ClientFrame, Status>> + Unpin> Inbound for I {}

/// A session that the broker has welcomed.
pub(crate) struct Opened {
    outbox: Arc<Outbox>,
    connector: Arc<dyn Connector>,
    place: Place,
    welcome: Welcome,
    next_operation: u64,
    most_bytes: usize,
}

/// Opens a session for what a client sends: waits for its hello, for its turn and for the broker's
/// welcome.
pub(crate) async fn open(
    hub: &Hub,
    principal: Principal,
    inbound: &mut impl Inbound,
) -> Result<Opened, Status> {
    let connector = hub.connector(principal).map_err(|refusal| from_refusal(&refusal))?;
    let most_bytes = hub.config.max_frame_bytes;
    let deadline = hub.config.hello_deadline;
    let hello = match tokio::time::timeout(deadline, inbound.next()).await {
        Ok(Some(Ok(frame))) => Hello::try_from(frame).map_err(|error| malformed(&error))?,
        Ok(Some(Err(status))) => return Err(unreadable(&status, most_bytes)),
        Ok(None) => return Err(no_hello("the stream ended")),
        Err(_elapsed) => return Err(no_hello(&format!("nothing came within {deadline:?}"))),
    };
    // Its work tells where others are, and with what they are called.
    if let Some(card) = hello.card.as_ref().filter(|card| is_own(card.id.as_str())) {
        let message = format!("the agent {} is the broker's own", card.id);
        return Err(from_refusal(&Refusal::new(RefusalCode::Forbidden, message)));
    }
    let next_operation = hello.next_operation;
    let turn = hub.welcomes.place().await.map_err(|refusal| from_refusal(&refusal))?;
    let (outbox, place) = hub.streams.open(hub.config.max_waiting_bytes);
    let Connected { connection, welcome } = connector
        .connect(hello, Arc::new(BrokerSide(outbox.clone())))
        .await
        .map_err(|refusal| from_refusal(&refusal))?;
    drop(turn);
    outbox.attach(connection);
    Ok(Opened { outbox, connector, place, welcome, next_operation, most_bytes })
}

impl Opened {
    /// The session's stream, fed by what the client sends after its hello. It `gathers` if it is
    /// written as soon as there is a frame.
    pub(crate) fn stream<I: Inbound>(self, inbound: I, gathers: bool) -> SessionStream<I> {
        let Self { outbox, connector, place, welcome, next_operation, most_bytes } = self;
        SessionStream {
            inbound: Some(inbound),
            outbox,
            connector,
            asking: None,
            most_operations: welcome.limits.operations_per_frame,
            welcome: Some(Box::new(welcome.into())),
            batch: Vec::new(),
            next_operation,
            most_bytes,
            phase: Phase::Listening,
            gathers,
            let_others: false,
            _place: place,
        }
    }
}

impl<I: Inbound> SessionStream<I> {
    /// What the client sends.
    pub(crate) fn inbound(&mut self) -> Option<&mut I> {
        self.inbound.as_mut()
    }

    /// The same once the stream is over.
    pub(crate) fn into_inbound(mut self) -> Option<I> {
        self.inbound.take()
    }

    /// Reads what has come, up to a bound. Whether there may be more.
    fn read(&mut self, context: &mut Context<'_>) -> bool {
        for _ in 0..FRAMES_PER_TURN {
            if self.poll_asked(context).is_pending() {
                return false;
            }
            let Some(inbound) = self.inbound.as_mut().filter(|_| self.phase == Phase::Listening)
            else {
                return false;
            };
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
            self.phase = Phase::Deaf;
            if let Err(status) = &end {
                tracing::debug!(code = ?status.code(), reason = status.message(), "ended a stream");
            }
            self.outbox.end(end);
        }
        self.phase == Phase::Listening
    }

    /// Hands over the frame whose operations were looked at.
    fn poll_asked(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(asking) = &mut self.asking else { return Poll::Ready(()) };
        let (frame, refused) = ready!(asking.as_mut().poll(context));
        self.asking = None;
        if let Some(connection) = self.outbox.connection() {
            self.outbox.refuse(refused);
            connection.send(frame);
        }
        Poll::Ready(())
    }

    /// Hands a frame to the broker. Whether another one may follow.
    fn handle(&mut self, frame: v1::ClientFrame) -> Result<bool, Status> {
        let mut frame = ClientFrame::try_from(frame).map_err(|error| malformed(&error))?;
        let Some(connection) = self.outbox.connection() else { return Ok(false) };
        let mut asks = false;
        match &mut frame {
            ClientFrame::Goodbye => {
                // Ends well, whatever the broker does to the connection in return.
                self.outbox.end(Ok(()));
                connection.close();
                return Ok(false);
            }
            ClientFrame::Operations { first, operations } => {
                self.next_operation = self
                    .check_numbers(*first, operations.len())
                    .map_err(|refusal| from_refusal(&refusal))?;
                lasting::part(operations);
                let (refused, unsure) = guard::replace(*first, operations);
                self.outbox.refuse(refused);
                asks = unsure;
            }
            ClientFrame::Heartbeat { .. }
            | ClientFrame::Credit(_)
            | ClientFrame::Acknowledge { .. }
            | ClientFrame::Drain => {}
        }
        if asks {
            self.asking = Some(Box::pin(guard::ask(self.connector.clone(), frame)));
        } else {
            connection.send(frame);
        }
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

impl<I: Inbound> Stream for SessionStream<I> {
    type Item = Result<v1::ServerFrame, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.phase == Phase::Over {
            return Poll::Ready(None);
        }
        if let Some(welcome) = this.welcome.take() {
            return Poll::Ready(Some(Ok(*welcome)));
        }
        this.outbox.awake();
        let more_may_come = this.read(context);
        if this.gathers && !this.let_others && this.outbox.has_items() {
            this.let_others = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.let_others = false;
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
                this.phase = Phase::Over;
                Poll::Ready(end.err().map(Err))
            }
        }
    }
}

impl<I> Drop for SessionStream<I> {
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
