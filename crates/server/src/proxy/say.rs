//! Saying something to an agent elsewhere, and what follows if that fails.

use super::agent::{Shared, theirs};
use super::http::{Beside, News, Opened};
use super::turn::Turn;
use std::time::Duration;
use trunkline_a2a::wire::stream_response::Payload as Told;
use trunkline_a2a::wire::{
    Message, SendMessageConfiguration, SendMessageRequest, StreamResponse, Struct,
};
use trunkline_a2a::{
    Ask, Beside as Said, End, Relay, Step, Trouble, Why, first_message, take_metadata,
};
use trunkline_agent::{HandlerError, HandlerResult};
use trunkline_types::SkillName;

/// How much longer than a task's time to live an answer is waited for.
const AFTER: Duration = Duration::from_secs(1);

/// Most tasks that a message refers to and that are looked up for it.
const MOST_REFERENCES: usize = 16;

impl Turn<'_> {
    /// Looks at what became of a message that was on its way when the broker ended.
    pub(super) async fn doubt(&mut self) -> HandlerResult<()> {
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
            // What it asked before may not be known.
            Some(Step::End(End::Waits { mark, .. })) => {
                asked.0 != 0 && asked != (mark, self.link.said)
            }
            // It goes on, or is over.
            _ => true,
        })
    }

    /// The message that is to be said next.
    fn message(&self) -> HandlerResult<Message> {
        let number = self.link.said;
        let said = match number.checked_sub(1) {
            None => Some(self.task.payload()),
            Some(later) => self.task.messages().get(later),
        };
        let said = said.ok_or_else(|| HandlerError::fail("there is nothing to be said"))?;
        first_message(self.task.id(), number, said)
            .map_err(|fault| HandlerError::fail(fault.message))
    }

    /// The request that says it next.
    async fn request(&self) -> HandlerResult<Box<SendMessageRequest>> {
        let mut message = self.message()?;
        message.task_id.clone_from(&self.link.task);
        message.context_id.clone_from(&self.link.context);
        if self.link.task.is_empty()
            && let Some(context) = self.task.context()
        {
            let theirs = self.by.shared.their_context(self.task, context).await;
            message.context_id = theirs.unwrap_or_else(|| context.to_string());
        }
        let references = std::mem::take(&mut message.reference_task_ids);
        for named in references.iter().take(MOST_REFERENCES) {
            // What is not done there is not known there.
            message.reference_task_ids.extend(self.by.shared.their_task(self.task, named).await);
        }
        let header = |name: &str| self.task.header(name).unwrap_or_default();
        let (modes, of_request) = match self.answer() {
            None => {
                let modes = header("a2a-accepted-output-modes").split(',').map(str::trim);
                let modes = modes.filter(|mode| !mode.is_empty()).map(str::to_owned).collect();
                let names = header("a2a-request-metadata");
                (modes, serde_json::from_str(names).unwrap_or_default())
            }
            Some(said) => (said.output_modes, said.of_request),
        };
        let configuration = SendMessageConfiguration {
            accepted_output_modes: modes,
            return_immediately: true,
            ..SendMessageConfiguration::default()
        };
        let Struct(mut metadata) = take_metadata(&mut message, &of_request);
        if let Some(named) =
            self.task.header("a2a-skill").or(self.task.skill().map(SkillName::as_str))
        {
            metadata.insert("skill".to_owned(), theirs(&self.by.card, named).into());
        }
        let metadata = (!metadata.is_empty()).then_some(Struct(metadata));
        let (message, configuration) = (Some(message), Some(configuration));
        Ok(Box::new(SendMessageRequest { message, configuration, metadata, ..Default::default() }))
    }

    /// What was said beside what is to be said next, if that is an answer.
    fn answer(&self) -> Option<Said> {
        let place = self.link.said.checked_sub(1)?;
        self.task.messages().get(place).map(Said::of)
    }

    /// What goes beside the request: an answer declares extensions of its own, if it does.
    fn beside(&self) -> Beside {
        let said = self.answer().map(|said| said.extensions.join(",")).unwrap_or_default();
        let extensions = if said.is_empty() { self.beside.extensions.clone() } else { Some(said) };
        Beside { extensions, via: self.beside.via.clone() }
    }

    /// Says what is to be said next, and follows what becomes of it.
    pub(super) async fn say(&mut self) -> HandlerResult<End> {
        let mut request = self.request().await?;
        self.link.sending = true;
        self.note().await?;
        let first = match self.send(&request).await {
            // What a client calls its conversation not every server takes.
            Err(Trouble { why: Why::NoContext, .. }) if self.link.task.is_empty() => {
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
            && let Some(end) = self.listen(news, true).await?
        {
            return Ok(end);
        }
        self.follow().await
    }

    /// Sends a message, and waits for the first thing that is said of it.
    async fn send(
        &self,
        request: &SendMessageRequest,
    ) -> Result<(StreamResponse, Option<Box<News>>), Trouble> {
        let Shared { http, settings, .. } = &*self.by.shared;
        // A task whose time is over ends by that, and not because there was no answer.
        let left = self.task.remaining().map(|left| left + AFTER);
        let within = left.map_or(settings.answer_within, |left| settings.answer_within.min(left));
        let interface = &self.by.card.interface;
        let (request, beside) = (Box::new(request.clone()), self.beside());
        if !self.by.card.streaming {
            let ask = Ask::Send(request);
            return Ok((http.ask(interface, &ask, &beside, within).await?, None));
        }
        match http.open(interface, &Ask::Stream(request), &beside, within).await? {
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
            Why::Refused | Why::Loop | Why::NoTask | Why::NoContext => {
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
}
