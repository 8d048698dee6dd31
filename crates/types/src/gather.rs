//! Scatter-gather: one request, several answers.

use crate::{AgentId, Failure, MessageId, Payload};

/// Asks for the answers of several agents: of those named, of all, or of every agent that offers
/// the skill. What has come by the end of the request's time to live is what there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gather {
    /// When enough has come.
    pub rule: GatherRule,
    /// Most bytes of answers in all, 1 to 8 MiB; an answer beyond it is left out, and named.
    pub reply_bytes: u32,
}

/// When a scatter-gather has enough answers. What is then still open is called off. Only a
/// completed answer counts; an agent that fails or declines is named with its reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GatherRule {
    /// One answer is enough.
    First,
    /// Everybody's answer is wanted.
    All,
    /// So many answers are enough, at least 1.
    Quorum(u32),
}

/// How a scatter-gather ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gathered {
    /// The request.
    pub request: MessageId,
    /// Whether as much came as its rule wanted.
    pub complete: bool,
    /// Every agent asked, in the order of their ids: its answer, or why there is none. An agent
    /// whose inbox was full is `rejected` with that reason; one that was not connected is
    /// `nobody-there` if the request was to fail then, else it is asked when it comes; an answer
    /// over the bound is `left-out`, and does not count for the rule.
    pub parts: Vec<GatheredPart>,
}

/// What came of one of several agents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatheredPart {
    /// Which agent was asked.
    pub agent: AgentId,
    /// Its answer (empty if it gave none) or why there is none.
    pub result: Result<Payload, Failure>,
}

impl Gather {
    /// The default bound on the bytes of all answers: 8 MiB.
    pub const REPLY_BYTES: u32 = Self::MOST_REPLY_BYTES;

    /// The largest bound on the bytes of all answers: they travel together in one frame.
    pub const MOST_REPLY_BYTES: u32 = 8 << 20;

    /// Answers by a rule, within the default bound.
    pub const fn new(rule: GatherRule) -> Self {
        Self { rule, reply_bytes: Self::REPLY_BYTES }
    }
}

impl Gathered {
    /// The answers that came, with whose they are.
    pub fn answers(&self) -> impl Iterator<Item = (&AgentId, &Payload)> {
        self.parts.iter().filter_map(|part| Some((&part.agent, part.result.as_ref().ok()?)))
    }

    /// The agents that did not answer, with why.
    pub fn missing(&self) -> impl Iterator<Item = (&AgentId, &Failure)> {
        self.parts.iter().filter_map(|part| Some((&part.agent, part.result.as_ref().err()?)))
    }
}
