//! What the tables of ended tasks and of dead letters have in common: rows in the order of their
//! records, oldest deleted first, and beside them what each tenant has of them, with a checksum. What
//! does not fit that is counted again.

use crate::index::changes::{COUNTS, count_of, has};
use crate::index::store::{signed, unsigned};
use rusqlite::{Connection, Error, OptionalExtension, Row, ffi, params};
use std::collections::BTreeMap;
use trunkline_types::{Sequence, WallTime};

/// A table of what is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Table {
    /// The table of its rows, and what is put before `_sums` for that of the sums.
    pub(super) rows: &'static str,
    pub(super) sums: &'static str,
    /// What a row needs besides its own bytes, as measured: its other fields and its entries in the
    /// indexes.
    pub(super) rest: u64,
    /// An index that begins with the tenant and has all rows.
    pub(super) by_tenant: &'static str,
}

/// How many rows there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counted {
    pub(super) rows: u64,
    /// Whether what the file says of it fits its checksum. They were looked at one by one if not.
    pub(super) is_sound: bool,
}

/// What each tenant has: rows, and bytes.
type Of = BTreeMap<i64, (i64, i64)>;

/// How many tasks of each state agents had or were sent.
pub(super) type Agents = BTreeMap<(i64, i64), i64>;

/// When rows are deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    /// Those that ended at this time or before.
    pub(crate) until: WallTime,
    /// The oldest of them while there are more bytes than this.
    pub(crate) bytes: u64,
}

impl Table {
    /// Deletes the oldest rows that are out of bounds, at most so many; how many it were.
    pub(super) fn expire(
        &self,
        connection: &Connection,
        bounds: Bounds,
        most: usize,
    ) -> Result<usize, Error> {
        let oldest = format!(
            "SELECT place, ended, length(head) + length(rest) FROM {} ORDER BY place LIMIT ?1",
            self.rows
        );
        // Nothing is deleted on the word of a sum that is damaged.
        self.mend_sums(connection)?;
        let (mut total, mut last, mut count) = (self.bytes(connection)?, None, 0);
        {
            let mut oldest = connection.prepare_cached(&oldest)?;
            let mut rows = oldest.query([i64::try_from(most).unwrap_or(i64::MAX)])?;
            while let Some(row) = rows.next()? {
                let ended = unsigned(row.get(1)?);
                if ended > bounds.until.0 && total <= bounds.bytes {
                    break;
                }
                total = total.saturating_sub(unsigned(row.get(2)?) + self.rest);
                last = Some(row.get::<_, i64>(0)?);
                count += 1;
            }
        }
        let Some(last) = last else { return Ok(0) };
        let mut sums = Sums::of(*self);
        sums.subtract(connection, "NOT INDEXED WHERE place <= ?1", &[&last])?;
        sums.keep(connection)?;
        let gone = format!("UPDATE state SET {0}_gone = max({0}_gone, ?1)", self.rows);
        connection.prepare_cached(&gone)?.execute([last])?;
        Ok(count)
    }

    /// Deletes the rows of records behind a place.
    pub(super) fn cut(&self, connection: &Connection, last: Sequence) -> Result<(), Error> {
        let mut sums = Sums::of(*self);
        sums.subtract(connection, "NOT INDEXED WHERE place > ?1", &[&signed(last.0)])?;
        sums.keep(connection)
    }

    /// When the oldest ended, of those from a place on.
    pub(super) fn oldest(
        &self,
        connection: &Connection,
        from: Sequence,
    ) -> Result<Option<WallTime>, Error> {
        let oldest =
            format!("SELECT ended FROM {} WHERE place >= ?1 ORDER BY place LIMIT 1", self.rows);
        let read = |row: &Row<'_>| row.get(0).map(|at| WallTime(unsigned(at)));
        connection.prepare_cached(&oldest)?.query_row([signed(from.0)], read).optional()
    }

    /// How many rows of a tenant there are that lie before a place. Those behind are looked at one
    /// by one: there are few, for memory has them too.
    pub(super) fn count(
        &self,
        connection: &Connection,
        tenant: i64,
        before: Sequence,
    ) -> Result<Counted, Error> {
        let all = format!("SELECT * FROM {}_sums WHERE tenant = ?1", self.sums);
        let later = format!(
            "SELECT count(*) FROM {} NOT INDEXED WHERE place >= ?2 AND tenant = ?1",
            self.rows
        );
        let all = connection.prepare_cached(&all)?.query_row([tenant], |row| Ok(sum_of(row)));
        let (mut rows, is_sound) = match all.optional()? {
            None => (0, true),
            Some(Some((_, (rows, _)))) => (unsigned(rows), true),
            Some(None) => (0, false),
        };
        if !is_sound {
            let Self { rows: name, by_tenant, .. } = self;
            let each =
                format!("SELECT count(*) FROM {name} INDEXED BY {by_tenant} WHERE tenant = ?1");
            let count = connection.prepare_cached(&each)?.query_row([tenant], |row| row.get(0));
            rows = unsigned(count?);
        }
        let values = params![tenant, signed(before.0)];
        let later = connection.prepare_cached(&later)?.query_row(values, |row| row.get(0));
        Ok(Counted { rows: rows.saturating_sub(unsigned(later?)), is_sound })
    }

    /// About how many bytes all rows need.
    pub(super) fn bytes(&self, connection: &Connection) -> Result<u64, Error> {
        let sum = format!("SELECT coalesce(sum(bytes), 0) FROM {}_sums", self.sums);
        connection.prepare_cached(&sum)?.query_row([], |row| row.get(0)).map(unsigned)
    }

    /// Counts everything again if what each tenant has does not fit its checksum. Whether it did.
    pub(super) fn mend_sums(&self, connection: &Connection) -> Result<bool, Error> {
        let is_sound = self.sums_are_sound(connection)?;
        if !is_sound {
            self.count_again(connection)?;
        }
        Ok(is_sound)
    }

    /// Whether what each tenant has fits its checksum.
    pub(super) fn sums_are_sound(&self, connection: &Connection) -> Result<bool, Error> {
        let all = format!("SELECT * FROM {}_sums", self.sums);
        let mut all = connection.prepare_cached(&all)?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            if sum_of(row).is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What each tenant has by the rows themselves.
    fn counted(&self, connection: &Connection) -> Result<Of, Error> {
        let each =
            format!("SELECT tenant, length(head) + length(rest) FROM {} NOT INDEXED", self.rows);
        let mut each = connection.prepare(&each)?;
        let mut rows = each.query([])?;
        let mut of = Of::new();
        while let Some(row) = rows.next()? {
            let sum = of.entry(row.get(0)?).or_default();
            sum.0 += 1;
            sum.1 += row.get::<_, i64>(1)? + signed(self.rest);
        }
        Ok(of)
    }

    /// Counts what each tenant has again.
    pub(super) fn count_again(&self, connection: &Connection) -> Result<(), Error> {
        let of = self.counted(connection)?;
        connection.execute(&format!("DELETE FROM {}_sums", self.sums), [])?;
        self.write_sums(connection, of)?;
        if self.has_agents() && has(connection, COUNTS)? {
            Self::count_agents(connection)?;
        }
        Ok(())
    }

    /// Whether it is the one whose rows tell of agents.
    fn has_agents(&self) -> bool {
        self.sums == "task"
    }

    /// Counts the tasks of each agent.
    pub(super) fn count_agents(connection: &Connection) -> Result<(), Error> {
        let counts = Self::of_agents(connection)?;
        connection.execute("DELETE FROM task_counts", [])?;
        write_counts(connection, counts)
    }

    /// The tasks of each agent by the rows themselves.
    pub(super) fn of_agents(connection: &Connection) -> Result<Agents, Error> {
        let each = "SELECT agent, sent_to, state FROM tasks NOT INDEXED";
        let mut each = connection.prepare(each)?;
        let mut rows = each.query([])?;
        let mut counts = Agents::new();
        while let Some(row) = rows.next()? {
            let state = row.get(2)?;
            for agent in [row.get::<_, Option<i64>>(0)?, row.get(1)?].into_iter().flatten() {
                *counts.entry((agent, state)).or_default() += 1;
            }
        }
        Ok(counts)
    }

    /// Gives the sums of a file that had none their checksums.
    pub(super) fn seal_sums(&self, connection: &Connection) -> Result<(), Error> {
        let all = format!("SELECT tenant, tasks, bytes FROM {}_sums", self.sums);
        let read = |row: &Row<'_>| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)));
        let of = connection.prepare(&all)?.query_map([], read)?.collect::<Result<Of, _>>()?;
        self.write_sums(connection, of)
    }

    fn write_sums(&self, connection: &Connection, of: Of) -> Result<(), Error> {
        let write = format!("INSERT OR REPLACE INTO {}_sums VALUES (?1, ?2, ?3, ?4)", self.sums);
        let mut write = connection.prepare_cached(&write)?;
        for (tenant, (rows, bytes)) in of {
            write.execute([tenant, rows, bytes, checksum(tenant, rows, bytes)])?;
        }
        Ok(())
    }
}

/// An index within the file tells of a row that is not there, or is another one.
pub(super) fn astray(rows: &str, place: Sequence) -> Error {
    let failure = ffi::Error::new(ffi::SQLITE_CORRUPT_INDEX);
    let what = format!("an order of its {rows} tells of record {} wrongly", place.0);
    Error::SqliteFailure(failure, Some(what))
}

/// What a tenant has, from a row of sums, whole; one of an earlier version has no checksum. `None`
/// if it does not fit that, or is no such thing.
pub(super) fn sum_of(row: &Row<'_>) -> Option<(i64, (i64, i64))> {
    let (tenant, rows, bytes) = (row.get(0).ok()?, row.get(1).ok()?, row.get(2).ok()?);
    let has_sum = row.as_ref().column_count() > 3;
    let fits = !has_sum || row.get(3) == Ok(checksum(tenant, rows, bytes));
    fits.then_some((tenant, (rows, bytes)))
}

pub(super) fn checksum(tenant: i64, rows: i64, bytes: i64) -> i64 {
    let mut of = [0; 24];
    for (place, number) in [tenant, rows, bytes].into_iter().enumerate() {
        of[place * 8..place * 8 + 8].copy_from_slice(&number.to_le_bytes());
    }
    i64::from(crc_fast::crc32_iscsi(&of))
}

/// What comes and goes of each tenant in one commit.
#[derive(Debug)]
pub(super) struct Sums {
    table: Table,
    tenants: Of,
    agents: Agents,
}

impl Sums {
    pub(super) fn of(table: Table) -> Self {
        Self { table, tenants: Of::new(), agents: Agents::new() }
    }

    pub(super) fn add(&mut self, tenant: i64, bytes: u64) {
        let sum = self.tenants.entry(tenant).or_default();
        sum.0 += 1;
        sum.1 += signed(bytes + self.table.rest);
    }

    /// A task of those agents comes.
    pub(super) fn add_agents(&mut self, agents: [Option<i64>; 2], state: u8) {
        for agent in agents.into_iter().flatten() {
            *self.agents.entry((agent, i64::from(state))).or_default() += 1;
        }
    }

    /// Deletes rows. How they are found is said with which ones: left to itself, SQLite may go over
    /// all of a tenant for a few.
    pub(super) fn subtract(
        &mut self,
        connection: &Connection,
        which: &str,
        values: &[&dyn rusqlite::ToSql],
    ) -> Result<(), Error> {
        let Table { rows: name, rest, .. } = self.table;
        let agents = if self.table.has_agents() { ", agent, sent_to, state" } else { "" };
        let gone =
            format!("SELECT tenant, length(head) + length(rest){agents} FROM {name} {which}");
        let mut gone = connection.prepare_cached(&gone)?;
        let mut rows = gone.query(values)?;
        while let Some(row) = rows.next()? {
            let sum = self.tenants.entry(row.get(0)?).or_default();
            sum.0 -= 1;
            sum.1 -= row.get::<_, i64>(1)? + signed(rest);
            if !agents.is_empty() {
                let state = row.get(4)?;
                for agent in [row.get::<_, Option<i64>>(2)?, row.get(3)?].into_iter().flatten() {
                    *self.agents.entry((agent, state)).or_default() -= 1;
                }
            }
        }
        drop(rows);
        let delete = format!("DELETE FROM {name} {which}");
        connection.prepare_cached(&delete)?.execute(values)?;
        Ok(())
    }

    pub(super) fn keep(self, connection: &Connection) -> Result<(), Error> {
        let there = format!("SELECT * FROM {}_sums WHERE tenant = ?1", self.table.sums);
        let mut there = connection.prepare_cached(&there)?;
        let mut of = Of::new();
        for (tenant, (count, bytes)) in self.tenants {
            let found = there.query_row([tenant], |row| Ok(sum_of(row))).optional()?;
            let (old_count, old_bytes) = match found {
                None => (0, 0),
                Some(Some((_, of))) => of,
                // With these rows in it.
                Some(None) => return self.table.count_again(connection),
            };
            of.insert(tenant, (old_count + count, old_bytes + bytes));
        }
        self.table.write_sums(connection, of)?;
        if self.agents.is_empty() || !has(connection, COUNTS)? {
            return Ok(());
        }
        let there =
            "SELECT mark, state, tasks, sum FROM task_counts WHERE mark = ?1 AND state = ?2";
        let mut there = connection.prepare_cached(there)?;
        let mut counts = Agents::new();
        for ((mark, state), count) in self.agents {
            let found = there.query_row([mark, state], |row| Ok(count_of(row))).optional()?;
            match found {
                None => _ = counts.insert((mark, state), count),
                Some(Some((_, old))) => _ = counts.insert((mark, state), old + count),
                Some(None) => return self.table.count_again(connection),
            }
        }
        write_counts(connection, counts)
    }
}

/// Writes how many tasks of each state agents had, all of one mark or some.
fn write_counts(connection: &Connection, counts: Agents) -> Result<(), Error> {
    let write = "INSERT OR REPLACE INTO task_counts VALUES (?1, ?2, ?3, ?4)";
    let mut write = connection.prepare_cached(write)?;
    let delete = "DELETE FROM task_counts WHERE mark = ?1 AND state = ?2";
    let mut delete = connection.prepare_cached(delete)?;
    for ((mark, state), count) in counts {
        if count == 0 {
            delete.execute([mark, state])?;
        } else {
            write.execute([mark, state, count, checksum(mark, state, count)])?;
        }
    }
    Ok(())
}
