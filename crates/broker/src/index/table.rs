//! What the tables of ended tasks and of dead letters have in common: rows in the order of their
//! records, oldest deleted first, and beside them what each tenant has of them.

use crate::index::store::{signed, unsigned};
use rusqlite::{Connection, Error, OptionalExtension, params};
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
}

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
        let read = |row: &rusqlite::Row<'_>| row.get(0).map(|at| WallTime(unsigned(at)));
        connection.prepare_cached(&oldest)?.query_row([signed(from.0)], read).optional()
    }

    /// How many rows of a tenant there are that lie before a place. Those behind are looked at one
    /// by one: there are few, for memory has them too.
    pub(super) fn count(
        &self,
        connection: &Connection,
        tenant: i64,
        before: Sequence,
    ) -> Result<u64, Error> {
        let all =
            format!("SELECT coalesce(sum(tasks), 0) FROM {}_sums WHERE tenant = ?1", self.sums);
        let later = format!(
            "SELECT count(*) FROM {} NOT INDEXED WHERE place >= ?2 AND tenant = ?1",
            self.rows
        );
        let all = connection.prepare_cached(&all)?.query_row([tenant], |row| row.get(0));
        let values = params![tenant, signed(before.0)];
        let later = connection.prepare_cached(&later)?.query_row(values, |row| row.get(0));
        Ok(unsigned(all?).saturating_sub(unsigned(later?)))
    }

    /// About how many bytes all rows need.
    pub(super) fn bytes(&self, connection: &Connection) -> Result<u64, Error> {
        let sum = format!("SELECT coalesce(sum(bytes), 0) FROM {}_sums", self.sums);
        connection.prepare_cached(&sum)?.query_row([], |row| row.get(0)).map(unsigned)
    }
}

/// What comes and goes of each tenant in one commit.
#[derive(Debug)]
pub(super) struct Sums {
    table: Table,
    sums: std::collections::BTreeMap<i64, (i64, i64)>,
}

impl Sums {
    pub(super) fn of(table: Table) -> Self {
        Self { table, sums: std::collections::BTreeMap::new() }
    }

    pub(super) fn add(&mut self, tenant: i64, bytes: u64) {
        let sum = self.sums.entry(tenant).or_default();
        sum.0 += 1;
        sum.1 += signed(bytes + self.table.rest);
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
        let sum = format!(
            "SELECT tenant, count(*), sum(length(head) + length(rest)) FROM {name} {which}
             GROUP BY tenant"
        );
        let mut gone = connection.prepare_cached(&sum)?;
        let mut rows = gone.query(values)?;
        while let Some(row) = rows.next()? {
            let (count, bytes): (i64, i64) = (row.get(1)?, row.get(2)?);
            let sum = self.sums.entry(row.get(0)?).or_default();
            sum.0 -= count;
            sum.1 -= bytes + count * signed(rest);
        }
        let delete = format!("DELETE FROM {name} {which}");
        connection.prepare_cached(&delete)?.execute(values)?;
        Ok(())
    }

    pub(super) fn keep(self, connection: &Connection) -> Result<(), Error> {
        let keep = format!(
            "INSERT INTO {}_sums VALUES (?1, ?2, ?3) ON CONFLICT (tenant)
             DO UPDATE SET tasks = tasks + ?2, bytes = bytes + ?3",
            self.table.sums
        );
        let mut keep = connection.prepare_cached(&keep)?;
        for (tenant, (count, bytes)) in self.sums {
            keep.execute([tenant, count, bytes])?;
        }
        Ok(())
    }
}
