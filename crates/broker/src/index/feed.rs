//! The thread that fills the index with the keys of records that are on disk.

use crate::clock::Clock;
use crate::index::rows::Row;
use crate::index::store::{self, Store};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};
use trunkline_types::{Sequence, WallTime};

/// Most rows that one commit takes.
const BATCH: usize = 4096;

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
    rows: VecDeque<Row>,
    /// Up to where records are on disk.
    synced: Sequence,
    /// Up to where it must survive a crash of the machine, if somebody waits for that.
    wanted: Option<Sequence>,
    closing: bool,
    /// Whether nobody takes rows any longer. The log has them: the index is made up for at the
    /// next start, and until then keys stay in the engine's memory.
    given_up: bool,
}

/// The thread. Dropped, it ends after the batch at hand.
#[derive(Debug)]
pub(crate) struct IndexThread {
    feed: Arc<Feed>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Feed {
    /// Takes the row of a record that was decided upon, unless the index was given up.
    pub(crate) fn push(&self, row: Row) {
        let mut state = self.state.lock();
        if !state.given_up {
            state.rows.push_back(row);
        }
    }

    /// Lets go of all rows, now and from now on. Tells how many there were.
    fn give_up(&self) -> usize {
        let mut state = self.state.lock();
        state.given_up = true;
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

    /// Waits for rows whose records are on disk, and takes them out, with how far the index goes
    /// once it has them. `None` when the thread is to end.
    fn take(&self) -> Option<(Vec<Row>, Sequence)> {
        let mut state = self.state.lock();
        while !state.ready() && !state.is_wanted() && !state.closing {
            self.changed.wait(&mut state);
        }
        if state.closing {
            return None;
        }
        let synced = state.synced;
        let ready = state.rows.iter().take(BATCH).take_while(|row| row.place <= synced).count();
        let rows: Vec<_> = state.rows.drain(..ready).collect();
        let through = match (state.ready(), rows.last()) {
            (true, Some(last)) => last.place,
            _ => synced,
        };
        Some((rows, through))
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
        self.rows.front().is_some_and(|row| row.place <= self.synced)
    }
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
    pub(crate) fn feed(&self) -> &Feed {
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
        while let Some((rows, through)) = self.feed.take() {
            while let Err(error) = self.commit(&rows, through) {
                if !self.goes_on(&error, rows.len()) {
                    return;
                }
            }
            on_commit(through);
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
            tracing::error!(%error, %file, rows, "the key index is damaged; keys stay in memory \
                until the next start makes it again");
            if let Err(error) = store::delete(self.store.path()) {
                tracing::error!(%error, %file, "the damaged key index cannot be deleted");
            }
            return false;
        }
        if self.feed.waiting() > MOST_WAITING {
            let rows = self.feed.give_up() + taken;
            tracing::error!(%error, %file, rows, "the key index cannot be written and too much \
                waits for it; keys stay in memory until the next start brings it up to the log");
            return false;
        }
        tracing::warn!(%error, %file, "the key index cannot be written; trying again");
        self.feed.pause()
    }

    fn commit(&mut self, rows: &[Row], through: Sequence) -> Result<(), rusqlite::Error> {
        self.store.commit(rows, through, &self.log)?;
        // Twice as many as came, so that what expired is gone sooner or later.
        let until = self.clock.now().wall.0.saturating_sub(millis(STAY));
        self.store.expire(WallTime(until), 2 * rows.len())?;
        Ok(())
    }
}

/// How long a span is in milliseconds.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_engine::KeyRow;
    use trunkline_types::{MessageId, Partition, TenantId};

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
        (1..=3).for_each(|place| feed.push(row(place * 10, WallTime(1))));
        feed.synced(Sequence(25));
        let (rows, through) = feed.take().unwrap();
        assert_eq!((rows.len(), through), (2, Sequence(25)));
        feed.synced(Sequence(30));
        assert_eq!(feed.take().unwrap().1, Sequence(30));
    }

    #[test]
    fn after_damage_no_row_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let worker = worker(folder.path());
        let feed = worker.feed.clone();
        (1..=3).for_each(|place| feed.push(row(place, WallTime(1))));
        let damage = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        assert!(!worker.goes_on(&rusqlite::Error::SqliteFailure(damage, None), 0));
        assert_eq!(feed.waiting(), 0);
        feed.push(row(4, WallTime(1)));
        assert_eq!(feed.waiting(), 0);
    }

    #[test]
    fn rows_that_cannot_be_written_are_let_go_when_there_are_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let worker = worker(folder.path());
        let feed = worker.feed.clone();
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        let full = rusqlite::Error::SqliteFailure(full, None);
        feed.state.lock().rows.resize(MOST_WAITING, row(1, WallTime(1)));
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
        feed.push(row(2, WallTime(1)));
        assert!(!worker.goes_on(&full, 0), "one more");
        feed.push(row(3, WallTime(1)));
        assert_eq!(feed.waiting(), 0);
    }

    #[test]
    fn a_large_backlog_is_taken_in_parts_that_go_as_far_as_their_rows() {
        let feed = Feed::default();
        (1..=BATCH as u64 + 5).for_each(|place| feed.push(row(place, WallTime(1))));
        feed.synced(Sequence(1 << 20));
        let (rows, through) = feed.take().unwrap();
        assert_eq!((rows.len(), through), (BATCH, Sequence(BATCH as u64)));
        assert_eq!(feed.take().unwrap().1, Sequence(1 << 20));
    }

    #[test]
    fn rows_are_found_as_they_were_and_go_when_they_have_long_expired() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = worker(folder.path());
        let now = worker.clock.now().wall;
        let long_over = WallTime(now.0 - 2 * millis(STAY));
        let rows = [row(1, long_over), row(2, long_over), row(3, now), row(4, now)];
        worker.commit(&rows, Sequence(9)).unwrap();
        assert_eq!(worker.store.state().unwrap(), (Sequence(9), vec![7]));
        let reader = crate::index::reader::KeyReader::open(worker.store.path()).unwrap();
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
        worker.commit(&[first.clone(), second.clone()], Sequence(2)).unwrap();
        worker.commit(std::slice::from_ref(&first), Sequence(2)).unwrap();
        let reader = crate::index::reader::KeyReader::open(worker.store.path()).unwrap();
        let found = trunkline_engine::KeyIndex::find(&reader, &first.tenant, &first.key);
        assert_eq!(found, Ok(Some(second.accepted)));
    }
}
