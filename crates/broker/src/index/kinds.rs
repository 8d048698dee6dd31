//! The tables whose rows have checksums, and how one row of each is looked at by those to whom it
//! does not matter what it holds.

use crate::index::keys;
use crate::index::letters::{self, LETTERS};
use crate::index::rows::Row;
use crate::index::store::Hashes;
use crate::index::table::Table;
use crate::index::tasks::{self, TASKS};
use rusqlite::{Connection, Error};
use trunkline_engine::{DiedLetter, EndedTask};

/// Of which table a row is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Task,
    Letter,
    Key,
}

/// A row that was read whole.
pub(super) enum Found {
    Task(Box<EndedTask>),
    Letter(Box<DiedLetter>),
    Key(Box<Row>),
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Task, Self::Letter, Self::Key];

    /// The name of its table.
    pub(super) fn rows(self) -> &'static str {
        match self {
            Self::Task => TASKS.rows,
            Self::Letter => LETTERS.rows,
            Self::Key => "keys",
        }
    }

    /// What its table has in common with another one; keys are not counted.
    pub(super) fn counted(self) -> Option<Table> {
        match self {
            Self::Task => Some(TASKS),
            Self::Letter => Some(LETTERS),
            Self::Key => None,
        }
    }

    /// All columns of its table, those last that are only a repetition.
    pub(super) fn columns(self) -> &'static str {
        match self {
            Self::Task => tasks::EVERYTHING,
            Self::Letter => letters::EVERYTHING,
            Self::Key => keys::EVERYTHING,
        }
    }

    /// Whether a row of all columns is sound.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn checked(self, hashes: Hashes, row: &rusqlite::Row<'_>) -> Result<(), Error> {
        match self {
            Self::Task => tasks::checked(hashes, row).map(|_| ()),
            Self::Letter => letters::checked(hashes, row).map(|_| ()),
            Self::Key => keys::checked(hashes, row).map(|_| ()),
        }
    }

    /// What a row of all columns holds, whatever those say that repeat it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn whole(self, row: &rusqlite::Row<'_>) -> Result<Found, Error> {
        Ok(match self {
            Self::Task => Found::Task(Box::new(tasks::whole(row)?)),
            Self::Letter => Found::Letter(Box::new(letters::whole(row)?)),
            Self::Key => Found::Key(Box::new(keys::whole(row)?)),
        })
    }
}

impl Found {
    /// Takes it in anew.
    pub(super) fn insert(self, connection: &Connection, hashes: Hashes) -> Result<(), Error> {
        match self {
            Self::Task(task) => tasks::insert(connection, hashes, &[*task]),
            Self::Letter(died) => letters::insert(connection, hashes, &[*died], &[]),
            Self::Key(row) => keys::insert(connection, hashes, &[*row]),
        }
    }
}
