//! How deliveries end: settlements, losses, retries, dead letters.

mod cancel;
mod dead_letters;
mod descendants;
mod end;
mod give_back;
mod outcome;
mod redrive;
mod used_tokens;

pub(crate) use cancel::unknown_message;
pub(crate) use dead_letters::DeadLetters;
pub(crate) use give_back::Loss;
pub(crate) use used_tokens::{Use, UsedTokens};
