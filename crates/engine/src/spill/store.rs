//! What the engine asks of the log in which payloads lie that have left memory.

use std::fmt;
use std::sync::Arc;
use trunkline_types::{Publish, Sequence};

/// Published work, as the records of the log have it. What is read must depend on the records
/// alone. The driver reads in the same way what the engine asks for with
/// [`Effect::Load`](crate::Effect::Load).
pub trait PayloadStore: Send + Sync + fmt::Debug {
    /// What was published, as the record at a place tells; see
    /// [`Record::into_publish`](crate::Record::into_publish). It is asked of records only that the
    /// log has written.
    ///
    /// # Errors
    /// That the record cannot be read, and why.
    fn read(&self, at: Sequence) -> Result<Arc<Publish>, String>;
}
