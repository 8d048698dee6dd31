//! The layouts under comparison, over one table that holds the task itself. Names are hashed to 32
//! bits; who reads compares the task that is found, so that two names of one hash do no harm.

use crate::{Filter, Task};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use std::path::Path;

/// A way to find tasks.
#[derive(Debug)]
pub struct Layout {
    pub name: &'static str,
    indexes: &'static str,
    /// Whether names are found in a table of their own.
    marks: bool,
}

pub const LAYOUTS: &[Layout] = &[
    Layout { name: "an index for each field", indexes: PLAIN, marks: false },
    Layout { name: "indexes that tell of other fields", indexes: COVERING, marks: false },
    Layout { name: "one table of marks", indexes: MARKS, marks: true },
];

const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 8192;
    PRAGMA mmap_size = 268435456;
    CREATE TABLE tasks (
        place INTEGER PRIMARY KEY, id BLOB NOT NULL, tenant INTEGER NOT NULL,
        state INTEGER NOT NULL, skill INTEGER, agent INTEGER, sent_to INTEGER, context INTEGER,
        root INTEGER, created INTEGER NOT NULL, ended INTEGER NOT NULL, head BLOB NOT NULL,
        rest BLOB NOT NULL
    );
    CREATE UNIQUE INDEX tasks_by_id ON tasks (tenant, id);";

const PLAIN: &str = "
    CREATE INDEX tasks_by_agent ON tasks (agent, id) WHERE agent IS NOT NULL;
    CREATE INDEX tasks_by_skill ON tasks (skill, id) WHERE skill IS NOT NULL;
    CREATE INDEX tasks_by_context ON tasks (context, id) WHERE context IS NOT NULL;
    CREATE INDEX tasks_by_root ON tasks (root, id) WHERE root IS NOT NULL;
    CREATE INDEX tasks_not_completed ON tasks (tenant, id) WHERE state <> 5;";

const COVERING: &str = "
    CREATE INDEX tasks_by_agent ON tasks (agent, id, state, skill) WHERE agent IS NOT NULL;
    CREATE INDEX tasks_by_skill ON tasks (skill, id, state) WHERE skill IS NOT NULL;
    CREATE INDEX tasks_by_context ON tasks (context, id) WHERE context IS NOT NULL;
    CREATE INDEX tasks_by_root ON tasks (root, id) WHERE root IS NOT NULL;
    CREATE INDEX tasks_not_completed ON tasks (tenant, id, state, agent, skill)
        WHERE state <> 5;";

const MARKS: &str = "
    CREATE TABLE marks (
        mark INTEGER NOT NULL, id BLOB NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (mark, id)
    ) WITHOUT ROWID;";

/// A database with one of the layouts.
#[derive(Debug)]
pub struct Table {
    layout: &'static Layout,
    connection: Connection,
}

impl Table {
    pub fn open(layout: &'static Layout, folder: &Path) -> Self {
        let connection = Connection::open(folder.join("index.sqlite")).unwrap();
        connection.execute_batch(PRAGMAS).unwrap();
        connection.execute_batch(layout.indexes).unwrap();
        Self { layout, connection }
    }

    pub fn insert(&mut self, tasks: &[Task]) {
        const INSERT: &str = "INSERT INTO tasks VALUES
            (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let transaction = self.connection.transaction().unwrap();
        {
            let mut insert = transaction.prepare_cached(INSERT).unwrap();
            for task in tasks {
                let Task { place, id, state, skill, agent, to, context, root, .. } = task;
                let Task { created, ended, head, rest, .. } = task;
                insert
                    .execute(params![
                        place, id, state, skill, agent, to, context, root, created, ended, head,
                        rest
                    ])
                    .unwrap();
            }
            if self.layout.marks {
                const MARK: &str = "INSERT INTO marks VALUES (?1, ?2, ?3)";
                let mut mark = transaction.prepare_cached(MARK).unwrap();
                for task in tasks {
                    for one in marks_of(task).into_iter().flatten() {
                        mark.execute(params![one, task.id, task.place]).unwrap();
                    }
                }
            }
        }
        transaction.commit().unwrap();
    }

    pub fn find(&self, id: &[u8; 16]) -> Option<usize> {
        let mut find = self
            .connection
            .prepare_cached("SELECT head, rest FROM tasks WHERE tenant = 1 AND id = ?1")
            .unwrap();
        find.query_row([id], |row| {
            Ok(row.get_ref(0)?.as_blob().unwrap().len() + row.get_ref(1)?.as_blob().unwrap().len())
        })
        .optional()
        .unwrap()
    }

    /// How many tasks a page has. The bound on what is looked at is left out.
    pub fn list(&self, filter: &Filter) -> usize {
        let (mut from, mut also) = ("tasks_by_id".to_owned(), Vec::new());
        let mut values: Vec<rusqlite::types::Value> = Vec::new();
        let mut driver = "tenant = 1".to_owned();
        let fields = [
            ("root", filter.root),
            ("context", filter.context),
            ("state", filter.state.map(u32::from)),
            ("agent", filter.agent),
            ("skill", filter.skill),
        ];
        let mut chosen = false;
        for (number, (field, value)) in fields.into_iter().enumerate() {
            let Some(value) = value else { continue };
            let value =
                if self.layout.marks { mark(number as u32, value) } else { i64::from(value) };
            values.push(value.into());
            let at = values.len();
            match (self.layout.marks, chosen, field) {
                (true, false, _) => driver = format!("m.mark = ?{at}"),
                (true, true, _) => also.push(format!(
                    "EXISTS (SELECT 1 FROM marks o WHERE o.mark = ?{at} AND o.id = m.id)"
                )),
                (false, false, "state") => {
                    from = "tasks_not_completed".into();
                    also.push(format!("state = ?{at} AND state <> 5"));
                }
                (false, false, _) => {
                    from = format!("tasks_by_{field}");
                    driver = format!("{field} = ?{at}");
                }
                (false, true, _) => also.push(format!("{field} = ?{at}")),
            }
            chosen = true;
        }
        let marks = self.layout.marks && chosen;
        let id = if marks { "m.id" } else { "id" };
        if let Some(until) = filter.until {
            let mut bound = [0; 16];
            bound[..6].copy_from_slice(&until.to_be_bytes()[2..]);
            values.push(bound.to_vec().into());
            also.push(format!("{id} < ?{}", values.len()));
        }
        let also: String = also.iter().map(|also| format!(" AND {also}")).collect();
        let limit = filter.limit;
        let query = if marks {
            format!(
                "SELECT t.id, head FROM marks m CROSS JOIN tasks t ON t.place = m.place
                 WHERE {driver}{also} ORDER BY m.id DESC LIMIT {limit}"
            )
        } else {
            format!(
                "SELECT id, head FROM tasks INDEXED BY {from} WHERE {driver}{also}
                 ORDER BY id DESC LIMIT {limit}"
            )
        };
        let mut list = self.connection.prepare_cached(&query).unwrap();
        let read =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, Vec<u8>>(1)?));
        list.query_map(params_from_iter(values), read).unwrap().map(Result::unwrap).count()
    }

    pub fn delete_oldest(&mut self, most: i64) -> u64 {
        let transaction = self.connection.transaction().unwrap();
        let last: i64 = transaction
            .query_row(
                "SELECT max(place) FROM (SELECT place FROM tasks ORDER BY place LIMIT ?1)",
                [most],
                |row| row.get(0),
            )
            .unwrap();
        if self.layout.marks {
            let mut old = transaction
                .prepare_cached("SELECT id, state, skill, agent, sent_to, context, root FROM tasks WHERE place <= ?1")
                .unwrap();
            let mut rows = old.query([last]).unwrap();
            let mut delete = transaction
                .prepare_cached("DELETE FROM marks WHERE mark = ?1 AND id = ?2")
                .unwrap();
            while let Some(row) = rows.next().unwrap() {
                let task = Task {
                    place: 0,
                    id: row.get(0).unwrap(),
                    state: row.get(1).unwrap(),
                    skill: row.get(2).unwrap(),
                    agent: row.get(3).unwrap(),
                    to: row.get(4).unwrap(),
                    context: row.get(5).unwrap(),
                    root: row.get(6).unwrap(),
                    created: 0,
                    ended: 0,
                    head: Vec::new(),
                    rest: Vec::new(),
                };
                for one in marks_of(&task).into_iter().flatten() {
                    delete.execute(params![one, task.id]).unwrap();
                }
            }
        }
        let gone = transaction.execute("DELETE FROM tasks WHERE place <= ?1", [last]).unwrap();
        transaction.commit().unwrap();
        gone as u64
    }

    pub fn bytes(&self) -> i64 {
        let figure = |name: &str| {
            self.connection
                .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
                .unwrap()
        };
        figure("page_count") * figure("page_size")
    }
}

fn mark(kind: u32, value: u32) -> i64 {
    // Stands for a hash of 32 bits.
    i64::from(value.wrapping_mul(0x9E37_79B1).rotate_left(kind * 5) ^ kind)
}

fn marks_of(task: &Task) -> [Option<i64>; 5] {
    let state = (task.state != 5).then_some(u32::from(task.state));
    [
        task.root.map(|root| mark(0, root)),
        task.context.map(|context| mark(1, context)),
        state.map(|state| mark(2, state)),
        Some(mark(3, task.agent)),
        task.skill.map(|skill| mark(4, skill)),
    ]
}
