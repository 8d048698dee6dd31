//! Tokens that their holders used up before a restart, and for what, up to a bound.

use crate::map::{Map, map};
use crate::record::End;
use crate::table::AgentKey;
use std::collections::VecDeque;
use trunkline_types::{Outcome, Sequence, Token};

/// As many as all sessions together may reasonably have unanswered when a broker stops.
const MOST: usize = 65_536;

/// The latest tokens that replayed records say were used up.
#[derive(Debug)]
pub(crate) struct UsedTokens {
    tokens: Map<Token, (AgentKey, Use)>,
    /// In order, each with the oldest record that a replay needs to know it.
    order: VecDeque<(Sequence, Token)>,
}

/// What a token was used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Use {
    Completed = 1,
    Failed = 2,
    Rejected = 3,
    DeadLettered = 4,
    GivenBack = 5,
    Paused = 6,
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

    /// The use with the number that records give it.
    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Completed,
            2 => Self::Failed,
            3 => Self::Rejected,
            4 => Self::DeadLettered,
            5 => Self::GivenBack,
            6 => Self::Paused,
            _ => return None,
        })
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

    pub(crate) fn insert(&mut self, at: Sequence, token: Token, agent: AgentKey, used: Use) {
        if self.tokens.insert(token, (agent, used)).is_none() {
            self.order.push_back((at, token));
        }
        if self.order.len() > MOST
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.tokens.remove(&oldest);
        }
    }

    /// Those that only records before a place tell of.
    pub(crate) fn older(&self, before: Sequence) -> Vec<Token> {
        let older = self.order.iter().filter(|(at, _)| *at < before);
        older.map(|&(_, token)| token).collect()
    }

    /// What became of a token.
    pub(crate) fn get(&self, token: Token) -> Option<(AgentKey, Use)> {
        self.tokens.get(&token).copied()
    }

    /// Records tell again, at a place, of all those that only records before another told of.
    pub(crate) fn rebase(&mut self, before: Sequence, at: Sequence) {
        for (base, _) in self.order.iter_mut().filter(|(base, _)| *base < before) {
            *base = at;
        }
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
        self.order.clear();
    }

    /// Whether this agent has already said this with this token.
    pub(crate) fn contains(&self, token: Token, agent: Option<AgentKey>, said: &Outcome) -> bool {
        let known = self.tokens.get(&token);
        known.is_some_and(|&(holder, used)| Some(holder) == agent && used.fits(said))
    }
}
