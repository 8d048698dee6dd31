//! The session behind the unary calls of one principal.
//!
//! Owns one ordinary session of a client that is no agent. Calls that come while another one is
//! handing over its operation are handed over together by that one, so that a busy server sends
//! batches and an idle one never waits.

use super::answers::{Answers, Ended, More, OperationAnswer};
use parking_lot::Mutex;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::Notify;
use trunkline_types::session::{
    Accepted, ClientFrame, Connected, Connection, Connector, Credit, Hello, Operation, Redrive,
    SessionItem, Sink,
};
use trunkline_types::{MessageId, Publish, Refusal, RefusalCode, SessionId};

/// A session shared by the calls of one principal.
pub(crate) struct CallSession {
    connection: Arc<dyn Connection>,
    /// Most operations in one frame.
    most_operations: usize,
    desk: Arc<Desk>,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Requested {
    /// It ended.
    Ended(Ended),
    /// It repeats another one under an idempotency key, and is not replied to itself.
    Repeat(MessageId),
}

/// Where calls leave operations and find answers.
#[derive(Default)]
struct Desk {
    /// A lock, because calls and the broker's threads meet here. Never held while the broker is
    /// called, which may answer before it returns.
    state: Mutex<State>,
    /// Told when the last call that waited has what it waited for, or has given up.
    idle: Notify,
}

#[derive(Default)]
struct State {
    answers: Answers,
    /// Whether a call is handing over operations; it takes along what others add meanwhile.
    sending: bool,
}

impl CallSession {
    /// Opens a session.
    pub(crate) async fn open(
        connector: &dyn Connector,
        session: SessionId,
    ) -> Result<Self, Refusal> {
        let hello = Hello {
            session,
            card: None,
            credit: Credit::default(),
            subscriptions: Vec::new(),
            next_operation: 1,
            held: Vec::new(),
        };
        let desk = Arc::new(Desk::default());
        let sink = Arc::new(BrokerSide(desk.clone()));
        let Connected { connection, welcome } = connector.connect(hello, sink).await?;
        Ok(Self { connection, most_operations: welcome.limits.operations_per_frame, desk })
    }

    /// Whether the broker has ended the session.
    pub(crate) fn is_over(&self) -> bool {
        self.desk.state.lock().answers.ended().is_some()
    }

    /// Whether no call waits for anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.desk.state.lock().answers.is_idle()
    }

    /// Waits until no call waits for anything, and says goodbye.
    pub(crate) async fn finish(&self) {
        loop {
            let idle = self.desk.idle.notified();
            let mut idle = pin!(idle);
            idle.as_mut().enable();
            if self.is_idle() {
                return self.close();
            }
            idle.await;
        }
    }

    /// Says goodbye.
    pub(crate) fn close(&self) {
        self.connection.close();
        let refusal = Refusal::new(RefusalCode::Unavailable, "the server closed this session");
        self.desk.state.lock().answers.end(refusal);
    }

    /// Has an operation done.
    pub(crate) async fn operate(&self, operation: Operation) -> OperationAnswer {
        let answer = self.desk.state.lock().answers.add(operation)?;
        self.send();
        answered(answer.await)
    }

    /// Has an envelope carried.
    pub(crate) async fn publish(&self, publish: Arc<Publish>) -> Result<Accepted, Refusal> {
        let id = publish.envelope.id;
        let more = self.operate(Operation::Publish(publish)).await?;
        Ok(accepted(more).unwrap_or_else(|| plainly_accepted(id)))
    }

    /// Has a dead letter sent again.
    pub(crate) async fn redrive(&self, redrive: Redrive) -> Result<Accepted, Refusal> {
        let id = redrive.id;
        let more = self.operate(Operation::Redrive(Box::new(redrive))).await?;
        Ok(accepted(more).unwrap_or_else(|| plainly_accepted(id)))
    }

    /// Has a request carried and waits for its end. Giving up leaves nothing behind here; what
    /// asks several agents is called off, because nobody is left to have what they gather.
    pub(crate) async fn request(&self, publish: Arc<Publish>) -> Result<Requested, Refusal> {
        let id = publish.envelope.id;
        let calls_off = publish.options.gather.is_some();
        let operation = Operation::Publish(publish);
        let waiting = self.desk.state.lock().answers.add_request(operation, id)?;
        let ticket = Some(waiting.ticket);
        let mut waiter = GiveUp { session: self, request: id, ticket, calls_off };
        self.send();
        let answer = waiting.answer.await;
        // What was refused or is a repeat is not there to be called off.
        waiter.calls_off = false;
        let accepted = accepted(answered(answer)?);
        if let Some(accepted) = accepted.filter(|accepted| accepted.duplicate) {
            return Ok(Requested::Repeat(accepted.id));
        }
        waiter.calls_off = calls_off;
        let end = waiting.end.await;
        waiter.calls_off = false;
        let end = end.map_err(|_closed| over())?;
        waiter.ticket = None;
        Ok(Requested::Ended(end))
    }

    /// Calls off what nobody waits for any longer.
    fn call_off(&self, id: MessageId) {
        let reason = "whoever asked waits no longer".to_owned();
        let descendants = false;
        // The answer is of no use to anybody, and a session that has ended has nobody to tell.
        let _ = self.desk.state.lock().answers.add(Operation::Cancel { id, reason, descendants });
        self.send();
    }

    fn send(&self) {
        loop {
            let (first, operations) = {
                let mut state = self.desk.state.lock();
                if state.sending {
                    return;
                }
                let Some(unsent) = state.answers.take_unsent(self.most_operations) else { return };
                state.sending = true;
                unsent
            };
            self.connection.send(ClientFrame::Operations { first, operations });
            self.desk.state.lock().sending = false;
        }
    }
}

/// The broker's end of a desk. When the broker lets go of it there will be no more answers.
struct BrokerSide(Arc<Desk>);

impl Drop for BrokerSide {
    fn drop(&mut self) {
        let refusal = Refusal::new(RefusalCode::Unavailable, "the broker ended this session");
        self.0.state.lock().answers.end(refusal);
        self.0.idle.notify_waiters();
    }
}

impl Sink for BrokerSide {
    fn accept(&self, items: &mut Vec<SessionItem>) {
        self.0.accept(items);
    }
}

impl Desk {
    fn accept(&self, items: &mut Vec<SessionItem>) {
        let mut state = self.state.lock();
        for item in items.drain(..) {
            state.answers.settle(item);
        }
        let is_idle = state.answers.is_idle();
        drop(state);
        if is_idle {
            self.idle.notify_waiters();
        }
    }
}

/// Removes the waiter of a call that ends without its reply.
struct GiveUp<'a> {
    session: &'a CallSession,
    request: MessageId,
    ticket: Option<u64>,
    /// Whether the request is called off as well.
    calls_off: bool,
}

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let desk = &self.session.desk;
            let mut state = desk.state.lock();
            state.answers.give_up(self.request, ticket);
            let is_idle = state.answers.is_idle();
            drop(state);
            if is_idle {
                desk.idle.notify_waiters();
            }
        }
        if self.calls_off {
            self.session.call_off(self.request);
        }
    }
}

impl fmt::Debug for CallSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallSession").field("idle", &self.is_idle()).finish_non_exhaustive()
    }
}

fn answered<E>(answer: Result<OperationAnswer, E>) -> OperationAnswer {
    answer.unwrap_or_else(|_closed| Err(over()))
}

fn over() -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "the session ended before there was an answer")
}

/// What was said of a publish besides that it is done.
fn accepted(more: More) -> Option<Accepted> {
    match more {
        More::Accepted(accepted) => Some(accepted),
        More::Nothing | More::Canceled(_) => None,
    }
}

/// What "done" says of a publish: it went to its one target.
fn plainly_accepted(id: MessageId) -> Accepted {
    Accepted { operation: 0, id, duplicate: false, targets: 1, dropped: 0, parked: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::{Destination, Envelope, Gather, GatherRule, Gathered, Kind, Partition};

    /// Answers every operation before `send` returns, and checks that their numbers have no gaps.
    struct Prompt {
        desk: Arc<Desk>,
        next: Mutex<u64>,
    }

    impl Connection for Prompt {
        fn send(&self, frame: ClientFrame) {
            let ClientFrame::Operations { first, operations } = frame else {
                panic!("only operations are sent")
            };
            let mut next = self.next.lock();
            assert_eq!(first, *next);
            assert!((1..=3).contains(&operations.len()));
            *next += operations.len() as u64;
            self.desk.accept(&mut vec![SessionItem::Done { first, last: *next - 1 }]);
        }

        fn close(&self) {}
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn every_call_is_answered_however_many_there_are() {
        let desk = Arc::new(Desk::default());
        let connection = Arc::new(Prompt { desk: desk.clone(), next: Mutex::new(1) });
        let session = Arc::new(CallSession { connection, most_operations: 3, desk });
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let session = session.clone();
                tokio::spawn(async move {
                    for _ in 0..500 {
                        let task = MessageId::from_parts(1, Partition(0), 1);
                        let operation = Operation::Unwatch { task };
                        assert_eq!(session.operate(operation).await, Ok(More::Nothing));
                    }
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        assert!(session.is_idle());
    }

    /// Says that everything is done, and keeps what came.
    struct Keeps {
        desk: Arc<Desk>,
        came: Mutex<Vec<Operation>>,
    }

    impl Connection for Keeps {
        fn send(&self, frame: ClientFrame) {
            let ClientFrame::Operations { first, operations } = frame else {
                panic!("only operations are sent")
            };
            let last = first + operations.len() as u64 - 1;
            self.came.lock().extend(operations);
            self.desk.accept(&mut vec![SessionItem::Done { first, last }]);
        }

        fn close(&self) {}
    }

    #[tokio::test]
    async fn gathering_that_is_given_up_is_called_off_and_a_request_is_not() {
        let desk = Arc::new(Desk::default());
        let connection = Arc::new(Keeps { desk: desk.clone(), came: Mutex::default() });
        let session =
            CallSession { connection: connection.clone(), most_operations: 3, desk: desk.clone() };
        let publish = |number, gather| {
            let id = MessageId::from_parts(1, Partition(0), number);
            let to = Destination::skill("s").unwrap();
            let mut publish = Publish::new(Envelope::new(id, Kind::Request, to, "?".into()));
            publish.options.gather = gather;
            (id, Arc::new(publish))
        };
        let cancels = || {
            let cancel = |operation: &Operation| match operation {
                Operation::Cancel { id, .. } => Some(*id),
                _ => None,
            };
            connection.came.lock().iter().filter_map(cancel).collect::<Vec<_>>()
        };
        let (_, request) = publish(1, None);
        let (gathering, gather) = publish(2, Some(Gather::new(GatherRule::All)));
        let (ended, finished) = publish(3, Some(Gather::new(GatherRule::All)));
        for publish in [request, gather] {
            let waits = pin!(session.request(publish)).as_mut().poll(&mut noop()).is_pending();
            assert!(waits);
        }
        assert_eq!(cancels(), [gathering]);
        assert!(session.is_idle());
        let mut waiting = Box::pin(session.request(finished));
        assert!(waiting.as_mut().poll(&mut noop()).is_pending());
        let gathered = Gathered { request: ended, complete: true, parts: Vec::new() };
        desk.accept(&mut vec![SessionItem::Gathered(gathered)]);
        assert!(matches!(waiting.await, Ok(Requested::Ended(Ended::Gathered(_)))));
        assert_eq!(cancels(), [gathering], "what has ended is not called off");
    }

    fn noop() -> std::task::Context<'static> {
        std::task::Context::from_waker(std::task::Waker::noop())
    }

    #[tokio::test]
    async fn after_the_end_calls_are_refused() {
        let desk = Arc::new(Desk::default());
        let connection = Arc::new(Prompt { desk: desk.clone(), next: Mutex::new(1) });
        let session = CallSession { connection, most_operations: 3, desk };
        session.close();
        assert!(session.is_over());
        let task = MessageId::from_parts(1, Partition(0), 1);
        let refusal = session.operate(Operation::Unwatch { task }).await.unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Unavailable);
    }
}
