//! redb: copy-on-write B-trees, one table for each order, flushed every 64 commits.

use crate::{PAGE, Row, Store, Task, body, entries, joined, packed, unpacked};
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};
use std::path::Path;

const KEYS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("keys");
const EXPIRY: TableDefinition<&[u8], ()> = TableDefinition::new("expiry");
const STATE: TableDefinition<&str, u64> = TableDefinition::new("state");
const TASKS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("tasks");
const LISTS: TableDefinition<&[u8], ()> = TableDefinition::new("lists");

pub struct Redb {
    database: Database,
    commits: u64,
}

impl Store for Redb {
    const NAME: &'static str = "redb";

    fn open(path: &Path) -> Self {
        let mut builder = Database::builder();
        builder.set_cache_size(64 << 20);
        Self { database: builder.create(path.join("index.redb")).unwrap(), commits: 0 }
    }

    fn insert(&mut self, rows: &[Row], through: u64) {
        self.write(|transaction| {
            let mut keys = transaction.open_table(KEYS).unwrap();
            let mut expiry = transaction.open_table(EXPIRY).unwrap();
            for row in rows {
                let key = joined(&[row.tenant.as_bytes(), row.key.as_bytes()]);
                let entry = [&row.expires.to_be_bytes()[..], &key].concat();
                keys.insert(&key[..], &packed(row)[..]).unwrap();
                expiry.insert(&entry[..], ()).unwrap();
            }
            transaction.open_table(STATE).unwrap().insert("through", through).unwrap();
        });
    }

    fn through(&mut self) -> u64 {
        let read = self.database.begin_read().unwrap();
        read.open_table(STATE).unwrap().get("through").unwrap().unwrap().value()
    }

    fn find(&mut self, tenant: &str, key: &str) -> Option<([u8; 16], u64, u64)> {
        let key = joined(&[tenant.as_bytes(), key.as_bytes()]);
        let keys = self.database.begin_read().unwrap().open_table(KEYS).unwrap();
        keys.get(&key[..]).unwrap().map(|value| unpacked(value.value()))
    }

    fn expire(&mut self, now: u64, most: usize) -> usize {
        let end = (now + 1).to_be_bytes();
        self.write(|transaction| {
            let mut keys = transaction.open_table(KEYS).unwrap();
            let mut expiry = transaction.open_table(EXPIRY).unwrap();
            let gone: Vec<Vec<u8>> = expiry
                .range(..&end[..])
                .unwrap()
                .take(most)
                .map(|entry| entry.unwrap().0.value().to_vec())
                .collect();
            for entry in &gone {
                keys.remove(&entry[8..]).unwrap();
                expiry.remove(&entry[..]).unwrap();
            }
            gone.len()
        })
    }

    fn insert_tasks(&mut self, tasks: &[Task]) {
        self.write(|transaction| {
            let mut table = transaction.open_table(TASKS).unwrap();
            let mut lists = transaction.open_table(LISTS).unwrap();
            for task in tasks {
                table.insert(&task.id[..], &body(task)[..]).unwrap();
                for entry in entries(task) {
                    lists.insert(&entry[..], ()).unwrap();
                }
            }
        });
    }

    fn list_agent(&mut self, agent: &str, state: Option<u8>) -> usize {
        match state {
            None => self.list(joined(&[b"agent", agent.as_bytes()])),
            Some(state) => self.list(joined(&[b"agent+state", agent.as_bytes(), &[state]])),
        }
    }

    fn list_context(&mut self, context: &str) -> usize {
        self.list(joined(&[b"context", context.as_bytes()]))
    }

    fn close(mut self) {
        self.commits = 63;
        self.write(|_| ());
    }
}

impl Redb {
    fn write<R>(&mut self, work: impl FnOnce(&WriteTransaction) -> R) -> R {
        let mut transaction = self.database.begin_write().unwrap();
        self.commits += 1;
        if self.commits % 64 != 0 {
            transaction.set_durability(Durability::None).unwrap();
        }
        let result = work(&transaction);
        transaction.commit().unwrap();
        result
    }

    fn list(&self, prefix: Vec<u8>) -> usize {
        let read = self.database.begin_read().unwrap();
        let (tasks, lists) = (read.open_table(TASKS).unwrap(), read.open_table(LISTS).unwrap());
        let mut end = prefix.clone();
        end.push(0xFF);
        let entries = lists.range(&prefix[..]..&end[..]).unwrap().rev().take(PAGE);
        let task = |entry: Result<_, _>| {
            let (entry, _): (redb::AccessGuard<'_, &[u8]>, _) = entry.unwrap();
            let entry = entry.value();
            tasks.get(&entry[entry.len() - 16..]).unwrap().unwrap()
        };
        entries.map(task).count()
    }
}
