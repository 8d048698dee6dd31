//! What a process that may be killed at any time says of its work.

use crate::seen::Arrived;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A line of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// All its agents are there.
    Ready,
    /// A handler has the payload with this number, whole, and is about to complete its task.
    Whole(u64),
    /// A handler has a payload of which a byte is not what it was.
    Damaged,
    /// A handler has a whole payload of another run.
    Foreign,
    /// A handler has a task that it will not complete.
    Held,
    /// So many settlements in all are confirmed to it.
    Confirmed(u64),
    /// So many in all were refused.
    Refused(u64),
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Whole(number) => write!(f, "whole {number}"),
            Self::Damaged => f.write_str("damaged"),
            Self::Foreign => f.write_str("foreign"),
            Self::Held => f.write_str("held"),
            Self::Confirmed(count) => write!(f, "confirmed {count}"),
            Self::Refused(count) => write!(f, "refused {count}"),
        }
    }
}

impl FromStr for Word {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let unknown = || format!("the agents' process says '{line}', which is no word of it");
        let (word, count) = line.split_once(' ').unwrap_or((line, ""));
        let count = count.parse();
        match (word, count) {
            ("ready", Err(_)) => Ok(Self::Ready),
            ("whole", Ok(number)) => Ok(Self::Whole(number)),
            ("damaged", Err(_)) => Ok(Self::Damaged),
            ("foreign", Err(_)) => Ok(Self::Foreign),
            ("held", Err(_)) => Ok(Self::Held),
            ("confirmed", Ok(count)) => Ok(Self::Confirmed(count)),
            ("refused", Ok(count)) => Ok(Self::Refused(count)),
            _ => Err(unknown()),
        }
    }
}

/// All that it has said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) ready: bool,
    /// The numbers of the payloads that its handlers had whole.
    pub(crate) whole: BTreeSet<u64>,
    /// What else its handlers had; what they had whole is not counted again here.
    pub(crate) arrived: Arrived,
    /// Tasks that its handlers will not complete.
    pub(crate) held: u64,
    /// Settlements that were confirmed to it.
    pub(crate) confirmed: u64,
    /// Settlements that were refused.
    pub(crate) refused: u64,
}

impl Told {
    pub(super) fn take(&mut self, word: Word) {
        match word {
            Word::Ready => self.ready = true,
            Word::Whole(number) => self.arrived.doubled += u64::from(!self.whole.insert(number)),
            Word::Damaged => self.arrived.corrupt += 1,
            Word::Foreign => self.arrived.foreign += 1,
            Word::Held => self.held += 1,
            Word::Confirmed(count) => self.confirmed = count,
            Word::Refused(count) => self.refused = count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_anything_else_is_an_error() {
        let mut told = Told::default();
        for word in [
            Word::Ready,
            Word::Whole(7),
            Word::Whole(8),
            Word::Whole(7),
            Word::Damaged,
            Word::Foreign,
            Word::Held,
            Word::Confirmed(1),
            Word::Confirmed(2),
            Word::Refused(1),
        ] {
            assert_eq!(word.to_string().parse(), Ok(word));
            told.take(word);
        }
        assert!(told.ready);
        assert_eq!(told.whole, BTreeSet::from([7, 8]));
        let Arrived { handled, doubled, corrupt, foreign } = told.arrived;
        assert_eq!((handled, doubled, corrupt, foreign), (0, 1, 1, 1));
        assert_eq!((told.held, told.confirmed, told.refused), (1, 2, 1));
        for line in ["", "whole", "whole x", "held 1", "done 3"] {
            assert!(line.parse::<Word>().is_err(), "{line}");
        }
    }
}
