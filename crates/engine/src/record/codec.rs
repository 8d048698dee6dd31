//! The primitives that record bodies are made of: LEB128 numbers, length-prefixed bytes, options
//! as a byte 0 or 1 before the value.

use bytes::Bytes;
use std::time::Duration;
use thiserror::Error;
use trunkline_types::{Encoding, Payload, WallTime};

/// Why a record body cannot be read. The log checks sums, so this means a record written by
/// something else than this version of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// No record kind has this tag.
    #[error("unknown record tag {0}; a newer version may have written it")]
    Tag(u8),
    /// The body ends before its last field.
    #[error("record body ends within {0}")]
    Short(&'static str),
    /// A field has a value that it cannot have.
    #[error("record field {field} is malformed: {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// There are bytes after the last field.
    #[error("record body has {0} bytes after its last field")]
    Long(usize),
}

pub(super) trait Write {
    fn number(&mut self, value: u64);
    fn bytes(&mut self, value: &[u8]);
    fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }
    fn wide(&mut self, value: u128);
    fn time(&mut self, value: WallTime) {
        self.number(value.0);
    }
    fn span(&mut self, value: Duration) {
        self.number(u64::try_from(value.as_millis()).unwrap_or(u64::MAX));
    }
    fn payload(&mut self, value: &Payload) {
        self.text(&value.content_type);
        self.number(u64::from(value.encoding.number()));
        self.bytes(&value.data);
    }
    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.number(0),
            Some(value) => {
                self.number(1);
                write(self, value);
            }
        }
    }
    fn list<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.number(values.len() as u64);
        for value in values {
            write(self, value);
        }
    }
}

impl Write for Vec<u8> {
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push((value & 0x7F) as u8 | 0x80);
            value >>= 7;
        }
        #[allow(clippy::cast_possible_truncation, reason = "below 0x80 here")]
        self.push(value as u8);
    }

    fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.extend_from_slice(value);
    }

    fn wide(&mut self, value: u128) {
        self.extend_from_slice(&value.to_be_bytes());
    }
}

/// Reads a body from front to back.
pub(super) struct Read<'a>(pub(super) &'a [u8]);

impl<'a> Read<'a> {
    pub(super) fn number(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(DecodeError::Short(field))?;
            self.0 = rest;
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Field { field, problem: "a number has more than 64 bits".into() })
    }

    pub(super) fn small<T: TryFrom<u64>>(&mut self, field: &'static str) -> Result<T, DecodeError> {
        let value = self.number(field)?;
        let Ok(small) = T::try_from(value) else {
            return Err(DecodeError::Field { field, problem: format!("{value} is too large") });
        };
        Ok(small)
    }

    pub(super) fn take(
        &mut self,
        length: usize,
        field: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Short(field))?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.small(field)?;
        self.take(length, field)
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(field)?)
            .map_err(|error| DecodeError::Field { field, problem: error.to_string() })
    }

    /// A text that is parsed into a validated type.
    pub(super) fn parse<T>(&mut self, field: &'static str) -> Result<T, DecodeError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        self.text(field)?
            .parse()
            .map_err(|error: T::Err| DecodeError::Field { field, problem: error.to_string() })
    }

    pub(super) fn wide(&mut self, field: &'static str) -> Result<u128, DecodeError> {
        let bytes = self.take(16, field)?;
        Ok(u128::from_be_bytes(bytes.try_into().expect("sixteen bytes were taken")))
    }

    pub(super) fn time(&mut self, field: &'static str) -> Result<WallTime, DecodeError> {
        self.number(field).map(WallTime)
    }

    pub(super) fn span(&mut self, field: &'static str) -> Result<Duration, DecodeError> {
        self.number(field).map(Duration::from_millis)
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.number(field)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::Field { field, problem: format!("{other} is no flag") }),
        }
    }

    /// One of a closed set, by its fixed number.
    pub(super) fn word<T>(
        &mut self,
        field: &'static str,
        from: impl FnOnce(u8) -> Option<T>,
    ) -> Result<T, DecodeError> {
        let number = self.small(field)?;
        from(number).ok_or(DecodeError::Field { field, problem: format!("{number} is unknown") })
    }

    pub(super) fn payload(&mut self, field: &'static str) -> Result<Payload, DecodeError> {
        let content_type = self.text(field)?.into();
        let encoding = self.word(field, Encoding::from_number)?;
        Ok(Payload { content_type, encoding, data: Bytes::copy_from_slice(self.bytes(field)?) })
    }

    pub(super) fn option<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.flag(field)? { read(self).map(Some) } else { Ok(None) }
    }

    pub(super) fn list<T>(
        &mut self,
        field: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count: usize = self.small(field)?;
        // Every element takes at least a byte, so a malformed count cannot reserve much.
        let mut list = Vec::with_capacity(count.min(self.0.len()));
        for _ in 0..count {
            list.push(read(self)?);
        }
        Ok(list)
    }
}
