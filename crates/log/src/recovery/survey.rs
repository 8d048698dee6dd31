//! A look at one segment's bytes alone, for those who copy segments while somebody writes to them.
//!
//! It knows nothing of other segments. What it calls the end is where the chain of whole batches
//! ends, which is a place where the log may be cut.

use super::search::Evidence;
use crate::layout::{BatchHeader, Kind, SEGMENT_HEADER, SegmentHeader};

/// What the bytes of a segment file hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Survey {
    /// Whether anything was ever written to the segment.
    pub used: bool,
    /// Whether a seal ends it: nothing will be written to it any more.
    pub sealed: bool,
    /// Whether batches behind `end` say that what stands at `end` was flushed once. It is damaged,
    /// or was being written while it was read.
    pub holed: bool,
    /// Where the last batch ends that follows the ones before it.
    pub end: usize,
}

impl Survey {
    /// Looks at the bytes of a whole segment file. `None` if they do not begin with the header of
    /// the segment of this number: it is damaged, or the file is used for something else by now.
    pub fn of(bytes: &[u8], number: u64) -> Option<Self> {
        let (header, mut chain) = SegmentHeader::decode(bytes.get(..SEGMENT_HEADER)?).ok()?;
        if header.number != number || header.bytes != bytes.len() as u64 {
            return None;
        }
        let mut survey = Self { used: false, sealed: false, holed: false, end: SEGMENT_HEADER };
        let mut synced = 0;
        let mut epoch = None;
        while let Some((batch, sum, _)) = BatchHeader::read(bytes, survey.end, header.salt) {
            let follows = match (epoch, batch.kind) {
                (None, _) => true,
                (Some(epoch), Some(Kind::Opening)) => batch.epoch > epoch,
                (Some(epoch), _) => batch.epoch == epoch,
            };
            if batch.chain != chain || !follows {
                break;
            }
            (chain, epoch) = (sum, Some(batch.epoch));
            synced = synced.max(batch.synced);
            survey.used = true;
            survey.end += batch.bytes();
            if batch.kind == Some(Kind::Seal) {
                survey.sealed = true;
                return Some(survey);
            }
        }
        let evidence = Evidence::gather(bytes, survey.end, header.salt);
        survey.holed = synced.max(evidence.synced) > survey.end as u64;
        survey.used |= evidence.end > 0;
        Some(survey)
    }
}
