//! The thread that fills the index with what is told by records that are on disk.

use crate::clock::Clock;
use crate::index::rows::Entry;
use crate::index::store::{self, Entries, Store};
use crate::index::tasks::Bounds;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};
use trunkline_engine::EndedTask;
use trunkline_types::{Sequence, WallTime};

/// Most entries that one commit takes.
const BATCH: usize = 4096;

/// How many bytes of tasks one commit takes; the last task may exceed it.
const BATCH_BYTES: u64 = 16 << 20;

/// How many bytes of tasks may wait; those that come then are left out, which is counted and told.
const MOST_BYTES: u64 = 256 << 20;

/// How many tasks that are no longer kept are deleted at a time, unless more came.
const STEP: usize = 1000;

/// How long the thread sleeps at least until it looks again for tasks that are no longer kept.
const LOOK: Duration = Duration::from_secs(1);

/// How long rows stay after their window: a session may still send again what it sent within it.
pub(super) const STAY: Duration = Duration::from_hours(1);

/// How long the thread waits after an error before it tries again.
const RETRY: Duration = Duration::from_secs(1);

/// Most rows that wait while the index cannot be written, some tens of megabytes. The engine lets
/// go of keys whose window is over, so that its bound on keys does not bound these.
const MOST_WAITING: usize = 1 << 18;

/// Where rows gather. They are in the engine's memory as well until the index has them, so that
/// its bound on keys bounds these too while the index can be written.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// Short: a push, or taking a batch out.
    state: Mutex<State>,
    /// Told when there is something to commit, or the thread is to end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their places.
    rows: VecDeque<Entry>,
    /// Bytes of the tasks among them.
    bytes: u64,
    /// Whether tasks are being left out, because too many bytes of them wait.
    is_full: bool,
    /// How long tasks are kept.
    retention: Retention,
    /// Up to where records are on disk.
    synced: Sequence,
    /// Up to where it must survive a crash of the machine, if somebody waits for that.
    wanted: Option<Sequence>,
    closing: bool,
    /// Whether nobody takes rows any longer. The log has them: the index is made up for at the
    /// next start, and until then keys stay in the engine's memory.
    given_up: bool,
}

/// How long ended tasks are kept on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Retention {
    /// From their end.
    pub(crate) keep: Duration,
    /// Most bytes of them.
    pub(crate) bytes: u64,
}

/// The thread. Dropped, it ends after the batch at hand.
#[derive(Debug)]
pub(crate) struct IndexThread {
    feed: Arc<Feed>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Feed {
    /// Takes what a record tells that was decided upon, unless the index was given up.
    pub(crate) fn push(&self, entry: Entry) {
        let mut state = self.state.lock();
        if state.given_up {
            return;
        }
        let bytes = entry.bytes();
        let is_full = state.bytes > MOST_BYTES && bytes > 0;
        if is_full && !state.is_full {
            tracing::error!(
                "the index cannot follow and too much waits for it: tasks that end now can be \
                 read while they are in memory only, and are counted as forgotten then"
            );
        }
        // It ends once half has gone, so that it is not told with every other task.
        state.is_full = is_full || (state.is_full && state.bytes > MOST_BYTES / 2);
        if bytes == 0 || !state.is_full {
            state.bytes += bytes;
            state.rows.push_back(entry);
        }
    }

    /// Takes ended tasks of records that may lie before those of what waits.
    pub(crate) fn push_earlier(&self, tasks: Vec<Box<EndedTask>>) {
        tasks.into_iter().for_each(|task| self.push(Entry::Task(task)));
        self.state.lock().rows.make_contiguous().sort_by_key(Entry::place);
    }

    /// Sets how long tasks are kept from now on.
    pub(crate) fn retain(&self, retention: Retention) {
        self.state.lock().retention = retention;
        self.changed.notify_one();
    }

    /// Lets go of all rows, now and from now on. Tells how many there were.
    fn give_up(&self) -> usize {
        let mut state = self.state.lock();
        state.given_up = true;
        state.bytes = 0;
        std::mem::take(&mut state.rows).len()
    }

    /// How many rows wait.
    fn waiting(&self) -> usize {
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
    fn take_wanted(&self, through: Sequence) -> bool {
        let mut state = self.state.lock();
        state.wanted.take_if(|wanted| *wanted <= through).is_some()
    }

    /// Waits for entries whose records are on disk, for as long as `most` says, and takes them out.
    /// `None` when the thread is to end.
    fn take(&self, most: Option<Duration>) -> Option<Taken> {
        let mut state = self.state.lock();
        let before = state.retention;
        while !state.ready() && !state.is_wanted() && !state.closing && state.retention == before {
            match most {
                None => self.changed.wait(&mut state),
                Some(most) if self.changed.wait_for(&mut state, most).timed_out() => break,
                Some(_) => {}
            }
        }
        if state.closing {
            return None;
        }
        let (synced, retention) = (state.synced, state.retention);
        let (mut entries, mut through, mut bytes) = (Entries::default(), synced, 0);
        while state.ready() {
            if entries.len() == BATCH || bytes >= BATCH_BYTES {
                return Some(Taken { entries, through, retention });
            }
            let Some(entry) = state.rows.pop_front() else { break };
            through = entry.place();
            bytes += entry.bytes();
            state.bytes = state.bytes.saturating_sub(entry.bytes());
            entries.push(entry);
        }
        Some(Taken { entries, through: synced, retention })
    }

    /// Waits before another attempt; whether there is to be one.
    fn pause(&self) -> bool {
        let mut state = self.state.lock();
        if !state.closing {
            self.changed.wait_for(&mut state, RETRY);
        }
        !state.closing
    }
}

impl State {
    /// Whether nothing but a flush is left to do for somebody who waits.
    fn is_wanted(&self) -> bool {
        self.wanted.is_some_and(|wanted| wanted <= self.synced)
    }

    fn ready(&self) -> bool {
        self.rows.front().is_some_and(|entry| entry.place() <= self.synced)
    }
}

/// What was taken out to be committed.
#[derive(Debug)]
struct Taken {
    entries: Entries,
    /// How far the index goes once it has them.
    through: Sequence,
    retention: Retention,
}

impl IndexThread {
    /// Starts the thread. `log` tells the log, whose records it takes, from others; `on_commit` is
    /// called on the thread with how far the index goes, `on_kept` with how far it survives a crash
    /// of the machine, if that was asked for with [`Feed::keep`].
    ///
    /// # Errors
    /// If the operating system refuses another thread.
    pub(crate) fn start(
        store: Store,
        feed: Arc<Feed>,
        log: Vec<u8>,
        clock: Clock,
        on_commit: impl Fn(Sequence) + Send + 'static,
        on_kept: impl Fn(Sequence) + Send + 'static,
    ) -> io::Result<Self> {
        let worker = Worker { store, feed: feed.clone(), log, clock };
        let thread = thread::Builder::new()
            .name("trunkline-index".into())
            .spawn(move || worker.run(on_commit, on_kept))?;
        Ok(Self { feed, thread: Some(thread) })
    }
}

impl IndexThread {
    /// Where rows for it gather.
    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }
}

impl Drop for IndexThread {
    fn drop(&mut self) {
        self.feed.state.lock().closing = true;
        self.feed.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(
                "the index's thread panicked; the index is made up for at the next start"
            );
        }
    }
}

struct Worker {
    store: Store,
    feed: Arc<Feed>,
    log: Vec<u8>,
    clock: Clock,
}

impl Worker {
    fn run(mut self, on_commit: impl Fn(Sequence), on_kept: impl Fn(Sequence)) {
        let mut committed = None;
        let mut pause = Some(LOOK);
        while let Some(taken) = self.feed.take(pause) {
            let through = taken.through;
            loop {
                match self.commit(&taken, committed) {
                    Ok(next) => break pause = next,
                    Err(error) if self.goes_on(&error, taken.entries.len()) => {}
                    Err(_) => return,
                }
            }
            if committed != Some(through) {
                committed = Some(through);
                on_commit(through);
            }
            if self.feed.take_wanted(through) {
                while let Err(error) = self.store.keep() {
                    if !self.goes_on(&error, 0) {
                        return;
                    }
                }
                on_kept(through);
            }
        }
    }

    /// Whether a commit that failed is to be tried again, after a while; `taken` rows are in it.
    fn goes_on(&self, error: &rusqlite::Error, taken: usize) -> bool {
        let file = self.store.path().display();
        if store::is_damage(error) {
            let rows = self.feed.give_up() + taken;
            tracing::error!(%error, %file, rows, "the index is damaged; keys and ended tasks stay \
                in memory until the next start makes it again");
            if let Err(error) = store::delete(self.store.path()) {
                tracing::error!(%error, %file, "the damaged index cannot be deleted");
            }
            return false;
        }
        if self.feed.waiting() > MOST_WAITING {
            let rows = self.feed.give_up() + taken;
            tracing::error!(%error, %file, rows, "the index cannot be written and too much waits \
                for it; keys and ended tasks stay in memory until the next start brings it up to \
                the log");
            return false;
        }
        tracing::warn!(%error, %file, "the index cannot be written; trying again");
        self.feed.pause()
    }

    /// Commits what was taken, and deletes some of what is no longer kept. Returns how long it may
    /// be until somebody looks again for that.
    fn commit(
        &mut self,
        taken: &Taken,
        committed: Option<Sequence>,
    ) -> Result<Option<Duration>, rusqlite::Error> {
        let Taken { entries, through, retention } = taken;
        if committed != Some(*through) || entries.len() > 0 {
            self.store.commit(entries, *through, &self.log)?;
        }
        // Twice as many as came, so that what expired is gone sooner or later.
        let now = self.clock.now().wall;
        let until = now.0.saturating_sub(millis(STAY));
        self.store.expire(WallTime(until), 2 * entries.keys.len())?;
        let until = WallTime(now.0.saturating_sub(millis(retention.keep)));
        let most = (2 * entries.tasks.len()).max(STEP);
        let gone = self.store.expire_tasks(Bounds { until, bytes: retention.bytes }, most)?;
        if gone == most {
            return Ok(Some(Duration::ZERO));
        }
        let oldest = self.store.oldest_task()?;
        Ok(oldest.map(|oldest| oldest.after(retention.keep).since(now).max(LOOK)))
    }
}

/// How long a span is in milliseconds.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::rows::Row;
    use trunkline_engine::KeyRow;
    use trunkline_types::{MessageId, Partition, TenantId};

    fn entry(place: u64) -> Entry {
        Entry::Key(row(place, WallTime(1)))
    }

    /// How many entries are taken, and how far the index then goes.
    fn take(feed: &Feed) -> (usize, Sequence) {
        let taken = feed.take(None).unwrap();
        (taken.entries.len(), taken.through)
    }

    fn taken(keys: &[Row], through: u64) -> Taken {
        let entries = Entries { keys: keys.to_vec(), tasks: Vec::new() };
        Taken { entries, through: Sequence(through), retention: Retention::default() }
    }

    fn row(place: u64, expires_at: WallTime) -> Row {
        let id = MessageId::from_parts(1, Partition(0), place);
        let accepted = KeyRow { id, fingerprint: u64::MAX - place, expires_at };
        let key = format!("k-{place}").parse().unwrap();
        Row { place: Sequence(place), tenant: TenantId::default(), key, accepted }
    }

    fn worker(folder: &std::path::Path) -> Worker {
        let store = Store::open(folder).unwrap();
        Worker { store, feed: Arc::default(), log: vec![7], clock: Clock::new() }
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
    fn after_damage_no_row_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let worker = worker(folder.path());
        let feed = worker.feed.clone();
        (1..=3).for_each(|place| feed.push(entry(place)));
        let damage = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        assert!(!worker.goes_on(&rusqlite::Error::SqliteFailure(damage, None), 0));
        assert_eq!(feed.waiting(), 0);
        feed.push(entry(4));
        assert_eq!(feed.waiting(), 0);
    }

    #[test]
    fn rows_that_cannot_be_written_are_let_go_when_there_are_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let worker = worker(folder.path());
        let feed = worker.feed.clone();
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        let full = rusqlite::Error::SqliteFailure(full, None);
        feed.state.lock().rows.resize(MOST_WAITING, entry(1));
        // Told, so that the pause ends at once.
        let waker = feed.clone();
        let over = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Acquire) {
                    waker.changed.notify_one();
                    thread::yield_now();
                }
            });
            assert!(worker.goes_on(&full, 0), "as many as may wait");
            over.store(true, std::sync::atomic::Ordering::Release);
        });
        assert_eq!(feed.waiting(), MOST_WAITING);
        feed.push(entry(2));
        assert!(!worker.goes_on(&full, 0), "one more");
        feed.push(entry(3));
        assert_eq!(feed.waiting(), 0);
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
    fn rows_are_found_as_they_were_and_go_when_they_have_long_expired() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = worker(folder.path());
        let now = worker.clock.now().wall;
        let long_over = WallTime(now.0 - 2 * millis(STAY));
        let rows = [row(1, long_over), row(2, long_over), row(3, now), row(4, now)];
        worker.commit(&taken(&rows, 9), None).unwrap();
        assert_eq!(worker.store.state().unwrap(), (Sequence(9), vec![7]));
        let reader = crate::index::reader::Reader::open(worker.store.path()).unwrap();
        let found = |place: usize| {
            let Row { tenant, key, .. } = &rows[place];
            trunkline_engine::KeyIndex::find(&reader, tenant, key)
        };
        assert_eq!([found(0), found(1)], [Ok(None), Ok(None)]);
        assert_eq!([found(2), found(3)], [Ok(Some(rows[2].accepted)), Ok(Some(rows[3].accepted))]);
    }

    #[test]
    fn a_key_used_again_after_its_window_has_its_latest_row() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = worker(folder.path());
        let first = row(1, worker.clock.now().wall);
        let mut second = row(2, worker.clock.now().wall);
        second.key = first.key.clone();
        worker.commit(&taken(&[first.clone(), second.clone()], 2), None).unwrap();
        worker.commit(&taken(std::slice::from_ref(&first), 2), None).unwrap();
        let reader = crate::index::reader::Reader::open(worker.store.path()).unwrap();
        let found = trunkline_engine::KeyIndex::find(&reader, &first.tenant, &first.key);
        assert_eq!(found, Ok(Some(second.accepted)));
    }
}
