//! Where gathers what the index is to take in.

use crate::index::rows::Entry;
use crate::index::seal::BadRow;
use crate::index::store::Entries;
use parking_lot::{Condvar, Mutex};
use rusqlite::InterruptHandle;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use trunkline_engine::Past;
use trunkline_types::Sequence;

/// Most entries that one commit takes.
pub(super) const BATCH: usize = 4096;

/// How many bytes of tasks and letters one commit takes; the last may exceed it. Less than the
/// reserve that the index has for a full disk.
const BATCH_BYTES: u64 = 4 << 20;

/// How many bytes of tasks and letters may wait; with more the broker takes in and hands out no
/// durable work until half of them are written, as with a log that is too far behind.
const MOST_BYTES: u64 = 256 << 20;

/// Of how many bad rows it is kept in mind that they are to be looked at. Others are met again.
pub(super) const MOST_BAD: usize = 1000;

/// How long the thread waits after an error before it tries again.
const RETRY: Duration = Duration::from_secs(1);

/// Where rows gather. They are in the engine's memory as well until the index has them, so that
/// its bound on keys bounds these too while the index can be written.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// Short: a push, or taking a batch out.
    state: Mutex<State>,
    /// Told when there is something to commit, or the thread is to end.
    changed: Condvar,
    /// Whether the index was found damaged.
    damaged: AtomicBool,
    /// Whether too many bytes wait.
    is_full: AtomicBool,
    /// How many rows were found damaged and taken out.
    lost: AtomicU64,
}

/// What ends a check that is under way.
#[derive(Default)]
struct Check(Option<InterruptHandle>);

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.0.is_some()).finish()
    }
}

/// What was met in the index that does not fit, by those who read in it.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// Rows that are bad.
    pub(super) rows: BTreeSet<BadRow>,
    /// What an index within the file says that its table does not.
    pub(super) order: Option<String>,
    /// A sum does not fit its checksum.
    pub(super) sums: bool,
}

impl Suspicion {
    pub(super) fn is_none(&self) -> bool {
        self.rows.is_empty() && self.order.is_none() && !self.sums
    }
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their places.
    rows: VecDeque<Waiting>,
    /// Bytes of the tasks and letters among them.
    bytes: u64,
    /// How long tasks and letters are kept.
    retention: Retention,
    /// Whether work is refused for want of room that cleaning the log does not make.
    short: bool,
    /// How long they are kept, and whether room is short, as far as the thread has been told.
    told: Option<(Retention, bool)>,
    /// Up to where records are on disk.
    synced: Sequence,
    /// Up to where it must survive a crash of the machine, if somebody waits for that.
    wanted: Option<Sequence>,
    closing: bool,
    /// What the thread is to look at.
    suspicion: Suspicion,
    /// Ends a check that takes long when the thread is to end.
    check: Check,
    /// Whether nobody takes rows any longer. The log has them: the index is made up for at the
    /// next start, and until then keys stay in the engine's memory.
    given_up: bool,
}

/// An entry that waits, with its bytes, so that none is looked at again while others want to add theirs.
#[derive(Debug)]
struct Waiting {
    entry: Entry,
    bytes: u64,
}

impl Waiting {
    fn place(&self) -> Sequence {
        self.entry.place()
    }
}

/// How long ended tasks and dead letters are kept on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Retention {
    pub(crate) tasks: Keep,
    pub(crate) letters: Keep,
}

/// How long something is kept on disk: until somebody says so, for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Keep {
    /// From its end.
    pub(crate) keep: Duration,
    /// Most bytes of such things.
    pub(crate) bytes: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { keep: Duration::MAX, bytes: u64::MAX }
    }
}

/// What was taken out to be committed.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) entries: Entries,
    /// How far the index goes once it has them.
    pub(super) through: Sequence,
    pub(super) retention: Retention,
}

impl Feed {
    /// Takes what a record tells that was decided upon, unless the index was given up.
    pub(crate) fn push(&self, entry: Entry) {
        self.push_all([entry]);
    }

    /// Takes several at once, likewise.
    pub(crate) fn push_all(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut state = self.state.lock();
        if state.given_up {
            // Whoever hands them over is to be rid of them.
            drop(state);
            return entries.into_iter().for_each(drop);
        }
        for entry in entries {
            let bytes = entry.bytes();
            state.bytes += bytes;
            state.rows.push_back(Waiting { entry, bytes });
        }
        self.look_at(state.bytes);
    }

    /// Takes what is over by records that may lie before those of what waits.
    pub(crate) fn push_earlier(&self, past: Vec<Past>) {
        self.push_all(past.into_iter().map(Entry::Past));
        self.state.lock().rows.make_contiguous().sort_by_key(Waiting::place);
    }

    /// Whether too much waits for new work to be taken in.
    pub(crate) fn is_congested(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Sets how long tasks and letters are kept from now on.
    pub(crate) fn retain(&self, retention: Retention) {
        self.state.lock().retention = retention;
        self.changed.notify_one();
    }

    /// Says whether work is refused for want of room that cleaning the log does not make.
    pub(crate) fn set_short(&self, short: bool) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.short, short) != short {
            self.changed.notify_one();
        }
    }

    /// Whether it is, as was said last.
    pub(super) fn is_short(&self) -> bool {
        self.state.lock().short
    }

    /// How long tasks and letters are kept from now on.
    pub(super) fn retention(&self) -> Retention {
        self.state.lock().retention
    }

    /// Whether nothing more is to be tried.
    pub(super) fn is_over(&self) -> bool {
        self.state.lock().closing || self.is_damaged()
    }

    /// Lets go of all rows, now and from now on. Tells how many there were.
    pub(super) fn give_up(&self) -> usize {
        let mut state = self.state.lock();
        state.given_up = true;
        state.bytes = 0;
        self.look_at(0);
        std::mem::take(&mut state.rows).len()
    }

    /// Notes that the index was found damaged: nothing is taken in any longer, and nobody is to
    /// believe what was.
    pub(crate) fn note_damage(&self) {
        self.damaged.store(true, Ordering::Release);
        self.give_up();
        self.changed.notify_one();
    }

    /// Notes that rows are bad. The thread takes them out.
    pub(super) fn note_rows(&self, bad: Vec<BadRow>) {
        if bad.is_empty() {
            return;
        }
        let rows = &mut self.state.lock().suspicion.rows;
        let room = MOST_BAD.saturating_sub(rows.len());
        rows.extend(bad.into_iter().take(room));
        self.changed.notify_one();
    }

    /// Notes that a sum does not fit its checksum. The thread counts again.
    pub(super) fn suspect_sums(&self) {
        self.state.lock().suspicion.sums = true;
        self.changed.notify_one();
    }

    /// Notes that an index within the file does not seem to fit its table. The thread looks at the
    /// file, and makes its indexes again or finds it damaged.
    pub(super) fn suspect(&self, what: &str) {
        let order = &mut self.state.lock().suspicion.order;
        order.get_or_insert_with(|| what.to_owned());
        self.changed.notify_one();
    }

    /// What is to be looked at.
    pub(super) fn take_suspicion(&self) -> Suspicion {
        std::mem::take(&mut self.state.lock().suspicion)
    }

    /// Notes that rows were damaged and are gone.
    pub(super) fn note_lost(&self, rows: u64) {
        self.lost.fetch_add(rows, Ordering::Relaxed);
    }

    /// How many rows were damaged and are gone.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lets a check that takes long be ended by the end of the thread, until `None` says that it is
    /// over. Whether it may begin.
    pub(super) fn set_check(&self, check: Option<InterruptHandle>) -> bool {
        let mut state = self.state.lock();
        state.check = Check(check);
        !state.closing
    }

    /// Whether the index was found damaged.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// Whether nothing is taken any longer because the index cannot be written.
    pub(super) fn is_given_up(&self) -> bool {
        self.state.lock().given_up
    }

    /// Takes note of whether too many bytes wait, or no longer.
    fn look_at(&self, bytes: u64) {
        let was_full = self.is_congested();
        let is_full = bytes > if was_full { MOST_BYTES / 2 } else { MOST_BYTES };
        if is_full == was_full {
            return;
        }
        self.is_full.store(is_full, Ordering::Relaxed);
        if is_full {
            tracing::warn!(
                "the index cannot follow and too much waits for it: no durable work is taken in or \
                 handed out until it has caught up"
            );
        }
    }

    /// How many rows wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().rows.len()
    }

    /// Notes that all records up to a place are on disk.
    pub(crate) fn synced(&self, through: Sequence) {
        let mut state = self.state.lock();
        state.synced = state.synced.max(through);
        if state.ready() {
            self.changed.notify_one();
        }
    }

    /// Asks for everything up to a place to survive a crash of the machine. It is reported once
    /// that is so.
    pub(crate) fn keep(&self, through: Sequence) {
        let mut state = self.state.lock();
        state.wanted = state.wanted.max(Some(through));
        self.changed.notify_one();
    }

    /// Whether somebody waits for what is committed up to a place to survive; nobody does then.
    pub(super) fn take_wanted(&self, through: Sequence) -> bool {
        let mut state = self.state.lock();
        state.wanted.take_if(|wanted| *wanted <= through).is_some()
    }

    /// Waits for entries whose records are on disk, for as long as `most` says, and takes them out.
    /// `None` when the thread is to end.
    pub(super) fn take(&self, most: Option<Duration>) -> Option<Taken> {
        let mut state = self.state.lock();
        let damaged = || self.is_damaged();
        let is_over = |state: &State| state.closing || damaged();
        while !state.ready() && !state.is_wanted() && !state.has_news() && !is_over(&state) {
            match most {
                None => self.changed.wait(&mut state),
                Some(most) if self.changed.wait_for(&mut state, most).timed_out() => break,
                Some(_) => {}
            }
        }
        if state.closing || damaged() {
            return None;
        }
        let (synced, retention) = (state.synced, state.retention);
        state.told = Some((retention, state.short));
        let (mut entries, mut through, mut bytes) = (Entries::default(), synced, 0);
        while state.ready() {
            let next = state.rows.front().map(Waiting::place);
            // One record may tell of several.
            if (entries.len() >= BATCH || bytes >= BATCH_BYTES) && next > Some(through) {
                self.look_at(state.bytes);
                return Some(Taken { entries, through, retention });
            }
            let Some(Waiting { entry, bytes: more }) = state.rows.pop_front() else { break };
            through = entry.place();
            bytes += more;
            state.bytes = state.bytes.saturating_sub(more);
            entries.push(entry);
        }
        if state.rows.is_empty() {
            // After a burst this is a good part of what it took.
            state.rows.shrink_to(2 * BATCH);
        }
        self.look_at(state.bytes);
        Some(Taken { entries, through: synced, retention })
    }

    /// Gives entries time to gather until somebody wants something or there is enough for a commit.
    pub(super) fn gather(&self, most: Duration) {
        let until = Instant::now() + most;
        let mut state = self.state.lock();
        let is_enough = |state: &State| state.rows.len() >= BATCH || state.bytes >= BATCH_BYTES;
        while !(state.closing || self.is_damaged())
            && state.wanted.is_none()
            && state.suspicion.is_none()
            && !is_enough(&state)
        {
            if self.changed.wait_until(&mut state, until).timed_out() {
                return;
            }
        }
    }

    /// Nothing is taken any longer.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closing = true;
        if let Check(Some(check)) = &state.check {
            check.interrupt();
        }
        self.changed.notify_one();
    }

    /// Waits before another attempt; whether there is to be one.
    pub(super) fn pause(&self) -> bool {
        let mut state = self.state.lock();
        if !state.closing {
            self.changed.wait_for(&mut state, RETRY);
        }
        !(state.closing || self.is_damaged())
    }
}

impl State {
    /// Whether nothing but a flush is left to do for somebody who waits.
    fn is_wanted(&self) -> bool {
        self.wanted.is_some_and(|wanted| wanted <= self.synced)
    }

    /// Whether something is to be kept longer or shorter than the thread knows, or room is short, or
    /// something is to be looked at.
    fn has_news(&self) -> bool {
        self.told != Some((self.retention, self.short)) || !self.suspicion.is_none()
    }

    fn ready(&self) -> bool {
        self.rows.front().is_some_and(|waiting| waiting.place() <= self.synced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::rows::Row;
    use trunkline_engine::KeyRow;
    use trunkline_types::{MessageId, Partition, TenantId, WallTime};

    fn entry(place: u64) -> Entry {
        let id = MessageId::from_parts(1, Partition(0), place);
        let accepted = KeyRow { id, fingerprint: 0, expires_at: WallTime(1) };
        let key = format!("k-{place}").parse().unwrap();
        Entry::Key(Row { place: Sequence(place), tenant: TenantId::default(), key, accepted })
    }

    /// How many entries are taken, and how far the index then goes.
    fn take(feed: &Feed) -> (usize, Sequence) {
        let taken = feed.take(None).unwrap();
        (taken.entries.len(), taken.through)
    }

    #[test]
    fn only_rows_whose_records_are_on_disk_are_taken() {
        let feed = Feed::default();
        (1..=3).for_each(|place| feed.push(entry(place * 10)));
        feed.synced(Sequence(25));
        assert_eq!(take(&feed), (2, Sequence(25)));
        feed.synced(Sequence(30));
        assert_eq!(take(&feed), (1, Sequence(30)));
    }

    #[test]
    fn a_large_backlog_is_taken_in_parts_that_go_as_far_as_their_rows() {
        let feed = Feed::default();
        (1..=BATCH as u64 + 5).for_each(|place| feed.push(entry(place)));
        feed.synced(Sequence(1 << 20));
        assert_eq!(take(&feed), (BATCH, Sequence(BATCH as u64)));
        assert_eq!(take(&feed), (5, Sequence(1 << 20)));
    }

    #[test]
    fn what_one_record_tells_of_is_taken_at_once() {
        let feed = Feed::default();
        (1..=BATCH as u64).for_each(|place| feed.push(entry(place)));
        feed.push(entry(BATCH as u64));
        feed.push(entry(BATCH as u64 + 1));
        feed.synced(Sequence(1 << 20));
        assert_eq!(take(&feed), (BATCH + 1, Sequence(BATCH as u64)));
        assert_eq!(take(&feed), (1, Sequence(1 << 20)));
    }
}
