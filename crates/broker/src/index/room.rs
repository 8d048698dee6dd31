//! Room on the disk for the index: a reserve for when there is none, and history that gives way to
//! work.
//!
//! What the log gives up it gives up once the index is on disk, and even a delete needs room in the
//! write-ahead log. So that has its room in advance and keeps it, for whatever is given up on a full
//! disk the log may take at once. To fold it in may need more, which a file beside the index holds:
//! it is given up then, and made again when there is room. Whatever the write-ahead log adds to the
//! index is folded in before it comes to as much.

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

/// How many bytes the reserve has, and the write-ahead log at least.
const RESERVE: usize = 8 << 20;

/// How many bytes of the reserve are given up at a time.
const PART: u64 = 1 << 20;

/// How many bytes the file may lack that are in the write-ahead log only.
const UNFOLDED: u64 = 2 << 20;

/// How many bytes of history give way at a time, and how many are given back to the disk.
const STEP: u64 = 4 << 20;

/// With so many bytes of free pages the file itself has room for whatever is committed at once.
const AMPLE: u64 = 64 << 20;

/// How many rows give way at a time, fewer if even that finds no room.
const ROWS: [usize; 4] = [4000, 1000, 100, 10];

/// What came of making room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    /// How many rows gave way.
    pub(super) rows: usize,
    /// Whether it may help to try again: there is more room for it than before.
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

/// Fills a file up to the size of the reserve, with real zeros: not every file system can set room
/// aside.
fn extend(mut file: fs::File) -> io::Result<()> {
    let zeros = vec![0; 1 << 18];
    let mut there = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    while there < RESERVE {
        let most = zeros.len().min(RESERVE - there);
        there += file.write(&zeros[..most])?.max(1);
    }
    Ok(())
}

impl Store {
    /// Makes the reserve unless it is there, as far as there is room.
    ///
    /// # Errors
    /// What the disk says, [`io::ErrorKind::StorageFull`] if it is full.
    pub(super) fn reserve(&self) -> io::Result<()> {
        self.extend_log()?;
        let file = fs::OpenOptions::new().append(true).create(true).open(self.reserve_path())?;
        extend(file)
    }

    /// Gives the write-ahead log its room. What is behind its last frame is not looked at.
    fn extend_log(&self) -> io::Result<()> {
        let path = self.beside("-wal");
        match fs::OpenOptions::new().append(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            file => extend(file?),
        }
    }

    /// Gives a part of the reserve up, not all of it, for the log may take what is free. Whether
    /// there was one.
    fn give_reserve_up(&self) -> bool {
        let given_up = fs::OpenOptions::new().write(true).open(self.reserve_path());
        let given_up = given_up.and_then(|file| {
            let there = file.metadata()?.len();
            file.set_len(there.saturating_sub(PART))?;
            Ok(there > 0)
        });
        given_up.unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, "the reserve of the index cannot be given up");
            }
            false
        })
    }

    /// Folds in what the write-ahead log adds to the file, with as much of the reserve as that takes.
    /// Whether it was folded in.
    fn fold(&mut self) -> Result<bool, Error> {
        loop {
            match self.keep() {
                Err(error) if !is_full(&error) => return Err(error),
                Err(_) if !self.give_reserve_up() => return Ok(false),
                Err(_) => {}
                Ok(folded) => return Ok(folded),
            }
        }
    }

    fn reserve_path(&self) -> PathBuf {
        self.beside(SUFFIX)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path().as_os_str().to_owned();
        path.push(suffix);
        path.into()
    }

    /// Whether pages that come free can be given back to the disk. An index of an earlier version
    /// only uses them again.
    pub(super) fn gives_back(&self) -> Result<bool, Error> {
        self.number("PRAGMA auto_vacuum").map(|mode| mode != 0)
    }

    /// Makes room on a full disk: what is out of its bounds goes, and if that was nothing and few
    /// pages are free, the oldest ended tasks. If that was done before and did not help, more are
    /// wanted free. Dead letters within their bounds stay, as they can be sent again. Pages that
    /// come free are for what comes next, and given back to the disk as far as is said.
    ///
    /// # Errors
    /// What SQLite says if not even that could be done.
    pub(super) fn make_room(
        &mut self,
        (tasks, letters): (Bounds, Bounds),
        again: bool,
        give_back: bool,
    ) -> Result<Room, Error> {
        // With what is not folded in the write-ahead log may still have room, and the less the file
        // is to have the less there is to fold in.
        let folded = self.fold()?;
        let mut rows = self.give_way(&TASKS, tasks)? + self.give_way(&LETTERS, letters)?;
        let wanted = match (again, give_back) {
            (true, false) => AMPLE,
            _ => 2 * STEP,
        };
        if rows == 0 && self.free_bytes()? < wanted {
            let bytes = TASKS.bytes(self.connection())?.saturating_sub(STEP);
            rows = self.give_way(&TASKS, Bounds { until: WallTime(0), bytes })?;
        }
        let kept = if folded { STEP } else { 0 };
        let spare = self.free_bytes()?.saturating_sub(kept).min(STEP);
        if (give_back || !folded) && spare > 0 && self.gives_back()? {
            self.vacuum(spare)?;
        }
        // Folding in helps once: it makes room in the write-ahead log.
        let helps = (self.fold()? && !(folded && again)) || rows > 0;
        // Before others take what came free.
        if let Err(error) = self.reserve() {
            tracing::debug!(%error, "there is no reserve for the index yet");
        }
        Ok(Room { rows, helps })
    }

    /// Takes so many bytes of free pages off the file.
    fn vacuum(&self, bytes: u64) -> Result<(), Error> {
        let vacuum = format!("PRAGMA incremental_vacuum({})", bytes / self.page_size()?);
        let mut vacuum = self.connection().prepare(&vacuum)?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
        Ok(())
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

    /// Folds in what the write-ahead log adds to the file once it is much. `folded` is how many
    /// pages the file had when all was folded in, if that is known.
    ///
    /// # Errors
    /// What SQLite says.
    pub(super) fn fold_growth(&mut self, folded: &mut Option<u64>) -> Result<(), Error> {
        let pages = self.number("PRAGMA page_count")?;
        let size = self.page_size()?;
        let there = || fs::metadata(self.path()).map_or(0, |file| file.len() / size);
        let grown = pages.saturating_sub(*folded.get_or_insert_with(there));
        if grown * size > UNFOLDED && self.keep()? {
            *folded = Some(pages);
        }
        Ok(())
    }

    /// Whether the file has room for a commit without growing.
    pub(super) fn has_free_pages(&self) -> Result<bool, Error> {
        Ok(self.free_bytes()? >= 2 * STEP)
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
