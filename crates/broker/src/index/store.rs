//! The file of the index: how it is opened and made, and its table of keys.

use crate::index::inspect;
use crate::index::letters::{self, LETTERS};
use crate::index::rows::{Entry, Row};
use crate::index::table::{Bounds, Table};
use crate::index::tasks::{self, Name, TASKS};
use foldhash::quality::FixedState;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, OptionalExtension, params};
use std::fmt::Display;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::{fs, io};
use trunkline_engine::{ClearedLetter, DiedLetter, EndedTask, KeyRow, Past};
use trunkline_types::{IdempotencyKey, MessageId, Sequence, TenantId, WallTime};

/// The version of the tables below. A file with a later one is refused.
pub(super) const VERSION: i64 = 3;

/// The version that had no tasks. It gets their tables, and the log is read again from its
/// beginning.
pub(super) const WITHOUT_TASKS: i64 = 1;

/// The version that had no dead letters, which get in likewise.
pub(super) const WITHOUT_LETTERS: i64 = 2;

/// How a file is opened that must be there.
pub(super) const THERE: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// How a connection works: readers beside the writer, and no flush but when the write-ahead log
/// is folded in, for what a crash takes is read from the log again.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 8192;
    PRAGMA mmap_size = 268435456; PRAGMA busy_timeout = 5000;";

/// Rows lie in the order of their records, which is the order in which they expire, so that
/// only the small index by hash is written to here and there.
const TABLES: &str = "
    CREATE TABLE keys (
        place INTEGER PRIMARY KEY, hash INTEGER NOT NULL, tenant TEXT NOT NULL, key TEXT NOT NULL,
        id BLOB NOT NULL, fingerprint INTEGER NOT NULL, expires INTEGER NOT NULL
    );
    CREATE INDEX keys_by_hash ON keys (hash);
    CREATE TABLE state (
        one INTEGER PRIMARY KEY, through INTEGER NOT NULL, log BLOB NOT NULL,
        seed INTEGER NOT NULL, sample INTEGER NOT NULL
    );";

/// What was added with the dead letters: up from which place no task is missing.
const COMPLETE: &str = "ALTER TABLE state ADD COLUMN complete INTEGER NOT NULL DEFAULT 0;";

/// The one connection that writes.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
    hashes: Hashes,
    path: PathBuf,
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
    pub(crate) tasks: Vec<EndedTask>,
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
            Past::Ended(task) => self.tasks.push(*task),
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

    pub(crate) fn path(&self) -> &Path {
        &self.path
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
        let transaction = self.connection.transaction()?;
        tasks::insert(&transaction, self.hashes, &entries.tasks)?;
        letters::insert(&transaction, self.hashes, &entries.letters, &entries.cleared)?;
        {
            // The same record may be read from the log again.
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            for Row { place, tenant, key, accepted } in &entries.keys {
                let KeyRow { id, fingerprint, expires_at } = accepted;
                insert.execute(params![
                    signed(place.0),
                    self.hashes.of(tenant, key),
                    tenant.as_str(),
                    key.as_str(),
                    id.to_bytes(),
                    signed(*fingerprint),
                    signed(expires_at.0),
                ])?;
            }
            let mut state = transaction
                .prepare_cached("UPDATE state SET through = max(through, ?1), log = ?2")?;
            state.execute(params![signed(through.0), log])?;
        }
        transaction.commit()
    }

    /// Deletes what records behind a place told of. All of the log is to be read again, for what
    /// these records deleted is not in the index any more.
    pub(crate) fn cut(&mut self, last: Sequence) -> Result<(), Error> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM keys WHERE place > ?1", [signed(last.0)])?;
        TASKS.cut(&transaction, last)?;
        LETTERS.cut(&transaction, last)?;
        transaction.execute("UPDATE state SET through = 0", [])?;
        transaction.commit()
    }

    /// Takes ended tasks and dead letters in ahead of what it goes through.
    pub(crate) fn take_early(&mut self, entries: &Entries) -> Result<(), Error> {
        let transaction = self.connection.transaction()?;
        tasks::insert(&transaction, self.hashes, &entries.tasks)?;
        letters::insert(&transaction, self.hashes, &entries.letters, &entries.cleared)?;
        transaction.commit()
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
        let transaction = self.connection.transaction()?;
        let gone = table.expire(&transaction, bounds, most)?;
        transaction.commit()?;
        Ok(gone)
    }

    /// When the oldest in a table ended.
    pub(super) fn oldest(&self, table: &Table) -> Result<Option<WallTime>, Error> {
        table.oldest(&self.connection, Sequence(0))
    }

    /// Sees to it that what was committed survives a crash of the machine.
    pub(crate) fn keep(&mut self) -> Result<(), Error> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// Deletes the oldest rows whose window was over at a time, at most so many; how many it were.
    pub(crate) fn expire(&mut self, until: WallTime, most: usize) -> Result<usize, Error> {
        const OLDEST: &str = "SELECT place, expires FROM keys ORDER BY place LIMIT ?1";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut last = None;
        {
            let mut oldest = self.connection.prepare_cached(OLDEST)?;
            let mut rows = oldest.query([most])?;
            while let Some(row) = rows.next()? {
                if unsigned(row.get(1)?) > until.0 {
                    break;
                }
                last = Some(row.get::<_, i64>(0)?);
            }
        }
        let Some(last) = last else { return Ok(0) };
        self.connection.prepare_cached("DELETE FROM keys WHERE place <= ?1")?.execute([last])
    }

    fn open_old(path: &Path) -> Result<Self, Error> {
        let connection = Connection::open_with_flags(path, THERE)?;
        connection.execute_batch(PRAGMAS)?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match version {
            VERSION => {}
            WITHOUT_TASKS | WITHOUT_LETTERS => {
                let tasks = if version == WITHOUT_TASKS { tasks::TABLES } else { "" };
                let letters = letters::TABLES;
                connection.execute_batch(&format!(
                    "BEGIN; {tasks} {letters} {COMPLETE} UPDATE state SET through = 0;
                     PRAGMA user_version = {VERSION}; COMMIT;"
                ))?;
            }
            other => return Err(Error::IntegralValueOutOfRange(0, other)),
        }
        cache_statements(&connection);
        let hashes = Hashes::read(&connection)?;
        let store = Self { connection, hashes, path: path.to_owned() };
        store.state()?;
        Ok(store)
    }

    fn create(path: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let connection = Connection::open(path)?;
        connection.execute_batch(PRAGMAS)?;
        cache_statements(&connection);
        let hashes = Hashes { seed: fastrand::u64(..) };
        let (seed, sample) = (signed(hashes.seed), hashes.sample());
        connection.execute_batch(&format!(
            "BEGIN; {TABLES} {COMPLETE} {} {}
             INSERT INTO state VALUES (1, 0, x'', {seed}, {sample}, 0);
             PRAGMA user_version = {VERSION}; COMMIT;",
            tasks::TABLES,
            letters::TABLES
        ))?;
        Ok(Self { connection, hashes, path: path.to_owned() })
    }
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

/// What was accepted under a key, over any connection.
pub(super) fn find(
    connection: &Connection,
    hashes: Hashes,
    tenant: &TenantId,
    key: &IdempotencyKey,
) -> Result<Option<KeyRow>, Error> {
    // A key that is used again after its window has a row for each time; the latest counts.
    const FIND: &str = "SELECT id, fingerprint, expires FROM keys
        WHERE hash = ?1 AND tenant = ?2 AND key = ?3 ORDER BY place DESC LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| {
        let id = MessageId::from_bytes(row.get(0)?).ok_or(Error::InvalidQuery)?;
        let (fingerprint, expires) = (unsigned(row.get(1)?), unsigned(row.get(2)?));
        Ok(KeyRow { id, fingerprint, expires_at: WallTime(expires) })
    };
    let values = params![hashes.of(tenant, key), tenant.as_str(), key.as_str()];
    connection.prepare_cached(FIND)?.query_row(values, read).optional()
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
        Error::FromSqlConversionFailure(..)
        | Error::InvalidColumnType(..)
        | Error::IntegralValueOutOfRange(..) => true,
        error => matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ),
    }
}

/// SQLite has signed numbers only. Places and times are far from the difference, and fingerprints
/// are only compared.
pub(super) const fn signed(number: u64) -> i64 {
    number.cast_signed()
}

pub(super) const fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}
