//! The contract between the log and a disk: a flat set of named files of fixed length.
//!
//! It owns no behaviour. It is called a few times per batch, never per record, so dynamic dispatch
//! costs nothing that can be measured, and a test can be the disk.

use std::{fmt, io, path::PathBuf};

/// A flat set of named files that survive a crash once they are synced.
///
/// File names are ASCII without separators. Names become durable with [`Storage::sync_directory`],
/// contents with [`StorageFile::sync`].
pub trait Storage: Send + Sync + fmt::Debug {
    /// Lists every file, in no particular order. One that is made, renamed or removed meanwhile may
    /// be left out.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn list(&self) -> io::Result<Vec<FileInfo>>;

    /// Creates a file of exactly `bytes` zero bytes, written and flushed, so that later writes
    /// inside it neither allocate nor change its length.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if there is no room, [`io::ErrorKind::AlreadyExists`] if the
    /// name is taken, or whatever the disk reports. After an error the file does not exist.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn StorageFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none, or whatever the disk reports.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Renames a file; a file of the new name is replaced. Open handles stay valid.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none, or whatever the disk reports.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none, or whatever the disk reports.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all creations, renames and removals so far survive a crash, in order.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn sync_directory(&self) -> io::Result<()>;

    /// Called once a log has been read and before anything is written to it: whatever says which
    /// format the files have is brought up to date. Does nothing unless the disk keeps such a note.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn begin_writing(&self) -> io::Result<()> {
        Ok(())
    }

    /// Keeps a copy of damaged bytes under a name of the same rules as a file's, where no log ever
    /// touches it again, and returns its path once it survives a crash. A copy of that name is
    /// replaced.
    ///
    /// # Errors
    /// As [`Storage::create`].
    fn quarantine(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let name = format!("quarantine-{name}");
        let file = match self.create(&name, bytes.len() as u64) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.open(&name)?,
            created => created?,
        };
        file.write_at(bytes, 0)?;
        file.sync()?;
        self.sync_directory()?;
        Ok(self.path(&name))
    }

    /// The path of a copy that was put aside under a name, if there is one.
    fn quarantined(&self, name: &str) -> Option<PathBuf> {
        let name = format!("quarantine-{name}");
        self.open(&name).ok().map(|_| self.path(&name))
    }

    /// The path that names a file in messages to people.
    fn path(&self, name: &str) -> PathBuf;
}

/// An open file of fixed length.
pub trait StorageFile: Send + Sync + fmt::Debug {
    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] beyond the end, or whatever the disk reports.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; never called beyond the end of the file.
    ///
    /// # Errors
    /// Whatever the disk reports; the range may then hold any mixture of old and new.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns once everything written so far survives a crash (`fdatasync`).
    ///
    /// # Errors
    /// Whatever the disk reports; it is then unknown what would survive.
    fn sync(&self) -> io::Result<()>;

    /// The length of the file in bytes.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn size(&self) -> io::Result<u64>;
}

/// One file of a [`Storage`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileInfo {
    /// Its name, without a directory.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
}
