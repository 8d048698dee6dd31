//! What the engine asks for keys, ended tasks and dead letters that have left its memory.

use crate::index::feed::Feed;
use crate::index::letters;
use crate::index::store::{self, Hashes};
use crate::index::tasks::{self, Name, TASKS};
use parking_lot::Mutex;
use rusqlite::{Connection, Error};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trunkline_engine::{
    DeadPlace, DiedLetter, EndedTask, KeyIndex, KeyRow, LetterIndex, Outcomes, TaskIndex,
};
use trunkline_types::{IdempotencyKey, InboxAddress, MessageId, Sequence, TenantId, WallTime};

/// Looks them up over a connection of its own, which sees every commit of the thread that writes.
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
            questions about tasks that ended and about dead letters");
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
        let tenant = self.hashes.mark(Name::Tenant, tenant, "");
        TASKS
            .count(&self.connection.lock(), tenant, before)
            .map_err(|error| self.unreadable(&error))
    }

    fn outcomes(&self, tenant: &TenantId, before: Sequence) -> Result<Outcomes, String> {
        tasks::outcomes(&self.connection.lock(), self.hashes, tenant, before)
            .map_err(|error| self.unreadable(&error))
    }

    fn since(&self) -> Result<Option<WallTime>, String> {
        store::since(&self.connection.lock()).map_err(|error| self.unreadable(&error))
    }
}

impl LetterIndex for Reader {
    fn find(
        &self,
        tenant: &TenantId,
        id: MessageId,
        inbox: Option<&InboxAddress>,
    ) -> Result<Vec<DeadPlace>, String> {
        letters::find(&self.connection.lock(), self.hashes, tenant, id, inbox)
            .map_err(|error| self.unreadable(&error))
    }

    fn read(&self, place: Sequence) -> Result<Option<Box<DiedLetter>>, String> {
        letters::read(&self.connection.lock(), place).map_err(|error| self.unreadable(&error))
    }

    fn count(
        &self,
        tenant: &TenantId,
        before: Sequence,
        without: &[Sequence],
    ) -> Result<u64, String> {
        letters::count(&self.connection.lock(), self.hashes, tenant, before, without)
            .map_err(|error| self.unreadable(&error))
    }
}
