//! How much room there is: which frames go into which segment, and when the reserve may be used.

use std::sync::Arc;

use super::{Log, Space, UpkeepState, segment::Segment, upkeep::Upkeep};
use crate::{
    Batch,
    error::WriteError,
    layout::{BATCH_HEADER, FrameHeader},
};

impl Log {
    /// How much room there is.
    pub fn space(&self) -> Space {
        match (self.lacks_spares(), self.lacks_refused(), self.starved) {
            (true, true, _) => Space::Exhausted,
            (true, false, true) => Space::Reserve,
            (true, false, false) | (false, ..) => Space::Ample,
        }
    }

    /// Decides which frames go into which segment, into `self.parts`, making spares if it must.
    pub(super) fn plan(&mut self, batch: &mut Batch) -> Result<(), WriteError> {
        let buffer = batch.buffer_mut();
        self.parts.clear();
        let mut at = BATCH_HEADER;
        let mut left = 0;
        for index in 0.. {
            let room = match index {
                0 => Some(self.current.room()),
                _ => self.spare_room(index - 1),
            };
            let Some(room) = room else {
                self.refused = Some(index - 1 + self.segments_for(&buffer[at..]));
                let needed = (buffer.len() - BATCH_HEADER) as u64;
                return Err(WriteError::Full { needed, left });
            };
            left += room as u64;
            at += fitting(&buffer[at..], room);
            self.parts.push(at);
            if at == buffer.len() {
                break;
            }
        }
        Ok(())
    }

    /// Room for frames in a spare segment, which is made if need be and possible.
    pub(super) fn spare_room(&mut self, index: usize) -> Option<usize> {
        let left = self.spares.len().saturating_sub(index);
        if left <= self.config.reserve_segments && !self.starved {
            // The reserve is touched only once it is certain that there is no other room.
            match self.upkeep {
                UpkeepState::Running => return None,
                UpkeepState::Due | UpkeepState::Later => self.make_spare(),
            }
        } else if left == 0 && self.upkeep != UpkeepState::Running {
            self.make_spare();
        }
        self.spares.get(index).map(Segment::room)
    }

    fn make_spare(&mut self) {
        let number = self.current.number() + self.spares.len() as u64 + 1;
        let files = std::mem::take(&mut self.files);
        let storage = Arc::clone(&self.storage);
        let upkeep = Upkeep::new(storage, &self.config, self.segment_bytes, files, Some(number));
        // A failure shows in `space` and in the refusal that follows.
        let _ = self.finish_upkeep(upkeep.run());
    }

    /// Whether fewer segments are prepared than the next one and the reserve, or than what was
    /// refused needs. It is for that alone that there are ever more.
    pub(super) fn lacks_spares(&self) -> bool {
        self.spares.len() <= self.config.reserve_segments || self.lacks_refused()
    }

    /// Whether there is still no room for what was refused.
    fn lacks_refused(&self) -> bool {
        self.refused.is_some_and(|needed| self.spares.len() < needed)
    }

    /// How many new segments these frames need.
    fn segments_for(&self, mut frames: &[u8]) -> usize {
        let room = Segment::room_of(self.segment_bytes);
        let mut segments = 0;
        while !frames.is_empty() {
            // A segment has room for the longest record.
            let fitting = fitting(frames, room).max(1);
            frames = &frames[fitting.min(frames.len())..];
            segments += 1;
        }
        segments
    }

    /// Numbers and lengths of the segments that have been announced as dead and are not handed
    /// over yet.
    pub(super) fn dead_segments(&self) -> Vec<(u64, u64)> {
        let known = self.table.segments().iter();
        let lengths: Vec<_> = known.map(|segment| (segment.number, segment.bytes)).collect();
        let length = |number| lengths.iter().find(|(other, _)| *other == number);
        (self.first..self.oldest)
            .map(|number| (number, length(number).map_or(0, |(_, bytes)| *bytes)))
            .collect()
    }

    /// Counts the bytes of all files. Left as it is while the free ones are handed out.
    pub(super) fn count_disk(&mut self) {
        self.figures.segments = self.table.segments().len() as u64;
        if self.upkeep == UpkeepState::Running {
            return;
        }
        let spares = self.spares.iter().map(|spare| spare.header().bytes);
        let segments = self.table.segments().iter().map(|segment| segment.bytes);
        self.figures.disk_bytes = segments.chain(spares).sum::<u64>() + self.files.bytes();
    }
}

/// How many bytes of whole frames at the start of `frames` fit into `room`.
fn fitting(frames: &[u8], room: usize) -> usize {
    if frames.len() <= room {
        return frames.len();
    }
    let mut at = 0;
    while let Some((_, bytes)) = FrameHeader::peek(&frames[at..]) {
        if at + bytes > room {
            break;
        }
        at += bytes;
    }
    at
}
