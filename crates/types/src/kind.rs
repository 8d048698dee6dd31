//! Small closed sets: kinds, priorities, durability levels.

use std::fmt;
use std::str::FromStr;

/// A text that is none of a closed set's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} '{text}'; it is one of {words}")]
pub struct UnknownWord {
    /// What was wanted.
    pub what: &'static str,
    /// What was given.
    pub text: String,
    /// What there is.
    pub words: &'static str,
}

macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $what:literal, $words:literal,
     { $($(#[$vdoc:meta])* $variant:ident = $number:literal $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum $type { $($(#[$vdoc])* $variant = $number),+ }

        impl $type {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used on the command line, in JSON and in the docs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The fixed number used on disk and on the wire.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The value with a fixed number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord {
                        what: $what,
                        text: text.chars().take(64).collect(),
                        words: $words,
                    }),
                }
            }
        }
    };
}
pub(crate) use words;

words!(
    /// What an envelope is for. A task is a request with a life of its own.
    Kind, "kind", "request, response, event, broadcast, context-share, status, error",
    {
        /// Asks for work or an answer.
        Request = 1 "request",
        /// Answers a request.
        Response = 2 "response",
        /// Says that something happened.
        Event = 3 "event",
        /// Goes to every agent but the sender.
        Broadcast = 4 "broadcast",
        /// Hands over context that belongs to a conversation.
        ContextShare = 5 "context-share",
        /// Says how something is going.
        Status = 6 "status",
        /// Says that something went wrong.
        Error = 7 "error",
    }
);

words!(
    /// How urgent an envelope is. Within an inbox the priorities share deliveries 1:2:4:8 while
    /// all have work, so that none starves.
    Priority, "priority", "low, normal, high, urgent",
    {
        /// One share.
        Low = 0 "low",
        /// Two shares: the default.
        Normal = 1 "normal",
        /// Four shares.
        High = 2 "high",
        /// Eight shares.
        Urgent = 3 "urgent",
    }
);

words!(
    /// What a crash can take from accepted work.
    Durability, "durability", "ephemeral, buffered, synced",
    {
        /// In memory only: a crash or restart of the broker loses it.
        Ephemeral = 0 "ephemeral",
        /// Written before acceptance, flushed within 50 ms: a crash of the process loses
        /// nothing, a crash of the machine up to the last 50 ms.
        Buffered = 1 "buffered",
        /// Flushed to disk before acceptance: no crash loses it.
        Synced = 2 "synced",
    }
);

words!(
    /// How a payload's bytes are compressed (a content encoding).
    Encoding, "content encoding", "identity, gzip, zstd, lz4",
    {
        /// Not at all.
        Identity = 0 "identity",
        /// gzip (RFC 1952).
        Gzip = 1 "gzip",
        /// Zstandard (RFC 8878).
        Zstd = 2 "zstd",
        /// LZ4 frames.
        Lz4 = 3 "lz4",
    }
);

impl Priority {
    /// By default how many deliveries out of each round the priority gets while all have work.
    pub const fn weight(self) -> u32 {
        1 << (self as u32)
    }
}

impl Durability {
    /// Whether a record of it goes to the log.
    pub const fn is_logged(self) -> bool {
        !matches!(self, Self::Ephemeral)
    }
}
