//! What is damaged in the index is taken out of it, row by row: a row that is bad is copied to the
//! quarantine and deleted, and put in anew if only its columns were wrong; indexes and sums within
//! the file are made again from the tables. The log is then read again at the next start, for it may
//! still tell of what was lost. Only tables that are damaged themselves cost the whole file.

use crate::index::changes;
use crate::index::kinds::Kind;
use crate::index::letters::LETTERS;
use crate::index::seal::BadRow;
use crate::index::store::{self, Hashes, Store, is_astray, signed};
use crate::index::tasks::TASKS;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, OptionalExtension};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use trunkline_types::Sequence;

/// The file in the quarantine that has the rows that were taken out, as statements that would put them
/// back.
const ROWS: &str = "index-rows.sql";

/// Why something could not be healed.
#[derive(Debug)]
pub(super) enum Unhealed {
    /// What SQLite says.
    Index(Error),
    /// The copy could not be made, so that nothing was deleted.
    Copy(io::Error),
}

impl std::fmt::Display for Unhealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(error) => error.fmt(f),
            Self::Copy(error) => write!(f, "they cannot be copied: {error}"),
        }
    }
}

impl From<Error> for Unhealed {
    fn from(error: Error) -> Self {
        Self::Index(error)
    }
}

/// The rows of which there are copies, and that are still in the index: to take them out may have
/// failed.
#[derive(Debug, Default)]
pub(super) struct Copied(BTreeSet<(Kind, Sequence)>);

impl Store {
    /// Looks at the structure of the whole file. What is wrong with it, if something is.
    pub(super) fn look_through(&self) -> Result<Option<String>, Error> {
        let check = "PRAGMA quick_check(1)";
        let found: String = self.connection().query_row(check, [], |row| row.get(0))?;
        Ok(Some(found).filter(|found| found != "ok"))
    }

    /// Makes the indexes within the file again and counts everything again.
    pub(super) fn order_again(&mut self) -> Result<(), Error> {
        self.change(|transaction, _| order_again(transaction))
    }

    /// Counts again what does not fit its checksum. Whether something did not.
    pub(super) fn count_again(&mut self) -> Result<bool, Error> {
        let is_sound = TASKS.sums_are_sound(self.connection())?
            && LETTERS.sums_are_sound(self.connection())?
            && changes::counts_are_sound(self.connection())?;
        if !is_sound {
            self.change(|transaction, _| {
                TASKS.count_again(transaction)?;
                LETTERS.count_again(transaction)
            })?;
        }
        Ok(!is_sound)
    }

    /// Takes bad rows out, with a copy of each that has none yet. How many are lost.
    pub(super) fn take_out<'a>(
        &mut self,
        rows: impl IntoIterator<Item = &'a BadRow>,
        copied: &mut Copied,
    ) -> Result<u64, Unhealed> {
        // One row may have been met in several ways.
        let rows: BTreeMap<_, _> =
            rows.into_iter().map(|row| ((row.kind, row.place), row)).collect();
        let bad = copy_bad(self.connection(), self.hashes(), self.folder(), &rows, copied)?;
        let lost = self.change(|transaction, hashes| take_out(transaction, hashes, &bad))?;
        for row in rows.keys() {
            copied.0.remove(row);
        }
        Ok(lost)
    }
}

/// Makes the indexes within the file again and counts everything again.
fn order_again(connection: &Connection) -> Result<(), Error> {
    connection.execute_batch("REINDEX tasks; REINDEX letters; REINDEX keys;")?;
    TASKS.count_again(connection)?;
    LETTERS.count_again(connection)?;
    store::set_again(connection, true)
}

/// Copies those rows to the quarantine that are bad, unless they were, and returns them.
fn copy_bad<'a>(
    connection: &Connection,
    hashes: Hashes,
    folder: &Path,
    rows: &BTreeMap<(Kind, Sequence), &'a BadRow>,
    copied: &mut Copied,
) -> Result<Vec<&'a BadRow>, Unhealed> {
    let (mut text, mut bad) = (String::new(), Vec::new());
    for row in rows.values() {
        let kind = row.kind;
        let read = |found: &rusqlite::Row<'_>| {
            Ok((kind.checked(hashes, found).is_ok(), values(kind, found)?))
        };
        if let Some((false, values)) = query(connection, row, read)? {
            bad.push(*row);
            if !copied.0.contains(&(kind, row.place)) {
                // Writing to a string cannot fail.
                _ = writeln!(text, "-- {row}\nINSERT INTO {} {values};", kind.rows());
            }
        }
    }
    if !text.is_empty() {
        copy(folder, &text).map_err(Unhealed::Copy)?;
    }
    copied.0.extend(bad.iter().map(|row| (row.kind, row.place)));
    Ok(bad)
}

/// Deletes bad rows, and puts those in anew that have all but their columns. How many are lost.
fn take_out(connection: &Connection, hashes: Hashes, bad: &[&BadRow]) -> Result<u64, Error> {
    let mut lost = 0;
    for row in bad {
        let whole = query(connection, row, |found| Ok(row.kind.whole(found).ok()))?.flatten();
        delete(connection, row)?;
        match whole {
            None => lost += 1,
            Some(found) => found.insert(connection, hashes)?,
        }
    }
    if !bad.is_empty() {
        // Whose they were is not known.
        let counted: BTreeSet<_> = bad.iter().map(|row| row.kind).collect();
        for table in counted.into_iter().filter_map(Kind::counted) {
            table.count_again(connection)?;
        }
        store::set_again(connection, true)?;
    }
    Ok(lost)
}

/// Deletes a row. The indexes of the table may know it under other columns, and are made again then.
fn delete(connection: &Connection, row: &BadRow) -> Result<(), Error> {
    let rows = row.kind.rows();
    let delete = format!("DELETE FROM {rows} WHERE place = ?1");
    let place = [signed(row.place.0)];
    match connection.execute(&delete, place) {
        Err(error) if is_astray(&error) => {
            connection.execute_batch(&format!("REINDEX {rows}"))?;
            connection.execute(&delete, place).map(|_| ())
        }
        done => done.map(|_| ()),
    }
}

/// Reads a row of all columns.
fn query<T>(
    connection: &Connection,
    row: &BadRow,
    read: impl FnOnce(&rusqlite::Row<'_>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let (columns, rows) = (row.kind.columns(), row.kind.rows());
    let sql = format!("SELECT {columns} FROM {rows} NOT INDEXED WHERE place = ?1");
    connection.prepare_cached(&sql)?.query_row([signed(row.place.0)], read).optional()
}

/// A row of all columns as it is written in a statement.
fn values(kind: Kind, row: &rusqlite::Row<'_>) -> Result<String, Error> {
    let mut text = format!("({}) VALUES (", kind.columns());
    for (place, name) in kind.columns().split(", ").enumerate() {
        let between = if place == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        _ = match row.get_ref(name)? {
            ValueRef::Null => write!(text, "{between}NULL"),
            ValueRef::Integer(number) => write!(text, "{between}{number}"),
            ValueRef::Real(number) => write!(text, "{between}{number:?}"),
            ValueRef::Text(bytes) => write!(text, "{between}CAST(x'{}' AS TEXT)", Hex(bytes)),
            ValueRef::Blob(bytes) => write!(text, "{between}x'{}'", Hex(bytes)),
        };
    }
    text.push(')');
    Ok(text)
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Adds to the copies beside an index's folder, and sees to it that they are on disk.
fn copy(folder: &Path, text: &str) -> io::Result<()> {
    let to = super::inspect::aside(folder);
    fs::create_dir_all(&to)?;
    let mut file = fs::OpenOptions::new().append(true).create(true).open(to.join(ROWS))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::File::open(&to)?.sync_all()
}
