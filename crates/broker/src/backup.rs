//! Backups of a data directory, also while a broker works on it, and what is made of them.
//!
//! A backup is a folder of files named after their content, and a manifest that says which file of
//! a data directory each of them is. The manifest is replaced last and at once, so that a backup
//! that is interrupted leaves the one before as it was. [`copying`] takes the files of a broker at
//! work, [`manifest`] is the list, [`restore`] the way back. Whoever writes to the data directory is
//! not asked: segments are only ever appended to, and a file that is put to another use meanwhile
//! shows that in its header.

mod copying;
pub(crate) mod manifest;
mod restore;

pub use restore::restore;

use self::copying::{Copying, Part};
use self::manifest::{Entry, Manifest};
use crate::index::inspect;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;
use trunkline_log::{check_format, checksum, checksum_of, segment_name};

/// The folder of copies of damaged bytes within a data directory.
const QUARANTINE: &str = "quarantine";
const FORMAT: &str = "FORMAT";
/// Held by a backup that is being written.
const LOCK: &str = "LOCK";

/// How often a backup begins again because the broker cleans faster than it copies.
const ATTEMPTS: usize = 8;

/// What was backed up or restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BackedUp {
    /// Files in the backup.
    pub files: u64,
    /// Their length together in bytes.
    pub bytes: u64,
    /// Files that had to be written; the others were there already.
    pub written_files: u64,
    /// Their length together in bytes.
    pub written_bytes: u64,
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The data directory's format is not known, or it is no data directory.
    #[error(transparent)]
    Format(#[from] trunkline_log::OpenError),
    /// The disk failed or is full.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The index cannot be copied.
    #[error("cannot copy the index {}: {reason}", path.display())]
    Index {
        /// Its folder.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// The broker gave segments up faster than they could be copied.
    #[error(
        "{} changed faster than it could be copied, {ATTEMPTS} times; try again when less is going \
         on",
        path.display()
    )]
    Changing {
        /// The data directory.
        path: PathBuf,
    },
    /// There are more files than a backup can list.
    #[error(
        "the list of the files of {} would have {bytes} bytes, the limit is {limit}; stop the broker \
         and copy the directory instead",
        path.display()
    )]
    TooMany {
        /// The backup.
        path: PathBuf,
        /// How long its list would be.
        bytes: u64,
        /// How long it may be.
        limit: u64,
    },
    /// Another backup goes to the same folder.
    #[error("another backup to {} is running; wait for it", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds something else, or no whole backup.
    #[error("{} is no backup: {reason}", path.display())]
    NoBackup {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of the backup is not what was backed up.
    #[error("{} is damaged: {reason}; nothing was restored from it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is something where data is to be restored to.
    #[error("{} is not empty; restore to a directory that is empty or not there", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
}

impl BackupError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Backs a data directory up, also while a broker works on it. What a former backup in the same
/// folder holds already is not written again. `progress` is told each file and its length.
///
/// # Errors
/// [`BackupError`]; the former backup is then as it was.
pub fn backup(
    data: &Path,
    to: &Path,
    mut progress: impl FnMut(&str, u64),
) -> Result<BackedUp, BackupError> {
    check_format(data)?;
    fs::create_dir_all(to).map_err(BackupError::io("make", to))?;
    let former = Manifest::read(to)?;
    if former.is_none() && files(to)?.iter().any(|(name, _)| !is_ours(name)) {
        let reason = "there are other files in it, and no MANIFEST".to_owned();
        return Err(BackupError::NoBackup { path: to.to_owned(), reason });
    }
    let _lock = lock(to)?;
    let former = former.unwrap_or_default();
    let mut target =
        Target { folder: to, former, done: Manifest::default(), copied: BackedUp::default() };
    for _ in 0..ATTEMPTS {
        target.done = Manifest::default();
        if take(data, &mut target, &mut progress)? {
            return target.finish();
        }
    }
    Err(BackupError::Changing { path: data.to_owned() })
}

/// Whether a backup that was interrupted may have left a file of this name.
fn is_ours(name: &str) -> bool {
    name == LOCK || is_unfinished(name) || manifest::is_content(name)
}

/// Whether a file of this name was still being written.
fn is_unfinished(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "new")
}

/// Copies everything. `false` if something was given up before it was copied.
fn take(
    data: &Path,
    target: &mut Target<'_>,
    progress: &mut impl FnMut(&str, u64),
) -> Result<bool, BackupError> {
    let copying = Copying::new(data);
    let mut number = copying.oldest()?;
    // First everything, which takes long, and then what came meanwhile, which does not: so the
    // index is copied close to the end, and the log reaches at least as far as it.
    let Some(last) = segments(&copying, number, target, progress)? else { return Ok(false) };
    loop {
        let before = copying.oldest()?;
        index(data, target, progress)?;
        number = copying.oldest()?;
        // An index that is older than a removal may lack keys that only the removed files had.
        if number == before {
            break;
        }
    }
    if number > last || segments(&copying, last, target, progress)?.is_none() {
        return Ok(false);
    }
    // What was given up since is said again by what was copied last.
    target
        .done
        .entries
        .retain(|entry| copying::number_of(&entry.name).is_none_or(|it| it >= number));
    quarantined(data, target, progress)?;
    let path = data.join(FORMAT);
    let text = fs::read(&path).map_err(BackupError::io("read", &path))?;
    target.put(FORMAT, &text, progress)?;
    Ok(true)
}

/// Copies the segments from a number on; the number of the last one, or `None` if one is gone.
fn segments(
    copying: &Copying<'_>,
    from: u64,
    target: &mut Target<'_>,
    progress: &mut impl FnMut(&str, u64),
) -> Result<Option<u64>, BackupError> {
    let mut number = from;
    loop {
        let (bytes, last) = match copying.segment(number)? {
            Part::Closed(bytes) => (bytes, false),
            Part::Tail(bytes) => (bytes, true),
            Part::Gone => return Ok(None),
        };
        target.put(&segment_name(number), &bytes, progress)?;
        if last {
            return Ok(Some(number));
        }
        number += 1;
    }
}

fn index(
    data: &Path,
    target: &mut Target<'_>,
    progress: &mut impl FnMut(&str, u64),
) -> Result<(), BackupError> {
    let folder = data.join(crate::open::INDEX);
    let scratch = target.folder.join("index.new");
    remove(&scratch)?;
    let copied = inspect::copy_online(&folder, &scratch)
        .map_err(|reason| BackupError::Index { path: folder, reason })?;
    if copied {
        let name = format!("{}/{}", crate::open::INDEX, inspect::FILE);
        target.put_file(&name, &scratch, progress)?;
    }
    remove(&scratch)
}

fn quarantined(
    data: &Path,
    target: &mut Target<'_>,
    progress: &mut impl FnMut(&str, u64),
) -> Result<(), BackupError> {
    for (name, path) in files(&data.join(QUARANTINE))? {
        if is_unfinished(&name) {
            continue;
        }
        target.put_file(&format!("{QUARANTINE}/{name}"), &path, progress)?;
    }
    Ok(())
}

/// Where a backup goes.
struct Target<'a> {
    folder: &'a Path,
    former: Manifest,
    done: Manifest,
    copied: BackedUp,
}

impl Target<'_> {
    /// Puts a file of the data directory into the backup, unless it is there already.
    fn put(
        &mut self,
        name: &str,
        bytes: &[u8],
        progress: &mut impl FnMut(&str, u64),
    ) -> Result<(), BackupError> {
        let length = bytes.len() as u64;
        let entry = Entry { name: name.to_owned(), bytes: length, checksum: checksum(bytes) };
        progress(name, length);
        if !self.has(&entry) {
            write(&self.folder.join(entry.file()), bytes)?;
            self.copied.written_files += 1;
            self.copied.written_bytes += length;
        }
        self.take(entry);
        Ok(())
    }

    /// The same for a file that may be larger than memory, and does not change meanwhile.
    fn put_file(
        &mut self,
        name: &str,
        source: &Path,
        progress: &mut impl FnMut(&str, u64),
    ) -> Result<(), BackupError> {
        let (bytes, checksum) = sum(source).map_err(BackupError::io("read", source))?;
        let entry = Entry { name: name.to_owned(), bytes, checksum };
        progress(name, bytes);
        if !self.has(&entry) {
            if copy(source, &self.folder.join(entry.file()))? != (bytes, checksum) {
                let error = io::Error::other("it was written to while it was copied");
                return Err(BackupError::io("copy", source)(error));
            }
            self.copied.written_files += 1;
            self.copied.written_bytes += bytes;
        }
        self.take(entry);
        Ok(())
    }

    /// Whether a file's content is in the backup, as it was.
    fn has(&self, entry: &Entry) -> bool {
        let known = self.former.entries.contains(entry) || self.done.entries.contains(entry);
        let there = || sum(&self.folder.join(entry.file())).ok();
        known && there() == Some((entry.bytes, entry.checksum))
    }

    fn take(&mut self, entry: Entry) {
        self.done.entries.retain(|other| other.name != entry.name);
        self.done.entries.push(entry);
    }

    /// Makes the backup the one that counts, and clears away what belonged to former ones.
    fn finish(mut self) -> Result<BackedUp, BackupError> {
        self.done.write(self.folder)?;
        for (name, path) in files(self.folder)? {
            let ours = manifest::is_content(&name);
            if ours && !self.done.entries.iter().any(|entry| entry.file() == name) {
                remove(&path)?;
            }
        }
        self.copied.files = self.done.entries.len() as u64;
        self.copied.bytes = self.done.entries.iter().map(|entry| entry.bytes).sum();
        Ok(self.copied)
    }
}

/// Held while a backup is written; it ends with the file.
fn lock(folder: &Path) -> Result<File, BackupError> {
    let path = folder.join(LOCK);
    let file = File::create(&path).map_err(BackupError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::Busy { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(BackupError::io("lock", &path)(error)),
    }
}

/// The plain files of a folder by name; none if it is not there.
fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, BackupError> {
    let io = || BackupError::io("list", folder);
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(io())?,
    };
    let mut found = Vec::new();
    for entry in listed {
        let entry = entry.map_err(io())?;
        if let (true, Ok(name)) = (entry.path().is_file(), entry.file_name().into_string()) {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Writes a file whole or not at all, and returns once it survives a crash.
fn write(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let new = unfinished(path);
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(BackupError::io("write", &new))?;
    finish(&new, path)
}

/// Copies a file the same way, without having it in memory. Its length and checksum.
fn copy(from: &Path, path: &Path) -> Result<(u64, u64), BackupError> {
    let new = unfinished(path);
    let source = File::open(from).map_err(BackupError::io("read", from))?;
    let copied = File::create(&new).and_then(|mut file| {
        let sum = checksum_of(source, |bytes| file.write_all(bytes))?;
        file.sync_all()?;
        Ok(sum)
    });
    let sum = copied.map_err(BackupError::io("write", &new))?;
    finish(&new, path)?;
    Ok(sum)
}

/// The name of a file that is still being written.
fn unfinished(path: &Path) -> PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    PathBuf::from(new)
}

/// Gives a file that was written its name.
fn finish(new: &Path, path: &Path) -> Result<(), BackupError> {
    fs::rename(new, path).map_err(BackupError::io("rename", new))?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// The length and the checksum of a file.
fn sum(path: &Path) -> io::Result<(u64, u64)> {
    checksum_of(File::open(path)?, |_| Ok(()))
}

fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(BackupError::io("flush", folder))
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BackupError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
