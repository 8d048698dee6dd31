//! A directory of a real file system, owned by one process at a time.
//!
//! It owns the `LOCK` and `FORMAT` files. It refuses a directory that another process holds, that a
//! newer version wrote, or that holds segments without saying which format they have. Copies of
//! damaged bytes go into the folder `quarantine`, from where nothing is ever deleted.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use super::{FileInfo, Storage, StorageFile};
use crate::{error::OpenError, layout};

const LOCK: &str = "LOCK";
const FORMAT: &str = "FORMAT";
const FORMAT_NEW: &str = "FORMAT.new";
/// The folder of copies of damaged bytes.
const QUARANTINE: &str = "quarantine";
const FORMAT_PREFIX: &str = "trunkline-log ";
/// Zeros are written in pieces of this many bytes.
const ZEROS: usize = 1 << 20;

/// A data directory on a real file system, locked for as long as this value lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Open for directory flushes.
    handle: File,
    /// Holds the `flock`; the lock ends when it is closed.
    _lock: File,
    /// Whether the files may be of an older format than this version writes. Atomic, because the
    /// trait takes `&self`.
    older: AtomicBool,
}

impl Directory {
    /// Creates the directory if need be, locks it and checks its format.
    ///
    /// # Errors
    /// [`OpenError::NewerFormat`] and [`OpenError::UnknownFormat`] before anything is touched,
    /// [`OpenError::Locked`] if another process holds the directory, [`OpenError::Io`] otherwise.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref().to_path_buf();
        fs::create_dir_all(&path).map_err(|error| OpenError::io("create", &path, error))?;
        // Before the lock, because taking it writes into the directory of a newer version.
        let format = read_format(&path)?;
        let lock = lock(&path)?;
        let handle = File::open(&path).map_err(|error| OpenError::io("open", &path, error))?;
        if format == Format::Missing && read_format(&path)? == Format::Missing {
            write_format(&path, &handle).map_err(|error| {
                let file = path.join(FORMAT);
                OpenError::io("write", &file, error)
            })?;
        }
        let older = AtomicBool::new(format == Format::Older);
        Ok(Self { path, handle, _lock: lock, older })
    }

    /// Locks a directory that is there already, to be read: nothing is created or changed but the
    /// lock file.
    ///
    /// # Errors
    /// As [`Directory::open`], and [`OpenError::UnknownFormat`] if there is no format file.
    pub fn inspect(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref().to_path_buf();
        let handle = File::open(&path).map_err(|error| OpenError::io("open", &path, error))?;
        check_format(&path)?;
        let lock = lock(&path)?;
        let older = AtomicBool::new(read_format(&path)? == Format::Older);
        Ok(Self { path, handle, _lock: lock, older })
    }
}

/// Whether this version reads the format that a directory says it has.
///
/// # Errors
/// [`OpenError::NewerFormat`], [`OpenError::UnknownFormat`], also if it says nothing, or
/// [`OpenError::Io`].
pub fn check_format(directory: &Path) -> Result<(), OpenError> {
    match read_format(directory)? {
        Format::Older | Format::Current => Ok(()),
        Format::Missing => {
            let found = "no such file".into();
            Err(OpenError::UnknownFormat { path: directory.join(FORMAT), found })
        }
    }
}

impl Storage for Directory {
    fn list(&self) -> io::Result<Vec<FileInfo>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed or renamed since it was listed: segments come and go while others look.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push(FileInfo { name, bytes: metadata.len() });
            }
        }
        Ok(files)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn StorageFile>> {
        // Asked first, because a disk that is nearly full would otherwise be written full again at
        // every attempt, in the way of those who could use the last of its room.
        let disk = rustix::fs::fstatvfs(&self.handle)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        // Real zeros rather than a reservation: the first write into a merely reserved block
        // changes file system metadata, which doubles the cost of a flush.
        match write_zeros(&file, bytes).and_then(|()| file.sync_all()) {
            Ok(()) => Ok(Box::new(file)),
            Err(error) => {
                // A half-made file would go on holding the room that somebody is waiting for. If
                // it cannot be removed either, the error to tell is still the first one.
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn begin_writing(&self) -> io::Result<()> {
        // An older version must refuse what is written from here on.
        if self.older.load(Ordering::Relaxed) {
            write_format(&self.path, &self.handle)?;
            self.older.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn quarantine(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let folder = self.path.join(QUARANTINE);
        fs::create_dir_all(&folder)?;
        let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
        let mut file = File::create(&new)?;
        if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
            // Half a copy helps nobody and holds room; the error to tell is still the first one.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        fs::rename(&new, &path)?;
        File::open(&folder)?.sync_all()?;
        self.handle.sync_all()?;
        Ok(path)
    }

    fn quarantined(&self, name: &str) -> Option<PathBuf> {
        let path = self.path.join(QUARANTINE).join(name);
        path.is_file().then_some(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl StorageFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

#[derive(Debug, Eq, PartialEq)]
enum Format {
    Missing,
    /// One that this version reads and no longer writes.
    Older,
    Current,
}

fn read_format(path: &Path) -> Result<Format, OpenError> {
    let file = path.join(FORMAT);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if holds_segments(path)? {
                Err(OpenError::UnknownFormat { path: file, found: "no such file".into() })
            } else {
                Ok(Format::Missing)
            };
        }
        Err(error) => return Err(OpenError::io("read", &file, error)),
    };
    let text = String::from_utf8_lossy(&text);
    let version = text.strip_prefix(FORMAT_PREFIX).and_then(|rest| rest.trim_end().parse().ok());
    match version {
        Some(layout::FORMAT_VERSION) => Ok(Format::Current),
        Some(layout::OLDEST_FORMAT..layout::FORMAT_VERSION) => Ok(Format::Older),
        Some(found) if found > layout::FORMAT_VERSION => {
            Err(OpenError::NewerFormat { path: file, found, supported: layout::FORMAT_VERSION })
        }
        _ => {
            let found = text.chars().take(40).collect::<String>().escape_debug().to_string();
            Err(OpenError::UnknownFormat { path: file, found })
        }
    }
}

fn holds_segments(path: &Path) -> Result<bool, OpenError> {
    let entries = fs::read_dir(path).map_err(|error| OpenError::io("list", path, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| OpenError::io("list", path, error))?;
        if entry.file_name().to_str().and_then(layout::segment_number).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn write_format(path: &Path, directory: &File) -> io::Result<()> {
    let new = path.join(FORMAT_NEW);
    let mut file = File::create(&new)?;
    writeln!(file, "{FORMAT_PREFIX}{}", layout::FORMAT_VERSION)?;
    file.sync_all()?;
    fs::rename(&new, path.join(FORMAT))?;
    directory.sync_all()
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let file_path = path.join(LOCK);
    let io = |action, error| OpenError::io(action, &file_path, error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file_path)
        .map_err(|error| io("open", error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Who holds it is a help, not a need: an unreadable text still is a held lock.
            let _ = file.read_to_string(&mut holder);
            let process = holder.trim().parse().ok();
            return Err(OpenError::Locked { path: path.to_path_buf(), process });
        }
        Err(TryLockError::Error(error)) => return Err(io("lock", error)),
    }
    file.set_len(0).map_err(|error| io("write", error))?;
    file.rewind().map_err(|error| io("write", error))?;
    writeln!(file, "{}", std::process::id()).map_err(|error| io("write", error))?;
    Ok(file)
}

fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS];
    let mut offset = 0;
    while offset < bytes {
        let left = usize::try_from(bytes - offset).map_or(ZEROS, |left| left.min(ZEROS));
        file.write_all_at(&zeros[..left], offset)?;
        offset += left as u64;
    }
    Ok(())
}
