//! The byte layout of `docs/log-format.md`: constants, headers, checksums, file names.
//!
//! Pure functions over byte slices. Whatever is read here is untrusted: every reader returns an
//! option or an error and never panics on content.

use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi, crc64_nvme};
use std::io::{self, Read};

/// The format this version writes, and the highest it reads.
pub(crate) const FORMAT_VERSION: u32 = 5;
/// The oldest format this version reads. Format 3 added the flag of carried records and changed
/// nothing else, so that what 2 wrote reads as it is.
pub(crate) const OLDEST_FORMAT: u32 = 2;

pub(crate) const PAGE: u64 = 4096;
pub(crate) const MIN_SEGMENT_BYTES: u64 = 64 << 10;
pub(crate) const MAX_SEGMENT_BYTES: u64 = 1 << 30;

pub(crate) const SEGMENT_HEADER: usize = 4096;
pub(crate) const BATCH_HEADER: usize = 64;
pub(crate) const FRAME_HEADER: usize = 24;
pub(crate) const FRAME_ALIGN: usize = 8;

/// Kept free at a segment's end for batches without records.
pub(crate) const TAIL_RESERVE: u64 = 4096;
/// What a record costs besides its body if it has a segment to itself, at most.
pub(crate) const RECORD_OVERHEAD: u64 =
    SEGMENT_HEADER as u64 + BATCH_HEADER as u64 + FRAME_HEADER as u64 + FRAME_ALIGN as u64 - 1
        + TAIL_RESERVE;

/// The bit of a frame's flags that says it was carried forward.
const CARRIED: u8 = 1;

const MAGIC: &[u8; 8] = b"TRNKLOG\0";

const _: () = assert!(SEGMENT_HEADER.is_multiple_of(FRAME_ALIGN));
const _: () = assert!(BATCH_HEADER.is_multiple_of(FRAME_ALIGN));
const _: () = assert!(FRAME_HEADER.is_multiple_of(FRAME_ALIGN));
const _: () = assert!(RECORD_OVERHEAD < MIN_SEGMENT_BYTES);
// A batch's length field has 32 bits.
const _: () = assert!(MAX_SEGMENT_BYTES <= u32::MAX as u64);

/// CRC-64/NVME: the checksum of headers, batches and copies of them. It tells rot from what was
/// written, and is no protection against anybody who wants to deceive.
pub fn checksum(bytes: &[u8]) -> u64 {
    crc64_nvme(bytes)
}

/// The length and the checksum of all that can be read from somewhere, which is passed on piece by
/// piece, so that it need not be in memory.
///
/// # Errors
/// What reading says, or who it is passed on to.
pub fn checksum_of(
    mut from: impl Read,
    mut to: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<(u64, u64)> {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    let (mut length, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok((length, digest.finalize())),
            Ok(count) => {
                digest.update(&buffer[..count]);
                to(&buffer[..count])?;
                length += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The name of a segment's file.
pub fn segment_name(number: u64) -> String {
    format!("{number:020}.log")
}

pub(crate) fn free_name(id: u64) -> String {
    format!("free-{id:020}.log")
}

/// The number in a segment's file name, if it is one.
pub fn segment_number(name: &str) -> Option<u64> {
    twenty_digits(name).filter(|number| *number > 0)
}

/// The number in a free file's name, if it is one.
pub(crate) fn free_id(name: &str) -> Option<u64> {
    twenty_digits(name.strip_prefix("free-")?)
}

fn twenty_digits(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    let exact = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    exact.then(|| digits.parse().ok())?
}

/// A value that no other segment of this log has, and that is never zero: fresh files are zeros.
pub(crate) fn salt(seed: u64, number: u64) -> u64 {
    let mut mixed = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) | 1
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) salt: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SegmentHeaderError {
    Corrupt(&'static str),
    Newer(u32),
}

impl SegmentHeader {
    /// The header's bytes and its checksum.
    pub(crate) fn encode(self) -> (Vec<u8>, u64) {
        let mut bytes = vec![0; SEGMENT_HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        put_u32(&mut bytes, 16, FORMAT_VERSION);
        put_u64(&mut bytes, 24, self.number);
        put_u64(&mut bytes, 32, self.bytes);
        put_u64(&mut bytes, 40, self.salt);
        let sum = crc64_nvme(&bytes[16..]);
        put_u64(&mut bytes, 8, sum);
        (bytes, sum)
    }

    /// The header and chain that a damaged header must have had, if the first batch behind it and
    /// what is left of it agree: the batch follows a header of that checksum, or the header names
    /// the batch's salt. A recycled file can hold whole batches of an older use, so a batch alone
    /// proves nothing. `None` also if the header is that of another segment.
    pub(crate) fn infer(segment: &[u8], number: u64) -> Option<(Self, u64)> {
        let head = segment.get(..SEGMENT_HEADER)?;
        let salt = BatchHeader::peek(&segment[SEGMENT_HEADER..])?.salt;
        let (batch, ..) = BatchHeader::read(segment, SEGMENT_HEADER, salt)?;
        if SegmentHeader::decode(head).is_ok_and(|(header, _)| header.number != number) {
            return None;
        }
        let named = get_u64(head, 24) == number && get_u64(head, 40) == salt;
        let follows = get_u64(head, 8) == batch.chain;
        let header = Self { number, bytes: segment.len() as u64, salt };
        (named || follows).then_some((header, batch.chain))
    }

    /// Reads a header of [`SEGMENT_HEADER`] bytes and its checksum.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u64), SegmentHeaderError> {
        use SegmentHeaderError::{Corrupt, Newer};
        if bytes.len() != SEGMENT_HEADER || bytes[..8] != *MAGIC {
            return Err(Corrupt("segment header has no magic"));
        }
        let sum = get_u64(bytes, 8);
        if sum != crc64_nvme(&bytes[16..]) {
            return Err(Corrupt("segment header's checksum does not match"));
        }
        match get_u32(bytes, 16) {
            OLDEST_FORMAT..=FORMAT_VERSION => {}
            version if version > FORMAT_VERSION => return Err(Newer(version)),
            _ => return Err(Corrupt("segment header's format version is unknown")),
        }
        if get_u32(bytes, 20) != 0 || bytes[48..].iter().any(|byte| *byte != 0) {
            return Err(Corrupt("segment header's reserved bytes are set"));
        }
        let header = Self {
            number: get_u64(bytes, 24),
            bytes: get_u64(bytes, 32),
            salt: get_u64(bytes, 40),
        };
        // Every length that can be configured leaves room to seal the segment.
        let lengths = MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES;
        if !lengths.contains(&header.bytes) || !header.bytes.is_multiple_of(PAGE) {
            return Err(Corrupt("segment header names a length that no segment has"));
        }
        Ok((header, sum))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Records,
    Opening,
    Seal,
    Removal,
    Closing,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Records => 1,
            Self::Opening => 2,
            Self::Seal => 3,
            Self::Removal => 4,
            Self::Closing => 5,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Records,
            2 => Self::Opening,
            3 => Self::Seal,
            4 => Self::Removal,
            5 => Self::Closing,
            _ => return None,
        })
    }
}

/// A batch's header without its checksum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BatchHeader {
    pub(crate) salt: u64,
    pub(crate) chain: u64,
    pub(crate) offset: u64,
    pub(crate) synced: u64,
    pub(crate) oldest: u64,
    pub(crate) frame_bytes: u32,
    pub(crate) records: u32,
    pub(crate) epoch: u32,
    /// `None` when it is read and not known.
    pub(crate) kind: Option<Kind>,
    /// Whether the zero bytes are zero.
    pub(crate) plain: bool,
}

impl BatchHeader {
    /// Fills in the header of `batch` (room for it, then frames) and returns the checksum.
    pub(crate) fn seal(&self, batch: &mut [u8]) -> u64 {
        batch[..BATCH_HEADER].fill(0);
        put_u64(batch, 0, self.salt);
        put_u64(batch, 16, self.chain);
        put_u64(batch, 24, self.offset);
        put_u64(batch, 32, self.synced);
        put_u64(batch, 40, self.oldest);
        put_u32(batch, 48, self.frame_bytes);
        put_u32(batch, 52, self.records);
        put_u32(batch, 56, self.epoch);
        batch[60] = self.kind.map_or(0, Kind::code);
        let sum = crc64_nvme(&batch[16..]);
        put_u64(batch, 8, sum);
        sum
    }

    /// Reads the header at the start of `bytes` without checking anything.
    pub(crate) fn peek(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..BATCH_HEADER)?;
        Some(Self {
            salt: get_u64(bytes, 0),
            chain: get_u64(bytes, 16),
            offset: get_u64(bytes, 24),
            synced: get_u64(bytes, 32),
            oldest: get_u64(bytes, 40),
            frame_bytes: get_u32(bytes, 48),
            records: get_u32(bytes, 52),
            epoch: get_u32(bytes, 56),
            kind: Kind::from_code(bytes[60]),
            plain: bytes[61..64] == [0; 3],
        })
    }

    /// Length of the batch with its header.
    pub(crate) fn bytes(&self) -> usize {
        BATCH_HEADER + self.frame_bytes as usize
    }

    /// Reads the batch that starts at `offset` of a segment: whole, in its place, of this segment,
    /// with a checksum that fits. Returns the header, the checksum and the frames. The chain and
    /// epoch are the caller's to judge.
    pub(crate) fn read(segment: &[u8], offset: usize, salt: u64) -> Option<(Self, u64, &[u8])> {
        let rest = segment.get(offset..)?;
        let header = Self::peek(rest)?;
        if header.salt != salt || header.offset != offset as u64 {
            return None;
        }
        let batch = rest.get(..header.bytes())?;
        let sum = get_u64(batch, 8);
        (sum == crc64_nvme(&batch[16..])).then_some((header, sum, &batch[BATCH_HEADER..]))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FrameHeader {
    pub(crate) body_bytes: u32,
    pub(crate) sequence: u64,
    pub(crate) partition: u16,
    pub(crate) tag: u8,
    /// Whether cleaning wrote it to say again what an older record said.
    pub(crate) carried: bool,
}

impl FrameHeader {
    /// Writes the header with an empty checksum.
    pub(crate) fn write(self, frame: &mut [u8]) {
        put_u32(frame, 0, 0);
        put_u32(frame, 4, self.body_bytes);
        put_u64(frame, 8, self.sequence);
        frame[16..18].copy_from_slice(&self.partition.to_le_bytes());
        frame[18] = self.tag;
        frame[19] = if self.carried { CARRIED } else { 0 };
        frame[20..24].fill(0);
    }

    /// Reads the header at the start of `bytes` and the length of the whole frame, if it is there
    /// whole. The checksum is not looked at.
    pub(crate) fn peek(bytes: &[u8]) -> Option<(Self, usize)> {
        Self::length(bytes).filter(|&(_, whole)| whole <= bytes.len())
    }

    /// The same, whether it is there whole or not.
    pub(crate) fn length(bytes: &[u8]) -> Option<(Self, usize)> {
        let header = bytes.get(..FRAME_HEADER)?;
        let body_bytes = get_u32(header, 4);
        let frame_bytes =
            (FRAME_HEADER + body_bytes as usize).checked_next_multiple_of(FRAME_ALIGN)?;
        let header = Self {
            body_bytes,
            sequence: get_u64(header, 8),
            partition: u16::from_le_bytes([header[16], header[17]]),
            tag: header[18],
            carried: header[19] & CARRIED != 0,
        };
        Some((header, frame_bytes))
    }
}

/// Whether the bits of a frame that have no meaning yet are zero.
pub(crate) fn frame_is_plain(frame: &[u8]) -> bool {
    frame[19] & !CARRIED == 0 && frame[20..24] == [0; 4]
}

pub(crate) fn seal_frame(frame: &mut [u8]) {
    let sum = crc32_iscsi(&frame[4..]);
    put_u32(frame, 0, sum);
}

pub(crate) fn frame_is_sound(frame: &[u8]) -> bool {
    get_u32(frame, 0) == crc32_iscsi(&frame[4..])
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_read_back_and_others_are_not() {
        for number in [1, 2, 99, u64::MAX] {
            assert_eq!(segment_number(&segment_name(number)), Some(number));
            assert_eq!(free_id(&free_name(number)), Some(number));
            assert_eq!(segment_number(&free_name(number)), None);
            assert_eq!(free_id(&segment_name(number)), None);
        }
        assert_eq!(free_id(&free_name(0)), Some(0));
        for name in ["", "LOCK", "1.log", "00000000000000000000.log", "+0000000000000000001.log"] {
            assert_eq!(segment_number(name), None, "{name}");
        }
        // Twenty digits can say more than 64 bits hold.
        assert_eq!(segment_number("99999999999999999999.log"), None);
    }

    #[test]
    fn salts_differ_and_are_never_zero() {
        let mut salts: Vec<u64> = (0..1000).map(|number| salt(0, number)).collect();
        salts.extend((1..1000).map(|seed| salt(seed, 1)));
        assert!(!salts.contains(&0));
        let count = salts.len();
        salts.sort_unstable();
        salts.dedup();
        assert_eq!(salts.len(), count);
    }

    #[test]
    fn the_bytes_are_those_of_the_format_document() {
        let header = SegmentHeader { number: 3, bytes: 65536, salt: 0x0102_0304_0506_0708 };
        let (bytes, sum) = header.encode();
        assert_eq!(&bytes[..8], b"TRNKLOG\0");
        assert_eq!(bytes[8..16], sum.to_le_bytes());
        assert_eq!(bytes[16..24], [5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[24..32], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[32..40], [0, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[40..48], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(SegmentHeader::decode(&bytes), Ok((header, sum)));

        let mut frame = [0xff; 32];
        let plain =
            FrameHeader { body_bytes: 5, sequence: 6, partition: 0x0708, tag: 9, carried: false };
        FrameHeader { carried: true, ..plain }.write(&mut frame[..24]);
        assert_eq!(frame[16..24], [8, 7, 9, 1, 0, 0, 0, 0]);
        assert!(frame_is_plain(&frame));
        frame[19] = 2;
        assert!(!frame_is_plain(&frame), "a flag that nobody knows");
        plain.write(&mut frame[..24]);
        frame[24..].copy_from_slice(b"hello\0\0\0");
        seal_frame(&mut frame);
        assert_eq!(frame[..4], crc32_iscsi(&frame[4..]).to_le_bytes());
        assert_eq!(frame[4..8], [5, 0, 0, 0]);
        assert_eq!(frame[8..16], [6, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(frame[16..24], [8, 7, 9, 0, 0, 0, 0, 0]);
        assert!(frame_is_sound(&frame) && frame_is_plain(&frame));

        let header = BatchHeader {
            salt: 1,
            chain: 2,
            offset: 0,
            synced: 4,
            oldest: 5,
            frame_bytes: 32,
            records: 1,
            epoch: 7,
            kind: Some(Kind::Records),
            plain: true,
        };
        let mut batch = vec![0xff; BATCH_HEADER];
        batch.extend(frame);
        let sum = header.seal(&mut batch);
        assert_eq!(batch[8..16], crc64_nvme(&batch[16..]).to_le_bytes());
        for (at, value) in [(0, 1), (16, 2), (24, 0), (32, 4), (40, 5)] {
            assert_eq!(get_u64(&batch, at), value, "field at {at}");
        }
        for (at, value) in [(48, 32), (52, 1), (56, 7), (60, 1)] {
            assert_eq!(get_u32(&batch, at), value, "field at {at}");
        }
        assert_eq!(BatchHeader::read(&batch, 0, 1), Some((header, sum, &frame[..])));
        assert_eq!(BatchHeader::read(&batch, 0, 2), None, "another salt");
        assert_eq!(BatchHeader::read(&batch[..95], 0, 1), None, "cut short");
    }

    #[test]
    fn a_header_whose_length_no_segment_can_have_is_refused() {
        let decode =
            |bytes| SegmentHeader::decode(&SegmentHeader { number: 1, bytes, salt: 1 }.encode().0);
        assert!(decode(MIN_SEGMENT_BYTES).is_ok() && decode(MAX_SEGMENT_BYTES).is_ok());
        // Without room for a seal the log would go on in a segment that nothing announces.
        for bytes in [0, 4160, MIN_SEGMENT_BYTES - PAGE, MIN_SEGMENT_BYTES + 8, u64::MAX] {
            let refused = decode(bytes);
            assert!(matches!(refused, Err(SegmentHeaderError::Corrupt(_))), "{bytes}: {refused:?}");
        }
    }

    #[test]
    fn frames_of_any_bytes_are_read_or_refused() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let length = random.usize(..200);
            let bytes: Vec<u8> = (0..length).map(|_| random.u8(..) & random.u8(..)).collect();
            if let Some((frame, whole)) = FrameHeader::peek(&bytes) {
                assert!(FRAME_HEADER + frame.body_bytes as usize <= whole);
                assert!(whole <= length);
            }
            let _ = BatchHeader::read(&bytes, 0, 0);
            assert!(SegmentHeader::decode(&bytes).is_err());
        }
    }
}
