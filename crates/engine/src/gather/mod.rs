//! Scatter-gather: one request, several answers.
//!
//! Each agent asked gets an entry of its own in its own inbox, and every end of such an entry
//! fills the agent's part. The request's time to live is that of the entries, so the deadline
//! needs no timer here.

mod ask;
mod part;

use crate::record::EntryId;
use crate::table::{EntryKey, TenantKey};
use trunkline_types::{AgentId, Failure, Gather, MessageId, Payload, SessionId};

/// A request that waits for several answers.
#[derive(Debug)]
pub(crate) struct Gathering {
    pub(crate) tenant: TenantKey,
    pub(crate) request: MessageId,
    /// The session that asked.
    sender: SessionId,
    gather: Gather,
    /// In the order of the agents' ids, each once.
    pub(crate) parts: Vec<Part>,
    /// How many answers there are.
    answers: u32,
    /// How many bytes of answers there may still be.
    room: u64,
    /// How many parts still wait for the end of their entry.
    pub(crate) open: u32,
    /// Whether enough has come and what is open is being called off.
    closing: bool,
}

/// One agent that was asked.
#[derive(Debug)]
pub(crate) struct Part {
    agent: AgentId,
    pub(crate) state: PartState,
}

/// What came of one agent.
#[derive(Debug)]
pub(crate) enum PartState {
    /// Its entry has not ended.
    Open(EntryKey, EntryId),
    /// This is its part.
    Ended(Result<Payload, Failure>),
}
