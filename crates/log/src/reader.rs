//! Reading single records again by their sequence, while the log goes on being written.
//!
//! A [`Reader`] owns nothing of the log: it opens the files that it needs by their names, finds its
//! way from batch to batch, and remembers for each segment where some of its records stand, so that
//! the next read begins near its goal. It looks no further than what it is asked for, as what lies
//! behind that may be half written; so it must be asked only for records that were written. What
//! it hands out has been checked.

mod segment;
mod window;

use self::{segment::Indexed, window::Window};
use crate::{error::ReadError, layout, storage::Storage};
use parking_lot::Mutex;
use std::{collections::BTreeMap, ops::Bound, sync::Arc};

/// Of how many segments at most it is remembered where records stand.
const INDEXED: usize = 64;

/// Reads records of one partition again.
#[derive(Debug)]
pub struct Reader {
    storage: Arc<dyn Storage>,
    partition: u16,
    /// A mutex, held while records are read: who must not wait for others has a reader of its own.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The segments known, by their numbers.
    segments: BTreeMap<u64, Indexed>,
    window: Window,
}

impl Reader {
    /// A reader of a log's files; the log may be opened before or after.
    pub fn new(storage: Arc<dyn Storage>, partition: u16) -> Self {
        Self { storage, partition, state: Mutex::default() }
    }

    /// Reads records that were written, and hands each to `visit` with its sequence: its tag and
    /// body, or why it cannot be had. Fastest in ascending order.
    pub fn read(
        &self,
        sequences: &[u64],
        mut visit: impl FnMut(u64, Result<(u8, &[u8]), ReadError>),
    ) {
        let mut state = self.state.lock();
        let State { segments, window } = &mut *state;
        // The log may have gone on since it was filled.
        window.clear();
        for &sequence in sequences {
            let found = self.find(segments, window, sequence);
            visit(sequence, found.and_then(|place| window.record(place)));
        }
        while segments.values().filter(|known| known.is_indexed()).count() > INDEXED {
            let oldest = segments.values_mut().find(|known| known.is_indexed());
            oldest.into_iter().for_each(Indexed::forget);
        }
    }

    /// Where a record stands; the window then has it.
    fn find(
        &self,
        segments: &mut BTreeMap<u64, Indexed>,
        window: &mut Window,
        sequence: u64,
    ) -> Result<window::Place, ReadError> {
        // First in what is known; then with the segments that have come or gone meanwhile.
        for fresh in [false, true] {
            if fresh {
                self.look_again(segments, window)?;
            }
            let first = |known: &Indexed| known.first().is_some_and(|first| first <= sequence);
            let Some((&number, _)) = segments.iter().rev().find(|(_, known)| first(known)) else {
                continue;
            };
            let later = segments.range((Bound::Excluded(number), Bound::Unbounded)).next();
            let is_last = later.is_none_or(|(_, later)| later.first().is_none());
            let Some(known) = segments.get_mut(&number) else { continue };
            match known.find(window, self.partition, sequence) {
                Ok(Some(place)) => return Ok(place),
                // It may be in a later segment that is not known yet.
                Ok(None) if is_last && !fresh => {}
                Ok(None) => return Err(ReadError::missing(sequence, known.path())),
                Err(_) if !fresh => {}
                Err(error) => return Err(error),
            }
        }
        Err(ReadError::missing(sequence, self.storage.path("")))
    }

    /// Takes note of segments that came or went.
    fn look_again(
        &self,
        segments: &mut BTreeMap<u64, Indexed>,
        window: &mut Window,
    ) -> Result<(), ReadError> {
        window.clear();
        let io = |error| ReadError::io("list", self.storage.path(""), error);
        let files = self.storage.list().map_err(io)?;
        let mut numbers: Vec<u64> =
            files.iter().filter_map(|file| layout::segment_number(&file.name)).collect();
        numbers.sort_unstable();
        segments.retain(|number, known| {
            known.first().is_some() && numbers.binary_search(number).is_ok()
        });
        for number in numbers {
            if segments.contains_key(&number) {
                continue;
            }
            // One that is being removed or made just now, or is damaged, has nothing to tell.
            let Ok(mut opened) = Indexed::open(self.storage.as_ref(), number) else { continue };
            opened.find_first(window, self.partition, false);
            segments.insert(number, opened);
        }
        let used = segments.values().filter(|known| known.first().is_some());
        let last = used.map(Indexed::number).max().unwrap_or_default();
        for (_, known) in segments.range_mut(..last).filter(|(_, known)| known.first().is_none()) {
            known.find_first(window, self.partition, true);
        }
        Ok(())
    }
}
