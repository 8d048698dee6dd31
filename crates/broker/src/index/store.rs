//! The file of the index: how it is opened and made, and what is committed to it.

use crate::index::changes;
use crate::index::filter::KeyFilter;
use crate::index::inspect;
use crate::index::keys;
use crate::index::letters::{self, LETTERS};
use crate::index::rows::{Entry, Row};
use crate::index::seal::BadRow;
use crate::index::table::{Bounds, Table};
use crate::index::tasks::{self, Name, TASKS};
use foldhash::quality::FixedState;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, params};
use std::fmt::Display;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};
use trunkline_engine::{ClearedLetter, DiedLetter, EndedTask, Past};
use trunkline_types::{IdempotencyKey, Sequence, TenantId, WallTime};

/// The version of the tables below. A file with a later one is refused.
pub(super) const VERSION: i64 = 6;

/// The version that had no tasks. It gets their tables, and the log is read again from its
/// beginning.
pub(super) const WITHOUT_TASKS: i64 = 1;

/// The version that had no dead letters, which get in likewise.
pub(super) const WITHOUT_LETTERS: i64 = 2;

/// The version that did not tell up to where rows have gone. It goes on with what it has.
pub(super) const WITHOUT_GONE: i64 = 3;

/// The version whose rows have no checksums. They are taken as they are.
pub(super) const WITHOUT_SUMS: i64 = 4;

/// The version whose keys have none. They are taken as they are.
pub(super) const WITHOUT_KEY_SUMS: i64 = 5;

/// How a file is opened that must be there.
pub(super) const THERE: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// How a connection works: readers beside the writer, and no flush but when the write-ahead log
/// is folded in, for what a crash takes is read from the log again.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 4096;
    PRAGMA mmap_size = 268435456; PRAGMA busy_timeout = 5000;
    PRAGMA journal_size_limit = 8388608;";

/// How far it goes and which log it belongs to.
const STATE: &str = "
    CREATE TABLE state (
        one INTEGER PRIMARY KEY, through INTEGER NOT NULL, log BLOB NOT NULL,
        seed INTEGER NOT NULL, sample INTEGER NOT NULL
    );";

/// What was added with the dead letters: up from which place no task is missing.
const COMPLETE: &str = "ALTER TABLE state ADD COLUMN complete INTEGER NOT NULL DEFAULT 0;";

/// Up to which places rows have gone because they were out of bounds. What is missing behind these
/// was not deleted by this program.
const GONE: &str = "ALTER TABLE state ADD COLUMN tasks_gone INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE state ADD COLUMN letters_gone INTEGER NOT NULL DEFAULT 0;";

/// The same of a file that did not tell, by what is there.
const FIND_GONE: &str = "UPDATE state SET
    tasks_gone = coalesce((SELECT min(place) - 1 FROM tasks), through),
    letters_gone = coalesce((SELECT min(place) - 1 FROM letters), through);";

/// What was added with the checksums of rows: those of the sums, the times once more, and whether the
/// log is to be read again for what was damaged.
const SUMS: &str = "ALTER TABLE task_sums ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE letter_sums ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE state ADD COLUMN again INTEGER NOT NULL DEFAULT 0;";

/// The one connection that writes.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
    hashes: Hashes,
    path: PathBuf,
    /// Which version the file has. One of the last few is opened without a byte being written, for
    /// the disk may be full, and gets the present one with the first rows that it takes.
    version: i64,
    /// What keys it may have, for who reads.
    filter: Arc<KeyFilter>,
}

/// Why there is no index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unopened {
    /// None is there, and none can be made.
    NoRoom(String),
    /// One is there that cannot be used, and may be what alone has what the log gave up.
    Refused(String),
}

impl Unopened {
    pub(super) fn refused(path: &Path, reason: impl Display) -> Self {
        Self::Refused(format!("cannot open the index {}: {reason}", path.display()))
    }
}

/// What one commit takes.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) keys: Vec<Row>,
    #[allow(clippy::vec_box, reason = "they are large and come in boxes")]
    pub(crate) tasks: Vec<Box<EndedTask>>,
    pub(crate) letters: Vec<DiedLetter>,
    pub(crate) cleared: Vec<ClearedLetter>,
}

impl Entries {
    pub(crate) fn push(&mut self, entry: Entry) {
        match entry {
            Entry::Key(row) => self.keys.push(row),
            Entry::Past(past) => self.push_past(past),
        }
    }

    pub(crate) fn push_past(&mut self, past: Past) {
        match past {
            Past::Ended(task) => self.tasks.push(task),
            Past::Died(letter) => self.letters.push(*letter),
            Past::Cleared(cleared) => self.cleared.push(*cleared),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len() + self.tasks.len() + self.letters.len() + self.cleared.len()
    }
}

/// How keys are hashed in one file: by a seed of its own, so that nobody can aim for collisions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashes {
    seed: u64,
}

impl Store {
    /// Opens the index in a folder, which is made if it is not there. A file that is damaged is
    /// put aside, and another one made that is empty.
    ///
    /// # Errors
    /// If it is there and cannot be opened, or is not there and cannot be made.
    pub(crate) fn open(folder: &Path) -> Result<Self, Unopened> {
        let path = folder.join(inspect::FILE);
        if inspect::is_marked(folder) {
            put_aside(folder, "it was found damaged when it was used last")?;
        } else if inspect::is_there(folder).map_err(|error| Unopened::refused(&path, error))? {
            match Self::open_old(&path) {
                Ok(store) => return Ok(store),
                Err(error) if is_of_no_use(&error) => put_aside(folder, &error.to_string())?,
                Err(error) => return Err(Unopened::refused(&path, explain(&error))),
            }
        }
        Self::make(&path)
    }

    /// Opens the index in a folder, which is there and is to be mended.
    ///
    /// # Errors
    /// What SQLite says.
    pub(super) fn open_to_mend(folder: &Path) -> Result<Self, Error> {
        Self::open_old(&folder.join(inspect::FILE))
    }

    /// Puts the file aside and makes another one that is empty.
    ///
    /// # Errors
    /// If one of them cannot be done.
    pub(crate) fn reset(self) -> Result<Self, Unopened> {
        let Self { connection, path, .. } = self;
        drop(connection);
        put_aside(path.parent().unwrap_or(Path::new(".")), "it belongs to another log")?;
        Self::make(&path)
    }

    /// Makes the file, which is not there.
    fn make(path: &Path) -> Result<Self, Unopened> {
        let made = fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))
            .map_err(Into::into)
            .and_then(|()| Self::create(path));
        made.map_err(|error| {
            // It was begun by this, and nothing is in it.
            if let Err(error) = delete(path) {
                tracing::debug!(%error, "what was begun of an index is left there");
            }
            Unopened::NoRoom(format!("cannot make {}: {error}", path.display()))
        })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds some of what an older file lacks to list tasks by their changes. Whether there was
    /// something to add.
    pub(super) fn add_part(&mut self) -> Result<bool, Error> {
        self.change(|transaction, _| {
            let added = changes::add_part(transaction)?;
            if added {
                note_schema(transaction)?;
            }
            Ok(added)
        })
    }

    /// Whether all of the log is to be read again.
    pub(crate) fn is_to_be_read_again(&self) -> Result<bool, Error> {
        if self.version <= WITHOUT_SUMS {
            return Ok(false);
        }
        self.connection.query_row("SELECT again <> 0 FROM state", [], |row| row.get(0))
    }

    /// The folder in which the file is.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// How far it goes, and which log it belongs to: the first record of that log, empty before
    /// the first commit.
    pub(crate) fn state(&self) -> Result<(Sequence, Vec<u8>), Error> {
        state_of(&self.connection)
    }

    /// Takes rows in, and notes in the same commit that it goes through a place in a log.
    pub(crate) fn commit(
        &mut self,
        entries: &Entries,
        through: Sequence,
        log: &[u8],
    ) -> Result<(), Error> {
        let hash = |row: &Row| (self.hashes.of(&row.tenant, &row.key), row.place);
        self.filter.add(entries.keys.iter().map(hash));
        self.take_in(|transaction, hashes| {
            tasks::insert(transaction, hashes, &entries.tasks)?;
            letters::insert(transaction, hashes, &entries.letters, &entries.cleared)?;
            keys::insert(transaction, hashes, &entries.keys)?;
            let mut state = transaction
                .prepare_cached("UPDATE state SET through = max(through, ?1), log = ?2")?;
            state.execute(params![signed(through.0), log]).map(|_| ())
        })
    }

    /// Deletes what records behind a place told of. All of the log is to be read again, for what
    /// these records deleted is not in the index any more.
    pub(crate) fn cut(&mut self, last: Sequence) -> Result<(), Error> {
        self.change(|transaction, _| {
            keys::cut(transaction, last)?;
            TASKS.cut(transaction, last)?;
            LETTERS.cut(transaction, last)?;
            let cut = "UPDATE state SET through = 0, tasks_gone = min(tasks_gone, ?1),
                 letters_gone = min(letters_gone, ?1)";
            transaction.execute(cut, [signed(last.0)]).map(|_| ())
        })
    }

    /// Takes ended tasks and dead letters in ahead of what it goes through.
    pub(crate) fn take_early(&mut self, entries: &Entries) -> Result<(), Error> {
        self.take_in(|transaction, hashes| {
            tasks::insert(transaction, hashes, &entries.tasks)?;
            letters::insert(transaction, hashes, &entries.letters, &entries.cleared)
        })
    }

    /// Notes up from which place no task is missing.
    pub(crate) fn complete_from(&mut self, place: Sequence) -> Result<(), Error> {
        let mut complete = self.connection.prepare_cached("UPDATE state SET complete = ?1")?;
        complete.execute([signed(place.0)]).map(|_| ())
    }

    /// Deletes the oldest rows of a table that are out of bounds, at most so many; how many it were.
    pub(super) fn expire_past(
        &mut self,
        table: &Table,
        bounds: Bounds,
        most: usize,
    ) -> Result<usize, Error> {
        self.change(|transaction, _| table.expire(transaction, bounds, most))
    }

    /// When the oldest in a table ended.
    pub(super) fn oldest(&self, table: &Table) -> Result<Option<WallTime>, Error> {
        table.oldest(&self.connection, Sequence(0))
    }

    /// Sees to it that what was committed survives a crash of the machine. The write-ahead log keeps
    /// its room on the disk, so that there is some for what follows. Whether it does now: somebody who
    /// reads for long, as a backup does, may be in the way.
    pub(crate) fn keep(&mut self) -> Result<bool, Error> {
        let read = |row: &rusqlite::Row<'_>| {
            let (is_busy, logged, folded): (bool, i64, i64) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(!is_busy || logged == folded)
        };
        self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], read)
    }

    /// What keys it may have.
    pub(super) fn filter(&self) -> &Arc<KeyFilter> {
        &self.filter
    }

    /// Has the filter of its keys know what is in it.
    pub(super) fn fill_filter(&self) -> Result<(), Error> {
        self.filter.fill(&self.connection)
    }

    /// How names are hashed in it.
    pub(super) fn hashes(&self) -> Hashes {
        self.hashes
    }

    /// Changes something in a file that has the present version then.
    pub(super) fn change<T>(
        &mut self,
        how: impl FnOnce(&Connection, Hashes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let transaction = self.connection.transaction()?;
        upgrade(&transaction, self.version)?;
        let done = how(&transaction, self.hashes)?;
        transaction.commit()?;
        self.version = VERSION;
        Ok(done)
    }

    /// The same for one that takes many rows with a statement. What it needs to undo such a statement
    /// SQLite has in memory then, and not in a file. It is little, while what sorting keeps there
    /// without a bound may be as much as there is, so that nothing else is done like that.
    fn take_in<T>(
        &mut self,
        how: impl FnOnce(&Connection, Hashes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.connection.execute_batch("PRAGMA temp_store = MEMORY")?;
        let done = self.change(how);
        self.connection.execute_batch("PRAGMA temp_store = DEFAULT")?;
        done
    }

    /// Deletes the oldest keys whose window was over at a time, at most so many; how many it were.
    /// Rows that are bad stay and are put with the others.
    pub(crate) fn expire(
        &self,
        until: WallTime,
        most: usize,
        bad: &mut Vec<BadRow>,
    ) -> Result<usize, Error> {
        let gone = keys::expire(&self.connection, until, most, bad)?;
        let Some((rows, through)) = gone else { return Ok(0) };
        self.filter.forget(through);
        Ok(rows)
    }

    fn open_old(path: &Path) -> Result<Self, Error> {
        let connection = Connection::open_with_flags(path, THERE)?;
        connection.execute_batch(PRAGMAS)?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match version {
            VERSION | WITHOUT_KEY_SUMS => check_schema(&connection)?,
            WITHOUT_GONE | WITHOUT_SUMS => {}
            WITHOUT_TASKS | WITHOUT_LETTERS => {
                let transaction = connection.unchecked_transaction()?;
                upgrade(&transaction, version)?;
                transaction.commit()?;
            }
            other => return Err(Error::IntegralValueOutOfRange(0, other)),
        }
        let version = if version < WITHOUT_GONE { VERSION } else { version };
        cache_statements(&connection);
        let hashes = Hashes::read(&connection)?;
        let filter = Arc::default();
        let store = Self { connection, hashes, path: path.to_owned(), version, filter };
        store.state()?;
        Ok(store)
    }

    pub(super) fn create(path: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let connection = Connection::open(path)?;
        // The latter so that room can be given back. Both must be said before anything is in the file.
        connection.execute_batch("PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL")?;
        connection.execute_batch(PRAGMAS)?;
        cache_statements(&connection);
        let hashes = Hashes { seed: fastrand::u64(..) };
        let (seed, sample) = (signed(hashes.seed), hashes.sample());
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(&format!(
            "{} {STATE} {COMPLETE} {GONE} {} {}
             INSERT INTO state (one, through, log, seed, sample, complete)
             VALUES (1, 0, x'', {seed}, {sample}, 0);",
            keys::TABLES,
            tasks::TABLES,
            letters::TABLES
        ))?;
        while changes::add_part(&transaction)? {}
        upgrade(&transaction, WITHOUT_SUMS)?;
        transaction.commit()?;
        let (path, filter) = (path.to_owned(), Arc::default());
        Ok(Self { connection, hashes, path, version: VERSION, filter })
    }
}

/// Gives a file of an earlier version what it lacks.
fn upgrade(connection: &Connection, from: i64) -> Result<(), Error> {
    if from == VERSION {
        return Ok(());
    }
    if from < WITHOUT_GONE {
        let tasks = if from == WITHOUT_TASKS { tasks::TABLES } else { "" };
        let letters = letters::TABLES;
        connection.execute_batch(&format!(
            "{tasks} {letters} {COMPLETE} UPDATE state SET through = 0;"
        ))?;
    }
    if from < WITHOUT_SUMS {
        connection.execute_batch(&format!("{GONE} {FIND_GONE}"))?;
    }
    if from < WITHOUT_KEY_SUMS {
        connection.execute_batch(&format!("{SUMS} {}", tasks::TIMES_AGAIN))?;
        TASKS.seal_sums(connection)?;
        LETTERS.seal_sums(connection)?;
    }
    connection.execute_batch(&format!("PRAGMA user_version = {VERSION};"))?;
    note_schema(connection)
}

/// Notes what tables and indexes there are.
fn note_schema(connection: &Connection) -> Result<(), Error> {
    let schema = schema_of(connection)?;
    connection.execute_batch(&format!("PRAGMA application_id = {schema};"))
}

/// A checksum of what tables and indexes there are, which is in the head of the file. It is not 0.
fn schema_of(connection: &Connection) -> Result<i32, Error> {
    // Where they begin is another matter: that changes when the file is copied.
    const ALL: &str = "SELECT type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, '')
        FROM sqlite_master ORDER BY type, name";
    let mut all = connection.prepare(ALL)?;
    let mut rows = all.query([])?;
    let mut text = String::new();
    while let Some(row) = rows.next()? {
        text += &row.get::<_, String>(0)?;
        text.push('\n');
    }
    Ok(crc_fast::crc32_iscsi(text.as_bytes()).cast_signed() | 1)
}

/// Sees whether the tables and indexes are those that were made: with others a list might be wrong and
/// nobody would see it.
pub(super) fn check_schema(connection: &Connection) -> Result<(), Error> {
    let wanted: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let apart = "SELECT count(*) = count(DISTINCT rootpage) FROM sqlite_master";
    let are_apart: bool = connection.query_row(apart, [], |row| row.get(0))?;
    if are_apart && schema_of(connection)? == wanted {
        return Ok(());
    }
    let failure = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    let what = "its tables do not fit their checksum".to_owned();
    Err(Error::SqliteFailure(failure, Some(what)))
}

impl Hashes {
    /// How keys are hashed in a file.
    pub(super) fn read(connection: &Connection) -> Result<Self, Error> {
        let read = |row: &rusqlite::Row<'_>| Ok((unsigned(row.get(0)?), row.get::<_, i64>(1)?));
        let (seed, sample) = connection.query_row("SELECT seed, sample FROM state", [], read)?;
        let hashes = Self { seed };
        // Another version of the program may hash otherwise, and would find nothing.
        if hashes.sample() == sample { Ok(hashes) } else { Err(Error::InvalidQuery) }
    }

    pub(super) fn of(self, tenant: &TenantId, key: &IdempotencyKey) -> i64 {
        self.of_texts(tenant.as_str(), key.as_str())
    }

    /// What stands for a name of a tenant.
    pub(super) fn mark(self, name: Name, tenant: &TenantId, text: &str) -> i64 {
        let mut hasher = FixedState::with_seed(self.seed).build_hasher();
        hasher.write_u8(name as u8);
        hasher.write(tenant.as_str().as_bytes());
        hasher.write_u8(0);
        hasher.write(text.as_bytes());
        #[allow(clippy::cast_possible_truncation, reason = "32 bits take less room")]
        let mark = hasher.finish() as u32;
        i64::from(mark.cast_signed())
    }

    fn sample(self) -> i64 {
        self.of_texts("default", "order-1")
    }

    fn of_texts(self, tenant: &str, key: &str) -> i64 {
        let mut hasher = FixedState::with_seed(self.seed).build_hasher();
        hasher.write(tenant.as_bytes());
        hasher.write_u8(0);
        hasher.write(key.as_bytes());
        signed(hasher.finish())
    }
}

/// Lets a connection keep all the statements that it is used for.
fn cache_statements(connection: &Connection) {
    connection.set_prepared_statement_cache_capacity(64);
}

/// How far an index goes and which log it belongs to, over any connection.
pub(super) fn state_of(connection: &Connection) -> Result<(Sequence, Vec<u8>), Error> {
    connection.query_row("SELECT through, log FROM state", [], |row| {
        Ok((Sequence(unsigned(row.get(0)?)), row.get(1)?))
    })
}

/// Has all of the log read again at the next start, for what was damaged and it still tells of, or no
/// longer.
pub(super) fn set_again(connection: &Connection, again: bool) -> Result<(), Error> {
    connection.prepare_cached("UPDATE state SET again = ?1")?.execute([again]).map(|_| ())
}

/// When the first task ended of those from which on none is missing.
pub(super) fn since(connection: &Connection) -> Result<Option<WallTime>, Error> {
    const COMPLETE: &str = "SELECT complete FROM state";
    let complete = connection.prepare_cached(COMPLETE)?.query_row([], |row| row.get(0))?;
    TASKS.oldest(connection, Sequence(unsigned(complete)))
}

/// A connection for those who only ask.
pub(super) fn connect(path: &Path) -> Result<(Connection, Hashes), Error> {
    let connection = Connection::open_with_flags(path, THERE)?;
    connection.execute_batch(PRAGMAS)?;
    connection.execute_batch("PRAGMA query_only = ON")?;
    cache_statements(&connection);
    let hashes = Hashes::read(&connection)?;
    Ok((connection, hashes))
}

/// Deletes a file that was only just made.
fn delete(path: &Path) -> io::Result<()> {
    for suffix in inspect::SUFFIXES {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Puts what is there of an index aside, where nothing is ever deleted: it may be all that is left
/// of what the log gave up.
fn put_aside(folder: &Path, reason: &str) -> Result<(), Unopened> {
    let moved = inspect::move_aside(folder, &inspect::aside(folder));
    let moved = moved.map_err(|error| {
        let path = folder.join(inspect::FILE);
        Unopened::refused(&path, format!("{reason}, and it cannot be put aside: {error}"))
    })?;
    let file = moved.display();
    tracing::error!(
        %reason, %file,
        "the index is of no use and was put aside; it is made again from the log, and what the log \
         has given up is missing from now on"
    );
    Ok(())
}

/// Whether an error on opening a file says that there is nothing that could be used, now or later
/// or by another version. A disk that is full, or fails, or may not be read, says no such thing.
pub(super) fn is_of_no_use(error: &Error) -> bool {
    match error {
        // Made by a later version of this program.
        Error::IntegralValueOutOfRange(_, version) => *version < VERSION,
        // A table is missing.
        Error::SqliteFailure(failure, _) => {
            is_damage(error) || failure.extended_code == rusqlite::ffi::SQLITE_ERROR
        }
        _ => true,
    }
}

/// An error on opening a file, in a few words.
pub(super) fn explain(error: &Error) -> String {
    match error {
        Error::IntegralValueOutOfRange(_, version) => {
            format!("its version is {version}, this version reads up to {VERSION}")
        }
        Error::InvalidQuery => "its keys are not hashed as this version does".to_owned(),
        error => error.to_string(),
    }
}

/// Whether an error says that the file is damaged: `SQLite` sees that, or a row says what this
/// version has not written, whose file it is, as was looked at when it was opened.
pub(super) fn is_damage(error: &Error) -> bool {
    match error {
        // What is asked here fits the tables that were made.
        Error::SqliteFailure(failure, _)
            if failure.extended_code == rusqlite::ffi::SQLITE_ERROR =>
        {
            true
        }
        Error::FromSqlConversionFailure(..)
        | Error::InvalidColumnType(..)
        | Error::IntegralValueOutOfRange(..) => true,
        error => matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ),
    }
}

/// Whether an error says that an index within the file does not fit its table: it is made again from
/// that.
pub(super) fn is_astray(error: &Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|failure| failure.extended_code == rusqlite::ffi::SQLITE_CORRUPT_INDEX)
}

/// SQLite has signed numbers only. Places and times are far from the difference, and fingerprints
/// are only compared.
pub(super) const fn signed(number: u64) -> i64 {
    number.cast_signed()
}

pub(super) const fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}
