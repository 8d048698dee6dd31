//! What the engine asks for keys, ended tasks and dead letters that have left its memory.

use crate::index::feed::Feed;
use crate::index::filter::KeyFilter;
use crate::index::keys;
use crate::index::letters;
use crate::index::seal::sound;
use crate::index::store::{self, Hashes, Store};
use crate::index::table::Counted;
use crate::index::tasks::{self, Name, TASKS};
use parking_lot::Mutex;
use rusqlite::{Connection, Error};
use std::path::PathBuf;
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
    /// What keys the file may have.
    filter: Arc<KeyFilter>,
    /// Told of damage, so that nothing more goes in.
    feed: Arc<Feed>,
}

impl Reader {
    pub(crate) fn open(store: &Store, feed: Arc<Feed>) -> Result<Self, Error> {
        let (connection, hashes) = store::connect(store.path())?;
        let (path, filter) = (store.path().to_owned(), store.filter().clone());
        Ok(Self { connection: Mutex::new(connection), hashes, path, filter, feed })
    }

    fn unreadable(&self, error: &Error) -> String {
        let file = self.path.display();
        if store::is_damage(error) {
            self.feed.suspect(&error.to_string());
        }
        tracing::error!(%error, %file, "the index cannot be read; what lies where it cannot is \
            refused until that is made again or the broker is started again: new work with an \
            idempotency key, and questions about tasks that ended and about dead letters");
        format!("the index {file} cannot be read: {error}")
    }

    /// What is read, or nothing if its row is bad.
    fn look<T>(
        &self,
        look: impl FnOnce(&Connection) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, String> {
        let mut bad = Vec::new();
        let found = sound(look(&self.connection.lock()), &mut bad);
        self.feed.note_rows(bad);
        found.map(Option::flatten).map_err(|error| self.unreadable(&error))
    }

    fn counted(&self, counted: Counted) -> u64 {
        if !counted.is_sound {
            self.feed.suspect_sums();
        }
        counted.rows
    }
}

impl KeyIndex for Reader {
    fn find(&self, tenant: &TenantId, key: &IdempotencyKey) -> Result<Option<KeyRow>, String> {
        if !self.filter.may_have(self.hashes.of(tenant, key)) {
            return Ok(None);
        }
        let mut bad = Vec::new();
        let found = keys::find(&self.connection.lock(), self.hashes, tenant, key, &mut bad);
        self.feed.note_rows(bad);
        found.map_err(|error| self.unreadable(&error))
    }
}

impl TaskIndex for Reader {
    fn find(&self, tenant: &TenantId, id: MessageId) -> Result<Option<Box<EndedTask>>, String> {
        self.look(|connection| tasks::find(connection, self.hashes, tenant, id))
    }

    fn count(&self, tenant: &TenantId, before: Sequence) -> Result<u64, String> {
        let tenant = self.hashes.mark(Name::Tenant, tenant, "");
        TASKS
            .count(&self.connection.lock(), tenant, before)
            .map(|counted| self.counted(counted))
            .map_err(|error| self.unreadable(&error))
    }

    fn outcomes(&self, tenant: &TenantId, before: Sequence) -> Result<Outcomes, String> {
        let found = tasks::outcomes(&self.connection.lock(), self.hashes, tenant, before);
        let (outcomes, counted) = found.map_err(|error| self.unreadable(&error))?;
        self.counted(counted);
        Ok(outcomes)
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
        let mut bad = Vec::new();
        let connection = self.connection.lock();
        let found = letters::find(&connection, self.hashes, tenant, id, inbox, &mut bad);
        self.feed.note_rows(bad);
        found.map_err(|error| self.unreadable(&error))
    }

    fn read(&self, place: Sequence) -> Result<Option<Box<DiedLetter>>, String> {
        self.look(|connection| letters::read(connection, place))
    }

    fn count(
        &self,
        tenant: &TenantId,
        before: Sequence,
        without: &[Sequence],
    ) -> Result<u64, String> {
        letters::count(&self.connection.lock(), self.hashes, tenant, before, without)
            .map(|counted| self.counted(counted))
            .map_err(|error| self.unreadable(&error))
    }
}
