//! Which entry a token speaks for.

use crate::map::{Map, map};
use crate::table::{EntryKey, Maybe};
use trunkline_types::Token;

/// How many of the latest tokens have places of their own.
const LATEST: usize = 1024;

/// Finds entries by their tokens. Tokens are numbered one after the other, and nearly always one of
/// the latest is meant, so each of these has a place that follows from its number. Only when that is
/// wanted for a later one does a token move to the map.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// None before the first token.
    latest: Vec<Slot>,
    others: Map<Token, EntryKey>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    token: Token,
    key: Maybe<EntryKey>,
}

impl Tokens {
    pub(crate) fn new(seed: u64) -> Self {
        Self { latest: Vec::new(), others: map(seed) }
    }

    /// Notes a token that is not known.
    #[inline]
    pub(crate) fn insert(&mut self, token: Token, key: EntryKey) {
        if self.latest.is_empty() {
            self.latest.resize(LATEST, Slot::default());
        }
        let slot = &mut self.latest[place(token)];
        let before = std::mem::replace(slot, Slot { token, key: Maybe::new(key) });
        if let Some(key) = before.key.get().filter(|_| before.token != token) {
            self.others.insert(before.token, key);
        }
    }

    #[inline]
    pub(crate) fn get(&self, token: Token) -> Option<EntryKey> {
        match self.latest.get(place(token)) {
            Some(slot) if slot.token == token && slot.key.is_some() => slot.key.get(),
            _ => self.others.get(&token).copied(),
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, token: Token) {
        match self.latest.get_mut(place(token)) {
            Some(slot) if slot.token == token && slot.key.is_some() => slot.key = Maybe::NONE,
            _ => drop(self.others.remove(&token)),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the low bits are meant")]
fn place(token: Token) -> usize {
    token.counter as usize % LATEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Key;
    use trunkline_types::Epoch;

    #[test]
    fn a_token_is_found_until_it_is_removed_whatever_came_after_it() {
        let token = |epoch, counter| Token { epoch: Epoch(epoch), counter };
        let all: Vec<_> =
            (0..2).flat_map(|epoch| (1..3000).map(move |it| token(epoch, it))).collect();
        let key = |at: usize| EntryKey::from_slot(u32::try_from(at).unwrap());
        let mut tokens = Tokens::new(1);
        assert_eq!(tokens.get(all[0]), None);
        for (at, &token) in all.iter().enumerate() {
            tokens.insert(token, key(at));
        }
        for (at, &token) in all.iter().enumerate() {
            assert_eq!(tokens.get(token), Some(key(at)), "{token}");
            if at % 3 == 0 {
                tokens.remove(token);
            }
        }
        for (at, &token) in all.iter().enumerate() {
            assert_eq!(tokens.get(token), (at % 3 != 0).then(|| key(at)), "{token}");
            tokens.remove(token);
            assert_eq!(tokens.get(token), None);
        }
        assert!(tokens.others.is_empty() && tokens.latest.iter().all(|slot| slot.key.is_none()));
    }
}
