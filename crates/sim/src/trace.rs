//! The trace of a run: always hashed in brief, on demand hashed in full or printed.

use std::fmt::{self, Write as _};
use std::io::Write as _;

/// How much of the trace is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Detail {
    /// A hash of the records' bytes and of the kinds of effects.
    Brief,
    /// A hash of every word.
    Full,
    /// As `Full`, and every line is printed.
    Print,
}

/// The trace so far.
#[derive(Debug)]
pub(crate) struct Trace {
    detail: Detail,
    hash: Hash,
}

/// FNV-1a, so that the hash is the same on every machine.
#[derive(Debug)]
struct Hash(u64);

impl Hash {
    fn bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
            self.0 ^= self.0 >> 29;
        }
    }
}

impl fmt::Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

impl Trace {
    pub(crate) fn new(detail: Detail) -> Self {
        Self { detail, hash: Hash(0xcbf2_9ce4_8422_2325) }
    }

    /// Adds bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.hash.bytes(bytes);
    }

    /// Adds a line, which costs nothing unless details are wanted.
    pub(crate) fn line(&mut self, line: fmt::Arguments<'_>) {
        if self.detail == Detail::Brief {
            return;
        }
        // Writing into a hash cannot fail.
        let _ = self.hash.write_fmt(line);
        if self.detail == Detail::Print {
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.0
    }
}
