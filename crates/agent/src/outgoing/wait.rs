//! Sending, and waiting for what comes of it.

use super::{Origin, Outgoing, kind};
use crate::calls::snapshot;
use crate::core::{Core, ReplySignal};
use crate::{Acceptance, Reply, RequestError};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use trunkline_types::{Destination, Gathered, MessageId, Publish, Refusal, RefusalCode};

/// How much longer than its time to live a request waits for its answer. The broker answers at its
/// end, and normally that comes first; this is for one that is away.
pub(super) const GRACE: Duration = Duration::from_secs(2);

impl<K> Outgoing<K> {
    pub(super) async fn send_only(self) -> Result<Acceptance, Refusal> {
        let Self { mut publish, sender, mistake, .. } = self;
        if let Some(mistake) = mistake {
            return Err(mistake);
        }
        let origin = sender.open().await?;
        let core = origin.core();
        core.content.pack(&mut publish.envelope.payload);
        let turn = core.pressures.turn([&publish.envelope.destination]).await;
        core.places(1).await?;
        let acceptance = core.publish(publish)?;
        turn.sent();
        acceptance.await.unwrap_or_else(|_| Err(gone(core)))
    }

    pub(super) async fn send_and_wait(self) -> Result<Reply, RequestError> {
        match self.timeout {
            None => self.reply().await,
            Some(span) => tokio::time::timeout(span, self.reply())
                .await
                .unwrap_or_else(|_| Err(RequestError::timed_out(span))),
        }
    }

    async fn reply(self) -> Result<Reply, RequestError> {
        let Self { mut publish, sender, .. } = self;
        let to = &publish.envelope.destination;
        if !matches!(to, Destination::Agent(_) | Destination::Skill(_)) {
            let message = format!("only one agent or one skill gives an answer, not '{to}'");
            return Err(Refusal::new(RefusalCode::Invalid, message).into());
        }
        publish.options.reply = true;
        let origin = sender.open().await?;
        let core = origin.core();
        let (id, signal) = begin(core, publish).await?;
        let answer = async {
            match awaited(core, id, signal, None).await? {
                ReplySignal::Ended(result) => {
                    let reply = result?;
                    let payload = core.content.answer(reply.payload)?;
                    Ok(Reply { payload, ..reply })
                }
                ReplySignal::LookUp(id) => look_up(&origin, id).await,
                ReplySignal::Gathered(_) => Err(misunderstood()),
            }
        };
        lending(&origin, answer).await
    }
}

impl Outgoing<kind::Gather> {
    pub(super) async fn send_and_gather(self) -> Result<Gathered, RequestError> {
        /// How much longer than its time to live a request may take to be answered. The broker
        /// answers at its end; this is for one that never comes back.
        const GRACE: Duration = Duration::from_secs(10);
        let Self { publish, sender, .. } = self;
        let most = publish.envelope.ttl.map(|span| span.saturating_add(GRACE));
        let origin = sender.open().await?;
        let core = origin.core();
        let (id, signal) = begin(core, publish).await?;
        match lending(&origin, awaited(core, id, signal, most)).await? {
            ReplySignal::Gathered(mut gathered) => {
                for part in &mut gathered.parts {
                    if let Ok(payload) = &mut part.result {
                        part.result = core.content.answer(std::mem::take(payload));
                    }
                }
                Ok(gathered)
            }
            ReplySignal::Ended(Err(error)) => Err(error),
            ReplySignal::Ended(Ok(_)) | ReplySignal::LookUp(_) => Err(misunderstood()),
        }
    }
}

/// Sends a request once it is its turn.
async fn begin(
    core: &Core,
    mut publish: Publish,
) -> Result<(MessageId, oneshot::Receiver<ReplySignal>), Refusal> {
    let id = publish.envelope.id;
    core.content.pack(&mut publish.envelope.payload);
    let turn = core.pressures.turn([&publish.envelope.destination]).await;
    core.places(1).await?;
    let signal = core.request(publish)?;
    turn.sent();
    Ok((id, signal))
}

/// Does something that waits for an answer. A handler that waits holds up nobody: its permit is
/// lent until then.
async fn lending<T>(origin: &Origin, what: impl Future<Output = T>) -> T {
    let loan = match origin {
        Origin::Task(task) => Some(task.lend()),
        Origin::Session(_) => None,
    };
    let result = what.await;
    if let Some(loan) = loan {
        loan.end().await;
    }
    result
}

/// Waits for how a request ended.
async fn awaited(
    core: &Core,
    id: MessageId,
    signal: oneshot::Receiver<ReplySignal>,
    most: Option<Duration>,
) -> Result<ReplySignal, RequestError> {
    let mut awaited = Awaited { core, id, signal, answered: false };
    let signal = match most {
        None => awaited.signal().await,
        Some(span) => match tokio::time::timeout(span, awaited.signal()).await {
            Ok(signal) => signal,
            Err(_) => Some(ReplySignal::Ended(Err(RequestError::timed_out(span)))),
        },
    };
    signal.ok_or_else(|| gone(core).into())
}

fn misunderstood() -> RequestError {
    Refusal::new(RefusalCode::Unavailable, "the broker answered another kind of request").into()
}

/// Takes the waiter out of the book if its future is dropped before the reply is there.
struct Awaited<'a> {
    core: &'a Core,
    id: MessageId,
    signal: oneshot::Receiver<ReplySignal>,
    answered: bool,
}

impl Awaited<'_> {
    async fn signal(&mut self) -> Option<ReplySignal> {
        let signal = (&mut self.signal).await.ok();
        self.answered = true;
        signal
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.core.forget_reply(self.id);
        }
    }
}

/// Finds out how a task ended whose reply will not come by itself.
pub(crate) async fn look_up(origin: &Origin, id: MessageId) -> Result<Reply, RequestError> {
    const SLOWEST: Duration = Duration::from_secs(2);
    let Some(connector) = origin.connector() else {
        return Err(RequestError::lost("the session was lost"));
    };
    let mut pause = Duration::from_millis(100);
    loop {
        match snapshot(&**connector, id).await {
            Ok(task) => {
                if let Some(result) = task.outcome() {
                    let payload = origin.core().content.answer(result?)?;
                    return Ok(Reply { request: task.id, agent: task.agent, payload });
                }
                let core = origin.core();
                core.places(1).await?;
                let (watcher, answer) = core.watch(id, task.last_event)?;
                let watched = Watched { core, watcher };
                core.answered(answer).await?;
                while let Some(update) = watched.watcher.next().await {
                    update?;
                }
            }
            Err(refusal) if refusal.code == RefusalCode::NotFound => {
                return Err(RequestError::lost("the broker does not know the task any longer"));
            }
            Err(refusal) if refusal.code == RefusalCode::Unavailable => {
                if let Some(refusal) = origin.core().closed() {
                    return Err(refusal.into());
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(SLOWEST);
            }
            Err(refusal) => return Err(refusal.into()),
        }
    }
}

struct Watched<'a> {
    core: &'a Core,
    watcher: Arc<crate::core::Watcher>,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.core.unwatch(&self.watcher);
    }
}

fn gone(core: &Core) -> Refusal {
    core.closed().unwrap_or_else(|| Refusal::new(RefusalCode::Unavailable, "the session has ended"))
}
