//! Room on the disk for the index: a reserve for when there is none, and history that gives way to
//! work.
//!
//! What the log gives up it gives up once the index is on disk, and even a delete needs room in the
//! write-ahead log. So a file beside the index holds some, which is given up on a full disk and made
//! again when there is room. Whatever the write-ahead log adds to the file is folded in before it
//! comes to as much, so that the reserve is enough to fold all of it in.

use crate::index::letters::LETTERS;
use crate::index::store::Store;
use crate::index::table::{Bounds, Table};
use crate::index::tasks::TASKS;
use rusqlite::{Error, ErrorCode};
use std::io::Write;
use std::path::PathBuf;
use std::{fs, io};
use trunkline_types::WallTime;

/// What is behind the index's name in that of the reserve.
const SUFFIX: &str = "-reserve";

/// How many bytes the reserve has.
const RESERVE: usize = 8 << 20;

/// How many bytes the file may lack that are in the write-ahead log only.
const UNFOLDED: u64 = 2 << 20;

/// How many bytes of history give way at a time, and how many are given back to the disk.
const STEP: u64 = 4 << 20;

/// With so many bytes of free pages the file itself has room for whatever is committed at once.
const AMPLE: u64 = 64 << 20;

/// How many rows give way at a time, fewer if even that finds no room.
const ROWS: [usize; 3] = [1000, 100, 10];

/// What came of making room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    /// How many rows gave way.
    pub(super) rows: usize,
    /// Whether it may help to try again: there is more room than before.
    pub(super) helps: bool,
}

/// Whether an error says that the disk is full.
pub(super) fn is_full(error: &Error) -> bool {
    match error {
        Error::SqliteFailure(failure, _) => {
            failure.code == ErrorCode::DiskFull
                || failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
        }
        _ => false,
    }
}

impl Store {
    /// Makes the reserve unless it is there.
    ///
    /// # Errors
    /// What the disk says, [`io::ErrorKind::StorageFull`] if it is full.
    pub(super) fn reserve(&self) -> io::Result<()> {
        let path = self.reserve_path();
        if fs::metadata(&path).is_ok_and(|found| found.len() == RESERVE as u64) {
            return Ok(());
        }
        // Real zeros, for not every file system can set room aside.
        let zeros = vec![0; 1 << 20];
        let made = fs::File::create(&path).and_then(|mut file| {
            (0..RESERVE / zeros.len()).try_for_each(|_| file.write_all(&zeros))?;
            file.sync_data()
        });
        if made.is_err() {
            self.give_reserve_up();
        }
        made
    }

    /// Whether it was there.
    fn give_reserve_up(&self) -> bool {
        match fs::remove_file(self.reserve_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the reserve of the index cannot be given up");
                false
            }
            given_up => given_up.is_ok(),
        }
    }

    fn reserve_path(&self) -> PathBuf {
        let mut path = self.path().as_os_str().to_owned();
        path.push(SUFFIX);
        path.into()
    }

    /// Whether pages that come free can be given back to the disk. An index of an earlier version
    /// only uses them again.
    pub(super) fn gives_back(&self) -> Result<bool, Error> {
        self.number("PRAGMA auto_vacuum").map(|mode| mode != 0)
    }

    /// Makes room on a full disk: what is out of its bounds goes, and if that was nothing and no
    /// few pages are free, the oldest ended tasks. If that was done before and did not help, more are
    /// wanted free. Dead letters within their bounds stay, as they can be sent again.
    ///
    /// # Errors
    /// What SQLite says if not even that could be done.
    pub(super) fn make_room(
        &mut self,
        tasks: Bounds,
        letters: Bounds,
        again: bool,
    ) -> Result<Room, Error> {
        let gave_up = self.give_reserve_up();
        // What fails here for want of room is tried again below with less to fold in.
        if let Err(error) = self.keep() {
            tracing::debug!(%error, "the write-ahead log of the index cannot be folded in yet");
        }
        let mut rows = self.give_way(&TASKS, tasks)? + self.give_way(&LETTERS, letters)?;
        if rows == 0 && self.free_bytes()? < if again { AMPLE } else { STEP } {
            let bytes = TASKS.bytes(self.connection())?.saturating_sub(STEP);
            rows = self.give_way(&TASKS, Bounds { until: WallTime(0), bytes })?;
        }
        let free = self.free_bytes()?;
        if free > 0 && self.gives_back()? {
            let pages = STEP / self.page_size()?;
            let vacuum = format!("PRAGMA incremental_vacuum({pages})");
            let mut vacuum = self.connection().prepare(&vacuum)?;
            let mut steps = vacuum.query([])?;
            while steps.next()?.is_some() {}
        }
        self.keep()?;
        Ok(Room { rows, helps: gave_up || rows > 0 || self.free_bytes()? < free })
    }

    /// Deletes some of what is out of bounds, as much as there is room for.
    fn give_way(&mut self, table: &Table, bounds: Bounds) -> Result<usize, Error> {
        let mut last = Ok(0);
        for most in ROWS {
            last = self.expire_past(table, bounds, most);
            if !last.as_ref().is_err_and(is_full) {
                break;
            }
        }
        last
    }

    /// Folds in what the write-ahead log adds to the file once it is much.
    ///
    /// # Errors
    /// What SQLite says.
    pub(super) fn fold_growth(&mut self) -> Result<(), Error> {
        let pages = self.number("PRAGMA page_count")?;
        let there = fs::metadata(self.path()).map_or(0, |file| file.len());
        if (pages * self.page_size()?).saturating_sub(there) <= UNFOLDED {
            return Ok(());
        }
        self.connection().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }

    fn free_bytes(&self) -> Result<u64, Error> {
        Ok(self.number("PRAGMA freelist_count")? * self.page_size()?)
    }

    fn page_size(&self) -> Result<u64, Error> {
        self.number("PRAGMA page_size").map(|size| size.max(1))
    }

    fn number(&self, pragma: &str) -> Result<u64, Error> {
        let mut statement = self.connection().prepare_cached(pragma)?;
        statement.query_row([], |row| row.get::<_, u32>(0)).map(u64::from)
    }
}
