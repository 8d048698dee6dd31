//! The checksums of rows: what a row of the tables of tasks and letters holds is in two parts, each
//! of which begins with a checksum of itself and of the place of its row. Its other columns only
//! say again what the parts do. A key is in its columns, with a checksum of all of them in one.
//!
//! The checksum lies in front of the part and not in a column of its own: behind it a long part
//! would have to be read to reach it, and a column in front of it cannot be added to a table that is
//! there. A part of an earlier version has none and is taken as it is.

use crate::index::kinds::Kind;
use rusqlite::Error;
use rusqlite::types::{Type, ValueRef};
use std::fmt;
use trunkline_types::Sequence;

/// What a part with a checksum begins with: far from the version that others begin with, so that no
/// few flipped bits make one of the other.
const SEALED: u8 = 0xA7;

/// How many bytes are before what a sealed part holds: the mark and the checksum.
const BEFORE: usize = 5;

/// Which part of which row, so that none is taken for another. The numbers are in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    TaskHead = 1,
    TaskRest = 2,
    LetterHead = 3,
    LetterRest = 4,
    Key = 5,
}

/// A row that does not fit its checksums, or holds what nobody wrote.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct BadRow {
    pub(crate) kind: Kind,
    pub(crate) place: Sequence,
    /// What is wrong with it.
    pub(crate) what: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, place, what } = self;
        write!(f, "what its table of {} has of record {} {what}", kind.rows(), place.0)
    }
}

impl std::error::Error for BadRow {}

impl Part {
    fn kind(self) -> Kind {
        match self {
            Self::TaskHead | Self::TaskRest => Kind::Task,
            Self::LetterHead | Self::LetterRest => Kind::Letter,
            Self::Key => Kind::Key,
        }
    }

    /// The checksum of a part of the row at a place.
    pub(super) fn sum(self, place: Sequence, part: &[u8]) -> [u8; 4] {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        digest.update(&[self as u8]);
        digest.update(&place.0.to_le_bytes());
        digest.update(part);
        let mut sum = [0; 4];
        sum.copy_from_slice(&digest.finalize().to_le_bytes()[..4]);
        sum
    }

    /// Writes the part of the row at a place to a buffer that is cleared before.
    pub(super) fn seal(self, place: Sequence, to: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        to.clear();
        to.extend([SEALED, 0, 0, 0, 0]);
        write(to);
        let sum = self.sum(place, &to[BEFORE..]);
        to[1..BEFORE].copy_from_slice(&sum);
    }

    /// What the part of the row at a place holds, as it was written.
    ///
    /// # Errors
    /// A [`BadRow`] within SQLite's error.
    pub(super) fn open(
        self,
        place: Sequence,
        column: rusqlite::Result<ValueRef<'_>>,
    ) -> Result<&[u8], Error> {
        let bytes = match column?.as_blob() {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.bad(place, format!("cannot be read: {error}"))),
        };
        let Some((&SEALED, sealed)) = bytes.split_first() else { return Ok(bytes) };
        match sealed.split_first_chunk::<4>() {
            Some((sum, part)) if *sum == self.sum(place, part) => Ok(part),
            _ => Err(self.bad(place, "does not fit its checksum".to_owned())),
        }
    }

    /// The row at a place is bad.
    pub(super) fn bad(self, place: Sequence, what: String) -> Error {
        let bad = BadRow { kind: self.kind(), place, what };
        Error::FromSqlConversionFailure(0, Type::Blob, Box::new(bad))
    }

    /// The row at a place holds what this version has not written.
    pub(super) fn malformed(self, place: Sequence, error: &trunkline_engine::DecodeError) -> Error {
        self.bad(place, format!("cannot be read: {error}"))
    }
}

/// What is wrong with a row if an error says that of one.
pub(super) fn bad_row(error: &Error) -> Option<&BadRow> {
    match error {
        Error::FromSqlConversionFailure(_, _, error) => error.downcast_ref(),
        _ => None,
    }
}

/// Puts what is said of a bad row with the others, and leaves that row out.
///
/// # Errors
/// Every other error.
pub(super) fn sound<T>(read: Result<T, Error>, bad: &mut Vec<BadRow>) -> Result<Option<T>, Error> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) => {
            let Some(found) = bad_row(&error) else { return Err(error) };
            bad.push(found.clone());
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(part: Part, place: u64, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let found = part.open(Sequence(place), Ok(ValueRef::Blob(bytes)));
        found.map(<[u8]>::to_vec).map_err(|error| bad_row(&error).unwrap().to_string())
    }

    #[test]
    fn a_part_is_what_was_written_or_is_told_to_be_bad() {
        let mut bytes = vec![9];
        Part::TaskHead.seal(Sequence(7), &mut bytes, |out| out.extend(b"\x01 what it says"));
        assert_eq!(opened(Part::TaskHead, 7, &bytes), Ok(b"\x01 what it says".to_vec()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Without the mark it is of an earlier version, which begins otherwise.
            match opened(Part::TaskHead, 7, &flipped) {
                Ok(part) => assert!(bit < 8 && part[0] != 1, "{bit}"),
                Err(what) => assert!(what.contains("of record 7"), "{what}"),
            }
        }
        for (part, place) in [(Part::TaskHead, 8), (Part::TaskRest, 7), (Part::LetterHead, 7)] {
            assert!(opened(part, place, &bytes).unwrap_err().contains("its checksum"));
        }
        assert!(opened(Part::TaskHead, 7, &bytes[..3]).is_err());
        assert_eq!(opened(Part::TaskHead, 7, b"\x01 older"), Ok(b"\x01 older".to_vec()));
    }
}
