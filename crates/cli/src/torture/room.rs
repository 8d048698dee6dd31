//! A disk that runs full when it is told to, and has room again when it is told so.
//!
//! It bounds what a data directory may take, by a number in a file that somebody else may change
//! at any time. Only new files take room, as the log never makes one longer; what is there can be
//! written to, as on a full file system. The index is not under it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use trunkline_log::{FileInfo, Storage, StorageFile};

/// See the module.
#[derive(Debug)]
pub(crate) struct Room {
    inner: Arc<dyn Storage>,
    /// Holds the most bytes that the files may take in all, as text.
    file: PathBuf,
}

impl Room {
    /// Bounds a disk by the number in a file.
    pub(crate) fn new(inner: Arc<dyn Storage>, file: PathBuf) -> Self {
        Self { inner, file }
    }

    fn most(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(&self.file)?;
        text.trim().parse().map_err(|error| {
            let what = format!("{} holds no number of bytes: {error}", self.file.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    }
}

impl Storage for Room {
    fn list(&self) -> io::Result<Vec<FileInfo>> {
        self.inner.list()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn StorageFile>> {
        let taken: u64 = self.inner.list()?.iter().map(|file| file.bytes).sum();
        if taken.saturating_add(bytes) > self.most()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.create(name, bytes)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.inner.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.inner.sync_directory()
    }

    fn begin_writing(&self) -> io::Result<()> {
        self.inner.begin_writing()
    }

    fn quarantine(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        self.inner.quarantine(name, bytes)
    }

    fn quarantined(&self, name: &str) -> Option<PathBuf> {
        self.inner.quarantined(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_log::MemoryDisk;

    #[test]
    fn a_disk_is_full_by_the_number_in_the_file_and_has_room_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("room");
        let room = Room::new(Arc::new(MemoryDisk::default()), file.clone());
        let full = |name: &str| room.create(name, 4096).map(drop).map_err(|error| error.kind());
        assert_eq!(full("a"), Err(io::ErrorKind::NotFound));
        std::fs::write(&file, "8191").unwrap();
        assert_eq!(full("a"), Ok(()));
        assert_eq!(full("b"), Err(io::ErrorKind::StorageFull));
        room.remove("a").unwrap();
        assert_eq!(full("b"), Ok(()));
        std::fs::write(&file, "8192\n").unwrap();
        assert_eq!(full("c"), Ok(()));
        std::fs::write(&file, "much").unwrap();
        assert_eq!(full("d"), Err(io::ErrorKind::InvalidData));
    }
}
