//! A disk that says it has flushed and has not: one of the planted defects.

use std::io;
use std::path::PathBuf;
use trunkline_log::{FileInfo, MemoryDisk, Storage, StorageFile};

/// A disk whose files ignore every flush.
#[derive(Debug)]
pub(crate) struct LyingDisk(pub(crate) MemoryDisk);

#[derive(Debug)]
struct LyingFile(Box<dyn StorageFile>);

impl Storage for LyingDisk {
    fn list(&self) -> io::Result<Vec<FileInfo>> {
        self.0.list()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn StorageFile>> {
        self.0.create(name, bytes).map(lie)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.0.open(name).map(lie)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }
}

fn lie(file: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
    Box::new(LyingFile(file))
}

impl StorageFile for LyingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}
