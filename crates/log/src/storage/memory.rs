//! A disk in memory that can be crashed, filled, broken and corrupted, for tests.
//!
//! It is deterministic: what a crash leaves depends only on what was written and on the seed. It
//! owns its files; clones are handles of the same disk. It refuses writes beyond a file's end, as
//! the log never grows a file, and every use of a file that was opened before the latest crash.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use parking_lot::Mutex;

use super::{FileInfo, Storage, StorageFile};

/// The unit that a crash keeps or loses whole.
const SECTOR: usize = 512;

/// What a crash leaves of the bytes and names that were not synced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Loss {
    /// Nothing of them: the disk is as it was at the last syncs.
    Unsynced,
    /// Of each unsynced 512-byte sector either the old or the new content, and the first few of
    /// the unsynced changes of names, drawn from this seed.
    Torn(u64),
    /// All of them, as when a process is killed but the machine goes on.
    Nothing,
}

/// An operation of the disk that can be told to fail.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Operation {
    /// Reading a file.
    Read,
    /// Writing into a file. A failing write leaves the first half of its bytes behind.
    Write,
    /// Flushing a file's content.
    Sync,
    /// Creating a file.
    Create,
    /// Renaming or removing a file, or flushing the names.
    Names,
}

/// A faulty disk in memory. Clones are handles of the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

impl MemoryDisk {
    /// An empty disk of unbounded capacity without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A separate disk with the same content, capacity and unsynced state.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.state.lock().clone())) }
    }

    /// Stops the disk at once and starts it again. Open files are dead from here on: every use of
    /// them fails. Faults that were injected are forgotten; the capacity stays.
    pub fn crash(&self, loss: Loss) {
        self.state.lock().crash(loss);
    }

    /// Lets the operation after the next `skip` ones of this kind fail with an I/O error, once.
    pub fn fail_after(&self, operation: Operation, skip: u64) {
        self.state.lock().faults.insert(operation, Fault::Once(skip));
    }

    /// Lets every operation of this kind fail until [`MemoryDisk::repair`].
    pub fn fail_always(&self, operation: Operation) {
        self.state.lock().faults.insert(operation, Fault::Always);
    }

    /// Forgets all injected failures.
    pub fn repair(&self) {
        self.state.lock().faults.clear();
    }

    /// Bounds the sum of all file lengths; `None` lifts the bound. Existing files stay.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// The sum of all lengths of files and copies of damaged bytes.
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().used_bytes()
    }

    /// How many syncs of file contents succeeded.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Inverts one bit (0–7) of a byte, on the disk itself: no crash undoes it. Returns whether
    /// there is such a byte.
    pub fn flip_bit(&self, name: &str, byte: u64, bit: u8) -> bool {
        let mut state = self.state.lock();
        let Ok(byte) = usize::try_from(byte) else { return false };
        let Some(file) = state.names.get(name).copied().and_then(|id| state.files.get_mut(&id))
        else {
            return false;
        };
        let Some(target) = file.bytes.get_mut(byte) else { return false };
        *target ^= 1 << (bit % 8);
        if let Some(old) = file.undo.get_mut(&(byte / SECTOR)) {
            old[byte % SECTOR] ^= 1 << (bit % 8);
        }
        true
    }

    /// A copy of a file's bytes as they read now.
    pub fn read_file(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let id = state.names.get(name)?;
        state.files.get(id).map(|file| file.bytes.clone())
    }

    /// The copy of damaged bytes that was put aside under a name.
    pub fn read_quarantined(&self, name: &str) -> Option<Vec<u8>> {
        self.state.lock().quarantine.get(name).cloned()
    }

    /// Replaces a file's content, synced and whatever its length; creates it if there is none.
    pub fn write_file(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.files.insert(id, Content { bytes, undo: BTreeMap::new() });
        state.names.insert(name.to_owned(), id);
        state.synced_names.insert(name.to_owned(), id);
    }
}

impl Storage for MemoryDisk {
    fn list(&self) -> io::Result<Vec<FileInfo>> {
        let state = self.state.lock();
        let info = |(name, id): (&String, &u64)| FileInfo {
            name: name.clone(),
            bytes: state.files.get(id).map_or(0, |file| file.bytes.len() as u64),
        };
        Ok(state.names.iter().map(info).collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.state.lock();
        state.attempt(Operation::Create)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.capacity.is_some_and(|capacity| state.used_bytes() + bytes > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        let id = state.next_id;
        state.next_id += 1;
        state.files.insert(id, Content { bytes: vec![0; length], undo: BTreeMap::new() });
        state.change(Change::Add(name.to_owned(), id));
        Ok(self.handle(&state, id))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let state = self.state.lock();
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&state, id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.attempt(Operation::Names)?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.attempt(Operation::Names)?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.attempt(Operation::Names)?;
        state.synced_names = state.names.clone();
        state.changes.clear();
        state.forget_nameless();
        Ok(())
    }

    fn quarantine(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let mut state = self.state.lock();
        state.attempt(Operation::Create)?;
        state.quarantine.remove(name);
        let needed = bytes.len() as u64;
        if state.capacity.is_some_and(|capacity| state.used_bytes() + needed > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.quarantine.insert(name.to_owned(), bytes.to_vec());
        Ok(PathBuf::from("memory/quarantine").join(name))
    }

    fn quarantined(&self, name: &str) -> Option<PathBuf> {
        let copy = self.read_quarantined(name);
        copy.map(|_| PathBuf::from("memory/quarantine").join(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("memory").join(name)
    }
}

impl MemoryDisk {
    fn handle(&self, state: &State, id: u64) -> Box<dyn StorageFile> {
        Box::new(MemoryFile { disk: self.clone(), id, life: state.life })
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    id: u64,
    /// The disk's life in which this handle was made.
    life: u64,
}

impl MemoryFile {
    fn with<T>(
        &self,
        operation: Option<Operation>,
        work: impl FnOnce(&mut Content, io::Result<()>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.disk.state.lock();
        if state.life != self.life {
            return Err(io::Error::other("the disk crashed after this file was opened"));
        }
        let fate = operation.map_or(Ok(()), |operation| state.attempt(operation));
        let synced = operation == Some(Operation::Sync) && fate.is_ok();
        state.syncs += u64::from(synced);
        let content = state.files.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        work(content, fate)
    }
}

impl StorageFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(Some(Operation::Read), |content, fate| {
            fate?;
            let range = content.range(offset, buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(&content.bytes[range]);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(Some(Operation::Write), |content, fate| {
            let range = content.range(offset, bytes.len()).ok_or(io::ErrorKind::InvalidInput)?;
            let kept = if fate.is_ok() { bytes.len() } else { bytes.len() / 2 };
            content.write(range.start, &bytes[..kept]);
            fate
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(Some(Operation::Sync), |content, fate| {
            fate?;
            content.undo.clear();
            Ok(())
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.with(None, |content, _| Ok(content.bytes.len() as u64))
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    /// What happened to `synced_names` since, in order, to become `names`.
    changes: Vec<Change>,
    files: BTreeMap<u64, Content>,
    /// Copies of damaged bytes, durable at once.
    quarantine: BTreeMap<String, Vec<u8>>,
    next_id: u64,
    life: u64,
    capacity: Option<u64>,
    faults: BTreeMap<Operation, Fault>,
    syncs: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Add(String, u64),
    Rename(String, String),
    Remove(String),
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Once(u64),
    Always,
}

/// A file's bytes, and what stood in its dirty sectors at the last sync.
#[derive(Clone, Debug)]
struct Content {
    bytes: Vec<u8>,
    undo: BTreeMap<usize, [u8; SECTOR]>,
}

impl State {
    fn attempt(&mut self, operation: Operation) -> io::Result<()> {
        match self.faults.get_mut(&operation) {
            None => return Ok(()),
            Some(Fault::Always) => {}
            Some(Fault::Once(0)) => {
                self.faults.remove(&operation);
            }
            Some(Fault::Once(skip)) => {
                *skip -= 1;
                return Ok(());
            }
        }
        Err(io::Error::other("injected i/o error"))
    }

    fn used_bytes(&self) -> u64 {
        let length = |id: &u64| self.files.get(id).map_or(0, |file| file.bytes.len() as u64);
        let copies = self.quarantine.values().map(|copy| copy.len() as u64);
        self.names.values().map(length).sum::<u64>() + copies.sum::<u64>()
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    fn crash(&mut self, loss: Loss) {
        self.life += 1;
        self.faults.clear();
        let mut random = match loss {
            Loss::Torn(seed) => Some(Random(seed)),
            Loss::Unsynced | Loss::Nothing => None,
        };
        let kept = match (&mut random, loss) {
            (Some(random), _) => random.below(self.changes.len() as u64 + 1),
            (None, Loss::Nothing) => self.changes.len() as u64,
            (None, _) => 0,
        };
        for (_, change) in (0..kept).zip(std::mem::take(&mut self.changes)) {
            apply(&mut self.synced_names, &change);
        }
        self.names = self.synced_names.clone();
        for file in self.files.values_mut() {
            for (sector, old) in std::mem::take(&mut file.undo) {
                let keep = match &mut random {
                    Some(random) => random.below(2) == 1,
                    None => loss == Loss::Nothing,
                };
                if !keep {
                    let start = sector * SECTOR;
                    let end = (start + SECTOR).min(file.bytes.len());
                    file.bytes[start..end].copy_from_slice(&old[..end - start]);
                }
            }
        }
        self.forget_nameless();
    }

    /// Frees files that no name can bring back.
    fn forget_nameless(&mut self) {
        let (names, synced) = (&self.names, &self.synced_names);
        let named = |id: &u64| names.values().chain(synced.values()).any(|other| other == id);
        self.files.retain(|id, _| named(id));
    }
}

impl Content {
    fn range(&self, offset: u64, length: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(length)?;
        (end <= self.bytes.len()).then_some(start..end)
    }

    fn write(&mut self, start: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = start + bytes.len();
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            let content = &self.bytes;
            self.undo.entry(sector).or_insert_with(|| {
                let mut old = [0; SECTOR];
                let at = sector * SECTOR;
                let until = (at + SECTOR).min(content.len());
                old[..until - at].copy_from_slice(&content[at..until]);
                old
            });
        }
        self.bytes[start..end].copy_from_slice(bytes);
    }
}

fn apply(names: &mut BTreeMap<String, u64>, change: &Change) {
    match change {
        Change::Add(name, id) => {
            names.insert(name.clone(), *id);
        }
        Change::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
        Change::Remove(name) => {
            names.remove(name);
        }
    }
}

/// A small generator: enough to draw sectors from, and the same on every machine.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_with(name: &str, bytes: u64) -> (MemoryDisk, Box<dyn StorageFile>) {
        let disk = MemoryDisk::new();
        let file = disk.create(name, bytes).unwrap();
        disk.sync_directory().unwrap();
        (disk, file)
    }

    #[test]
    fn a_crash_takes_back_what_was_not_synced() {
        let (disk, file) = disk_with("a", 3000);
        file.write_at(&[1; 1500], 100).unwrap();
        file.sync().unwrap();
        file.write_at(&[2; 700], 1000).unwrap();
        let kept = disk.fork();
        kept.crash(Loss::Nothing);
        disk.crash(Loss::Unsynced);
        let mut expected = vec![0; 3000];
        expected[100..1600].fill(1);
        assert_eq!(disk.read_file("a"), Some(expected.clone()));
        expected[1000..1700].fill(2);
        assert_eq!(kept.read_file("a"), Some(expected));
    }

    #[test]
    fn a_torn_crash_keeps_whole_sectors_and_repeats_with_its_seed() {
        let (disk, file) = disk_with("a", 100 * 512);
        file.write_at(&vec![1; 100 * 512], 0).unwrap();
        let after = |seed| {
            let torn = disk.fork();
            torn.crash(Loss::Torn(seed));
            torn.read_file("a").unwrap()
        };
        let bytes = after(1);
        let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
        assert!(bytes.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        assert!(sectors.contains(&0) && sectors.contains(&1));
        assert_eq!(bytes, after(1));
        assert_ne!(bytes, after(2));
    }

    #[test]
    fn names_survive_only_once_the_directory_is_synced() {
        let (disk, _) = disk_with("a", 10);
        disk.rename("a", "b").unwrap();
        disk.create("c", 10).unwrap();
        let names = |disk: &MemoryDisk| -> Vec<String> {
            disk.list().unwrap().into_iter().map(|file| file.name).collect()
        };
        assert_eq!(names(&disk), ["b", "c"]);
        let crashed = disk.fork();
        crashed.crash(Loss::Unsynced);
        assert_eq!(names(&crashed), ["a"]);
        assert_eq!(crashed.used_bytes(), 10);
        disk.sync_directory().unwrap();
        disk.crash(Loss::Unsynced);
        assert_eq!(names(&disk), ["b", "c"]);
    }

    #[test]
    fn files_opened_before_a_crash_are_dead() {
        let (disk, file) = disk_with("a", 10);
        disk.crash(Loss::Nothing);
        assert!(file.write_at(&[1], 0).is_err());
        assert!(file.read_at(&mut [0], 0).is_err());
        assert!(file.sync().is_err());
        assert!(disk.open("a").unwrap().write_at(&[1], 0).is_ok());
    }

    #[test]
    fn faults_strike_when_they_are_told_to() {
        let (disk, file) = disk_with("a", 10);
        disk.fail_after(Operation::Write, 1);
        assert!(file.write_at(&[1; 4], 0).is_ok());
        assert!(file.write_at(&[2; 4], 4).is_err());
        assert_eq!(disk.read_file("a").unwrap(), [1, 1, 1, 1, 2, 2, 0, 0, 0, 0]);
        assert!(file.write_at(&[3; 4], 4).is_ok());
        disk.fail_always(Operation::Sync);
        assert!(file.sync().is_err() && file.sync().is_err());
        disk.repair();
        assert!(file.sync().is_ok());
        assert_eq!(disk.syncs(), 1);
    }

    #[test]
    fn capacity_bounds_new_files_and_nothing_else() {
        let (disk, file) = disk_with("a", 10);
        disk.set_capacity(Some(25));
        let error = disk.create("b", 16).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        disk.create("b", 15).unwrap();
        disk.set_capacity(Some(0));
        file.write_at(&[1; 10], 0).unwrap();
        assert!(file.write_at(&[1; 10], 1).is_err(), "files never grow");
        disk.remove("b").unwrap();
        assert_eq!(disk.used_bytes(), 10);
    }

    #[test]
    fn a_flipped_bit_outlives_a_crash() {
        let (disk, file) = disk_with("a", 10);
        file.write_at(&[1; 10], 0).unwrap();
        assert!(disk.flip_bit("a", 3, 7));
        assert!(!disk.flip_bit("a", 10, 0) && !disk.flip_bit("b", 0, 0));
        assert_eq!(disk.read_file("a").unwrap()[3], 0x81);
        disk.crash(Loss::Unsynced);
        assert_eq!(disk.read_file("a").unwrap()[3], 0x80);
    }
}
