//! One delivery for an agent elsewhere: said to it once, and followed to its end.
//!
//! Before a message goes out, the task notes that it does; when the downstream has named its task,
//! the task notes that too. Whoever gets the delivery next, after a restart or because the agent
//! was away, goes on from these notes. What is not known to have been refused is said again only
//! to an agent that is marked idempotent.

use super::agent::Shared;
use super::http::{Beside, News, Opened};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trunkline_a2a::wire::stream_response::Payload as Told;
use trunkline_a2a::wire::{SendMessageConfiguration, SendMessageRequest, StreamResponse, Struct};
use trunkline_a2a::{
    Ask, DownstreamCard, End, LINK, Link, Recall, Relay, Step, Trouble, Why, first_message,
    whole_reply,
};
use trunkline_agent::{Handler, HandlerError, HandlerFuture, HandlerResult, Task};
use trunkline_types::{
    Answer, Outcome, Payload, Principal, Query, Refusal, RefusalCode, SkillName, TaskSnapshot,
};

/// How long a delivery that was called off may take to call its task off elsewhere.
const GRACE: Duration = Duration::from_secs(10);
/// How long to wait before a task is looked at again. It grows with each time that says nothing.
const POLL: Duration = Duration::from_millis(250);
/// How long to wait at most.
const LONGEST_POLL: Duration = Duration::from_secs(5);
/// How often a task is asked for in vain until that counts as a failed attempt.
const TRIES: u32 = 8;
/// How often a task that was just answered may be shown as it was before.
const STALE: u32 = 20;
/// After so many pieces, or so many bytes of them, the task notes anew where it is: old events of
/// a long task are forgotten.
const PIECES: u32 = 500;
const PIECE_BYTES: usize = 8 << 20;

/// Handles what is sent to an agent elsewhere.
#[derive(Clone)]
pub(super) struct Relayer {
    pub(super) shared: Arc<Shared>,
    pub(super) card: Arc<DownstreamCard>,
    /// The agent goes offline or the server ends: what is held is given back.
    pub(super) stop: CancellationToken,
}

impl Handler for Relayer {
    fn handle(&self, task: Task) -> HandlerFuture {
        let relayer = self.clone();
        Box::pin(async move {
            match relayer.run(task).await {
                Ok(reply) => Outcome::Complete { reply },
                Err(error) => error.into_outcome(),
            }
        })
    }

    fn cancel_grace(&self) -> Duration {
        GRACE
    }
}

impl Relayer {
    async fn run(&self, task: Task) -> HandlerResult<Option<Payload>> {
        let known = watch::Sender::new(String::new());
        let mut id = known.subscribe();
        let mut work = Box::pin(self.work(&task, &known));
        tokio::select! {
            done = &mut work => return done,
            () = task.cancelled() => {}
        }
        // Somebody else may have it now, and goes on.
        if !self.is_over(&task).await {
            return Err(HandlerError::release());
        }
        tokio::select! {
            _ended = &mut work => {}
            _known = id.wait_for(|id| !id.is_empty()) => {}
        }
        drop(work);
        let id = id.borrow().clone();
        if !id.is_empty() {
            let interface = &self.card.interface;
            let (ask, beside) = (Ask::Cancel(id), self.beside(&task));
            let http = &self.shared.http;
            if let Err(trouble) = http.ask(interface, &ask, &beside, http.timeout()).await {
                tracing::debug!(agent = %self.shared.id, why = trouble.text, "was not called off");
            }
        }
        Err(HandlerError::release())
    }

    /// Whether a delivery was called off because its task has ended, and not because it is held by
    /// somebody else.
    async fn is_over(&self, task: &Task) -> bool {
        if task.remaining().is_some_and(|left| left.is_zero()) {
            return true;
        }
        if !task.is_task() {
            // It is attempted once.
            return true;
        }
        match self.shared.snapshot(task).await {
            Ok(snapshot) => snapshot.state.is_terminal(),
            Err(refusal) => refusal.code == RefusalCode::NotFound,
        }
    }

    async fn work(
        &self,
        task: &Task,
        known: &watch::Sender<String>,
    ) -> HandlerResult<Option<Payload>> {
        let mut turn = Turn::begin(self, task, known).await?;
        loop {
            let said = 1 + task.messages().len();
            let end = if turn.link.sending || turn.doubtful {
                turn.doubt().await?;
                continue;
            } else if turn.link.said < said {
                turn.say().await?
            } else {
                turn.follow().await?
            };
            let or = |text: String, instead: &str| {
                if text.is_empty() { instead.to_owned() } else { text }
            };
            return match end {
                End::Completed(reply) => Ok(reply.or_else(|| whole_reply(&turn.plain))),
                End::Failed(text) => Err(HandlerError::fail(or(text, "it failed elsewhere"))),
                End::Rejected(text) => {
                    Err(HandlerError::reject(or(text, "it was declined elsewhere")))
                }
                End::Canceled(text) => {
                    Err(HandlerError::fail(or(text, "it was called off elsewhere")))
                }
                End::Waits { reason, message, mark } => {
                    if turn.link.said < said {
                        continue;
                    }
                    if !task.is_task() {
                        let why = "the agent elsewhere asks back, which a plain request cannot \
                                   answer; send it as a task";
                        return Err(HandlerError::fail(why));
                    }
                    (turn.link.asked, turn.link.asked_at) = (mark, turn.link.said);
                    turn.note().await?;
                    Err(HandlerError::pause(reason, message))
                }
            };
        }
    }

    fn beside(&self, task: &Task) -> Beside {
        let header = |name: &str| task.header(name).map(str::to_owned);
        Beside { extensions: header("a2a-extensions"), via: header("a2a-via") }
    }
}

/// One delivery at work.
struct Turn<'a> {
    by: &'a Relayer,
    task: &'a Task,
    known: &'a watch::Sender<String>,
    link: Link,
    relay: Relay,
    /// Whether what was noted before is forgotten.
    doubtful: bool,
    beside: Beside,
    /// The pieces of artifacts that a plain request, which has none, is answered with.
    plain: Vec<Payload>,
    pieces: u32,
    piece_bytes: usize,
    /// How often a task was shown as it was before its last message.
    stale: u32,
}

impl<'a> Turn<'a> {
    /// Reads back what was noted before.
    async fn begin(
        by: &'a Relayer,
        task: &'a Task,
        known: &'a watch::Sender<String>,
    ) -> HandlerResult<Self> {
        let recall = if task.is_task() { by.shared.recall(task).await? } else { Recall::default() };
        let Recall { link, relay, last: _, gap } = recall;
        known.send_replace(link.task.clone());
        let (beside, plain) = (by.beside(task), Vec::new());
        let (pieces, piece_bytes, stale) = (0, 0, 0);
        Ok(Self {
            by,
            task,
            known,
            link,
            relay,
            doubtful: gap,
            beside,
            plain,
            pieces,
            piece_bytes,
            stale,
        })
    }

    /// Notes where the task is, as durably as what the broker accepts.
    async fn note(&mut self) -> HandlerResult<()> {
        (self.pieces, self.piece_bytes) = (0, 0);
        if !self.task.is_task() {
            return Ok(());
        }
        self.task.artifact(LINK, self.link.note(), false, false).await.map_err(refused)?;
        // What is shown is durable.
        self.by.shared.snapshot(self.task).await.map_err(refused)?;
        Ok(())
    }

    /// Looks at what became of a message that was on its way when the broker ended.
    async fn doubt(&mut self) -> HandlerResult<()> {
        let idempotent = self.by.shared.settings.idempotent;
        if !self.doubtful && !idempotent && !self.link.task.is_empty() && self.has_arrived().await?
        {
            self.link.said += 1;
        } else if !idempotent {
            return Err(HandlerError::fail(
                "it is not known whether the message reached the agent elsewhere before the \
                 broker ended; it is not sent again, because the agent is not marked idempotent",
            ));
        }
        (self.link.sending, self.doubtful) = (false, false);
        self.note().await
    }

    /// Whether a task that waited shows that the answer has reached it.
    async fn has_arrived(&mut self) -> HandlerResult<bool> {
        let ask = Ask::Get(self.link.task.clone(), 100);
        let Some(Told::Task(shown)) = self.asked(&ask).await? else { return Ok(false) };
        let message = self.message()?;
        if shown.history.iter().any(|said| said.message_id == message.message_id) {
            return Ok(true);
        }
        let asked = (self.link.asked, self.link.asked_at);
        let end = Relay::default().take(Told::Task(shown)).pop();
        Ok(match end {
            Some(Step::End(End::Waits { mark, .. })) => asked != (mark, self.link.said),
            // It goes on, or is over.
            _ => true,
        })
    }

    /// The message that is to be said next.
    fn message(&self) -> HandlerResult<trunkline_a2a::wire::Message> {
        let number = self.link.said;
        let said = match number.checked_sub(1) {
            None => Some(self.task.payload()),
            Some(later) => self.task.messages().get(later),
        };
        let said = said.ok_or_else(|| HandlerError::fail("there is nothing to be said"))?;
        first_message(self.task.id(), number, said)
            .map_err(|fault| HandlerError::fail(fault.message))
    }

    fn request(&self) -> HandlerResult<Box<SendMessageRequest>> {
        let mut message = self.message()?;
        message.task_id.clone_from(&self.link.task);
        message.context_id.clone_from(&self.link.context);
        if self.link.task.is_empty()
            && let Some(context) = self.task.context()
        {
            message.context_id = context.to_string();
        }
        let modes = self.task.header("a2a-accepted-output-modes").unwrap_or_default();
        let modes = modes.split(',').map(str::trim).filter(|mode| !mode.is_empty());
        let configuration = SendMessageConfiguration {
            accepted_output_modes: modes.map(str::to_owned).collect(),
            return_immediately: true,
            ..SendMessageConfiguration::default()
        };
        let named = self.task.header("a2a-skill").or(self.task.skill().map(SkillName::as_str));
        let metadata = named.map(|named| {
            let skill = self.by.shared.skill(&self.by.card, named);
            Struct([("skill".to_owned(), skill.into())].into_iter().collect())
        });
        let (message, configuration) = (Some(message), Some(configuration));
        Ok(Box::new(SendMessageRequest { message, configuration, metadata, ..Default::default() }))
    }

    /// Says what is to be said next, and follows what becomes of it.
    async fn say(&mut self) -> HandlerResult<End> {
        let mut request = self.request()?;
        self.link.sending = true;
        self.note().await?;
        let first = match self.send(&request).await {
            // What a client calls its conversation not every server takes.
            Err(Trouble { why: Why::Refused, text })
                if self.link.task.is_empty() && text.to_lowercase().contains("context") =>
            {
                if let Some(message) = &mut request.message {
                    message.context_id.clear();
                }
                self.send(&request).await
            }
            first => first,
        };
        let (first, news) = match first {
            Ok(first) => first,
            Err(trouble) => return Err(self.unsaid(trouble).await?),
        };
        let Some(payload) = first.payload else {
            return Err(HandlerError::fail("the agent elsewhere answered nothing"));
        };
        self.taken(&payload).await?;
        if let Some(end) = self.take(payload).await? {
            return Ok(end);
        }
        if let Some(news) = news
            && let Some(end) = self.listen(news).await?
        {
            return Ok(end);
        }
        self.follow().await
    }

    /// Sends a message, and waits for the first thing that is said of it.
    async fn send(
        &self,
        request: &SendMessageRequest,
    ) -> Result<(StreamResponse, Option<News>), Trouble> {
        let Shared { http, settings, .. } = &*self.by.shared;
        let within = settings.answer_within;
        let within = self.task.remaining().map_or(within, |left| within.min(left));
        let interface = &self.by.card.interface;
        let request = Box::new(request.clone());
        if !self.by.card.streaming {
            let ask = Ask::Send(request);
            return Ok((http.ask(interface, &ask, &self.beside, within).await?, None));
        }
        match http.open(interface, &Ask::Stream(request), &self.beside, within).await? {
            Opened::One(response) => Ok((*response, None)),
            Opened::Many(mut news) => match news.next(within).await? {
                Some(first) => Ok((first, Some(news))),
                None => Err(Trouble::new(Why::Unknown, "its stream ended without a word")),
            },
        }
    }

    /// What follows from a message that was not taken, as far as is known.
    async fn unsaid(&mut self, trouble: Trouble) -> HandlerResult<HandlerError> {
        let Trouble { why, text } = trouble;
        let idempotent = self.by.shared.settings.idempotent;
        let again = match why {
            Why::Refused | Why::Loop | Why::NoTask => {
                return Ok(HandlerError::fail(format!("the agent elsewhere refused it: {text}")));
            }
            Why::Unknown if !idempotent => {
                return Ok(HandlerError::fail(format!(
                    "it is not known whether the message reached the agent elsewhere: {text}; it \
                     is not sent again, because the agent is not marked idempotent"
                )));
            }
            Why::Busy(after) => after,
            Why::NotSent | Why::Unknown => {
                self.by.shared.look.notify_one();
                None
            }
        };
        self.link.sending = false;
        self.note().await?;
        let text = format!("the agent elsewhere did not take it: {text}");
        Ok(match again {
            Some(after) => HandlerError::retry_after(text, after),
            None => HandlerError::retry(text),
        })
    }

    /// The message was taken, by the task that answers it.
    async fn taken(&mut self, by: &Told) -> HandlerResult<()> {
        let (task, context) = match by {
            Told::Task(task) => (&task.id, &task.context_id),
            Told::StatusUpdate(event) => (&event.task_id, &event.context_id),
            Told::ArtifactUpdate(event) => (&event.task_id, &event.context_id),
            // It is all that will be said.
            Told::Message(_) => return Ok(()),
        };
        self.link.task.clone_from(task);
        self.link.context.clone_from(context);
        self.link.said += 1;
        self.link.sending = false;
        self.stale = 0;
        self.known.send_replace(task.clone());
        self.note().await
    }

    /// Tells the broker's task what is new, to its end.
    async fn take(&mut self, told: Told) -> HandlerResult<Option<End>> {
        for step in self.relay.take(told) {
            match step {
                Step::Progress(progress) => {
                    self.task.progress(progress.percent, progress.text).await.map_err(refused)?;
                }
                Step::Artifact(chunk) if !self.task.is_task() => self.plain.push(chunk.payload),
                Step::Artifact(chunk) => {
                    self.pieces += 1;
                    self.piece_bytes += chunk.payload.data.len();
                    let (append, last) = (chunk.append, chunk.last);
                    let said = self.task.artifact(&chunk.name, chunk.payload, append, last);
                    said.await.map_err(refused)?;
                    if self.pieces >= PIECES || self.piece_bytes >= PIECE_BYTES {
                        self.note().await?;
                    }
                }
                Step::End(End::Waits { mark, .. })
                    if mark != 0
                        && mark == self.link.asked
                        && self.link.said > self.link.asked_at
                        && self.stale < STALE =>
                {
                    self.stale += 1;
                }
                Step::End(end) => return Ok(Some(end)),
            }
        }
        Ok(None)
    }

    /// Tells what a stream tells; `None` if it broke or ended before the task did.
    async fn listen(&mut self, mut news: News) -> HandlerResult<Option<End>> {
        let silence = self.by.shared.http.timeout();
        loop {
            let next = tokio::select! {
                () = self.by.stop.cancelled() => return Err(HandlerError::release()),
                next = news.next(silence) => next,
            };
            match next {
                Ok(Some(StreamResponse { payload: Some(payload) })) => {
                    if let Some(end) = self.take(payload).await? {
                        return Ok(Some(end));
                    }
                }
                Ok(Some(StreamResponse { payload: None })) => {}
                Ok(None) => return Ok(None),
                Err(trouble) => {
                    tracing::debug!(agent = %self.by.shared.id, why = trouble.text, "a stream broke");
                    return Ok(None);
                }
            }
        }
    }

    /// Follows the task elsewhere: it is asked for, then its stream is resumed, until it ends.
    async fn follow(&mut self) -> HandlerResult<End> {
        let mut wait = POLL;
        // How often in a row it did not tell of a task that goes on.
        let mut untold = 0;
        loop {
            let ask = Ask::Get(self.link.task.clone(), 1);
            let Some(shown) = self.asked(&ask).await? else { return Err(self.forgotten().await?) };
            if let Some(end) = self.take(shown).await? {
                return Ok(end);
            }
            if self.by.card.streaming && untold < 2 {
                let Shared { http, .. } = &*self.by.shared;
                let ask = Ask::Subscribe(self.link.task.clone());
                let interface = &self.by.card.interface;
                match http.open(interface, &ask, &self.beside, http.timeout()).await {
                    Ok(Opened::Many(news)) => {
                        untold = 0;
                        if let Some(end) = self.listen(news).await? {
                            return Ok(end);
                        }
                    }
                    Ok(Opened::One(one)) => {
                        if let Some(payload) = one.payload
                            && let Some(end) = self.take(payload).await?
                        {
                            return Ok(end);
                        }
                    }
                    // It may have ended meanwhile, which is told by asking for it again.
                    Err(Trouble { why: Why::Refused, .. }) => untold += 1,
                    Err(_broken) => {}
                }
            }
            self.pause(wait).await?;
            wait = (wait * 3 / 2).min(LONGEST_POLL);
        }
    }

    /// Asks for the task elsewhere until there is an answer; `None` if it is not known there.
    async fn asked(&self, ask: &Ask) -> HandlerResult<Option<Told>> {
        let Shared { http, look, .. } = &*self.by.shared;
        let mut wait = POLL;
        for attempt in 1.. {
            let asked = http.ask(&self.by.card.interface, ask, &self.beside, http.timeout());
            let trouble = tokio::select! {
                () = self.by.stop.cancelled() => return Err(HandlerError::release()),
                answer = asked => match answer {
                    Ok(StreamResponse { payload: Some(payload) }) => return Ok(Some(payload)),
                    Ok(StreamResponse { payload: None }) => {
                        Trouble::new(Why::Unknown, "its answer is empty")
                    }
                    Err(trouble) => trouble,
                },
            };
            let text = trouble.text;
            let task = &self.link.task;
            match trouble.why {
                Why::NoTask => return Ok(None),
                Why::Refused | Why::Loop => {
                    let why = format!("the agent elsewhere does not show task {task}: {text}");
                    return Err(HandlerError::fail(why));
                }
                Why::Busy(_) | Why::NotSent | Why::Unknown if attempt >= TRIES => {
                    let why = format!("task {task} elsewhere cannot be followed: {text}");
                    return Err(HandlerError::retry(why));
                }
                Why::Busy(_) | Why::NotSent | Why::Unknown => {}
            }
            // If it is not there, this is given back.
            look.notify_one();
            self.pause(wait).await?;
            wait = (wait * 2).min(LONGEST_POLL);
        }
        Err(HandlerError::release())
    }

    /// What follows if the task is not known elsewhere any more.
    async fn forgotten(&mut self) -> HandlerResult<HandlerError> {
        let why = format!("the agent elsewhere no longer knows its task {}", self.link.task);
        if !self.by.shared.settings.idempotent {
            return Ok(HandlerError::fail(format!(
                "{why}; what was sent is not sent again, because the agent is not marked idempotent"
            )));
        }
        self.link = Link::default();
        self.note().await?;
        Ok(HandlerError::retry(why))
    }

    async fn pause(&self, span: Duration) -> HandlerResult<()> {
        tokio::select! {
            () = self.by.stop.cancelled() => Err(HandlerError::release()),
            () = tokio::time::sleep(span) => Ok(()),
        }
    }
}

/// What follows from the broker's refusal of what its task was told.
fn refused(refusal: Refusal) -> HandlerError {
    match refusal.code {
        RefusalCode::TooLarge | RefusalCode::Invalid => {
            HandlerError::fail(format!("what the agent elsewhere said: {refusal}"))
        }
        _ => HandlerError::retry(refusal),
    }
}

impl Shared {
    /// A task as it stands.
    async fn snapshot(&self, task: &Task) -> Result<TaskSnapshot, Refusal> {
        let query = Query::Task { id: task.id(), history_length: Some(0) };
        match self.gateway.query(Principal::default(), query).await? {
            Answer::Task(snapshot) => Ok(*snapshot),
            _ => Err(Refusal::new(RefusalCode::Unavailable, "the broker's answer is no task")),
        }
    }

    /// What a task noted before.
    async fn recall(&self, task: &Task) -> HandlerResult<Recall> {
        let snapshot = self.snapshot(task).await.map_err(refused)?;
        let mut recall = Recall::default();
        // It was submitted and begun, and nothing else.
        if snapshot.last_event <= 2 {
            return Ok(recall);
        }
        let updates = self.gateway.watch(Principal::default(), task.id(), 0).await;
        let mut updates = updates.map_err(refused)?;
        while recall.last < snapshot.last_event {
            let Some(update) = updates.next().await else { break };
            recall.take(&update.map_err(refused)?);
        }
        Ok(recall)
    }
}
