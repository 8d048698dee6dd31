//! A few connections that read, so that lists need not queue for one.

use crate::index::store::{self, Hashes};
use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, Error};
use std::path::{Path, PathBuf};

/// Most connections. A list takes some milliseconds of one processor.
const MOST: usize = 4;

/// Connections that are opened when they are needed, and kept.
#[derive(Debug)]
pub(super) struct Pool {
    path: PathBuf,
    pub(super) hashes: Hashes,
    /// Short: taking one out, or putting it back.
    idle: Mutex<Idle>,
    /// Told when one is put back.
    freed: Condvar,
}

#[derive(Debug)]
struct Idle {
    connections: Vec<Connection>,
    /// How many there are, those in use included.
    open: usize,
}

/// A connection that is in use.
struct Used<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Pool {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let (connection, hashes) = store::connect(path)?;
        let idle = Idle { connections: vec![connection], open: 1 };
        Ok(Self { path: path.to_owned(), hashes, idle: Mutex::new(idle), freed: Condvar::new() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads over one of them, as soon as one is free. However many questions that takes, all are
    /// answered as of one moment.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut used = Used { pool: self, connection: self.take() };
        if used.connection.is_none() {
            used.connection = Some(store::connect(&self.path)?.0);
        }
        let Some(connection) = &used.connection else { return Err(Error::InvalidQuery) };
        // It only reads, so that there is nothing to be kept at its end.
        let moment = connection.unchecked_transaction()?;
        read(&moment)
    }

    /// One that is free; `None` if another one is to be opened.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        loop {
            if let Some(connection) = idle.connections.pop() {
                return Some(connection);
            }
            if idle.open < MOST {
                idle.open += 1;
                return None;
            }
            self.freed.wait(&mut idle);
        }
    }
}

impl Drop for Used<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock();
        match self.connection.take() {
            Some(connection) => idle.connections.push(connection),
            // It could not be opened.
            None => idle.open -= 1,
        }
        self.pool.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::store::Store;
    use std::sync::Barrier;

    #[test]
    fn what_is_committed_between_two_questions_of_a_read_is_not_seen_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let pool = Pool::open(store.path()).unwrap();
        let sum = |connection: &Connection| {
            connection.query_row("SELECT count(*) FROM task_sums", [], |row| row.get::<_, i64>(0))
        };
        let before = pool.read(sum).unwrap();
        let both = pool.read(|connection| {
            let first = sum(connection)?;
            let writer = Connection::open(store.path())?;
            writer.execute("INSERT INTO task_sums (tenant, tasks, bytes) VALUES (7, 1, 1)", [])?;
            Ok((first, sum(connection)?))
        });
        assert_eq!(both.unwrap(), (before, before));
        assert_eq!(pool.read(sum).unwrap(), before + 1);
    }

    #[test]
    fn several_read_at_once_and_no_more_connections_than_that_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let pool = Pool::open(store.path()).unwrap();
        let together = Barrier::new(MOST);
        std::thread::scope(|scope| {
            for _ in 0..3 * MOST {
                scope.spawn(|| {
                    let read = |connection: &Connection| {
                        // As many as there may be are in here before one goes on.
                        together.wait();
                        connection.query_row("SELECT 1", [], |_| Ok(()))
                    };
                    pool.read(read).unwrap();
                });
            }
        });
        let idle = pool.idle.lock();
        assert_eq!((idle.open, idle.connections.len()), (MOST, MOST));
    }
}
