//! What a handler gets: one delivery and everything that can be said about it.

use crate::core::{Core, now};
use crate::outgoing::{GatherBuilder, MessageBuilder, RequestBuilder, SendBuilder};
use crate::pool::{Loan, Running};
use crate::session::publish_batch;
use crate::ticket::Ticket;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use trunkline_content::{ContentError, Json, MsgPack};
use trunkline_types::session::{Connector, Delivery, NumberRange, Operation, Update, UpdateBody};
use trunkline_types::{
    AgentId, ArtifactChunk, ContextId, Destination, Envelope, Headers, InboxAddress, Kind,
    MessageId, Payload, Progress, Publish, Refusal, SkillName, Topic, WallTime,
};

/// One delivery in the hands of its handler: a request, a task or an event alike. Clones speak
/// of the same delivery.
#[derive(Clone)]
pub struct Task {
    pub(crate) running: Arc<Running>,
}

impl Task {
    fn delivery(&self) -> &Delivery {
        &self.running.delivery
    }

    /// What was sent.
    pub fn envelope(&self) -> &Envelope {
        &self.running.publish().envelope
    }

    /// The id of the envelope, and of the task if it is one.
    pub fn id(&self) -> MessageId {
        self.envelope().id
    }

    /// What was said.
    pub fn payload(&self) -> &Payload {
        &self.envelope().payload
    }

    /// The payload read as UTF-8, with a replacement character for what is not.
    pub fn text(&self) -> Cow<'_, str> {
        self.payload().to_text()
    }

    /// The payload read as JSON.
    ///
    /// # Errors
    /// It is something else, or no such value.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ContentError> {
        Json::decode(self.payload()).map(|Json(value)| value)
    }

    /// The payload read as MessagePack.
    ///
    /// # Errors
    /// It is something else, or no such value.
    pub fn msgpack<T: DeserializeOwned>(&self) -> Result<T, ContentError> {
        MsgPack::decode(self.payload()).map(|MsgPack(value)| value)
    }

    /// The free fields of the sender, in its order.
    pub fn headers(&self) -> &Headers {
        &self.envelope().headers
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The conversation that it belongs to.
    pub fn context(&self) -> Option<&ContextId> {
        self.envelope().context_id.as_ref()
    }

    /// The agent that sent it; `None` for a client that is no agent.
    pub fn source(&self) -> Option<&AgentId> {
        self.envelope().source.as_ref()
    }

    /// The skill that is wanted, if it came by one.
    pub fn skill(&self) -> Option<&SkillName> {
        match &self.delivery().inbox {
            InboxAddress::Skill(skill) => Some(skill),
            InboxAddress::Agent(_) => None,
        }
    }

    /// The topic that it was published on, if it is an event.
    pub fn topic(&self) -> Option<&Topic> {
        match &self.envelope().destination {
            Destination::Topic(topic) => Some(topic),
            _ => None,
        }
    }

    /// Whether it has a life of its own: states, progress, artifacts.
    pub fn is_task(&self) -> bool {
        self.delivery().publish.is_task()
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.delivery().attempt
    }

    /// When it was accepted, by the broker's clock.
    pub fn accepted_at(&self) -> WallTime {
        self.delivery().accepted_at
    }

    /// When its time to live ends, by this process's clock; the handler's future is dropped then.
    pub fn deadline(&self) -> Option<WallTime> {
        self.running.deadline()
    }

    /// How much of its time to live remains.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.since(now()))
    }

    /// How many more waited in the inbox when this one was delivered.
    pub fn backlog(&self) -> u32 {
        self.delivery().backlog
    }

    /// How long ago the oldest of those was accepted; zero if there were none.
    pub fn backlog_age(&self) -> Duration {
        self.delivery().backlog_age
    }

    /// Its number in the order in which its inbox took envelopes in since the broker started,
    /// from 1.
    pub fn number(&self) -> u64 {
        self.delivery().number
    }

    /// Which numbers of its inbox were dropped to make room, as far as nobody was told before.
    pub fn missed(&self) -> &[NumberRange] {
        &self.delivery().missed
    }

    /// What its caller said since, if it was paused.
    pub fn messages(&self) -> &[Payload] {
        self.running.messages()
    }

    /// Whether it was called off.
    pub fn is_cancelled(&self) -> bool {
        self.running.is_cancelled()
    }

    /// Waits until it is called off. Only a handler with a
    /// [`cancel_grace`](crate::Handler::cancel_grace) lives to see it.
    pub async fn cancelled(&self) {
        self.running.cancelled().await;
    }

    /// Says that the work has begun, so that a lost session costs an attempt from now on. The
    /// runtime says it by itself when a handler first waits; one that starts something outside
    /// says it before.
    pub fn started(&self) {
        if let Some(operation) = self.running.start() {
            self.core().tell([operation]);
        }
    }

    /// Says how far the work is: 0 to 100 and a text for people, of which 8 KiB are kept, or less
    /// if the broker's limit is lower. Of a delivery that is no task it says nothing, because
    /// nobody could see it. Waits only while too much is on its way.
    ///
    /// # Errors
    /// The session has ended, or the broker has refused what was said before, such as that the
    /// delivery is somebody else's by now.
    pub async fn progress(&self, percent: u8, text: impl Into<String>) -> Result<(), Refusal> {
        self.started();
        if !self.is_task() {
            return Ok(());
        }
        let mut text = crate::handler::cut(text.into());
        text.truncate(text.floor_char_boundary(self.core().reason_bytes()));
        self.running.progress(Progress { percent: percent.min(100), text }).await
    }

    /// Adds a piece of a result: continues the artifact of that name if `append`, otherwise
    /// begins it anew; `last` says that it is complete. Waits until the broker has it.
    ///
    /// # Errors
    /// The broker's refusal, such as that the piece is over the payload limit or that this is no
    /// task, or that the session has ended.
    pub async fn artifact(
        &self,
        name: &str,
        chunk: impl Into<Payload>,
        append: bool,
        last: bool,
    ) -> Result<(), Refusal> {
        let chunk = ArtifactChunk { name: name.into(), append, last, payload: chunk.into() };
        self.started();
        let body = UpdateBody::Artifact(chunk);
        let update = Update { token: self.delivery().token, body };
        self.core().ask(Operation::Update(update)).await
    }

    /// A request made while handling this one; see [`Session::request`](crate::Session::request).
    /// While its reply is awaited another delivery may use this handler's place.
    pub fn request(
        &self,
        to: impl Into<Destination>,
        payload: impl Into<Payload>,
    ) -> RequestBuilder {
        RequestBuilder::new(self.clone(), to.into(), payload.into())
    }

    /// A task made while handling this one; see [`Session::send`](crate::Session::send).
    pub fn send(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> SendBuilder {
        SendBuilder::new(self.clone(), to.into(), payload.into())
    }

    /// A request to several agents made while handling this one; see
    /// [`Session::gather`](crate::Session::gather). While the answers are awaited another
    /// delivery may use this handler's place.
    pub fn gather(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> GatherBuilder {
        GatherBuilder::new(self.clone(), to.into(), payload.into())
    }

    /// An event published while handling this one.
    pub fn publish(&self, topic: Topic, payload: impl Into<Payload>) -> MessageBuilder {
        let to = Destination::Topic(topic);
        MessageBuilder::new(self.clone(), to, payload.into())
    }

    /// A one-way message sent while handling this one.
    pub fn tell(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> MessageBuilder {
        MessageBuilder::new(self.clone(), to.into(), payload.into())
    }

    /// Sends many publishes in one piece, as [`Session::publish_batch`](crate::Session::publish_batch)
    /// does.
    ///
    /// # Errors
    /// The session has ended; some of the batch may have been sent.
    pub async fn publish_batch(&self, publishes: Vec<Arc<Publish>>) -> Result<Ticket, Refusal> {
        publish_batch(self.core(), publishes).await
    }

    /// A message for every agent but this one, sent while handling this delivery.
    pub fn broadcast(&self, payload: impl Into<Payload>) -> MessageBuilder {
        MessageBuilder::of_kind(self.clone(), Kind::Broadcast, Destination::All, payload.into())
    }

    /// Hands over context of the conversation that this delivery belongs to, unless
    /// [`MessageBuilder::context`] names another.
    pub fn share_context(
        &self,
        to: impl Into<Destination>,
        payload: impl Into<Payload>,
    ) -> MessageBuilder {
        MessageBuilder::of_kind(self.clone(), Kind::ContextShare, to.into(), payload.into())
    }

    /// Says how this delivery is going: a message with its id as the correlation id.
    pub fn report_status(
        &self,
        to: impl Into<Destination>,
        payload: impl Into<Payload>,
    ) -> MessageBuilder {
        MessageBuilder::of_kind(self.clone(), Kind::Status, to.into(), payload.into())
            .correlation(self.id())
    }

    /// Says that something went wrong with this delivery: a message with its id as the
    /// correlation id.
    pub fn report_error(
        &self,
        to: impl Into<Destination>,
        payload: impl Into<Payload>,
    ) -> MessageBuilder {
        MessageBuilder::of_kind(self.clone(), Kind::Error, to.into(), payload.into())
            .correlation(self.id())
    }

    /// A message of kind `response` to the agent that sent this delivery, with its id as the
    /// correlation id; see [`Session::respond`](crate::Session::respond). The reply that a
    /// requester waits for is what the handler returns.
    pub fn respond(&self, payload: impl Into<Payload>) -> MessageBuilder {
        MessageBuilder::response(self.clone(), self.envelope(), payload.into())
    }

    /// Calls off a message, such as one that was sent while handling this one; see
    /// [`Session::cancel`](crate::Session::cancel).
    ///
    /// # Errors
    /// The broker's refusal, or that the session has ended.
    pub async fn cancel(&self, id: MessageId, reason: impl Into<String>) -> Result<(), Refusal> {
        let reason = reason.into();
        self.core().ask(Operation::Cancel { id, reason, descendants: false }).await
    }

    pub(crate) fn core(&self) -> &Core {
        &self.running.core
    }

    pub(crate) fn connector(&self) -> Option<&Arc<dyn Connector>> {
        self.running.core.pool.as_ref().map(crate::pool::Pool::connector)
    }

    /// Lends this handler's place until the loan ends.
    pub(crate) fn lend(&self) -> Loan {
        Running::lend(&self.running)
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("delivery", self.delivery()).finish_non_exhaustive()
    }
}
