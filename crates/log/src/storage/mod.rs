//! The disk as the log sees it, and the disks there are.
//!
//! [`contract`] holds the two traits. [`directory`] is a real file system, [`memory`] a faulty disk
//! for tests, [`unsynced`] a wrapper that loses what was never flushed.

mod contract;
mod directory;
mod memory;
mod unsynced;

pub use contract::{FileInfo, Storage, StorageFile};
pub use directory::{Directory, check_format};
pub use memory::{Loss, MemoryDisk, Operation};
pub use unsynced::DropUnsynced;
