//! What the engine asks of the index in which idempotency keys lie that have left memory.

use std::fmt;
use trunkline_types::{IdempotencyKey, MessageId, TenantId, WallTime};

/// Idempotency keys on disk. The driver fills it from the records that it writes and says with
/// [`Command::Indexed`](crate::Command::Indexed) how far it has come; from then on the engine
/// asks here for the keys of those records. What is found must depend on the records alone.
pub trait KeyIndex: Send + Sync + fmt::Debug {
    /// What was accepted under a key, expired or not; `None` if nothing was.
    ///
    /// # Errors
    /// That the index cannot be read. New work with a key is then refused, for it might be a
    /// repeat.
    fn find(&self, tenant: &TenantId, key: &IdempotencyKey) -> Result<Option<KeyRow>, String>;
}

/// What was accepted under an idempotency key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyRow {
    /// The envelope that came first.
    pub id: MessageId,
    /// Tells it from another envelope under the same key.
    pub fingerprint: u64,
    /// When its window is over.
    pub expires_at: WallTime,
}
