//! The thread that fills the index with what is told by records that are on disk. [`healing`] is what
//! it does about damage.

mod healing;

use crate::clock::Clock;
use crate::index::feed::{BATCH, Feed, Keep, Retention, Taken};
use crate::index::heal::Copied;
use crate::index::inspect;
use crate::index::letters::LETTERS;
use crate::index::room;
use crate::index::scrub::Scrub;
use crate::index::seal::BadRow;
use crate::index::store::{self, Entries, Store};
use crate::index::table::Bounds;
use crate::index::tasks::TASKS;
use rusqlite::{Error, ErrorCode};
use std::collections::BTreeSet;
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

/// How long it is until bad rows that could not be taken out are tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the thread sleeps between two looks at rows, and after an unclean stop.
const SCRUB: Duration = Duration::from_millis(25);
const SCRUB_SOON: Duration = Duration::from_millis(2);

/// How long entries gather after a commit, so that many travel in one.
const GATHER: Duration = Duration::from_millis(20);

/// The thread. Dropped, it ends after the batch at hand.
#[derive(Debug)]
pub(crate) struct IndexThread {
    feed: Arc<Feed>,
    thread: Option<thread::JoinHandle<()>>,
}

impl IndexThread {
    /// Starts the thread. The index comes with what is fed to it, and with whether its broker was not
    /// stopped in order, after which the file is looked through. `log` tells the log, whose records it takes, from others; `on_commit` is
    /// called on the thread with how far the index goes, `on_kept` with how far it survives a crash
    /// of the machine, if that was asked for with [`Feed::keep`], and `on_stopped` when nothing more
    /// is taken in.
    ///
    /// # Errors
    /// If the operating system refuses another thread.
    pub(crate) fn start(
        (store, feed, unclean): (Store, Arc<Feed>, bool),
        log: Vec<u8>,
        clock: Clock,
        on_commit: impl Fn(Sequence) + Send + 'static,
        on_kept: impl Fn(Sequence) + Send + 'static,
        on_stopped: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let mut worker = Worker::new(store, feed.clone(), log, clock);
        worker.unclean = unclean;
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

#[allow(clippy::struct_excessive_bools, reason = "each is about something else")]
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
    /// Whether the broker was not stopped in order.
    unclean: bool,
    /// How far the look at all rows has come.
    scrub: Scrub,
    /// When it was looked last for what is no longer kept, by which bounds, and what came since: the
    /// more goes at once the less each costs.
    expired: Option<(Instant, Retention)>,
    came: Came,
    /// How often the indexes within the file were made again.
    ordered: u32,
    /// Whether the file may lack something to list tasks by their changes, and when that could not be
    /// added last.
    lacks: bool,
    added: Option<Instant>,
    /// Rows that are bad and could not be taken out yet, which of them are copied, and when that was
    /// tried last.
    bad: BTreeSet<BadRow>,
    copied: Copied,
    tried: Option<Instant>,
    /// When it was read last what keys the file has.
    filled: Instant,
    /// Whether the log was read again, as is noted in the file until what it told is there.
    again: bool,
}

/// How many entries came.
#[derive(Default)]
struct Came {
    keys: usize,
    tasks: usize,
    letters: usize,
}

impl Came {
    fn add(&mut self, entries: &Entries) {
        self.keys += entries.keys.len();
        self.tasks += entries.tasks.len();
        self.letters += entries.letters.len();
    }

    fn most(&self) -> usize {
        self.keys.max(self.tasks).max(self.letters)
    }
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
            looked: None,
            short: None,
            told: None,
            gave_way: 0,
            is_pressed: false,
            folded: None,
            unclean: false,
            scrub: Scrub::new(),
            expired: None,
            came: Came::default(),
            ordered: 0,
            lacks: true,
            added: None,
            bad: BTreeSet::new(),
            copied: Copied::default(),
            tried: None,
            filled: Instant::now(),
            again: false,
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
        self.again = self.store.is_to_be_read_again().unwrap_or(false);
        // Before anything comes: a disk may be full within a second, and without the reserve nothing
        // could be deleted on it.
        self.look_at_room();
        self.look_through();
        self.fill_filter();
        while let Some(taken) = self.feed.take(pause) {
            let through = taken.through;
            self.heal();
            while !self.feed.is_damaged() {
                match self.commit(&taken, committed) {
                    Ok(next) => {
                        pause = next;
                        break;
                    }
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
                let kept = loop {
                    match self.store.keep() {
                        Ok(kept) => break kept,
                        Err(error) if self.goes_on(&error, 0) => {}
                        Err(_) => return,
                    }
                };
                if self.feed.is_damaged() {
                    return;
                }
                if kept {
                    on_kept(through);
                } else {
                    self.feed.keep(through);
                }
            }
            self.look();
            self.add_part();
            self.fill_filter_again();
            let soon = self.look_at_room().then_some(LOOK);
            let scrub = if self.unclean { SCRUB_SOON } else { SCRUB };
            let scrub = if self.bad.is_empty() {
                (!self.scrub.is_over()).then_some(scrub)
            } else {
                Some(AGAIN)
            };
            pause = [pause, soon, scrub].into_iter().flatten().min();
            self.feed.gather(GATHER);
        }
    }

    /// Whether a commit that failed is to be tried again, after a while; `taken` rows are in it.
    fn goes_on(&mut self, error: &Error, taken: usize) -> bool {
        if room::is_full(error) && self.make_room(false) {
            return !self.feed.is_over();
        }
        if store::is_astray(error) {
            return self.order(&error.to_string()) && !self.feed.is_over() || self.feed.pause();
        }
        let file = self.store.path().display();
        if store::is_damage(error) {
            tracing::error!(%error, %file, "the index cannot be written");
            self.feed.note_damage();
            return false;
        }
        // Somebody who only looks into the file may hold it for a while.
        if self.feed.waiting() > MOST_WAITING || (self.feed.is_congested() && !is_busy(error)) {
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
    fn free_pages(&mut self) -> Result<(), Error> {
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
    ) -> Result<Option<Duration>, Error> {
        let Taken { entries, through, retention } = taken;
        if committed != Some(*through) || entries.len() > 0 {
            self.free_pages()?;
            self.store.commit(entries, *through, &self.log)?;
        }
        if self.again && self.feed.waiting() == 0 {
            // Whatever the log told again is there.
            self.store.change(|transaction, _| store::set_again(transaction, false))?;
            self.again = false;
        }
        self.store.fold_growth(&mut self.folded)?;
        let now = self.clock.now().wall;
        self.came.add(entries);
        let looked = self.expired.as_ref();
        let is_soon = looked.is_some_and(|(at, kept)| at.elapsed() < LOOK && kept == retention);
        if is_soon && self.came.most() < BATCH {
            return Ok(Some(LOOK));
        }
        let came = std::mem::take(&mut self.came);
        self.expired = Some((Instant::now(), *retention));
        // Twice as many as came, so that what expired is gone sooner or later.
        let until = now.0.saturating_sub(millis(STAY));
        let mut bad = Vec::new();
        self.store.expire(WallTime(until), 2 * came.keys, &mut bad)?;
        self.feed.note_rows(bad);
        let (mut more, mut oldest) = (false, None);
        for (table, keep, came) in
            [(&TASKS, retention.tasks, came.tasks), (&LETTERS, retention.letters, came.letters)]
        {
            let most = (2 * came).max(STEP);
            more |= self.store.expire_past(table, bounds(keep, now), most)? == most;
            let first = self.store.oldest(table)?.map(|at| at.after(keep.keep));
            oldest = [oldest, first].into_iter().flatten().min();
        }
        if more {
            self.expired = None;
            return Ok(Some(Duration::ZERO));
        }
        Ok(oldest.map(|oldest: WallTime| oldest.since(now).max(LOOK)))
    }
}

/// Whether somebody else is at the file.
fn is_busy(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
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
mod tests;
