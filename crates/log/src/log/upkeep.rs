//! The slow work on files: making spare segments and putting dead ones aside.
//!
//! An [`Upkeep`] is handed out by the log, run on any thread, and given back, so that an append
//! never waits for a file being filled with zeros. It owns the list of free files meanwhile. A
//! failure here is never doubt about records: it only means less room.

use std::{io, path::PathBuf, sync::Arc};

use super::segment::Segment;
use crate::{
    LogConfig,
    error::{OpenError, PrepareError},
    layout::{self, SegmentHeader},
    storage::Storage,
};

/// Slow work on files, to be run away from the writing thread.
#[derive(Debug)]
pub struct Upkeep {
    storage: Arc<dyn Storage>,
    segment_bytes: u64,
    free_limit: usize,
    salt: u64,
    files: Files,
    /// Number of the segment to make.
    prepare: Option<u64>,
}

/// The outcome of an [`Upkeep`], to be given back to its log.
#[derive(Debug)]
pub struct UpkeepDone {
    pub(super) files: Files,
    pub(super) prepared: Option<Segment>,
    /// Whether the segment was made of the file of an older one.
    pub(super) recycled: bool,
    pub(super) result: Result<(), PrepareError>,
}

impl Upkeep {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        config: &LogConfig,
        segment_bytes: u64,
        files: Files,
        prepare: Option<u64>,
    ) -> Self {
        let LogConfig { free_segments, salt, .. } = *config;
        Self { storage, segment_bytes, free_limit: free_segments, salt, files, prepare }
    }

    /// Does the work, which can take as long as writing a whole segment.
    pub fn run(mut self) -> UpkeepDone {
        let mut result = self.put_dead_aside();
        let mut prepared = None;
        let mut recycled = false;
        if let Some(number) = self.prepare {
            let waiting = self.files.free.len();
            match self.make(number) {
                Ok(segment) => {
                    prepared = Some(segment);
                    recycled = self.files.free.len() < waiting;
                }
                Err(error) => result = Err(error),
            }
        }
        UpkeepDone { files: self.files, prepared, recycled, result }
    }

    /// Renames dead segments to free files, oldest first, or deletes them if enough are waiting.
    fn put_dead_aside(&mut self) -> Result<(), PrepareError> {
        while let Some(&(number, bytes)) = self.files.dead.first() {
            let name = layout::segment_name(number);
            // The one that is about to become the spare does not count as waiting.
            let limit = self.free_limit + usize::from(self.prepare.is_some());
            if self.files.free.len() < limit {
                let id = self.files.next_id();
                let renamed = self.storage.rename(&name, &layout::free_name(id));
                self.check("rename", &name, renamed)?;
                self.files.free.push((id, bytes));
            } else {
                let removed = self.storage.remove(&name);
                self.check("remove", &name, removed)?;
            }
            self.files.dead.remove(0);
            // One by one, so that a crash leaves an unbroken row of segments whatever order the
            // file system would like.
            let synced = self.storage.sync_directory();
            self.check("flush the directory of", &name, synced)?;
        }
        Ok(())
    }

    fn make(&mut self, number: u64) -> Result<Segment, PrepareError> {
        let (free, file) = self.free_file()?;
        let free_name = layout::free_name(free);
        let salt = layout::salt(self.salt, number);
        let header = SegmentHeader { number, bytes: self.segment_bytes, salt };
        let name = layout::segment_name(number);
        let made = Segment::begin(file, header).and_then(|segment| {
            self.storage.rename(&free_name, &name)?;
            self.storage.sync_directory()?;
            Ok(segment)
        });
        if made.is_err() {
            // Its content is in doubt, and its room may be needed. If it cannot be removed, the
            // next opening of the log finds it among the free files.
            let _ = self.storage.remove(&free_name);
        }
        self.check("prepare", &name, made)
    }

    /// A file of the right length that nobody needs: a recycled one, or a new one.
    fn free_file(&mut self) -> Result<(u64, Box<dyn crate::StorageFile>), PrepareError> {
        while let Some((id, _)) = self.files.free.pop() {
            let name = layout::free_name(id);
            let opened = self.storage.open(&name).and_then(|file| Ok((file.size()?, file)));
            let (bytes, file) = self.check("open", &name, opened)?;
            if bytes == self.segment_bytes {
                return Ok((id, file));
            }
            // Of another configured length, or left half-made by a crash.
            let removed = self.storage.remove(&name);
            self.check("remove", &name, removed)?;
        }
        let id = self.files.next_id();
        let name = layout::free_name(id);
        let created = self.storage.create(&name, self.segment_bytes);
        Ok((id, self.check("create", &name, created)?))
    }

    fn check<T>(
        &self,
        action: &'static str,
        name: &str,
        result: io::Result<T>,
    ) -> Result<T, PrepareError> {
        result.map_err(|source| PrepareError { action, path: self.storage.path(name), source })
    }
}

/// Files that are not part of the log, and dead segments that soon are not.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Free files: ids and lengths.
    free: Vec<(u64, u64)>,
    next_id: u64,
    /// Dead segments whose files still have their names, in order: numbers and lengths.
    dead: Vec<(u64, u64)>,
}

impl Files {
    /// From the ids and lengths that were found.
    pub(super) fn new(found: Vec<(u64, u64)>) -> Self {
        let next_id = found.iter().map(|(id, _)| id.saturating_add(1)).max().unwrap_or(0);
        Self { free: found, next_id, dead: Vec::new() }
    }

    /// Makes a free file of a prepared segment that cannot be written to.
    pub(super) fn take_in(&mut self, storage: &dyn Storage, number: u64) -> Result<(), OpenError> {
        let name = layout::segment_name(number);
        let io = |error| OpenError::io("rename", &storage.path(&name), error);
        let id = self.next_id();
        let file = storage.open(&name).map_err(io)?;
        storage.rename(&name, &layout::free_name(id)).map_err(io)?;
        storage.sync_directory().map_err(io)?;
        self.free.push((id, file.size().map_err(io)?));
        Ok(())
    }

    /// The length of all of them together.
    pub(super) fn bytes(&self) -> u64 {
        self.free.iter().chain(&self.dead).map(|(_, bytes)| bytes).sum()
    }

    pub(super) fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    pub(super) fn add_dead(&mut self, segments: impl IntoIterator<Item = (u64, u64)>) {
        self.dead.extend(segments);
    }

    /// Takes over what was added to `other` while these files were handed out.
    pub(super) fn add_dead_of(&mut self, other: Self) {
        self.dead.extend(other.dead);
    }

    fn next_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

/// Makes a segment while a log is opened that has none to write to.
pub(super) fn first_segment(
    storage: &Arc<dyn Storage>,
    config: &LogConfig,
    segment_bytes: u64,
    files: &mut Files,
    number: u64,
) -> Result<Segment, OpenError> {
    let handed = std::mem::take(files);
    let upkeep = Upkeep::new(Arc::clone(storage), config, segment_bytes, handed, Some(number));
    let done = upkeep.run();
    *files = done.files;
    match (done.prepared, done.result) {
        (Some(segment), _) => Ok(segment),
        (None, Err(PrepareError { path, source, .. }))
            if source.kind() == io::ErrorKind::StorageFull =>
        {
            Err(OpenError::Full { path, bytes: segment_bytes, source: Some(source) })
        }
        (None, Err(PrepareError { action, path, source })) => {
            Err(OpenError::Io { action, path, source })
        }
        (None, Ok(())) => {
            let path: PathBuf = storage.path(&layout::segment_name(number));
            Err(OpenError::io("prepare", &path, io::Error::other("no segment was made")))
        }
    }
}
