//! A scripted broker: it notes every frame, checks that operations come numbered without gaps,
//! and says only what a test has it say.

pub(crate) mod gate;

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::{
    BoxFuture, ClientFrame, Companion, Connected, Connection, Connector, Delivery, EventDelivery,
    Hello, Operation, SessionItem, Sink, Welcome,
};
use trunkline_types::{
    Answer, Destination, Envelope, Epoch, InboxAddress, Kind, Limits, MessageId, Outcome,
    Partition, Payload, Publish, Query, Refusal, RefusalCode, Token, WallTime,
};

/// A connector whose sessions the test plays the broker for.
#[derive(Clone)]
pub(crate) struct Script(Arc<Inner>, Companion);

struct Inner {
    lines: Mutex<Vec<Arc<Line>>>,
    lease: Duration,
    /// Whether every operation is done as soon as it comes.
    prompt: bool,
    answers: Mutex<Vec<Result<Answer, Refusal>>>,
    clock: Mutex<WallTime>,
    /// Refusals of the sessions that are opened next.
    declined: Mutex<Vec<Refusal>>,
}

/// One session as the broker sees it.
pub(crate) struct Line {
    pub(crate) hello: Hello,
    sink: Arc<dyn Sink>,
    state: Mutex<State>,
    changed: Condvar,
    prompt: bool,
}

#[derive(Default)]
struct State {
    frames: Vec<ClientFrame>,
    operations: Vec<Operation>,
    tokens: u64,
    closed: bool,
    /// Answers that wait for whoever is in the sink, so that it is never entered twice.
    outbox: Vec<SessionItem>,
    speaking: bool,
}

impl Script {
    /// A broker that does every operation at once.
    pub(crate) fn prompt() -> Self {
        Self::new(true, Duration::from_secs(30))
    }

    /// A broker that answers nothing by itself.
    pub(crate) fn silent() -> Self {
        Self::new(false, Duration::from_secs(30))
    }

    pub(crate) fn new(prompt: bool, lease: Duration) -> Self {
        let (lines, answers, clock) = (Mutex::default(), Mutex::default(), Mutex::default());
        let declined = Mutex::default();
        let inner = Inner { lines, lease, prompt, answers, clock, declined };
        Self(Arc::new(inner), Companion::default())
    }

    /// The session that was opened as number `at`.
    pub(crate) fn line(&self, at: usize) -> Arc<Line> {
        Arc::clone(&self.0.lines.lock()[at])
    }

    pub(crate) fn lines(&self) -> usize {
        self.0.lines.lock().len()
    }

    /// The answer to a query that is yet to come; they are given in order.
    pub(crate) fn answer(&self, answer: Result<Answer, Refusal>) {
        self.0.answers.lock().push(answer);
    }

    pub(crate) fn welcome(&self) -> Welcome {
        Welcome {
            epoch: Epoch(1),
            resumed: false,
            lease: self.0.lease,
            revoked: Vec::new(),
            limits: Limits::default(),
            now: *self.0.clock.lock(),
        }
    }

    /// Has the next session that is opened refused.
    pub(crate) fn decline(&self, refusal: Refusal) {
        self.0.declined.lock().push(refusal);
    }

    /// What the broker's wall clock shows, for sessions that are welcomed from now on. It says
    /// nothing of it unless told to.
    pub(crate) fn set_clock(&self, now: WallTime) {
        *self.0.clock.lock() = now;
    }
}

impl Connector for Script {
    fn connect(
        &self,
        hello: Hello,
        sink: Arc<dyn Sink>,
    ) -> BoxFuture<'_, Result<Connected, Refusal>> {
        if let Some(refusal) = self.0.declined.lock().pop() {
            return Box::pin(async move { Err(refusal) });
        }
        let line = Arc::new(Line {
            hello,
            sink,
            state: Mutex::default(),
            changed: Condvar::new(),
            prompt: self.0.prompt,
        });
        self.0.lines.lock().push(Arc::clone(&line));
        let connection: Arc<dyn Connection> = Arc::new(Wire(line));
        let welcome = self.welcome();
        Box::pin(async move { Ok(Connected { connection, welcome }) })
    }

    fn query(&self, _: Query) -> BoxFuture<'_, Result<Answer, Refusal>> {
        let mut answers = self.0.answers.lock();
        let none = || Err(Refusal::new(RefusalCode::NotFound, "nothing was scripted"));
        let answer = if answers.is_empty() { none() } else { answers.remove(0) };
        Box::pin(async move { answer })
    }

    fn companion(&self) -> Option<&Companion> {
        Some(&self.1)
    }
}

struct Wire(Arc<Line>);

impl Connection for Wire {
    fn send(&self, frame: ClientFrame) {
        let line = &self.0;
        let mut state = line.state.lock();
        if let ClientFrame::Operations { first, operations } = &frame {
            assert_eq!(*first, state.operations.len() as u64 + 1, "numbers come without gaps");
            assert!(!operations.is_empty());
            state.operations.extend(operations.iter().cloned());
            if line.prompt {
                let last = state.operations.len() as u64;
                state.outbox.push(SessionItem::Done { first: *first, last });
            }
        }
        state.frames.push(frame);
        drop(state);
        line.changed.notify_all();
        line.speak();
    }

    fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.changed.notify_all();
    }

    fn comes_back(&self) -> bool {
        false
    }
}

impl Line {
    /// Says something to the session.
    pub(crate) fn say(&self, items: impl IntoIterator<Item = SessionItem>) {
        self.state.lock().outbox.extend(items);
        self.speak();
    }

    fn speak(&self) {
        let mut state = self.state.lock();
        if state.speaking {
            return;
        }
        while !state.outbox.is_empty() {
            state.speaking = true;
            let mut items = std::mem::take(&mut state.outbox);
            drop(state);
            self.sink.accept(&mut items);
            assert!(items.is_empty(), "the sink leaves nothing behind");
            state = self.state.lock();
            state.speaking = false;
        }
    }

    pub(crate) fn reconnected(&self, welcome: &Welcome) {
        self.sink.reconnected(welcome);
    }

    /// A delivery for a skill with the next token.
    pub(crate) fn delivery(&self, skill: &str, payload: impl Into<Payload>) -> Delivery {
        self.delivery_of(request(skill, payload), InboxAddress::Skill(skill.parse().unwrap()))
    }

    pub(crate) fn delivery_of(&self, envelope: Envelope, inbox: InboxAddress) -> Delivery {
        let mut state = self.state.lock();
        state.tokens += 1;
        Delivery {
            token: Token { epoch: Epoch(1), counter: state.tokens },
            publish: Arc::new(Publish::new(envelope)),
            inbox,
            attempt: 1,
            accepted_at: WallTime(0),
            expires_at: None,
            backlog: 0,
            backlog_age: Duration::ZERO,
            messages: Vec::new(),
            number: state.tokens,
            missed: Vec::new(),
            max_run: None,
        }
    }

    /// Delivers work for a skill and returns its token.
    pub(crate) fn deliver(&self, skill: &str, payload: impl Into<Payload>) -> Token {
        let delivery = self.delivery(skill, payload);
        let token = delivery.token;
        self.say([SessionItem::Delivery(delivery)]);
        token
    }

    pub(crate) fn event(number: u64, topic: &str, missed: u64) -> SessionItem {
        let to = Destination::topic(topic).unwrap();
        let envelope = Envelope::new(id(number), Kind::Event, to, number.to_string().into());
        SessionItem::Event(EventDelivery {
            number,
            publish: Arc::new(Publish::new(envelope)),
            missed,
        })
    }

    pub(crate) fn frames(&self) -> Vec<ClientFrame> {
        self.state.lock().frames.clone()
    }

    pub(crate) fn operations(&self) -> Vec<Operation> {
        self.state.lock().operations.clone()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// The outcome said of a delivery, if one was.
    pub(crate) fn outcome(&self, token: Token) -> Option<Outcome> {
        self.state.lock().operations.iter().find_map(|operation| match operation {
            Operation::Settle(settle) if settle.token == token => Some(settle.outcome.clone()),
            _ => None,
        })
    }

    /// Waits on another thread until `found` finds something among what has come.
    pub(crate) async fn wait<T: Send + 'static>(
        self: &Arc<Self>,
        found: impl Fn(&Self) -> Option<T> + Send + 'static,
    ) -> T {
        let line = Arc::clone(self);
        tokio::task::spawn_blocking(move || line.wait_here(found)).await.unwrap()
    }

    /// Waits on this thread until `found` finds something among what has come.
    pub(crate) fn wait_here<T>(&self, found: impl Fn(&Self) -> Option<T>) -> T {
        let give_up = std::time::Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(it) = found(self) {
                return it;
            }
            let mut state = self.state.lock();
            // Something may have come between the look and the lock; a bounded wait looks again.
            self.changed.wait_for(&mut state, Duration::from_millis(5));
            assert!(std::time::Instant::now() < give_up, "never came; got {:?}", state.frames);
        }
    }

    pub(crate) async fn outcome_of(self: &Arc<Self>, token: Token) -> Outcome {
        self.wait(move |line| line.outcome(token)).await
    }
}

pub(crate) fn id(number: u64) -> MessageId {
    MessageId::from_parts(1, Partition(0), number)
}

pub(crate) fn request(skill: &str, payload: impl Into<Payload>) -> Envelope {
    let to = Destination::skill(skill).unwrap();
    Envelope::new(id(7), Kind::Request, to, payload.into())
}

/// The payload of a completed delivery as text.
pub(crate) fn reply_text(outcome: Outcome) -> String {
    match outcome {
        Outcome::Complete { reply: Some(payload) } => payload.to_text().into_owned(),
        other => panic!("not completed with a reply: {other:?}"),
    }
}

/// The reason of a delivery to be tried again.
pub(crate) fn retry_reason(outcome: Outcome) -> String {
    match outcome {
        Outcome::Retry { reason, .. } => reason,
        other => panic!("not to be tried again: {other:?}"),
    }
}

/// Polls once.
pub(crate) fn poll<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
