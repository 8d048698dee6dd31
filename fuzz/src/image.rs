//! A log's files made of arbitrary bytes, with the checksums that would otherwise stop every
//! mutation at the first gate.
//!
//! It knows the layout from `docs/log-format.md` alone and shares no code with the log, so that it
//! can also judge what the log serves.

use crc_fast::{crc32_iscsi, crc64_nvme};

/// Where batches begin in a segment.
pub const SEGMENT_HEADER: usize = 4096;
const BATCH_HEADER: usize = 64;
const FRAME_HEADER: usize = 24;
/// Length of a segment when it has room behind its batches.
const ROOMY: usize = 64 << 10;
/// The salt of the first segment; the second has the next one.
const SALT: u64 = 0x1122_3344_5566_7788;

/// What is put right in the bytes of a segment. One bit each of an input's first byte.
#[derive(Clone, Copy, Debug)]
pub struct Repair {
    /// Salt, offset, chain and checksum of batches.
    pub batches: bool,
    /// Checksums of frames.
    pub frames: bool,
    /// The segment's header; else the bytes are the whole file.
    pub header: bool,
    /// Room behind the batches, as a segment in use has.
    pub room: bool,
    /// A second segment, which begins where the input's second and third byte say.
    pub second: bool,
}

impl Repair {
    /// Reads the bits of a byte.
    pub fn from_bits(bits: u8) -> Self {
        let bit = |place: u8| bits >> place & 1 == 1;
        Self { batches: bit(0), frames: bit(1), header: bit(2), room: bit(3), second: bit(4) }
    }
}

/// The files of a log that an input stands for, first segment first.
pub fn files(data: &[u8]) -> Option<Vec<Vec<u8>>> {
    let [bits, low, high, rest @ ..] = data else { return None };
    let repair = Repair::from_bits(*bits);
    if !repair.second {
        return Some(vec![segment(rest, 1, repair)]);
    }
    let cut = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (first, second) = rest.split_at(cut);
    Some(vec![segment(first, 1, repair), segment(second, 2, repair)])
}

fn segment(bytes: &[u8], number: u64, repair: Repair) -> Vec<u8> {
    if !repair.header {
        return bytes.to_vec();
    }
    let mut file = vec![0; SEGMENT_HEADER];
    file.extend_from_slice(bytes);
    file.resize(file.len().next_multiple_of(8), 0);
    if repair.room {
        file.resize(file.len().max(ROOMY), 0);
    }
    let salt = SALT + number;
    let length = file.len() as u64;
    put_u64(&mut file, 0, u64::from_le_bytes(*b"TRNKLOG\0"));
    file[16] = 2;
    put_u64(&mut file, 24, number);
    put_u64(&mut file, 32, length);
    put_u64(&mut file, 40, salt);
    let sum = crc64_nvme(&file[16..SEGMENT_HEADER]);
    put_u64(&mut file, 8, sum);
    mend(&mut file, salt, sum, repair);
    file
}

/// Puts right what `repair` says, batch by batch, up to the first that cannot be one.
fn mend(file: &mut [u8], salt: u64, mut chain: u64, repair: Repair) {
    let mut at = SEGMENT_HEADER;
    while let Some(end) = batch_end(file, at).filter(|_| file[at + 60] != 0) {
        if repair.frames {
            mend_frames(&mut file[at + BATCH_HEADER..end]);
        }
        if repair.batches {
            put_u64(file, at, salt);
            put_u64(file, at + 16, chain);
            put_u64(file, at + 24, at as u64);
            chain = crc64_nvme(&file[at + 16..end]);
            put_u64(file, at + 8, chain);
        }
        at = end;
    }
}

fn mend_frames(frames: &mut [u8]) {
    let mut at = 0;
    while let Some(end) = frame_end(frames, at) {
        let sum = crc32_iscsi(&frames[at + 4..end]);
        frames[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        at = end;
    }
}

fn batch_end(file: &[u8], at: usize) -> Option<usize> {
    let header = file.get(at..at + BATCH_HEADER)?;
    let end = at + BATCH_HEADER + get_u32(header, 48) as usize;
    (end <= file.len()).then_some(end)
}

fn frame_end(frames: &[u8], at: usize) -> Option<usize> {
    let header = frames.get(at..at + FRAME_HEADER)?;
    let end = at + FRAME_HEADER + (get_u32(header, 4) as usize);
    let end = at + (end - at).next_multiple_of(8);
    (end <= frames.len()).then_some(end)
}

/// The body of the frame at `at`, if a frame stands there whose checksum is right.
pub fn sound_body(file: &[u8], at: usize) -> Option<&[u8]> {
    let end = frame_end(file, at)?;
    let frame = &file[at..end];
    let sound = get_u32(frame, 0) == crc32_iscsi(&frame[4..]);
    sound.then(|| &frame[FRAME_HEADER..FRAME_HEADER + get_u32(frame, 4) as usize])
}

/// Whether a place of the file lies in a batch of this segment whose checksum is right.
pub fn in_sound_batch(file: &[u8], place: usize) -> bool {
    let salt = &file[40..48];
    let begins = |at: &usize| file.get(*at..*at + 8) == Some(salt);
    let mut starts = (SEGMENT_HEADER..=place).step_by(8).filter(begins);
    starts.any(|at| {
        let sound =
            |&end: &usize| file[at + 8..at + 16] == crc64_nvme(&file[at + 16..end]).to_le_bytes();
        batch_end(file, at).filter(sound).is_some_and(|end| place < end)
    })
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
