//! Who waits for the answer to an operation, and what they are told.

use super::connection::Core;
use crate::RequestError;
use crate::send::{Acceptance, Reply};
use crate::ticket::BatchOutcome;
use tokio::sync::{oneshot, watch};
use trunkline_types::{Gathered, MessageId, Refusal, Token};

/// Who waits for the answers to a run of operations.
pub(crate) enum Waiter {
    /// Nobody.
    Nobody,
    /// The sender of one publish waits for its acceptance.
    Acceptance(MessageId, oneshot::Sender<Result<Acceptance, Refusal>>),
    /// The sender of one request waits for its reply only, so a refusal goes there.
    Reply(MessageId),
    /// The sender of any other operation waits for it to be done.
    Done(oneshot::Sender<Result<(), Refusal>>),
    /// The sender of a cancel with descendants waits for how many messages were called off.
    Count(oneshot::Sender<Result<u32, Refusal>>),
    /// Several wait for one operation to be done.
    Shared(watch::Sender<Option<Result<(), Refusal>>>),
    /// Nobody waits, but a delivery must not stay unsettled because of a refusal. The tokens are
    /// those of the operations, in their order.
    Settled(Vec<Token>),
    /// As before, but this is what was said after a refusal; there is nothing more to say.
    SettledAgain(Token),
    /// The follower of the directory: refused, it is told that no more will come.
    Directory,
    /// The watchers of a task: refused, they are told that no more will come.
    Watchers(MessageId),
    /// The sender of several publishes waits for all of them.
    Batch(Box<BatchOutcome>, oneshot::Sender<BatchOutcome>),
}

/// A set of operations to be entered together.
pub(crate) struct Entry {
    /// Whether each holds one of the session's places for outstanding operations.
    pub(crate) bounded: bool,
    /// Who waits for their answers.
    pub(crate) waiter: Waiter,
    /// Who waits for the reply to the request that is the only operation.
    pub(crate) reply: Option<ReplyEntry>,
}

/// Who waits for a reply.
pub(crate) struct ReplyEntry {
    /// The request.
    pub(crate) request: MessageId,
    /// Told once.
    pub(crate) sender: oneshot::Sender<ReplySignal>,
    /// Whether the broker may lose it with itself.
    pub(crate) ephemeral: bool,
}

/// What the waiter for a reply is told.
pub(crate) enum ReplySignal {
    /// How the request ended.
    Ended(Result<Reply, RequestError>),
    /// No reply will come to this session; the task with this id is to be looked up.
    LookUp(MessageId),
    /// How a request to several agents ended.
    Gathered(Gathered),
}

/// Somebody to be told, outside the lock.
pub(crate) enum Told {
    Acceptance(oneshot::Sender<Result<Acceptance, Refusal>>, Result<Acceptance, Refusal>),
    Reply(oneshot::Sender<ReplySignal>, ReplySignal),
    Done(oneshot::Sender<Result<(), Refusal>>, Result<(), Refusal>),
    Count(oneshot::Sender<Result<u32, Refusal>>, Result<u32, Refusal>),
    Shared(watch::Sender<Option<Result<(), Refusal>>>, Result<(), Refusal>),
    Batch(oneshot::Sender<BatchOutcome>, Box<BatchOutcome>),
    Watchers(MessageId, Refusal),
    Directory(Refusal),
}

impl Told {
    /// Tells; that nobody listens any longer is fine.
    pub(crate) fn tell(self, core: &Core) {
        match self {
            Self::Acceptance(sender, result) => drop(sender.send(result)),
            Self::Reply(sender, signal) => drop(sender.send(signal)),
            Self::Done(sender, result) => drop(sender.send(result)),
            Self::Count(sender, result) => drop(sender.send(result)),
            Self::Shared(sender, result) => drop(sender.send_replace(Some(result))),
            Self::Batch(sender, outcome) => drop(sender.send(*outcome)),
            Self::Watchers(task, refusal) => core.watchers.fail(task, &refusal),
            Self::Directory(refusal) => core.directory.close(&refusal),
        }
    }
}
