//! Compression of payloads, and undoing it within a bound.

use crate::error::ContentError;
use flate2::read::{GzEncoder, MultiGzDecoder};
use lz4_flex::frame::{BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use std::io::{self, Read, Write};
use trunkline_types::{Encoding, Payload};

/// From how many bytes on compression pays by default: below, headers and time outweigh it.
const ABOVE: usize = 4 << 10;

/// gzip's own default: a good deal of its ratio for a fraction of the time of level 9.
const GZIP_LEVEL: u32 = 6;

/// Zstandard's own default: better than gzip at its best, and several times faster.
const ZSTD_LEVEL: i32 = 3;

/// A decoder must keep as many bytes as the sender's window has, 2 to this power. RFC 8878 asks
/// decoders for 8 MiB, which is what levels up to 19 use.
const ZSTD_WINDOW: u32 = 23;

/// The largest window that zstd decodes without being asked to.
const ZSTD_WIDEST: u32 = 27;

/// Which payloads are compressed, and how. gzip runs at level 6, zstd at level 3, lz4 at its one
/// fast level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compression {
    /// How. `identity` for not at all, which is the default.
    pub encoding: Encoding,
    /// Only payloads with more bytes than this. Default 4 KiB.
    pub above: usize,
}

impl Compression {
    /// Compression of payloads above 4 KiB.
    pub const fn new(encoding: Encoding) -> Self {
        Self { encoding, above: ABOVE }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::new(Encoding::Identity)
    }
}

/// Compresses a payload. It stays as it is if it is compressed already, if it has no more bytes
/// than `compression.above`, or if it would not get smaller.
#[must_use]
pub fn compress(payload: Payload, compression: &Compression) -> Payload {
    let &Compression { encoding, above } = compression;
    if payload.encoding != Encoding::Identity || payload.data.len() <= above {
        return payload;
    }
    match packed(encoding, &payload.data) {
        Ok(Some(data)) if data.len() < payload.data.len() => {
            Payload { encoding, data: data.into(), ..payload }
        }
        // Writing to memory does not fail; if it ever did, the payload is good as it is.
        Ok(_) | Err(_) => payload,
    }
}

/// Undoes the compression of a payload; one that is not compressed is returned as it is, whatever
/// its size. Never makes more than `limit` bytes, however small the input: whatever would be
/// larger is refused. Besides them a decoder takes up to 16 MiB for itself (with zstd as much as
/// `limit`, if that is more).
///
/// # Errors
/// [`ContentError::Large`] if it has more than `limit` bytes, [`ContentError::Damaged`] if the
/// bytes are not what they say, are cut off, or are followed by others.
pub fn decompress(payload: &Payload, limit: usize) -> Result<Payload, ContentError> {
    let encoding = payload.encoding;
    let damaged = |error: io::Error| ContentError::Damaged { encoding, reason: error.to_string() };
    let input = &*payload.data;
    if encoding != Encoding::Identity && input.is_empty() {
        let reason = "there are no bytes".to_owned();
        return Err(ContentError::Damaged { encoding, reason });
    }
    let data = match encoding {
        Encoding::Identity => return Ok(payload.clone()),
        Encoding::Gzip => bounded(MultiGzDecoder::new(input), limit),
        Encoding::Zstd => zstd_decoder(input, limit).and_then(|decoder| bounded(decoder, limit)),
        Encoding::Lz4 => unpack_lz4(input, limit),
    };
    match data.map_err(damaged)? {
        Some(data) => Ok(Payload {
            content_type: payload.content_type.clone(),
            encoding: Encoding::Identity,
            data: data.into(),
        }),
        None => Err(ContentError::Large { encoding, limit }),
    }
}

/// The bytes compressed; `None` if nothing is to be done.
fn packed(encoding: Encoding, data: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let packed = match encoding {
        Encoding::Identity => return Ok(None),
        Encoding::Gzip => {
            let mut packed = Vec::new();
            GzEncoder::new(data, flate2::Compression::new(GZIP_LEVEL)).read_to_end(&mut packed)?;
            packed
        }
        Encoding::Zstd => zstd::bulk::compress(data, ZSTD_LEVEL)?,
        Encoding::Lz4 => {
            // With its checksum, as the other two have one; small blocks keep small payloads cheap
            // to read.
            let frame = FrameInfo::new().block_size(BlockSize::Auto).content_checksum(true);
            let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
            encoder.write_all(data)?;
            encoder.finish().map_err(io::Error::from)?
        }
    };
    Ok(Some(packed))
}

/// All that a decoder gives; `None` if that is more than `limit`.
fn bounded(decoder: impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut data = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(bound).read_to_end(&mut data)?;
    Ok((data.len() <= limit).then_some(data))
}

fn zstd_decoder(input: &[u8], limit: usize) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    // A small frame may ask for a window of gigabytes; what is within the limit needs no more.
    let wanted = limit.checked_next_power_of_two().map_or(u32::MAX, usize::trailing_zeros);
    decoder.window_log_max(wanted.clamp(ZSTD_WINDOW, ZSTD_WIDEST))?;
    Ok(decoder)
}

/// One frame and nothing else: every further frame would cost buffers of its own, which a few
/// bytes each could ask for again and again.
fn unpack_lz4(input: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut source = Source { rest: input, ended: false };
    let data = bounded(FrameDecoder::new(&mut source), limit)?;
    // The decoder takes an end between two blocks for the end of the frame.
    if data.is_some() && source.ended {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut off"));
    }
    if data.is_some() && !source.rest.is_empty() {
        let count = source.rest.len();
        return Err(io::Error::other(format!("{count} bytes follow its frame")));
    }
    Ok(data)
}

/// Bytes that remember whether more of them were wanted than there are.
struct Source<'a> {
    rest: &'a [u8],
    ended: bool,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ended |= self.rest.is_empty() && !buffer.is_empty();
        self.rest.read(buffer)
    }
}
