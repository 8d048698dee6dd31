//! The way to the broker, as whoever mounts A2A gives it.

use crate::wire::AgentSkill;
use futures_util::Stream;
use std::pin::Pin;
use std::sync::Arc;
use trunkline_types::session::{Accepted, BoxFuture, Operation};
use trunkline_types::{AgentId, Answer, MessageId, Principal, Publish, Query, Refusal, TaskUpdate};

/// The news of a task: events in the order of their numbers, to its end.
pub type Updates = Pin<Box<dyn Stream<Item = Result<TaskUpdate, Refusal>> + Send>>;

/// The way to a broker, for whichever principal calls.
pub trait Gateway: Send + Sync + 'static {
    /// Asks something.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    fn query(&self, who: Principal, query: Query) -> BoxFuture<'_, Result<Answer, Refusal>>;

    /// Has something carried, and says what there is to say of its acceptance.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    fn publish(
        &self,
        who: Principal,
        publish: Arc<Publish>,
    ) -> BoxFuture<'_, Result<Accepted, Refusal>>;

    /// Has an operation done of which there is no more to say.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    fn operate(&self, who: Principal, operation: Operation) -> BoxFuture<'_, Result<(), Refusal>>;

    /// Follows a task from the event after number `after` to its end.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    fn watch(
        &self,
        who: Principal,
        task: MessageId,
        after: u64,
    ) -> BoxFuture<'_, Result<Updates, Refusal>>;

    /// Whether a webhook may be called, and if so sees to it that [`PUSHER`](crate::PUSHER) is
    /// there, which calls it.
    ///
    /// # Errors
    /// Why it is not, for its owner.
    fn webhook<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<(), String>>;

    /// What an agent that is a server elsewhere tells of its skills, by their names here; nothing
    /// for any other agent, and while its card is not known.
    fn skills(&self, agent: &AgentId) -> Vec<AgentSkill>;

    /// An id that nobody else has.
    fn next_id(&self) -> MessageId;
}
