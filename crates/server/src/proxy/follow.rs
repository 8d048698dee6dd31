//! Following a task elsewhere: by its stream, which is resumed, or by asking for it.

use super::agent::Shared;
use super::http::{News, Opened};
use super::turn::Turn;
use std::time::Duration;
use trunkline_a2a::wire::StreamResponse;
use trunkline_a2a::wire::stream_response::Payload as Told;
use trunkline_a2a::{Ask, End, Link, Trouble, Why};
use trunkline_agent::{HandlerError, HandlerResult};

/// How long to wait before a task is looked at again. It grows with each time that says nothing.
const POLL: Duration = Duration::from_millis(250);
/// How long to wait at most.
const LONGEST_POLL: Duration = Duration::from_secs(5);
/// How often a task is asked for in vain until that counts as a failed attempt.
const TRIES: u32 = 8;

impl Turn<'_> {
    /// Tells what a stream tells; `None` if it broke or ended before the task did. It is `whole` if
    /// nothing is missing before what it tells first.
    pub(super) async fn listen(
        &mut self,
        mut news: Box<News>,
        mut whole: bool,
    ) -> HandlerResult<Option<End>> {
        let silence = self.by.shared.http.timeout();
        loop {
            let next = tokio::select! {
                () = self.by.stop.cancelled() => return Err(HandlerError::release()),
                next = news.next(silence) => next,
            };
            match next {
                Ok(Some(StreamResponse { payload: Some(payload) })) => {
                    whole |= matches!(payload, Told::Task(_));
                    if let Some(end) = self.take(payload).await? {
                        let end = if whole { end } else { self.made_whole(end).await? };
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

    /// Tells what a stream has missed that was resumed and did not begin with the task: what
    /// happened before it was open again.
    async fn made_whole(&mut self, end: End) -> HandlerResult<End> {
        let ask = Ask::Get(self.link.task.clone(), 1);
        // It may be shown as it was before, or be forgotten.
        let Some(shown) = self.asked(&ask).await? else { return Ok(end) };
        Ok(match self.take(shown).await? {
            // An answer is not always shown again.
            None | Some(End::Completed(None)) => end,
            Some(shown) => shown,
        })
    }

    /// Follows the task elsewhere: it is asked for, then its stream is resumed, until it ends.
    pub(super) async fn follow(&mut self) -> HandlerResult<End> {
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
                        if let Some(end) = self.listen(news, false).await? {
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
                    Err(Trouble { why: Why::Refused | Why::NoContext, .. }) => untold += 1,
                    Err(_broken) => {}
                }
            }
            self.pause(wait).await?;
            wait = (wait * 3 / 2).min(LONGEST_POLL);
        }
    }

    /// Asks for the task elsewhere until there is an answer; `None` if it is not known there.
    pub(super) async fn asked(&self, ask: &Ask) -> HandlerResult<Option<Told>> {
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
                Why::Refused | Why::NoContext | Why::Loop => {
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
