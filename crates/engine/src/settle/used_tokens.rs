//! Tokens that were used up before a restart, up to a bound.

use crate::map::{Map, map};
use std::collections::VecDeque;
use trunkline_types::Token;

/// As many as all sessions together may reasonably have unanswered when a broker stops.
const MOST: usize = 65_536;

/// The latest tokens that replayed records say were used up.
#[derive(Debug)]
pub(crate) struct UsedTokens {
    tokens: Map<Token, ()>,
    order: VecDeque<Token>,
}

impl UsedTokens {
    pub(crate) fn new(seed: u64) -> Self {
        Self { tokens: map(seed), order: VecDeque::new() }
    }

    pub(crate) fn insert(&mut self, token: Token) {
        if self.tokens.insert(token, ()).is_none() {
            self.order.push_back(token);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.tokens.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, token: Token) -> bool {
        self.tokens.contains_key(&token)
    }
}
