//! A disk that forgets what was never flushed, for killing a real process.
//!
//! A killed process leaves its writes in the kernel's page cache, so killing alone never shows a
//! missing flush. This wrapper holds every written byte in the process until the flush, so that a
//! kill takes it along. It owns only those bytes; names go straight through.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

use super::{FileInfo, Storage, StorageFile};
use crate::layout;

/// Dirty bytes are held in pages of this size.
const PAGE: u64 = 4096;

/// Holds what was written since the last sync in memory only, and passes it on at the sync.
#[derive(Debug)]
pub struct DropUnsynced {
    inner: Arc<dyn Storage>,
    ignore_sync: bool,
    /// The files that are open or dirty, by name, so that every handle of a file sees the same
    /// bytes. A mutex, because handles are made and names changed on different threads.
    files: Mutex<BTreeMap<String, Arc<Shared>>>,
}

impl DropUnsynced {
    /// Wraps `inner`: what is not synced dies with the process.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, ignore_sync: false, files: Mutex::default() }
    }

    /// Wraps `inner` and makes every sync of a segment a lie, which is what a broker that never
    /// flushes looks like: no batch reaches `inner` at all. Memory grows with it. A file that is
    /// still being prepared is flushed truthfully, so that the log can be opened again and shows
    /// what is missing.
    pub fn ignoring_sync(inner: Arc<dyn Storage>) -> Self {
        Self { inner, ignore_sync: true, files: Mutex::default() }
    }

    fn lies_about(&self, name: &str) -> bool {
        self.ignore_sync && layout::segment_number(name).is_some()
    }

    fn handle(&self, name: &str, file: Box<dyn StorageFile>) -> io::Result<Box<dyn StorageFile>> {
        let mut files = self.files.lock();
        files.retain(|_, shared| Arc::strong_count(shared) > 1 || !shared.dirty.lock().is_empty());
        if let Some(shared) = files.get(name) {
            return Ok(Box::new(Handle(Arc::clone(shared))));
        }
        let size = file.size()?;
        let lies = AtomicBool::new(self.lies_about(name));
        let shared = Arc::new(Shared { file, size, lies, dirty: Mutex::default() });
        files.insert(name.to_owned(), Arc::clone(&shared));
        Ok(Box::new(Handle(shared)))
    }
}

impl Storage for DropUnsynced {
    fn list(&self) -> io::Result<Vec<FileInfo>> {
        self.inner.list()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn StorageFile>> {
        let file = self.inner.create(name, bytes)?;
        self.handle(name, file)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = self.inner.open(name)?;
        self.handle(name, file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)?;
        let mut files = self.files.lock();
        files.remove(to);
        if let Some(shared) = files.remove(from) {
            shared.lies.store(self.lies_about(to), Ordering::Relaxed);
            files.insert(to.to_owned(), shared);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)?;
        self.files.lock().remove(name);
        Ok(())
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

#[derive(Debug)]
struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: Box<dyn StorageFile>,
    /// Its length, which never changes.
    size: u64,
    /// Whether a sync does nothing. Atomic, as the file's name can change while it is open.
    lies: AtomicBool,
    /// Pages that differ from `file`, by page number. A mutex, because the trait takes `&self`.
    dirty: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl Shared {
    /// Length of a page: the last one of a file may be short.
    fn page_bytes(&self, page: u64) -> io::Result<usize> {
        let left = self.size.saturating_sub(page * PAGE).min(PAGE);
        usize::try_from(left).map_err(io::Error::other)
    }
}

impl StorageFile for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let dirty = self.0.dirty.lock();
        self.0.file.read_at(buffer, offset)?;
        let end = offset + buffer.len() as u64;
        for (&page, bytes) in dirty.range(offset / PAGE..end.div_ceil(PAGE)) {
            copy_overlap(bytes, page * PAGE, buffer, offset);
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut dirty = self.0.dirty.lock();
        let end = offset + bytes.len() as u64;
        if end > self.0.size {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "write beyond the end"));
        }
        for page in offset / PAGE..end.div_ceil(PAGE) {
            if let Entry::Vacant(slot) = dirty.entry(page) {
                let mut content = vec![0; self.0.page_bytes(page)?];
                self.0.file.read_at(&mut content, page * PAGE)?;
                slot.insert(content);
            }
            if let Some(content) = dirty.get_mut(&page) {
                copy_overlap(bytes, offset, content, page * PAGE);
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.0.lies.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut dirty = self.0.dirty.lock();
        let mut run = Vec::new();
        let mut start = 0;
        for (&page, bytes) in dirty.iter() {
            if !run.is_empty() && page * PAGE != start + run.len() as u64 {
                self.0.file.write_at(&run, start)?;
                run.clear();
            }
            if run.is_empty() {
                start = page * PAGE;
            }
            run.extend_from_slice(bytes);
        }
        if !run.is_empty() {
            self.0.file.write_at(&run, start)?;
        }
        self.0.file.sync()?;
        dirty.clear();
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.size)
    }
}

/// Copies what `from` (standing at `from_offset`) and `to` (standing at `to_offset`) share.
fn copy_overlap(from: &[u8], from_offset: u64, to: &mut [u8], to_offset: u64) {
    let start = from_offset.max(to_offset);
    let end = (from_offset + from.len() as u64).min(to_offset + to.len() as u64);
    let Ok(length) = usize::try_from(end.saturating_sub(start)) else { return };
    let (Ok(read), Ok(write)) =
        (usize::try_from(start - from_offset), usize::try_from(start - to_offset))
    else {
        return;
    };
    if length > 0 {
        to[write..write + length].copy_from_slice(&from[read..read + length]);
    }
}
