//! Rows of the tables of tasks and letters, read of any bytes and written again, for the fuzz
//! targets. They are read by the code that reads those of a file, in a file that is memory.

use crate::index::letters::{self, LETTERS};
use crate::index::seal::bad_row;
use crate::index::store::{Hashes, Store, signed};
use crate::index::table::Table;
use crate::index::tasks::{self, TASKS};
use rusqlite::{Connection, Error, Row, params};
use std::fmt;
use std::path::Path;
use trunkline_engine::{DiedLetter, EndedTask};
use trunkline_types::Sequence;

/// An index in memory, of which every row is taken out again.
#[derive(Debug)]
pub struct Rows {
    store: Store,
}

impl Default for Rows {
    /// # Panics
    /// If there is no memory for it.
    fn default() -> Self {
        let store = Store::create(Path::new(":memory:")).expect("it needs nothing but memory");
        Self { store }
    }
}

impl Rows {
    /// The task that these two parts are at a place.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn task(&self, place: Sequence, head: &[u8], rest: &[u8]) -> Result<EndedTask, BadRow> {
        self.read(place, head, rest, tasks::whole)
    }

    /// The letter that these two parts are at a place.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn letter(&self, place: Sequence, head: &[u8], rest: &[u8]) -> Result<DiedLetter, BadRow> {
        self.read(place, head, rest, letters::whole)
    }

    /// Writes a task and reads all columns of its row.
    ///
    /// # Errors
    /// What is wrong with the row.
    pub fn task_again(&self, task: &EndedTask) -> Result<EndedTask, BadRow> {
        self.again(TASKS, tasks::EVERYTHING, tasks::checked, |connection, hashes| {
            tasks::insert(connection, hashes, std::slice::from_ref(task))
        })
    }

    /// Writes a letter and reads all columns of its row.
    ///
    /// # Errors
    /// What is wrong with the row.
    pub fn letter_again(&self, letter: &DiedLetter) -> Result<DiedLetter, BadRow> {
        self.again(LETTERS, letters::EVERYTHING, letters::checked, |connection, hashes| {
            letters::insert(connection, hashes, std::slice::from_ref(letter), &[])
        })
    }

    fn read<T>(
        &self,
        place: Sequence,
        head: &[u8],
        rest: &[u8],
        read: fn(&Row<'_>) -> Result<T, Error>,
    ) -> Result<T, BadRow> {
        let connection = self.store.connection();
        let mut row = connection.prepare_cached("SELECT ?1, ?2, ?3")?;
        Ok(row.query_row(params![signed(place.0), head, rest], read)?)
    }

    fn again<T>(
        &self,
        table: Table,
        columns: &str,
        read: fn(Hashes, &Row<'_>) -> Result<T, Error>,
        write: impl FnOnce(&Connection, Hashes) -> Result<(), Error>,
    ) -> Result<T, BadRow> {
        let (connection, hashes) = (self.store.connection(), self.store.hashes());
        let transaction = connection.unchecked_transaction()?;
        write(&transaction, hashes)?;
        let all = format!("SELECT {columns} FROM {}", table.rows);
        let mut all = transaction.prepare_cached(&all)?;
        Ok(all.query_row([], |row| read(hashes, row))?)
    }
}

/// What is wrong with a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadRow {
    /// In words that name its table and its record.
    pub message: String,
    /// Whether it is the row that is wrong, and not the file.
    pub is_row: bool,
}

impl From<Error> for BadRow {
    fn from(error: Error) -> Self {
        match bad_row(&error) {
            Some(bad) => Self { message: bad.to_string(), is_row: true },
            None => Self { message: error.to_string(), is_row: false },
        }
    }
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
