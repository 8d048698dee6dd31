//! The locks that the combining lock is made of. A test puts others in their place, to try every
//! order in which threads may take them.

pub(crate) use parking_lot::{Mutex, MutexGuard};
