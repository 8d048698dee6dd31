//! Dead letters in memory and those that the index has, made one page. Drivers do that outside of
//! the engine's turn.

use super::died::DiedLetter;
use crate::past::InMemory;
use crate::stats::page::{self, Room};
use trunkline_types::{DeadLetter, DeadLetterFilter, DeadLetterPage};

/// A page of dead letters from the index, to be merged with the engine's.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LetterList {
    /// Newest first.
    pub letters: Vec<DiedLetter>,
    /// The number that the next page goes on from, if there may be more.
    pub next: Option<u64>,
}

/// A page of dead letters from the page of those in memory, of which `known` says what the numbers
/// are and which letters are cleared, and the page of those in the index that died by records
/// before `known.letters_from`, both answers to the same filter.
#[must_use]
pub fn merge_letters(
    filter: &DeadLetterFilter,
    memory: DeadLetterPage,
    known: &InMemory,
    index: LetterList,
) -> DeadLetterPage {
    // What lies beyond the end of either page may be missing from that one.
    let floor = memory.next.max(index.next);
    let in_memory = known.numbers.iter().copied().zip(memory.letters);
    let is_cleared = |died: &DiedLetter| {
        let (id, inbox) = (died.letter.publish.envelope.id, &died.letter.inbox);
        known.cleared.iter().any(|cleared| cleared.is(id, inbox, died.place))
    };
    let on_disk = index.letters.into_iter().filter(|died| !is_cleared(died));
    let on_disk = on_disk.map(|died| (died.number(), died.letter));
    let mut all: Vec<(u64, DeadLetter)> = in_memory.chain(on_disk).collect();
    all.sort_by_key(|&(number, _)| std::cmp::Reverse(number));
    let mut page = DeadLetterPage { letters: Vec::new(), next: floor };
    // The engine has checked the limit.
    let Ok(mut room) = Room::new(filter.limit) else { return page };
    let mut last = None;
    for (number, letter) in all {
        if floor.is_some_and(|floor| number < floor) {
            break;
        }
        if !room.take(page::dead_letter(&letter)) {
            page.next = last;
            break;
        }
        page.letters.push(letter);
        last = Some(number);
    }
    page
}
