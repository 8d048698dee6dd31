//! What reads files, for the fuzz targets, which try it with bytes that nobody meant well. It is no
//! part of what the crate offers.

use crate::backup::manifest::Manifest;

pub use crate::index::fuzzing::{BadRow, Rows};

/// The manifest of a backup, read and written again.
///
/// # Errors
/// What is wrong with it.
pub fn manifest(bytes: &[u8]) -> Result<String, String> {
    Manifest::parse(bytes).map(|manifest| manifest.to_text())
}
