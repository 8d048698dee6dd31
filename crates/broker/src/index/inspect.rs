//! The file of the index as those handle it who do not use it: it is copied, marked, moved aside.

use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The name of the file in its folder, from when it held keys alone.
pub(crate) const FILE: &str = "keys.sqlite";

/// What SQLite keeps beside the file.
pub(crate) const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// What is behind the file's name in that of the mark of damage that was found while it was used.
const DAMAGED: &str = "-damaged";

/// The folder beside that of an index into which one of no use is moved.
pub(crate) fn aside(folder: &Path) -> PathBuf {
    folder.with_file_name("quarantine")
}

/// Whether there is a file of an index in a folder, of whatever kind.
///
/// # Errors
/// What the disk says if that cannot be told.
pub(crate) fn is_there(folder: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(folder.join(FILE)) {
        Ok(_) => Ok(true),
        // A folder that is none has no file.
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Marks the index as damaged, for damage in the middle is not seen when it is opened.
///
/// # Errors
/// What the disk says.
pub(crate) fn mark(folder: &Path) -> io::Result<()> {
    fs::File::create(folder.join(format!("{FILE}{DAMAGED}")))?.sync_all()?;
    fs::File::open(folder)?.sync_all()
}

/// Whether the index was marked as damaged.
pub(crate) fn is_marked(folder: &Path) -> bool {
    folder.join(format!("{FILE}{DAMAGED}")).exists()
}

/// Copies the index in a folder to a file as it is at one moment, while a broker may be writing to
/// it. `false` if there is none.
///
/// # Errors
/// What SQLite or the disk says.
pub(crate) fn copy_online(folder: &Path, to: &Path) -> Result<bool, String> {
    let from = folder.join(FILE);
    if !from.is_file() {
        return Ok(false);
    }
    let target = to.to_str().ok_or("its path is not UTF-8")?;
    let reading = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let copied = Connection::open_with_flags(&from, reading).and_then(|connection| {
        connection.execute_batch("PRAGMA busy_timeout = 5000")?;
        connection.execute("VACUUM INTO ?1", [target])
    });
    copied.map(|_| true).map_err(|error| error.to_string())
}

/// Moves the index in a folder aside, into another folder, so that the next who opens it makes it
/// again from the log.
///
/// # Errors
/// What the disk says.
pub(crate) fn move_aside(folder: &Path, to: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(to)?;
    let name = |at: u32, suffix: &str| to.join(format!("{FILE}.{at}{suffix}"));
    let free = (1..=u32::MAX).find(|at| SUFFIXES.iter().all(|it| !name(*at, it).exists()));
    let free = free.ok_or(io::ErrorKind::AlreadyExists)?;
    // The file itself last, so that it never stands there without what belongs to it.
    // The mark after it, so that no damaged file ever stands there without one.
    for suffix in SUFFIXES.into_iter().rev().chain([DAMAGED]) {
        match fs::rename(folder.join(format!("{FILE}{suffix}")), name(free, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::File::open(to)?.sync_all()?;
    fs::File::open(folder)?.sync_all()?;
    Ok(name(free, ""))
}
