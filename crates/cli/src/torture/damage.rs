//! Bits flipped in closed segments of a stopped broker.
//!
//! Reads no more of a segment than `docs/log-format.md` says of batches: enough to know which
//! block is hit.

use crate::error::CliError;
use crate::exit::Exit;
use fastrand::Rng;
use std::fs::OpenOptions;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where the first batch of a segment stands.
const FIRST: usize = 4096;
/// Bytes of a batch's header.
const HEADER: usize = 64;
/// Kinds of batches.
const RECORDS: u8 = 1;
const SEAL: u8 = 3;

/// A bit that was flipped.
#[derive(Clone, Debug)]
pub(super) struct Flip {
    /// The segment's file.
    path: PathBuf,
    /// Which byte, and which bit of it.
    offset: u64,
    bit: u8,
}

/// One batch of records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Block {
    offset: usize,
    bytes: usize,
}

/// A block of a segment in which a bit is to be flipped.
#[derive(Clone, Debug)]
pub(super) struct Aim {
    /// The bit.
    pub(super) flip: Flip,
    /// The segment's number.
    pub(super) segment: u64,
    /// The bytes of the block.
    pub(super) block: Range<u64>,
}

impl Aim {
    /// Draws a bit in a batch of records in a closed segment of a data directory. `None` if no
    /// segment is closed.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn draw(directory: &Path, rng: &mut Rng) -> Result<Option<Self>, CliError> {
        let mut closed = Vec::new();
        for path in segments(directory)? {
            let blocks = sealed(&std::fs::read(&path)?);
            if !blocks.is_empty() {
                closed.push((path, blocks));
            }
        }
        let Some((path, blocks)) = rng.choice(closed) else { return Ok(None) };
        let Some(Block { offset, bytes }) = rng.choice(blocks) else { return Ok(None) };
        let block = offset as u64..(offset + bytes) as u64;
        let segment = number_of(&path).unwrap_or_default();
        let flip = Flip { path, offset: rng.u64(block.clone()), bit: 1 << rng.u8(0..8) };
        Ok(Some(Self { flip, segment, block }))
    }
}

impl Flip {
    /// Flips a drawn bit of a file that is no segment, in a byte that is not zero, as unused room
    /// is. `None` if it is not there, or empty.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub(super) fn draw_in(path: PathBuf, rng: &mut Rng) -> Result<Option<Self>, CliError> {
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let used = bytes.iter().enumerate().filter(|(_, byte)| **byte != 0);
        let Some((offset, _)) = rng.choice(used.collect::<Vec<_>>()) else { return Ok(None) };
        let flip = Self { path, offset: offset as u64, bit: 1 << rng.u8(0..8) };
        Ok(flip.turn()?.then_some(flip))
    }

    /// Flips the bit: a second time puts back what was. Tells whether the file is another one now.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(super) fn turn(&self) -> Result<bool, CliError> {
        let turn = || -> io::Result<bool> {
            let file = OpenOptions::new().read(true).write(true).open(&self.path)?;
            let (mut before, mut after) = ([0], [0]);
            file.read_exact_at(&mut before, self.offset)?;
            file.write_all_at(&[before[0] ^ self.bit], self.offset)?;
            file.sync_all()?;
            file.read_exact_at(&mut after, self.offset)?;
            Ok(before != after)
        };
        turn().map_err(|error| {
            let what = format!("cannot flip a bit in {}: {error}", self.path.display());
            CliError::new(Exit::General, what)
        })
    }

    /// Whether somebody who says this means the damaged segment, by its file or its number.
    pub(super) fn is_named_in(&self, words: &str) -> bool {
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let number = stem.trim_start_matches('0');
        let by_number = words.match_indices("segment").any(|(at, what)| {
            let rest = words[at + what.len()..].trim_start_matches([' ', '=']);
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            &rest[..end] == number
        });
        by_number || words.contains(stem)
    }

    /// Where it is.
    pub(super) fn place(&self) -> String {
        format!("{} at {}", self.path.display(), self.offset)
    }
}

/// Whether a data directory has a closed segment.
///
/// # Errors
/// A file cannot be read.
pub(super) fn has_closed(directory: &Path) -> io::Result<bool> {
    for path in segments(directory)? {
        if !sealed(&std::fs::read(path)?).is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many segments of a data directory were given up since it was made: they are numbered from 1.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn given_up(directory: &Path) -> io::Result<u64> {
    let first = segments(directory)?.into_iter().next();
    Ok(first.as_deref().and_then(number_of).unwrap_or_default().saturating_sub(1))
}

/// The number in the name of a segment.
fn number_of(segment: &Path) -> Option<u64> {
    segment.file_stem()?.to_str()?.parse().ok()
}

/// The segments of a data directory, oldest first.
fn segments(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_number = number.len() == 20 && number.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && path.extension().is_some_and(|extension| extension == "log") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The batches of records in a segment if it is sealed, none if it is not.
fn sealed(segment: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut at = FIRST;
    let salt = segment.get(40..48);
    loop {
        let Some(header) = segment.get(at..at + HEADER) else { return Vec::new() };
        if header.get(..8) != salt || number(header, 24, 8) != at as u64 {
            return Vec::new();
        }
        let frames = usize::try_from(number(header, 48, 4)).unwrap_or(usize::MAX);
        let bytes = HEADER.saturating_add(frames);
        match header[60] {
            SEAL => return blocks,
            RECORDS => blocks.push(Block { offset: at, bytes }),
            _ => {}
        }
        at = at.saturating_add(bytes).next_multiple_of(8);
    }
}

/// A little-endian number of so many bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use trunkline_log::{Directory, Log, LogConfig};

    /// Two records to a batch, until there are several segments.
    fn write(path: &Path) {
        let config =
            LogConfig { segment_bytes: 64 << 10, max_body_bytes: 16 << 10, ..LogConfig::default() };
        let disk = Arc::new(Directory::open(path).unwrap());
        let (mut log, _) = Log::open(disk, config, |_| Ok(())).unwrap();
        for number in 1..=20 {
            let mut batch = log.config().batch();
            for sequence in [2 * number - 1, 2 * number] {
                batch.push(0, sequence, 1, |body| body.extend([7; 5000])).unwrap();
            }
            log.prepare().unwrap();
            log.write(&mut batch).unwrap();
        }
        log.close().unwrap();
    }

    fn contents(path: &Path) -> Vec<Vec<u8>> {
        segments(path).unwrap().iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    #[test]
    fn a_flip_hits_one_bit_of_a_closed_segment_and_a_second_one_puts_it_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        write(path);
        let whole = contents(path);
        assert!(whole.len() > 2);
        assert_eq!(sealed(&whole[whole.len() - 1]), []);
        assert!(!sealed(&whole[0]).is_empty());
        for seed in 0..20 {
            let aim = Aim::draw(path, &mut Rng::with_seed(seed)).unwrap().unwrap();
            let flip = aim.flip;
            assert_eq!(contents(path), whole, "to aim changes nothing");
            assert!(flip.turn().unwrap());
            let damaged = contents(path);
            let differ = |a: &Vec<u8>, b: &Vec<u8>| -> u32 {
                a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
            };
            let bits: Vec<u32> =
                whole.iter().zip(&damaged).map(|(before, now)| differ(before, now)).collect();
            assert_eq!(bits.iter().sum::<u32>(), 1, "{bits:?}");
            assert_eq!(bits[bits.len() - 1], 0, "the last segment is not closed");
            assert!(flip.is_named_in(&format!("corrupt: {}", flip.place())));
            let number = flip.path.file_stem().unwrap().to_str().unwrap().trim_start_matches('0');
            assert!(flip.is_named_in(&format!("damaged segment={number} offset=12")));
            assert!(!flip.is_named_in("corrupt: segment 77, offset 12"));
            assert_eq!(number, aim.segment.to_string());
            let block = &sealed(&whole[usize::try_from(aim.segment).unwrap() - 1]);
            let block = block.iter().find(|block| block.offset as u64 == aim.block.start);
            assert_eq!(block.unwrap().bytes as u64, aim.block.end - aim.block.start);
            assert!(aim.block.contains(&flip.offset));
            assert!(flip.turn().unwrap());
            assert_eq!(contents(path), whole);
        }
    }

    #[test]
    fn a_flip_in_another_file_hits_one_bit_of_what_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        for (bytes, hit) in [(vec![0; 9], false), (vec![0, 0, 0x10, 0], true)] {
            std::fs::write(&path, &bytes).unwrap();
            let flip = Flip::draw_in(path.clone(), &mut Rng::with_seed(3)).unwrap();
            let now = std::fs::read(&path).unwrap();
            let differ: u32 = bytes.iter().zip(&now).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert_eq!((flip.is_some(), differ), (hit, u32::from(hit)));
            assert_eq!((now[0], now[1], now[3]), (0, 0, 0));
            if let Some(flip) = flip {
                flip.turn().unwrap();
                assert_eq!(std::fs::read(&path).unwrap(), bytes);
            }
        }
        let missing = directory.path().join("missing");
        assert!(Flip::draw_in(missing, &mut Rng::with_seed(3)).unwrap().is_none());
    }

    #[test]
    fn what_leaves_the_file_as_it_was_is_no_flip() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        std::fs::write(&path, [7; 4]).unwrap();
        let flip = Flip { path: path.clone(), offset: 2, bit: 0 };
        assert!(!flip.turn().unwrap());
        assert!(Flip { bit: 4, ..flip }.turn().unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), [7, 7, 3, 7]);
    }

    #[test]
    fn without_a_closed_segment_nothing_is_flipped() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("00000000000000000001.log"), [0; 8192]).unwrap();
        let drawn = Aim::draw(directory.path(), &mut Rng::with_seed(1)).unwrap();
        assert!(drawn.is_none());
        assert_eq!(given_up(directory.path()).unwrap(), 0);
    }

    #[test]
    fn segments_that_are_not_there_any_more_were_given_up() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(given_up(directory.path()).unwrap(), 0);
        for number in [7, 8] {
            std::fs::write(directory.path().join(format!("{number:020}.log")), "").unwrap();
        }
        assert_eq!(given_up(directory.path()).unwrap(), 6);
    }
}
