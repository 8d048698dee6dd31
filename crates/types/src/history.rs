//! What was said in a task and in a conversation.

use crate::kind::{UnknownWord, words};
use crate::{AgentId, ContextId, MessageId, Payload, WallTime};
use std::fmt;
use std::str::FromStr;

words!(
    /// Which side of a task said something.
    Role, "role", "caller, agent",
    {
        /// Whoever sent the task.
        Caller = 1 "caller",
        /// Whoever worked on it.
        Agent = 2 "agent",
    }
);

/// One message of a task: the one that made it, what its caller said to it later, what an agent
/// asked when it paused it, or the reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryMessage {
    /// The task it belongs to.
    pub task: MessageId,
    /// Which side said it.
    pub role: Role,
    /// Which agent said it; `None` for a caller that is no agent.
    pub from: Option<AgentId>,
    /// When the broker took it in.
    pub at: WallTime,
    /// What was said.
    pub payload: Payload,
}

/// The latest messages of a task or of a conversation. There are at most as many as were asked
/// for, and about 4 MiB of them; the latest one is there however large it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// Oldest first.
    pub messages: Vec<HistoryMessage>,
    /// Whether there are earlier ones that are not among them.
    pub more: bool,
}

/// A conversation as it stands: the tasks that share a context id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContextSnapshot {
    /// Its id.
    pub id: ContextId,
    /// How many tasks of it are kept.
    pub tasks: u64,
    /// How many of them have not ended.
    pub tasks_open: u64,
    /// What was said in its tasks, in order of time. Only its newest 1,000 tasks are looked at.
    pub history: History,
}
