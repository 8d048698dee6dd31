//! Tokens that their holders used up before a restart, and for what, up to a bound.

use crate::map::{Map, map};
use crate::record::End;
use crate::table::AgentKey;
use std::collections::VecDeque;
use trunkline_types::{Outcome, Token};

/// As many as all sessions together may reasonably have unanswered when a broker stops.
const MOST: usize = 65_536;

/// The latest tokens that replayed records say were used up.
#[derive(Debug)]
pub(crate) struct UsedTokens {
    tokens: Map<Token, (AgentKey, Use)>,
    order: VecDeque<Token>,
}

/// What a token was used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    Completed,
    Failed,
    Rejected,
    DeadLettered,
    GivenBack,
    Paused,
}

impl Use {
    /// What a holder must have said for an entry to end like this; `None` if it was not a holder
    /// that ended it.
    pub(crate) const fn of_end(end: &End) -> Option<Self> {
        match end {
            End::Completed { .. } => Some(Self::Completed),
            End::Failed { .. } => Some(Self::Failed),
            End::Rejected { .. } => Some(Self::Rejected),
            End::DeadLettered { .. } => Some(Self::DeadLettered),
            End::Expired | End::Canceled { .. } | End::Dropped => None,
        }
    }

    /// Whether an outcome may have led to this use. A retry may, if it was the last attempt, have
    /// ended in a dead letter.
    const fn fits(self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Complete { .. } => matches!(self, Self::Completed),
            Outcome::Fail { .. } => matches!(self, Self::Failed),
            Outcome::Reject { .. } => matches!(self, Self::Rejected),
            Outcome::DeadLetter { .. } => matches!(self, Self::DeadLettered),
            Outcome::Retry { .. } => matches!(self, Self::GivenBack | Self::DeadLettered),
            Outcome::Release => matches!(self, Self::GivenBack),
            Outcome::Pause { .. } => matches!(self, Self::Paused),
        }
    }
}

impl UsedTokens {
    pub(crate) fn new(seed: u64) -> Self {
        Self { tokens: map(seed), order: VecDeque::new() }
    }

    pub(crate) fn insert(&mut self, token: Token, agent: AgentKey, used: Use) {
        if self.tokens.insert(token, (agent, used)).is_none() {
            self.order.push_back(token);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.tokens.remove(&oldest);
        }
    }

    /// Whether this agent has already said this with this token.
    pub(crate) fn contains(&self, token: Token, agent: Option<AgentKey>, said: &Outcome) -> bool {
        let known = self.tokens.get(&token);
        known.is_some_and(|&(holder, used)| Some(holder) == agent && used.fits(said))
    }
}
