//! Facts: what a record says, in the model's own words.

use std::sync::Arc;
use trunkline_types::{
    AgentId, Epoch, InboxAddress, Payload, Publish, SessionId, SkillName, Token, TopicPattern,
    WallTime,
};

/// What one record says. Entries are named by the numbers that the records use.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    Boot { epoch: Epoch },
    Agent { agent: AgentId, skills: Vec<SkillName> },
    Subscribed { agent: AgentId, pattern: TopicPattern },
    Unsubscribed { agent: AgentId, pattern: TopicPattern },
    Accepted(Box<AcceptedFact>),
    Leased { entry: u64, token: Token, session: SessionId },
    Begun { entry: u64 },
    Returned(ReturnedFact),
    Paused { entry: u64 },
    Continued { entry: u64, session: SessionId, operation: u64 },
    Ended { entry: u64, how: Ending },
    Artifact { session: SessionId, operation: u64 },
    Lost,
}

/// An envelope was accepted.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedFact {
    pub(crate) publish: Arc<Publish>,
    pub(crate) session: SessionId,
    pub(crate) operation: u64,
    pub(crate) at: WallTime,
    /// The first of as many consecutive entries as there are inboxes.
    pub(crate) first_entry: u64,
    pub(crate) inboxes: Vec<InboxAddress>,
}

/// An entry went back to its inbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReturnedFact {
    pub(crate) entry: u64,
    pub(crate) attempts: u32,
    pub(crate) losses: u32,
    pub(crate) due: WallTime,
    pub(crate) token_stays: bool,
}

/// How an entry ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    Completed(Option<Payload>),
    Failed,
    Rejected,
    Expired,
    Canceled,
    DeadLettered,
}
