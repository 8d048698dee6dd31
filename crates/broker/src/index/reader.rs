//! What the engine asks for keys and ended tasks that have left its memory.

use crate::index::feed::Feed;
use crate::index::store::{self, Hashes};
use crate::index::tasks;
use parking_lot::Mutex;
use rusqlite::{Connection, Error};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trunkline_engine::{EndedTask, KeyIndex, KeyRow, Outcomes, TaskIndex};
use trunkline_types::{IdempotencyKey, MessageId, Sequence, TenantId};

/// Looks keys and tasks up over a connection of its own, which sees every commit of the thread that writes.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Only the engine asks, and one at a time; the lock is there because a connection must not
    /// be shared between threads.
    connection: Mutex<Connection>,
    hashes: Hashes,
    path: PathBuf,
    /// Told of damage, so that nothing more goes in.
    feed: Arc<Feed>,
}

impl Reader {
    pub(crate) fn open(path: &Path, feed: Arc<Feed>) -> Result<Self, Error> {
        let (connection, hashes) = store::connect(path)?;
        Ok(Self { connection: Mutex::new(connection), hashes, path: path.to_owned(), feed })
    }

    fn unreadable(&self, error: &Error) -> String {
        let file = self.path.display();
        if store::is_damage(error) {
            self.feed.note_damage();
        }
        tracing::error!(%error, %file, "the index cannot be read; what lies where it cannot is \
            refused until the broker is started again: new work with an idempotency key, and \
            questions about tasks that ended");
        format!("the index {file} cannot be read: {error}")
    }
}

impl KeyIndex for Reader {
    fn find(&self, tenant: &TenantId, key: &IdempotencyKey) -> Result<Option<KeyRow>, String> {
        store::find(&self.connection.lock(), self.hashes, tenant, key)
            .map_err(|error| self.unreadable(&error))
    }
}

impl TaskIndex for Reader {
    fn find(&self, tenant: &TenantId, id: MessageId) -> Result<Option<Box<EndedTask>>, String> {
        tasks::find(&self.connection.lock(), self.hashes, tenant, id)
            .map_err(|error| self.unreadable(&error))
    }

    fn count(&self, tenant: &TenantId, before: Sequence) -> Result<u64, String> {
        tasks::count(&self.connection.lock(), self.hashes, tenant, before)
            .map_err(|error| self.unreadable(&error))
    }

    fn outcomes(&self, tenant: &TenantId, before: Sequence) -> Result<Outcomes, String> {
        tasks::outcomes(&self.connection.lock(), self.hashes, tenant, before)
            .map_err(|error| self.unreadable(&error))
    }
}
