//! The thread that fills the index with what is told by records that are on disk.

use crate::clock::Clock;
use crate::index::feed::{Feed, Keep, Taken};
use crate::index::inspect;
use crate::index::letters::LETTERS;
use crate::index::room;
use crate::index::store::{self, Store};
use crate::index::table::Bounds;
use crate::index::tasks::TASKS;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use trunkline_types::{Sequence, WallTime};

/// How many tasks that are no longer kept are deleted at a time, unless more came.
const STEP: usize = 1000;

/// How long the thread sleeps at least until it looks again for tasks that are no longer kept.
const LOOK: Duration = Duration::from_secs(1);

/// How long rows stay after their window: a session may still send again what it sent within it.
pub(super) const STAY: Duration = Duration::from_hours(1);

/// Most rows that wait while the index cannot be written, some tens of megabytes. The engine lets
/// go of keys whose window is over, so that its bound on keys does not bound these.
const MOST_WAITING: usize = 1 << 18;

/// How often at most it is told that the index cannot be written.
const TELL: Duration = Duration::from_secs(10);

/// How long work must have been refused for want of room before history gives way to it: the log
/// looks for room only now and then.
const SHORT: Duration = Duration::from_secs(5);

/// How long entries gather after a commit, so that many travel in one.
const GATHER: Duration = Duration::from_millis(20);

/// The thread. Dropped, it ends after the batch at hand.
#[derive(Debug)]
pub(crate) struct IndexThread {
    feed: Arc<Feed>,
    thread: Option<thread::JoinHandle<()>>,
}

impl IndexThread {
    /// Starts the thread. `log` tells the log, whose records it takes, from others; `on_commit` is
    /// called on the thread with how far the index goes, `on_kept` with how far it survives a crash
    /// of the machine, if that was asked for with [`Feed::keep`], and `on_stopped` when nothing more
    /// is taken in.
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
        on_stopped: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let worker = Worker::new(store, feed.clone(), log, clock);
        let thread = thread::Builder::new().name("trunkline-index".into()).spawn(move || {
            let feed = worker.feed.clone();
            worker.run(on_commit, on_kept);
            if feed.is_given_up() {
                on_stopped();
            }
        })?;
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
        self.feed.close();
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
    /// Whether the reserve for a full disk is there, or cannot be made for another reason.
    is_reserved: bool,
    /// Whether the disk was full when the reserve was looked at last.
    is_tight: bool,
    /// When that was looked at.
    looked: Option<Instant>,
    /// Since when work is refused for want of room.
    short: Option<Instant>,
    /// When it was told last that the index cannot be written.
    told: Option<Instant>,
    /// How many rows have given way that nobody was told of.
    gave_way: usize,
    /// Whether some have since the last commit.
    is_pressed: bool,
    /// How many pages the file had when all was folded in.
    folded: Option<u64>,
}

impl Worker {
    fn new(store: Store, feed: Arc<Feed>, log: Vec<u8>, clock: Clock) -> Self {
        Self {
            store,
            feed,
            log,
            clock,
            is_reserved: false,
            is_tight: false,
            // Not at once: there is enough to do.
            looked: Some(Instant::now()),
            short: None,
            told: None,
            gave_way: 0,
            is_pressed: false,
            folded: None,
        }
    }

    fn run(mut self, on_commit: impl Fn(Sequence), on_kept: impl Fn(Sequence)) {
        self.fill(on_commit, on_kept);
        if self.feed.is_damaged() {
            let (file, folder) = (self.store.path().display(), self.store.folder());
            tracing::error!(%file, "the index is damaged and takes in nothing more; what comes now \
                stays in memory and in the log, which is not cleaned any more, and the next start \
                puts the index aside");
            if let Err(error) = inspect::mark(folder) {
                tracing::error!(%error, %file, "the index cannot be marked as damaged");
            }
        }
    }

    fn fill(&mut self, on_commit: impl Fn(Sequence), on_kept: impl Fn(Sequence)) {
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
            if self.feed.is_damaged() {
                // Nobody is to rely on what went in.
                return;
            }
            if committed != Some(through) {
                committed = Some(through);
                self.is_pressed = false;
                on_commit(through);
            }
            if self.feed.take_wanted(through) {
                while let Err(error) = self.store.keep() {
                    if !self.goes_on(&error, 0) {
                        return;
                    }
                }
                if self.feed.is_damaged() {
                    return;
                }
                on_kept(through);
            }
            if self.look_at_room() {
                pause = Some(pause.map_or(LOOK, |pause| pause.min(LOOK)));
            }
            self.feed.gather(GATHER);
        }
    }

    /// Whether a commit that failed is to be tried again, after a while; `taken` rows are in it.
    fn goes_on(&mut self, error: &rusqlite::Error, taken: usize) -> bool {
        if room::is_full(error) && self.make_room(false) {
            return !self.feed.is_over();
        }
        let file = self.store.path().display();
        if store::is_damage(error) {
            tracing::error!(%error, %file, "the index cannot be written");
            self.feed.note_damage();
            return false;
        }
        // Somebody who only looks into the file may hold it for a while.
        let is_busy = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy);
        if self.feed.waiting() > MOST_WAITING || (self.feed.is_congested() && !is_busy) {
            let rows = self.feed.give_up() + taken;
            tracing::error!(%error, %file, rows, "the index cannot be written and too much waits \
                for it; what comes now stays in memory until the next start brings it up to \
                the log");
            return false;
        }
        if self.told.is_none_or(|told| told.elapsed() >= TELL) {
            self.told = Some(Instant::now());
            tracing::warn!(%error, %file, "the index cannot be written; trying again");
        }
        self.feed.pause()
    }

    /// Lets history give way to work on a full disk: to that of the index, or to all on the disk.
    /// Whether it may help to try again at once.
    fn make_room(&mut self, give_back: bool) -> bool {
        (self.is_reserved, self.is_tight) = (false, true);
        let (retention, now) = (self.feed.retention(), self.clock.now().wall);
        let tasks = bounds(retention.tasks, now);
        let again = !give_back && std::mem::replace(&mut self.is_pressed, true);
        let bounds = (tasks, bounds(retention.letters, now));
        let made = self.store.make_room(bounds, again, give_back);
        // It may have become smaller.
        self.folded = Some(0);
        if let Ok(room) = &made {
            self.gave_way += room.rows;
        }
        if self.told.is_none_or(|told| told.elapsed() >= TELL) {
            self.told = Some(Instant::now());
            let (rows, file) = (std::mem::take(&mut self.gave_way), self.store.path().display());
            tracing::warn!(rows, %file, "the disk is full: the oldest ended tasks give way to work, \
                and what is past its time goes");
        }
        match made {
            Ok(room) => room.helps,
            Err(error) => {
                tracing::debug!(%error, "history cannot give way");
                false
            }
        }
    }

    /// While there is no reserve the file is not to grow, for it could not be folded in: history gives
    /// way beforehand.
    fn free_pages(&mut self) -> Result<(), rusqlite::Error> {
        while self.is_tight && !self.store.has_free_pages()? && self.make_room(false) {}
        Ok(())
    }

    /// Sees to the reserve, and lets history give way while work is refused for want of room.
    /// Whether to look again soon.
    fn look_at_room(&mut self) -> bool {
        self.short =
            if self.feed.is_short() { self.short.or_else(|| Some(Instant::now())) } else { None };
        if self.is_reserved && self.short.is_none() {
            return false;
        }
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return true;
        }
        self.looked = Some(Instant::now());
        let is_short = self.short.is_some_and(|since| since.elapsed() >= SHORT);
        let reserved = if is_short { Err(ErrorKind::StorageFull) } else { self.reserve() };
        // Where nothing can be given back, nothing is won for others.
        if reserved == Err(ErrorKind::StorageFull) && self.store.gives_back() == Ok(true) {
            self.make_room(true);
            _ = self.reserve();
        }
        !self.is_reserved || self.short.is_some()
    }

    /// Makes the reserve unless it is there.
    fn reserve(&mut self) -> Result<(), ErrorKind> {
        let made = self.store.reserve().map_err(|error| (error.kind(), error));
        (self.is_reserved, self.is_tight) = (true, false);
        match made {
            Ok(()) => Ok(()),
            Err((ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _)) => {
                (self.is_reserved, self.is_tight) = (false, true);
                Err(ErrorKind::StorageFull)
            }
            Err((kind, error)) => {
                tracing::warn!(%error, "the index has no reserve for a full disk");
                Err(kind)
            }
        }
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
            self.free_pages()?;
            self.store.commit(entries, *through, &self.log)?;
        }
        self.store.fold_growth(&mut self.folded)?;
        // Twice as many as came, so that what expired is gone sooner or later.
        let now = self.clock.now().wall;
        let until = now.0.saturating_sub(millis(STAY));
        self.store.expire(WallTime(until), 2 * entries.keys.len())?;
        let (mut more, mut oldest) = (false, None);
        for (table, keep, came) in [
            (&TASKS, retention.tasks, entries.tasks.len()),
            (&LETTERS, retention.letters, entries.letters.len()),
        ] {
            let most = (2 * came).max(STEP);
            more |= self.store.expire_past(table, bounds(keep, now), most)? == most;
            let first = self.store.oldest(table)?.map(|at| at.after(keep.keep));
            oldest = [oldest, first].into_iter().flatten().min();
        }
        if more {
            return Ok(Some(Duration::ZERO));
        }
        Ok(oldest.map(|oldest: WallTime| oldest.since(now).max(LOOK)))
    }
}

/// What is out of bounds now.
fn bounds(keep: Keep, now: WallTime) -> Bounds {
    Bounds { until: WallTime(now.0.saturating_sub(millis(keep.keep))), bytes: keep.bytes }
}

/// How long a span is in milliseconds.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::feed::Retention;
    use crate::index::rows::{Entry, Row};
    use crate::index::store::Entries;
    use trunkline_engine::KeyRow;
    use trunkline_types::{MessageId, Partition, TenantId};

    fn entry(place: u64) -> Entry {
        Entry::Key(row(place, WallTime(1)))
    }

    fn taken(keys: &[Row], through: u64) -> Taken {
        let entries = Entries { keys: keys.to_vec(), ..Entries::default() };
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
        Worker::new(store, Arc::default(), vec![7], Clock::new())
    }

    #[test]
    fn after_damage_no_row_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = worker(folder.path());
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
        let mut worker = worker(folder.path());
        let feed = worker.feed.clone();
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        let full = rusqlite::Error::SqliteFailure(full, None);
        (1..=MOST_WAITING as u64).for_each(|_| feed.push(entry(1)));
        // Told, so that the pause ends at once.
        let waker = feed.clone();
        let over = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Acquire) {
                    waker.synced(Sequence(9));
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
    fn rows_are_found_as_they_were_and_go_when_they_have_long_expired() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = worker(folder.path());
        let now = worker.clock.now().wall;
        let long_over = WallTime(now.0 - 2 * millis(STAY));
        let rows = [row(1, long_over), row(2, long_over), row(3, now), row(4, now)];
        worker.commit(&taken(&rows, 9), None).unwrap();
        assert_eq!(worker.store.state().unwrap(), (Sequence(9), vec![7]));
        let reader =
            crate::index::reader::Reader::open(worker.store.path(), Arc::default()).unwrap();
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
        let reader =
            crate::index::reader::Reader::open(worker.store.path(), Arc::default()).unwrap();
        let found = trunkline_engine::KeyIndex::find(&reader, &first.tenant, &first.key);
        assert_eq!(found, Ok(Some(second.accepted)));
    }

    fn ended(place: u64) -> trunkline_engine::EndedTask {
        let id = MessageId::from_parts(place, Partition(0), place);
        let task = trunkline_types::TaskSnapshot {
            id,
            destination: "skill:s".parse().unwrap(),
            source: "b".parse().ok(),
            context_id: None,
            causation_id: None,
            root_id: None,
            state: trunkline_types::TaskState::Completed,
            reason: None,
            agent: "a".parse().ok(),
            attempts: 1,
            notes: Vec::new(),
            progress: None,
            result: Some("r".into()),
            last_event: 0,
            created_at: WallTime(place),
            updated_at: WallTime(place),
            history: trunkline_types::History::default(),
        };
        trunkline_engine::EndedTask {
            place: Sequence(place),
            tenant: TenantId::default(),
            kind: trunkline_types::Kind::Request,
            task,
            payload: "x".repeat(1000).as_str().into(),
            ended: None,
            events: std::collections::VecDeque::new(),
        }
    }

    fn history(places: std::ops::RangeInclusive<u64>) -> Taken {
        let entries = Entries { tasks: places.clone().map(ended).collect(), ..Entries::default() };
        let through = Sequence(*places.end());
        Taken { entries, through, retention: Retention::default() }
    }

    /// An index of so many tasks, and a disk that has hardly any room left for it.
    fn full(folder: &std::path::Path, tasks: u64) -> Worker {
        let mut worker = worker(folder);
        worker.commit(&history(1..=tasks), None).unwrap();
        worker.store.keep().unwrap();
        let pages = worker.store.connection();
        let pages: u32 = pages.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let limit = format!("PRAGMA max_page_count = {}", pages + 8);
        worker.store.connection().query_row(&limit, [], |_| Ok(())).unwrap();
        worker
    }

    fn places(worker: &Worker) -> (i64, i64, i64) {
        let sql = "SELECT count(*), min(place), max(place) FROM tasks";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        worker.store.connection().query_row(sql, [], read).unwrap()
    }

    #[test]
    fn on_a_full_disk_the_oldest_tasks_give_way_to_what_comes() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = full(folder.path(), 20_000);
        let more = history(20_001..=20_500);
        let mut refused = 0;
        while let Err(error) = worker.commit(&more, None) {
            assert!(room::is_full(&error), "{error}");
            refused += 1;
            assert!(refused < 20 && worker.goes_on(&error, 500), "{refused}");
        }
        assert!(refused > 0, "there was room");
        let (count, first, last) = places(&worker);
        assert!(first > 1 && last == 20_500 && count == last - first + 1, "{count} from {first}");
        assert!(count > 10_000, "no more than is needed: {count}");
        let sum = "SELECT sum(tasks) FROM task_sums";
        assert_eq!(worker.store.connection().query_row(sum, [], |row| row.get(0)), Ok(count));
    }

    #[test]
    fn a_lowered_bound_acts_on_a_full_disk() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = full(folder.path(), 3000);
        let tasks = Keep { bytes: 1 << 20, ..Keep::default() };
        worker.feed.retain(Retention { tasks, ..Retention::default() });
        let more = history(3001..=3500);
        let mut refused = 0;
        while let Err(error) = worker.commit(&more, None) {
            refused += 1;
            assert!(refused < 20 && worker.goes_on(&error, 500), "{refused}");
        }
        let (count, first, _) = places(&worker);
        assert!(first >= 1001 && count <= 2500, "{count} from {first}");
    }

    #[test]
    fn what_gave_way_is_given_back_to_the_disk_and_the_reserve_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = full(folder.path(), 9000);
        assert_eq!(worker.reserve(), Ok(()));
        let reserve = folder.path().join("keys.sqlite-reserve");
        assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 8 << 20);
        let bytes = || std::fs::metadata(folder.path().join("keys.sqlite")).unwrap().len();
        let before = bytes();
        std::fs::remove_file(&reserve).unwrap();
        for _ in 0..4 {
            worker.make_room(true);
        }
        assert!(bytes() < before - (500 << 10), "{before} and {}", bytes());
        assert!(reserve.exists(), "made again");
    }
}
