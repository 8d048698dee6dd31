//! The task of a session: reads what the broker says, tells the sink, and reconnects.

use crate::client::Executor;
use crate::dialer::{Answers, Calls, Dialer};
use crate::failure;
use crate::parts::Part;
use crate::session::connection::Remote;
use crate::session::outcome::Seeker;
use crate::session::outgoing::Frames;
use crate::session::policy::{Delays, Policy};
use crate::session::shared::Shared;
use crate::session::state::{Leave, State};
use futures_util::StreamExt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::Status;
use trunkline_proto::DecodeError;
use trunkline_types::session::{Connected, Hello, SessionItem, Sink, Welcome};
use trunkline_types::{MessageId, Refusal, RefusalCode};

/// How long the broker may take to end the stream after a goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// Opens a session and has `executor` drive it.
///
/// # Errors
/// A [`Refusal`]: the broker's, or that it is not there.
pub(crate) async fn open(
    dialer: Dialer,
    calls: Calls,
    policy: Policy,
    executor: &Executor,
    hello: Hello,
    sink: Arc<dyn Sink>,
) -> Result<Connected, Refusal> {
    let shared = Arc::new(Shared::new(State::new(hello, policy.max_outstanding)));
    let (delays, outcomes) = (policy.delays(), JoinSet::new());
    let driver = Driver { dialer, calls, policy, shared, sink, outcomes, delays, useful: false };
    let (stream, welcome) = driver.first().await?;
    driver.shared.change(|state| state.open(&welcome));
    let connection = Arc::new(Remote::new(driver.shared.clone()));
    executor(Box::pin(driver.run(stream)));
    Ok(Connected { connection, welcome })
}

struct Driver {
    dialer: Dialer,
    calls: Calls,
    policy: Policy,
    shared: Arc<Shared>,
    sink: Arc<dyn Sink>,
    /// The tasks that find out what became of orphaned tasks.
    outcomes: JoinSet<()>,
    /// The delays before attempts to reconnect; they begin anew once a connection was of use, so
    /// that a frame which breaks every connection does not have them made without a pause.
    delays: Delays,
    /// Whether a frame of the present connection was understood.
    useful: bool,
}

/// A connection on which the broker has welcomed the session.
struct Incoming {
    stream: Answers,
    /// What came along with the welcome.
    first: Part,
}

/// What a session's task waits for.
enum Event {
    Frame(Option<Result<Part, Status>>),
    /// There is something to look at in the state.
    Attention,
    /// The broker had time enough to say farewell.
    TimeUp,
}

/// Why a connection is over.
enum End {
    /// The session is over, as it wished.
    Farewell,
    /// The session may come back.
    Broken(String),
    /// The session is over, and the sink must hear why.
    Final(String),
    /// The session is over, and the sink has heard why.
    Dismissed,
}

impl Driver {
    async fn run(mut self, mut incoming: Incoming) {
        loop {
            let since = Instant::now();
            let end = self.read(incoming).await;
            let useful = std::mem::take(&mut self.useful);
            if useful || since.elapsed() >= self.policy.longest_delay {
                self.delays = self.policy.delays();
            }
            let reason = match end {
                End::Broken(reason) if !self.shared.lock().is_leaving() => reason,
                End::Broken(_) | End::Farewell | End::Dismissed => break,
                End::Final(reason) => {
                    self.dismiss(reason);
                    break;
                }
            };
            self.shared.change(State::part);
            tracing::warn!(url = self.dialer.url, reason, "the connection to the broker broke");
            match self.reconnect().await {
                Some(again) => incoming = again,
                None => break,
            }
        }
        self.shared.change(State::finish);
    }

    /// Tells the sink that there will be nothing more.
    fn dismiss(&self, reason: String) {
        self.sink.accept(&mut vec![SessionItem::GoAway { reason, reconnect: false }]);
    }

    /// Reads one connection to its end.
    async fn read(&mut self, incoming: Incoming) -> End {
        let Incoming { mut stream, first } = incoming;
        let mut items = Vec::new();
        let mut farewell: Option<Instant> = None;
        if !first.frame.items.is_empty()
            && let Some(end) = self.take_in(first, &mut items)
        {
            return end;
        }
        // What was made here while there was no connection.
        self.hand_on(&mut items);
        loop {
            let event = tokio::select! {
                biased;
                event = poll_fn(|context| poll_event(&self.shared, &mut stream, context)) => event,
                () = sleep_until(farewell.unwrap_or_else(Instant::now)), if farewell.is_some() => {
                    Event::TimeUp
                }
            };
            let end = match event {
                Event::Frame(Some(Ok(part))) => self.take_in(part, &mut items),
                Event::Frame(Some(Err(status))) => Some(self.broken(&status)),
                Event::Frame(None) if farewell.is_some() => Some(End::Farewell),
                Event::Frame(None) => Some(End::Broken("the broker ended the stream".to_owned())),
                Event::Attention => {
                    self.hand_on(&mut items);
                    if farewell.is_none() && self.shared.lock().is_leaving() {
                        farewell = Some(Instant::now() + FAREWELL);
                    }
                    None
                }
                Event::TimeUp => Some(End::Farewell),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Takes in the items of a frame, or of a part of one, and tells the sink.
    fn take_in(&mut self, part: Part, items: &mut Vec<SessionItem>) -> Option<End> {
        for item in part.frame.items {
            match SessionItem::try_from(item) {
                Ok(item) => items.push(item),
                Err(error) => return Some(self.malformed(items, &error)),
            }
        }
        // Not before its last part: the next one may be what breaks every connection.
        self.useful |= part.is_last;
        let (leave, stray) = {
            let mut state = self.shared.lock();
            (state.receive(items), state.take_stray())
        };
        if !items.is_empty() {
            self.sink.accept(items);
        }
        items.clear();
        self.seek(stray);
        leave.map(
            |Leave { reason, reconnect }| {
                if reconnect { End::Broken(reason) } else { End::Dismissed }
            },
        )
    }

    /// The broker said something that this client does not understand. What it said before that
    /// in the same frame still counts; the rest it says again over another connection.
    fn malformed(&self, items: &mut Vec<SessionItem>, error: &DecodeError) -> End {
        self.shared.lock().receive(items);
        self.sink.accept(items);
        items.clear();
        End::Broken(format!("the broker sent what this client does not understand: {error}"))
    }

    /// Hands to the sink what was made here.
    fn hand_on(&self, items: &mut Vec<SessionItem>) {
        std::mem::swap(items, &mut self.shared.lock().made_here);
        if !items.is_empty() {
            self.sink.accept(items);
            items.clear();
        }
    }

    fn broken(&self, status: &Status) -> End {
        let refusal = failure::refused(&self.dialer.url, status);
        // Only a broker says that it will not have the session again; a status without details
        // comes from the transport, which could not read a frame, or from something in between.
        if status.details().is_empty() || failure::may_return(refusal.code) {
            End::Broken(refusal.message)
        } else {
            End::Final(refusal.message)
        }
    }

    /// Greets for the first time. A broker that has too many to welcome says when to come back,
    /// and is asked again then, if that is within the time that a welcome may take.
    async fn first(&self) -> Result<(Incoming, Welcome), Refusal> {
        let end = Instant::now() + self.policy.connect_timeout;
        loop {
            let refusal = match self.greet().await {
                Ok(welcomed) => return Ok(welcomed),
                Err(refusal) => refusal,
            };
            self.shared.change(State::part);
            let again = put_off(&refusal).map(|span| Instant::now() + span);
            match again.filter(|again| *again < end) {
                Some(again) => sleep_until(again).await,
                None => return Err(refusal),
            }
        }
    }

    /// Tries until the broker welcomes the session again; `None` if the session ends instead.
    async fn reconnect(&mut self) -> Option<Incoming> {
        let mut told = Duration::ZERO;
        while let Some(delay) = self.delays.next() {
            // What the broker says is drawn for each client, so that they are not in step.
            self.wait(sleep(delay.max(told))).await?;
            match self.wait(self.greet()).await? {
                Ok((incoming, welcome)) => {
                    self.welcomed_again(&welcome);
                    return Some(incoming);
                }
                Err(refusal) if failure::may_return(refusal.code) => {
                    self.shared.change(State::part);
                    told = put_off(&refusal).unwrap_or_default();
                    tracing::debug!(%refusal, "the broker is not back yet");
                }
                Err(refusal) => {
                    self.dismiss(refusal.message);
                    return None;
                }
            }
        }
        None
    }

    fn welcomed_again(&mut self, welcome: &Welcome) {
        tracing::info!(resumed = welcome.resumed, "the broker welcomed the session again");
        self.sink.reconnected(welcome);
        let mut items = Vec::new();
        let orphans = self.shared.lock().welcomed_again(welcome, &mut items);
        if !items.is_empty() {
            self.sink.accept(&mut items);
        }
        if !orphans.is_empty() {
            // Those that an earlier one still seeks are among the orphans.
            self.outcomes = JoinSet::new();
            self.seek(orphans);
        }
        self.shared.change(|state| state.open(welcome));
    }

    /// Has the outcome of tasks looked up.
    fn seek(&mut self, tasks: Vec<MessageId>) {
        if tasks.is_empty() {
            return;
        }
        let seeker = Seeker {
            shared: self.shared.clone(),
            calls: self.calls.clone(),
            url: self.dialer.url.clone(),
            policy: self.policy.clone(),
        };
        // Those that are done take up room until they are taken out.
        while self.outcomes.try_join_next().is_some() {}
        self.outcomes.spawn(seeker.find_out(tasks));
    }

    /// Waits for something, handing on what is made here; `None` if the session is to end
    /// meanwhile.
    async fn wait<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        let mut items = Vec::new();
        loop {
            let ready = poll_fn(|context| {
                if self.shared.poll_attention(context).is_ready() {
                    return Poll::Ready(None);
                }
                future.as_mut().poll(context).map(Some)
            });
            if let Some(value) = ready.await {
                return Some(value);
            }
            self.hand_on(&mut items);
            if self.shared.lock().is_leaving() {
                return None;
            }
        }
    }

    /// Dials, says hello and awaits the welcome.
    async fn greet(&self) -> Result<(Incoming, Welcome), Refusal> {
        let url = &self.dialer.url;
        let shared = &self.shared;
        let attempt = async {
            let frames = || Frames::new(shared.clone(), shared.change(State::greet));
            let mut stream = self.dialer.connect(frames).await?;
            let mut first = match stream.next().await {
                Some(Ok(first)) => first,
                Some(Err(status)) => return Err(failure::unread(url, &status)),
                None => {
                    let message = "the broker ended the stream without a welcome";
                    return Err(Refusal::new(RefusalCode::Unavailable, message));
                }
            };
            let welcome = first.frame.welcome.take().ok_or_else(|| {
                let message = "the broker's first frame has no welcome";
                Refusal::new(RefusalCode::Invalid, message)
            })?;
            let welcome = Welcome::try_from(welcome)?;
            Ok((Incoming { stream, first }, welcome))
        };
        let limit = self.policy.connect_timeout;
        timeout(limit, attempt).await.unwrap_or_else(|_elapsed| {
            Err(failure::unreachable(url, format_args!("no welcome within {limit:?}")))
        })
    }
}

/// How long a broker that is there and has too much to do wants to be left alone.
fn put_off(refusal: &Refusal) -> Option<Duration> {
    refusal.retry_after.filter(|_| refusal.code == RefusalCode::Unavailable)
}

fn poll_event(shared: &Shared, stream: &mut Answers, context: &mut Context<'_>) -> Poll<Event> {
    if shared.poll_attention(context).is_ready() {
        return Poll::Ready(Event::Attention);
    }
    stream.as_mut().poll_next(context).map(Event::Frame)
}
