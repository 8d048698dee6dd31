//! What the engine asks for keys that have left its memory.

use crate::index::store::{self, Hashes};
use parking_lot::Mutex;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use trunkline_engine::{KeyIndex, KeyRow};
use trunkline_types::{IdempotencyKey, TenantId};

/// Looks keys up over a connection of its own, which sees every commit of the thread that writes.
#[derive(Debug)]
pub(crate) struct KeyReader {
    /// Only the engine asks, and one at a time; the lock is there because a connection must not
    /// be shared between threads.
    connection: Mutex<Connection>,
    hashes: Hashes,
    path: PathBuf,
}

impl KeyReader {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let connection = store::connect(path);
        let (connection, hashes) = connection
            .map_err(|error| format!("cannot open {} to read: {error}", path.display()))?;
        Ok(Self { connection: Mutex::new(connection), hashes, path: path.to_owned() })
    }
}

impl KeyIndex for KeyReader {
    fn find(&self, tenant: &TenantId, key: &IdempotencyKey) -> Result<Option<KeyRow>, String> {
        store::find(&self.connection.lock(), self.hashes, tenant, key).map_err(|error| {
            let file = self.path.display();
            tracing::error!(%error, %file, "the key index cannot be read; new work with an \
                idempotency key is refused until the broker is started again");
            // A damaged one is made again from the log at the next start.
            if store::is_damage(&error)
                && let Err(error) = store::delete(&self.path)
            {
                tracing::error!(%error, %file, "the damaged key index cannot be deleted");
            }
            format!("the key index {file} cannot be read: {error}")
        })
    }
}
