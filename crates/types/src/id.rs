//! Ids that the broker and its edges make: messages, sessions, tokens, places in a log.

use std::fmt;
use std::num::NonZeroU128;
use std::str::FromStr;
use uuid::Uuid;

/// One engine instance with its part of the log. At most 4,096 of them: the number has 12 bits in
/// every message id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Partition(pub u16);

impl Partition {
    /// The highest partition number.
    pub const MAX: Self = Self(0x0FFF);
}

/// The place of a record in its partition's log, counted from 1 without gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Counts the starts of a broker on its data directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Epoch(pub u32);

/// A fencing token: proves which attempt at an envelope somebody speaks for. Tokens are ordered
/// and never repeat, not even across restarts, because the epoch is on disk before it is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Token {
    /// The broker's epoch when the lease was granted.
    pub epoch: Epoch,
    /// The lease's number within the epoch, from 1.
    pub counter: u64,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch.0, self.counter)
    }
}

/// The id of an envelope, and of the task it may be. A UUID of version 7: 48 bits of
/// milliseconds since the Unix epoch, the partition in the 12 bits of `rand_a`, and 62 bits that
/// make it unique (RFC 9562 §5.7 leaves both fields to the implementation). Its version is never 0,
/// so that an id that may be missing takes no more room than one that is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(NonZeroU128);

/// What makes a number a UUID of version 7: the version and the variant.
const VERSION: NonZeroU128 = match NonZeroU128::new(0x7000 << 64 | 0b10 << 62) {
    Some(bits) => bits,
    None => unreachable!(),
};

impl MessageId {
    /// Composes an id. Of `unique` the lower 62 bits count, of `millis` the lower 48.
    #[inline]
    pub const fn from_parts(millis: u64, partition: Partition, unique: u64) -> Self {
        let time = ((millis & 0xFFFF_FFFF_FFFF) as u128) << 80;
        let middle = ((partition.0 & 0x0FFF) as u128) << 64;
        let low = (unique & 0x3FFF_FFFF_FFFF_FFFF) as u128;
        match NonZeroU128::new(VERSION.get() | time | middle | low) {
            Some(value) => Self(value),
            None => unreachable!(),
        }
    }

    /// Wraps the 16 bytes of an id, most significant first; `None` if they are no version 7 UUID.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let value = u128::from_be_bytes(bytes);
        let version = (value >> 76) & 0xF;
        let variant = (value >> 62) & 0b11;
        NonZeroU128::new(value).filter(|_| version == 7 && variant == 0b10).map(Self)
    }

    /// The id's 16 bytes, most significant first.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }

    /// The id as a number.
    pub fn as_u128(self) -> u128 {
        self.0.get()
    }

    /// The partition whose engine owns the envelope.
    pub fn partition(self) -> Partition {
        #[allow(clippy::cast_possible_truncation, reason = "masked to 12 bits")]
        Partition((self.0.get() >> 64) as u16 & 0x0FFF)
    }

    /// When the id was made, in milliseconds since the Unix epoch.
    pub fn millis(self) -> u64 {
        #[allow(clippy::cast_possible_truncation, reason = "48 bits remain")]
        {
            (self.0.get() >> 80) as u64
        }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_u128(self.0.get()).hyphenated(), f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a message id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no message id; one looks like 0192f0c1-2d3e-7000-8000-00000000002a")]
pub struct MessageIdError(String);

impl FromStr for MessageId {
    type Err = MessageIdError;
    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        Uuid::try_parse(text)
            .ok()
            .and_then(|uuid| Self::from_bytes(*uuid.as_bytes()))
            .ok_or_else(|| MessageIdError(text.chars().take(64).collect()))
    }
}

/// Who a session is across reconnects: 128 random bits chosen by the client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u128);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_u128(self.0).simple(), f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes message ids at the edge. Two sources with different entropy never make the same id
/// within one millisecond and the first 2³² ids.
#[derive(Debug)]
pub struct IdSource {
    high: u64,
    counter: u32,
}

impl IdSource {
    /// A source from 30 bits of entropy (the rest is ignored).
    pub fn new(entropy: u64) -> Self {
        Self { high: (entropy & 0x3FFF_FFFF) << 32, counter: 0 }
    }

    /// The next id, stamped with the given milliseconds since the Unix epoch.
    #[inline]
    pub fn next(&mut self, millis: u64, partition: Partition) -> MessageId {
        self.counter = self.counter.wrapping_add(1);
        MessageId::from_parts(millis, partition, self.high | u64::from(self.counter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_keeps_its_parts_and_is_a_version_7_uuid() {
        let id = MessageId::from_parts(0x0192_F0C1_2D3E, Partition(0xABC), 42);
        assert_eq!(id.millis(), 0x0192_F0C1_2D3E);
        assert_eq!(id.partition(), Partition(0xABC));
        assert_eq!(id.to_string(), "0192f0c1-2d3e-7abc-8000-00000000002a");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(MessageId::from_bytes(id.to_bytes()), Some(id));
        assert_eq!(size_of::<Option<MessageId>>(), size_of::<MessageId>());
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "x", "0192f0c1-2d3e-4abc-8000-00000000002a"] {
            assert!(text.parse::<MessageId>().is_err(), "{text}");
        }
    }
}
