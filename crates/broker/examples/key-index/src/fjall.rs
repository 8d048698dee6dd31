//! fjall: a log-structured merge tree, one keyspace for each order.

use crate::{PAGE, Row, Store, Task, body, entries, joined, packed, unpacked};
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use std::path::Path;

pub struct Fjall {
    database: Database,
    keys: Keyspace,
    expiry: Keyspace,
    state: Keyspace,
    tasks: Keyspace,
    lists: Keyspace,
}

impl Store for Fjall {
    const NAME: &'static str = "fjall";

    fn open(path: &Path) -> Self {
        let database = Database::builder(path.join("index")).cache_size(64 << 20).open().unwrap();
        let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default).unwrap();
        Self {
            keys: keyspace("keys"),
            expiry: keyspace("expiry"),
            state: keyspace("state"),
            tasks: keyspace("tasks"),
            lists: keyspace("lists"),
            database: database.clone(),
        }
    }

    fn insert(&mut self, rows: &[Row], through: u64) {
        let mut batch = self.database.batch();
        for row in rows {
            let key = joined(&[row.tenant.as_bytes(), row.key.as_bytes()]);
            let expiry = [&row.expires.to_be_bytes()[..], &key].concat();
            batch.insert(&self.keys, key, packed(row));
            batch.insert(&self.expiry, expiry, []);
        }
        batch.insert(&self.state, "through", through.to_be_bytes());
        batch.commit().unwrap();
    }

    fn through(&mut self) -> u64 {
        let value = self.state.get("through").unwrap().unwrap();
        u64::from_be_bytes(value.as_ref().try_into().unwrap())
    }

    fn find(&mut self, tenant: &str, key: &str) -> Option<([u8; 16], u64, u64)> {
        let key = joined(&[tenant.as_bytes(), key.as_bytes()]);
        self.keys.get(key).unwrap().map(|value| unpacked(&value))
    }

    fn expire(&mut self, now: u64, most: usize) -> usize {
        let mut batch = self.database.batch();
        let end = (now + 1).to_be_bytes();
        let mut count = 0;
        for entry in self.expiry.range(..&end[..]).take(most) {
            let entry = entry.key().unwrap();
            batch.remove(&self.keys, &entry[8..]);
            batch.remove(&self.expiry, entry);
            count += 1;
        }
        batch.commit().unwrap();
        count
    }

    fn insert_tasks(&mut self, tasks: &[Task]) {
        let mut batch = self.database.batch();
        for task in tasks {
            batch.insert(&self.tasks, task.id, body(task));
            for entry in entries(task) {
                batch.insert(&self.lists, entry, []);
            }
        }
        batch.commit().unwrap();
    }

    fn list_agent(&mut self, agent: &str, state: Option<u8>) -> usize {
        match state {
            None => self.list(&joined(&[b"agent", agent.as_bytes()])),
            Some(state) => self.list(&joined(&[b"agent+state", agent.as_bytes(), &[state]])),
        }
    }

    fn list_context(&mut self, context: &str) -> usize {
        self.list(&joined(&[b"context", context.as_bytes()]))
    }

    fn close(self) {
        self.database.persist(fjall::PersistMode::SyncAll).unwrap();
    }
}

impl Fjall {
    fn list(&self, prefix: &[u8]) -> usize {
        let entries = self.lists.prefix(prefix).rev().take(PAGE);
        let task = |entry: fjall::Guard| {
            let entry = entry.key().unwrap();
            self.tasks.get(&entry[entry.len() - 16..]).unwrap().unwrap()
        };
        entries.map(task).count()
    }
}
