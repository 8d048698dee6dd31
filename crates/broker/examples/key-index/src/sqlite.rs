//! SQLite: rows in the order of their coming with an index by the hash of the key, in a write-ahead
//! log that is not flushed. (A table clustered by key took in less than half as many.)

use crate::{PAGE, Row, Store, Task};
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA cache_size = -65536;
    PRAGMA wal_autocheckpoint = 8192;
    PRAGMA mmap_size = 268435456;
    CREATE TABLE IF NOT EXISTS keys (
        place INTEGER PRIMARY KEY, hash INTEGER NOT NULL, tenant TEXT NOT NULL, key TEXT NOT NULL,
        id BLOB NOT NULL, fingerprint INTEGER NOT NULL, expires INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS keys_by_hash ON keys (hash);
    CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY, through INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS tasks (
        at INTEGER NOT NULL, id BLOB NOT NULL, state INTEGER NOT NULL, context TEXT NOT NULL,
        agent TEXT NOT NULL, skill TEXT NOT NULL, root BLOB NOT NULL, PRIMARY KEY (at, id)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS by_context ON tasks (context, at);
    CREATE INDEX IF NOT EXISTS by_agent ON tasks (agent, at);
    CREATE INDEX IF NOT EXISTS by_agent_state ON tasks (agent, state, at);
    CREATE INDEX IF NOT EXISTS by_skill ON tasks (skill, at);
    CREATE INDEX IF NOT EXISTS by_state ON tasks (state, at);
    CREATE INDEX IF NOT EXISTS by_root ON tasks (root, at);
";

pub struct Sqlite(Connection);

impl Store for Sqlite {
    const NAME: &'static str = "SQLite";

    fn open(path: &Path) -> Self {
        let connection = Connection::open(path.join("index.sqlite")).unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        Self(connection)
    }

    fn insert(&mut self, rows: &[Row], through: u64) {
        let transaction = self.0.transaction().unwrap();
        {
            let mut insert = transaction
                .prepare_cached("INSERT OR REPLACE INTO keys VALUES (NULL, ?6, ?1, ?2, ?3, ?4, ?5)")
                .unwrap();
            for row in rows {
                let (fingerprint, expires) = (row.fingerprint as i64, row.expires as i64);
                let hash = hash(&row.tenant, &row.key);
                insert
                    .execute(params![row.tenant, row.key, row.id, fingerprint, expires, hash])
                    .unwrap();
            }
            transaction
                .prepare_cached("INSERT OR REPLACE INTO state VALUES (1, ?1)")
                .unwrap()
                .execute([through as i64])
                .unwrap();
        }
        transaction.commit().unwrap();
    }

    fn through(&mut self) -> u64 {
        self.0.query_row("SELECT through FROM state", [], |row| row.get::<_, i64>(0)).unwrap()
            as u64
    }

    fn find(&mut self, tenant: &str, key: &str) -> Option<([u8; 16], u64, u64)> {
        const FIND: &str = "SELECT id, fingerprint, expires FROM keys WHERE hash = ?3 AND tenant = ?1 AND key = ?2";
        let mut find = self.0.prepare_cached(FIND).unwrap();
        let row = |row: &rusqlite::Row<'_>| {
            let number = |at| row.get::<_, i64>(at).map(|number| number as u64);
            Ok((row.get(0)?, number(1)?, number(2)?))
        };
        find.query_row(params![tenant, key, hash(tenant, key)], row).optional().unwrap()
    }

    fn expire(&mut self, now: u64, most: usize) -> usize {
        const OLDEST: &str = "SELECT place, expires FROM keys ORDER BY place LIMIT ?1";
        let last = {
            let mut oldest = self.0.prepare_cached(OLDEST).unwrap();
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            let rows = oldest.query_map([most as i64], read).unwrap().map(Result::unwrap);
            rows.take_while(|&(_, expires)| expires <= now as i64).last()
        };
        let Some((last, _)) = last else { return 0 };
        let mut delete = self.0.prepare_cached("DELETE FROM keys WHERE place <= ?1").unwrap();
        delete.execute([last]).unwrap()
    }

    fn insert_tasks(&mut self, tasks: &[Task]) {
        let transaction = self.0.transaction().unwrap();
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO tasks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
                .unwrap();
            for task in tasks {
                let Task { id, at, state, context, agent, skill, root } = task;
                insert
                    .execute(params![*at as i64, id, state, context, agent, skill, root])
                    .unwrap();
            }
        }
        transaction.commit().unwrap();
    }

    fn list_agent(&mut self, agent: &str, state: Option<u8>) -> usize {
        match state {
            None => self.list("agent = ?1", params![agent]),
            Some(state) => self.list("agent = ?1 AND state = ?2", params![agent, state]),
        }
    }

    fn list_context(&mut self, context: &str) -> usize {
        self.list("context = ?1", params![context])
    }

    fn close(self) {
        self.0.close().unwrap();
    }
}

fn hash(tenant: &str, key: &str) -> i64 {
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&(tenant, key), &mut hasher);
    std::hash::Hasher::finish(&hasher) as i64
}

impl Sqlite {
    fn list(&self, condition: &str, values: &[&dyn rusqlite::ToSql]) -> usize {
        let query = format!("SELECT * FROM tasks WHERE {condition} ORDER BY at DESC LIMIT {PAGE}");
        let mut list = self.0.prepare_cached(&query).unwrap();
        let read =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, [u8; 16]>(1)?, row.get::<_, String>(4)?));
        list.query_map(values, read).unwrap().map(Result::unwrap).count()
    }
}
