//! A broker that does what a test tells it.

use crate::backend::Backend;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use trunkline_broker::BrokerState;
use trunkline_types::session::{
    BoxFuture, ClientFrame, Connected, Connection, Connector, Hello, SessionItem, Sink, Welcome,
};
use trunkline_types::{
    Answer, Epoch, Limits, Principal, Query, Refusal, RefusalCode, Stats, WallTime,
};

/// What a test holds of a broker: the sessions that are opened, in order.
pub(crate) struct Script {
    sessions: mpsc::UnboundedReceiver<ScriptedSession>,
}

/// A session as the broker sees it.
pub(crate) struct ScriptedSession {
    pub(crate) principal: Principal,
    pub(crate) hello: Hello,
    pub(crate) sink: Arc<dyn Sink>,
    frames: mpsc::UnboundedReceiver<ClientFrame>,
    ended: oneshot::Receiver<Ended>,
}

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Closed,
    Lost,
}

/// The broker.
#[derive(Clone)]
pub(crate) struct ScriptedBroker {
    sessions: mpsc::UnboundedSender<ScriptedSession>,
    answers: Arc<Mutex<Vec<Result<Answer, Refusal>>>>,
    figures_asked: Arc<AtomicUsize>,
    state: watch::Sender<BrokerState>,
    /// Whether sessions are welcomed.
    welcoming: watch::Sender<bool>,
}

/// A ready broker.
pub(crate) fn broker() -> (ScriptedBroker, Script) {
    let (sender, sessions) = mpsc::unbounded_channel();
    let broker = ScriptedBroker {
        sessions: sender,
        answers: Arc::default(),
        figures_asked: Arc::default(),
        state: watch::Sender::new(BrokerState::Ready),
        welcoming: watch::Sender::new(true),
    };
    (broker, Script { sessions })
}

impl ScriptedBroker {
    /// The next question but for figures is answered so.
    pub(crate) fn will_answer(&self, answer: Result<Answer, Refusal>) {
        self.answers.lock().push(answer);
    }

    /// How often it was asked for figures.
    pub(crate) fn figures_asked(&self) -> usize {
        self.figures_asked.load(Ordering::Relaxed)
    }

    /// Sessions are seen and not welcomed, until they are.
    pub(crate) fn set_welcoming(&self, welcoming: bool) {
        self.welcoming.send_replace(welcoming);
    }

    pub(crate) fn set_state(&self, state: BrokerState) {
        self.state.send_replace(state);
    }
}

impl Script {
    pub(crate) async fn session(&mut self) -> ScriptedSession {
        self.sessions.recv().await.expect("the server keeps its broker")
    }

    /// Whether a session has been opened that was not taken note of.
    pub(crate) fn has_session(&self) -> bool {
        !self.sessions.is_empty()
    }
}

impl ScriptedSession {
    pub(crate) async fn frame(&mut self) -> ClientFrame {
        self.frames.recv().await.expect("a frame before the end of the session")
    }

    pub(crate) fn tell(&self, items: impl IntoIterator<Item = SessionItem>) {
        self.sink.accept(&mut items.into_iter().collect());
    }

    pub(crate) async fn ended(self) -> Ended {
        self.ended.await.expect("a connection that is closed or dropped")
    }
}

impl Backend for ScriptedBroker {
    fn connector(&self, principal: Principal) -> Arc<dyn Connector> {
        Arc::new(ScriptedConnector { broker: self.clone(), principal })
    }

    fn watch_state(&self) -> watch::Receiver<BrokerState> {
        self.state.subscribe()
    }

    fn drain(&self, _grace: Duration) -> BoxFuture<'_, ()> {
        self.set_state(BrokerState::Draining);
        Box::pin(std::future::ready(()))
    }
}

struct ScriptedConnector {
    broker: ScriptedBroker,
    principal: Principal,
}

impl Connector for ScriptedConnector {
    fn connect(
        &self,
        hello: Hello,
        sink: Arc<dyn Sink>,
    ) -> BoxFuture<'_, Result<Connected, Refusal>> {
        let (frame_sender, frames) = mpsc::unbounded_channel();
        let (end_sender, ended) = oneshot::channel();
        let principal = self.principal.clone();
        let session = ScriptedSession { principal, hello, sink, frames, ended };
        let is_open = self.broker.sessions.send(session).is_ok();
        let mut welcoming = self.broker.welcoming.subscribe();
        Box::pin(async move {
            let _ = welcoming.wait_for(|welcoming| *welcoming).await;
            if !is_open {
                return Err(Refusal::new(RefusalCode::Draining, "the test is over"));
            }
            let end = Mutex::new(Some(end_sender));
            let connection = Arc::new(ScriptedConnection { frames: frame_sender, end });
            Ok(Connected { connection, welcome: welcome() })
        })
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<Answer, Refusal>> {
        if query == Query::Stats {
            self.broker.figures_asked.fetch_add(1, Ordering::Relaxed);
            let stats = Stats {
                messages_accepted: 7,
                tasks_completed: 5,
                inboxes_total: 1_002,
                redriven: 11,
                purged: 12,
                scheduled: 13,
                keys: 14,
                waiting_outside: 15,
                breakers_opened: 16,
                overran: 17,
                dead_letters_forgotten: 18,
                dead_letters_indexed: 19,
                keys_indexed: 20,
                history_since_ms: 21,
                turns: 4,
                operations: 22,
                hand_overs: 8,
                items: 10,
                ..Stats::default()
            };
            return Box::pin(std::future::ready(Ok(Answer::Stats(Box::new(stats)))));
        }
        let answer = self.broker.answers.lock().pop();
        let unknown = || Err(Refusal::new(RefusalCode::NotFound, "there is no such thing"));
        Box::pin(std::future::ready(answer.unwrap_or_else(unknown)))
    }
}

/// What every session is welcomed with.
pub(crate) fn welcome() -> Welcome {
    Welcome {
        epoch: Epoch(3),
        resumed: false,
        lease: Duration::from_secs(30),
        revoked: Vec::new(),
        limits: Limits::default(),
        now: WallTime(1),
    }
}

struct ScriptedConnection {
    frames: mpsc::UnboundedSender<ClientFrame>,
    end: Mutex<Option<oneshot::Sender<Ended>>>,
}

impl ScriptedConnection {
    fn end(&self, how: Ended) {
        if let Some(end) = self.end.lock().take() {
            let _ = end.send(how);
        }
    }
}

impl Connection for ScriptedConnection {
    fn send(&self, frame: ClientFrame) {
        let _ = self.frames.send(frame);
    }

    fn close(&self) {
        self.end(Ended::Closed);
    }
}

impl Drop for ScriptedConnection {
    fn drop(&mut self) {
        self.end(Ended::Lost);
    }
}
