//! Why a payload cannot be read or made.

use thiserror::Error;
use trunkline_types::Encoding;

/// Why a payload cannot be read or made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ContentError {
    /// What it is compressed to would be larger than the reader allows.
    #[error("the payload has more than {limit} bytes once its {encoding} is undone")]
    Large {
        /// How it is compressed.
        encoding: Encoding,
        /// The reader's bound in bytes.
        limit: usize,
    },
    /// The compressed bytes are damaged, cut off, or something else.
    #[error("the payload is not valid {encoding}: {reason}")]
    Damaged {
        /// How it says that it is compressed.
        encoding: Encoding,
        /// What is wrong.
        reason: String,
    },
    /// It is read as a value while it is compressed.
    #[error("the payload is still compressed with {0}; decompress it first")]
    Compressed(Encoding),
    /// Its content type says that it is something else.
    #[error("the payload is '{found}', {wanted} is wanted")]
    OtherType {
        /// Its content type.
        found: String,
        /// The content type that was wanted.
        wanted: &'static str,
    },
    /// The bytes are not a value of the wanted type.
    #[error("the payload cannot be read as {what}: {reason}")]
    Decode {
        /// As what it was read.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The value cannot be written, such as a map whose keys are no texts as JSON.
    #[error("the value cannot be written as {what}: {reason}")]
    Encode {
        /// As what it was written.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
}
