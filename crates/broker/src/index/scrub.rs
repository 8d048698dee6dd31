//! A look at every row and every entry of the indexes within the file, a few at a time between the
//! commits: bits that rot in what nobody reads for long are found before they matter, and what a list
//! would leave out without anybody seeing it is found at all.

use crate::index::changes::has_all;
use crate::index::heal::{checked, columns};
use crate::index::letters::LETTERS;
use crate::index::seal::{BadRow, sound};
use crate::index::store::Store;
use crate::index::table::{Table, astray};
use crate::index::tasks::TASKS;
use rusqlite::{Error, OptionalExtension, params};
use std::time::{Duration, Instant};
use trunkline_types::Sequence;

/// How many rows are looked at at least, and how many entries.
const ROWS: u32 = 50;

/// How long a look goes on at least, as long as it finds nothing.
const LOOK: Duration = Duration::from_millis(4);

/// How far the look has come.
#[derive(Debug)]
pub(super) struct Scrub {
    /// What is looked at.
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The rows of a table behind a place, and whether the indexes tell of each.
    Rows(usize, i64),
    /// What an index tells of the rows of a table behind an entry: whether they are there.
    Entries(usize, i64, [u8; 16]),
    Over,
}

/// The tables.
const TABLES: [Table; 2] = [TASKS, LETTERS];

/// The place of a row that an index by changes does not tell of as it is.
const UNTOLD_CHANGES: &str =
    "SELECT place FROM tasks AS t NOT INDEXED WHERE place > ?1 AND place <= ?2 AND (
        NOT EXISTS (SELECT 1 FROM tasks AS i INDEXED BY tasks_changed WHERE i.tenant = t.tenant
            AND i.ended = t.ended AND i.id = t.id AND i.state = t.state AND i.place = t.place)
        OR (t.agent IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM tasks AS i INDEXED BY tasks_changed_by_agent WHERE i.agent = t.agent
            AND i.ended = t.ended AND i.id = t.id AND i.state = t.state AND i.place = t.place))
        OR (t.sent_to IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM tasks AS i INDEXED BY tasks_changed_by_sent_to WHERE i.sent_to = t.sent_to
            AND i.ended = t.ended AND i.id = t.id AND i.state = t.state AND i.place = t.place))
        OR (t.context IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM tasks AS i INDEXED BY tasks_changed_by_context WHERE i.context = t.context
            AND i.ended = t.ended AND i.id = t.id AND i.state = t.state AND i.place = t.place))
     ) LIMIT 1";

/// The place of a row that another index does not tell of as it is.
fn untold(table: Table) -> &'static str {
    if table == TASKS {
        "SELECT place FROM tasks AS t NOT INDEXED WHERE place > ?1 AND place <= ?2 AND (
            NOT EXISTS (SELECT 1 FROM tasks AS i INDEXED BY tasks_by_id
                WHERE i.tenant = t.tenant AND i.id = t.id AND i.place = t.place)
            OR (t.agent IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM tasks AS i INDEXED BY tasks_by_agent WHERE i.agent = t.agent
                AND i.id = t.id AND i.state = t.state AND i.skill IS t.skill AND i.place = t.place))
            OR (t.sent_to IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM tasks AS i INDEXED BY tasks_by_sent_to WHERE i.sent_to = t.sent_to
                AND i.id = t.id AND i.state = t.state AND i.skill IS t.skill AND i.place = t.place))
            OR (t.skill IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM tasks AS i INDEXED BY tasks_by_skill WHERE i.skill = t.skill
                AND i.id = t.id AND i.state = t.state AND i.place = t.place))
            OR (t.context IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM tasks AS i INDEXED BY tasks_by_context WHERE i.context = t.context
                AND i.id = t.id AND i.state = t.state AND i.skill IS t.skill AND i.place = t.place))
            OR (t.root IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM tasks AS i INDEXED BY tasks_by_root WHERE i.root = t.root
                AND i.id = t.id AND i.state = t.state AND i.skill IS t.skill AND i.place = t.place))
            OR (t.state <> 5 AND NOT EXISTS (
                SELECT 1 FROM tasks AS i INDEXED BY tasks_not_completed WHERE i.tenant = t.tenant
                AND i.state <> 5 AND i.id = t.id AND i.state = t.state AND i.skill IS t.skill
                AND i.place = t.place))
         ) LIMIT 1"
    } else {
        "SELECT place FROM letters AS t NOT INDEXED WHERE place > ?1 AND place <= ?2 AND (
            NOT EXISTS (SELECT 1 FROM letters AS i INDEXED BY letters_by_id
                WHERE i.tenant = t.tenant AND i.id = t.id AND i.inbox = t.inbox
                AND i.place = t.place)
            OR NOT EXISTS (SELECT 1 FROM letters AS i INDEXED BY letters_by_tenant
                WHERE i.tenant = t.tenant AND i.place = t.place AND i.ended = t.ended)
            OR NOT EXISTS (SELECT 1 FROM letters AS i INDEXED BY letters_by_inbox
                WHERE i.inbox = t.inbox AND i.place = t.place AND i.ended = t.ended)
         ) LIMIT 1"
    }
}

impl Scrub {
    /// One that has everything before it.
    pub(super) fn new() -> Self {
        Self { stage: Stage::Rows(0, -1) }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Looks at some more.
    ///
    /// # Errors
    /// What SQLite says, or that an index does not fit its table, after which it goes on behind that.
    pub(super) fn look(&mut self, store: &Store, bad: &mut Vec<BadRow>) -> Result<(), Error> {
        let begun = Instant::now();
        while !self.is_over() && bad.is_empty() && begun.elapsed() < LOOK {
            match self.stage {
                Stage::Rows(table, behind) => self.rows(store, table, behind, bad)?,
                Stage::Entries(table, tenant, id) => self.entries(store, table, (tenant, id))?,
                Stage::Over => {}
            }
        }
        Ok(())
    }

    fn rows(
        &mut self,
        store: &Store,
        at: usize,
        behind: i64,
        bad: &mut Vec<BadRow>,
    ) -> Result<(), Error> {
        let (table, connection) = (TABLES[at], store.connection());
        let sql = format!(
            "SELECT {} FROM {} NOT INDEXED WHERE place > ?1 ORDER BY place LIMIT {ROWS}",
            columns(table),
            table.rows
        );
        let mut last = None;
        {
            let mut some = connection.prepare_cached(&sql)?;
            let mut rows = some.query([behind])?;
            while let Some(row) = rows.next()? {
                last = Some(row.get(0)?);
                sound(checked(store.hashes(), table, row), bad)?;
            }
        }
        let Some(last) = last else {
            self.stage = Stage::Entries(at, i64::MIN, [0; 16]);
            return Ok(());
        };
        self.stage = Stage::Rows(at, last);
        let changes = table == TASKS && has_all(connection)?;
        let others = changes.then_some(UNTOLD_CHANGES);
        for sql in [Some(untold(table)), others].into_iter().flatten() {
            let mut untold = connection.prepare_cached(sql)?;
            let found = untold.query_row([behind, last], |row| row.get::<_, i64>(0)).optional()?;
            if let Some(place) = found {
                return Err(astray(table, Sequence(place.cast_unsigned())));
            }
        }
        Ok(())
    }

    fn entries(&mut self, store: &Store, at: usize, after: (i64, [u8; 16])) -> Result<(), Error> {
        let (table, connection) = (TABLES[at], store.connection());
        let name = table.rows;
        let sql = format!(
            "SELECT tenant, id, place, (SELECT t.tenant = i.tenant AND t.id = i.id
                FROM {name} AS t NOT INDEXED WHERE t.place = i.place)
             FROM {name} AS i INDEXED BY {name}_by_id
             WHERE (i.tenant, i.id) > (?1, ?2) ORDER BY i.tenant, i.id LIMIT {ROWS}"
        );
        let mut last = None;
        let mut some = connection.prepare_cached(&sql)?;
        let mut rows = some.query(params![after.0, after.1])?;
        while let Some(row) = rows.next()? {
            let place = Sequence(row.get::<_, i64>(2)?.cast_unsigned());
            let (Ok(tenant), Ok(id)) = (row.get(0), row.get(1)) else {
                self.stage = Stage::Over;
                return Err(astray(table, place));
            };
            let is_it = row.get::<_, Option<bool>>(3)? == Some(true);
            if !is_it || (tenant, id) < last.unwrap_or(after) {
                self.stage = Stage::Over;
                return Err(astray(table, place));
            }
            last = Some((tenant, id));
        }
        self.stage = match last {
            Some((tenant, id)) => Stage::Entries(at, tenant, id),
            None if at + 1 < TABLES.len() => Stage::Rows(at + 1, -1),
            None => Stage::Over,
        };
        Ok(())
    }

    /// Begins again.
    pub(super) fn again(&mut self) {
        *self = Self::new();
    }
}
