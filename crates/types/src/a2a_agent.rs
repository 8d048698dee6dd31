//! Agents that are servers of `Agent2Agent` elsewhere: what is set about them, and how they are.

use crate::{AgentId, SkillName, WallTime};
use smol_str::SmolStr;
use std::fmt;
use std::time::Duration;

/// What is set about an agent that is a server of `Agent2Agent` elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct A2aAgentSettings {
    /// Where it is: the URL of its card, or what its card is below.
    pub url: String,
    /// Its id at the broker; without one it is made of the name that its card says.
    pub id: Option<AgentId>,
    /// Whether a message may be sent to it again when it is not known what became of it.
    pub idempotent: bool,
    /// What it is sent with each request. The values are secrets.
    pub headers: Vec<(SmolStr, SmolStr)>,
    /// How often its card is read, 1 s to 1 day.
    pub refresh: Duration,
    /// How long it may take to answer a message, 10 ms to 1 day.
    pub answer_within: Duration,
    /// Whether the host that the URL names may be at an address that is not public.
    pub allow_private: bool,
}

impl A2aAgentSettings {
    /// How often a card is read if nothing is said.
    pub const REFRESH: Duration = Duration::from_mins(1);
    /// How long a message may take to be answered if nothing is said.
    pub const ANSWER_WITHIN: Duration = Duration::from_mins(10);

    /// An agent at a URL, with the usual settings.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            id: None,
            idempotent: false,
            headers: Vec::new(),
            refresh: Self::REFRESH,
            answer_within: Self::ANSWER_WITHIN,
            allow_private: false,
        }
    }
}

impl fmt::Debug for A2aAgentSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what it is called with: that is a secret.
        f.debug_struct("A2aAgentSettings").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An agent that is a server of `Agent2Agent` elsewhere, as operators see it. Its headers are told
/// by their names only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct A2aAgent {
    /// Its id at the broker.
    pub id: AgentId,
    /// Where it is.
    pub url: String,
    /// Whether a message may be sent to it again.
    pub idempotent: bool,
    /// The names of the headers that it is sent.
    pub headers: Vec<SmolStr>,
    /// How often its card is read.
    pub refresh: Duration,
    /// How long it may take to answer a message.
    pub answer_within: Duration,
    /// Whether its host may be at an address that is not public.
    pub allow_private: bool,
    /// The URL by which it is called; empty while its card was not read.
    pub interface: String,
    /// The binding and version by which it is called, such as `JSONRPC 1.0`.
    pub binding: SmolStr,
    /// Whether it tells events while it works.
    pub streaming: bool,
    /// The skills that it offers here.
    pub skills: Vec<SkillName>,
    /// When its card was read last, or found to be unchanged; `None` if it was not since the broker
    /// started.
    pub read_at: Option<WallTime>,
    /// Why it gets no work now; `None` if it does.
    pub trouble: Option<String>,
}
