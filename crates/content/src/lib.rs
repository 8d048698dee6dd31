//! What payloads are and how they are packed.
//!
//! Owns the names of content types, values as JSON and MessagePack, and compression. It refuses to
//! decide: whoever sends says what to compress, whoever receives says how large the result may be.
//! The broker itself never looks into a payload except where a filter asks for it. Read
//! [`Compression`] and [`decompress`] first, then [`Json`].
//!
//! ```
//! use trunkline_content::{Compression, Json, compress, decompress};
//! use trunkline_types::Encoding;
//!
//! let words = vec!["trunk"; 2000];
//! let plain = Json(&words).encode()?;
//! let packed = compress(plain.clone(), &Compression::new(Encoding::Zstd));
//! assert!(packed.data.len() < plain.data.len() / 100);
//! assert_eq!(decompress(&packed, 1 << 20)?, plain);
//! let Json(back) = Json::<Vec<String>>::decode(&plain)?;
//! assert_eq!(back, words);
//! # Ok::<(), trunkline_content::ContentError>(())
//! ```

mod compression;
mod error;
mod format;
mod value;

pub use compression::{Compression, compress, decompress};
pub use error::ContentError;
pub use format::Format;
pub use value::{Json, MsgPack};
