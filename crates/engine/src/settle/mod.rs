//! How deliveries end: settlements, losses, retries, dead letters.

mod cancel;
mod clear;
mod dead_letters;
mod descendants;
mod died;
mod end;
mod give_back;
mod merge;
mod outcome;
mod redrive;
mod used_tokens;

pub(crate) use cancel::unknown_message;
pub(crate) use dead_letters::{DeadLetters, number as letter_number};
pub(crate) use died::is_wanted;
pub use died::{ClearedLetter, DeadPlace, DiedLetter, LetterHead, LetterIndex};
pub(crate) use give_back::Loss;
pub use merge::{LetterList, merge_letters};
pub(crate) use used_tokens::{Use, UsedTokens};
