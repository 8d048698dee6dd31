//! Taking segments from under a broker that writes to them.
//!
//! A segment that is sealed never changes any more, until its file is put to another use, which
//! begins with another header. The last segment grows; it is cut where the chain of its batches
//! ends, so that a write that was read half is left out.

use super::BackupError;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::Path;
use trunkline_log::{Survey, segment_name, segment_number};

/// How often a segment is read again that was being written to, before it is taken as damaged.
const READS: usize = 4;

/// Length of the part of a segment that tells what its file is used for.
const HEADER: usize = 4096;

/// One segment's bytes.
pub(super) enum Part {
    /// Nothing will be written to it any more.
    Closed(Vec<u8>),
    /// The last one in use.
    Tail(Vec<u8>),
    /// It was given up.
    Gone,
}

pub(super) struct Copying<'a> {
    data: &'a Path,
}

/// The number of the segment that a file is, if it is one.
pub(super) fn number_of(name: &str) -> Option<u64> {
    segment_number(name)
}

impl<'a> Copying<'a> {
    pub(super) fn new(data: &'a Path) -> Self {
        Self { data }
    }

    /// The lowest number of a segment.
    pub(super) fn oldest(&self) -> Result<u64, BackupError> {
        let files = super::files(self.data)?;
        let oldest = files.iter().filter_map(|(name, _)| segment_number(name)).min();
        oldest.ok_or_else(|| BackupError::NoBackup {
            path: self.data.to_owned(),
            reason: "there is no segment in it".to_owned(),
        })
    }

    /// Reads a segment as it was at one moment.
    pub(super) fn segment(&self, number: u64) -> Result<Part, BackupError> {
        for attempt in 1.. {
            let Some(mut bytes) = self.read(number)? else { return Ok(Part::Gone) };
            let last = attempt == READS;
            let Some(survey) = Survey::of(&bytes, number) else {
                // It is damaged, if its file is not being put to another use.
                if last {
                    return Ok(Part::Closed(bytes));
                }
                continue;
            };
            if survey.sealed {
                return Ok(Part::Closed(bytes));
            }
            if survey.holed || self.is_used(number + 1)? {
                // Written to or sealed meanwhile, or damaged, which reading again tells apart.
                if last {
                    let ends = !self.is_used(number + 1)?;
                    return Ok(if ends { Part::Tail(bytes) } else { Part::Closed(bytes) });
                }
                continue;
            }
            bytes[survey.end..].fill(0);
            return Ok(Part::Tail(bytes));
        }
        Ok(Part::Gone)
    }

    fn is_used(&self, number: u64) -> Result<bool, BackupError> {
        let survey = self.read(number)?.and_then(|bytes| Survey::of(&bytes, number));
        Ok(survey.is_some_and(|survey| survey.used))
    }

    /// The bytes of a segment's file; `None` if there is none or it was put to another use while
    /// it was read.
    fn read(&self, number: u64) -> Result<Option<Vec<u8>>, BackupError> {
        let path = self.data.join(segment_name(number));
        let io = || BackupError::io("read", &path);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(io())?,
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io())?;
        let mut head = vec![0; bytes.len().min(HEADER)];
        file.rewind().and_then(|()| file.read_exact(&mut head)).map_err(io())?;
        let same = bytes.starts_with(&head) && fs::exists(&path).map_err(io())?;
        Ok(same.then_some(bytes))
    }
}
