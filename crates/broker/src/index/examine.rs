//! The index of a stopped broker, checked from end to end beside its log. Nothing is written.

use crate::index::changes;
use crate::index::heal::{Copied, Unhealed};
use crate::index::inspect;
use crate::index::kinds::Kind;
use crate::index::letters::LETTERS;
use crate::index::rows::Row;
use crate::index::seal::{BadRow, sound};
use crate::index::store::{
    self, Hashes, Store, VERSION, WITHOUT_LETTERS, WITHOUT_SUMS, WITHOUT_TASKS, is_of_no_use,
    signed, state_of, unsigned,
};
use crate::index::table::{Table, sum_of};
use crate::index::tasks::TASKS;
use crate::index::thread::STAY;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, OptionalExtension};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use trunkline_engine::{ClearedLetter, DiedLetter, EndedTask};
use trunkline_types::{InboxAddress, MessageId, Sequence, TenantId, WallTime};

/// What is wrong with an index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wrong {
    /// Nothing is known to be: it could not be read, or not by this version.
    Unchecked(String),
    /// It is of no use.
    Damaged(String),
    /// It is another log's.
    Foreign,
    /// Something is missing in it that the log has, or it counts what it has wrongly.
    Incomplete(String),
    /// Rows are bad, one by one.
    Rows(Vec<BadRow>),
}

/// How many rows there are of each tenant, and how many bytes.
type Counts = BTreeMap<i64, (i64, i64)>;

/// An index that is checked while its log is read.
pub(crate) struct Examiner {
    connection: Connection,
    hashes: Hashes,
    /// How far it goes; nowhere if all of the log is to be read again.
    through: Sequence,
    /// The last record that the file has something of.
    pub(crate) reaches: Sequence,
    /// The first record of the log that it belongs to; empty before the first commit.
    pub(crate) belongs_to: Vec<u8>,
    version: i64,
    /// The first that it has. What lay before was deleted when its time was over.
    first_key: Option<Sequence>,
    /// Up to where tasks and letters have gone, if that is known.
    tasks_gone: Option<Sequence>,
    letters_gone: Option<Sequence>,
    /// Keys of the log that it lacks and that lay before its first, with their times.
    no_key: VecDeque<(Sequence, WallTime)>,
    /// Letters of the log that it lacks, by their places, unless they are cleared later.
    no_letter: BTreeMap<Sequence, (TenantId, MessageId, InboxAddress)>,
    /// The latest time that the log tells of.
    latest: WallTime,
    missing: Option<String>,
}

impl Examiner {
    /// Opens the index in a folder to check it. `None` if there is none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn open(folder: &Path) -> Result<Option<Self>, Wrong> {
        match inspect::is_there(folder) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(Wrong::Unchecked(error.to_string())),
        }
        if inspect::is_marked(folder) {
            return Err(Wrong::Damaged("it was found damaged when it was used last".to_owned()));
        }
        Self::read(&folder.join(inspect::FILE)).map_err(|error| wrong(&error)).and_then(|found| {
            let found = found.map_err(Wrong::Damaged)?;
            Ok(Some(found))
        })
    }

    fn read(path: &Path) -> Result<Result<Self, String>, Error> {
        let connection = connect(path)?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if !(WITHOUT_TASKS..=VERSION).contains(&version) {
            return Err(Error::IntegralValueOutOfRange(0, version));
        }
        let check = |how: &str| {
            let check = format!("PRAGMA {how}_check(1)");
            connection.query_row(&check, [], |row| row.get::<_, String>(0))
        };
        let found = check("quick")?;
        if found != "ok" {
            return Ok(Err(found));
        }
        if version > WITHOUT_SUMS {
            store::check_schema(&connection)?;
        }
        // What is wrong besides is in the indexes within the file, which can be made again.
        let missing = Some(check("integrity")?).filter(|found| found != "ok");
        let hashes = Hashes::read(&connection)?;
        let (reaches, belongs_to) = state_of(&connection)?;
        let mut through = reaches;
        if version > WITHOUT_SUMS
            && connection.query_row("SELECT again <> 0 FROM state", [], |row| row.get(0))?
        {
            // The next start makes up for whatever it lacks.
            through = Sequence(0);
        }
        let first = |table: &str| {
            let first = format!("SELECT min(place) FROM {table}");
            let place: Option<i64> = connection.query_row(&first, [], |row| row.get(0))?;
            Ok::<_, Error>(place.map(|place| Sequence(unsigned(place))))
        };
        let first_key = first("keys")?;
        let gone = |table: &Table| {
            if version < WITHOUT_SUMS {
                // It does not say. What lay before its first may have gone.
                let is_there = tables(version).any(|there| there == *table);
                return if is_there { first(table.rows) } else { Ok(None) };
            }
            let gone = format!("SELECT {}_gone FROM state", table.rows);
            let place: i64 = connection.query_row(&gone, [], |row| row.get(0))?;
            Ok(Some(Sequence(unsigned(place))))
        };
        let (tasks_gone, letters_gone) = (gone(&TASKS)?, gone(&LETTERS)?);
        Ok(Ok(Self {
            connection,
            hashes,
            through,
            reaches,
            belongs_to,
            version,
            first_key,
            tasks_gone,
            letters_gone,
            no_key: VecDeque::new(),
            no_letter: BTreeMap::new(),
            latest: WallTime(0),
            missing,
        }))
    }

    /// Takes note of a time that the log tells of.
    pub(crate) fn time(&mut self, at: WallTime) {
        self.latest = self.latest.max(at);
        // Whatever is older may have been deleted by then.
        while self.no_key.pop_front_if(|(_, at)| at.after(STAY) <= self.latest).is_some() {}
    }

    /// Takes note of a key that the log has, with a window of nothing.
    pub(crate) fn key(&mut self, row: &Row) {
        let at = row.accepted.expires_at;
        if row.place > self.through || self.has(row.place, "SELECT 1 FROM keys WHERE place = ?1") {
            return;
        }
        if self.first_key.is_some_and(|first| row.place > first) {
            self.lacks(&format!("the key of record {}", row.place.0));
        } else {
            self.no_key.push_back((row.place, at));
        }
    }

    /// Takes note of an ended task that the log has.
    pub(crate) fn task(&mut self, task: &EndedTask) {
        let wanted =
            task.place <= self.through && self.tasks_gone.is_some_and(|gone| task.place > gone);
        if wanted && !self.has(task.place, "SELECT 1 FROM tasks WHERE place = ?1") {
            self.lacks(&format!("task {}, which record {} ended", task.task.id, task.place.0));
        }
    }

    /// Takes note of a dead letter that the log has.
    pub(crate) fn letter(&mut self, died: &DiedLetter) {
        let place = died.place;
        let wanted = place <= self.through && self.letters_gone.is_some_and(|gone| place > gone);
        if wanted && !self.has(place, "SELECT 1 FROM letters WHERE place = ?1") {
            let DiedLetter { tenant, letter, .. } = died;
            let what = (tenant.clone(), letter.publish.envelope.id, letter.inbox.clone());
            self.no_letter.insert(place, what);
        }
    }

    /// Takes note of a dead letter that was sent again or deleted.
    pub(crate) fn cleared(&mut self, gone: &ClearedLetter) {
        if gone.place > self.through {
            // It may have had to go already, and may not.
            self.no_letter.retain(|_, (tenant, id, inbox)| {
                (&*tenant, &*id, &*inbox) != (&gone.tenant, &gone.id, &gone.inbox)
            });
            return;
        }
        let is_it = |(place, (tenant, id, inbox)): (&Sequence, &(TenantId, _, _))| {
            (*tenant == gone.tenant && gone.is(*id, inbox, *place)).then_some(*place)
        };
        if let Some(place) = self.no_letter.iter().find_map(is_it) {
            self.no_letter.remove(&place);
        }
    }

    /// Checks everything that it has, once the log was read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn finish(mut self) -> Result<(), Wrong> {
        if let Some((place, _)) = self.no_key.pop_front() {
            self.lacks(&format!("the key of record {}", place.0));
        }
        if let Some((place, (_, id, inbox))) = self.no_letter.pop_first() {
            self.lacks(&format!(
                "dead letter {id} of '{inbox}', which record {} tells of",
                place.0
            ));
        }
        let mut bad = Vec::new();
        for kind in Kind::ALL {
            let table = kind.counted();
            if table.is_some_and(|table| tables(self.version).all(|there| there != table)) {
                continue;
            }
            let counts = self.rows(kind, &mut bad).map_err(|error| wrong(&error))?;
            let Some(table) = table else { continue };
            let sums = self.sums(&table).map_err(|error| wrong(&error))?;
            if bad.is_empty() && sums != Some(counts) {
                let what = format!("it does not have as many {} as it counts", table.rows);
                self.missing.get_or_insert(what);
            }
        }
        if bad.is_empty()
            && !changes::counts_fit(&self.connection).map_err(|error| wrong(&error))?
        {
            let what = "it does not have as many tasks of each agent as it counts";
            self.missing.get_or_insert_with(|| what.to_owned());
        }
        if !bad.is_empty() {
            // What is missing besides is made up for with them.
            return Err(Wrong::Rows(bad));
        }
        self.missing.map_or(Ok(()), |missing| Err(Wrong::Incomplete(missing)))
    }

    fn lacks(&mut self, what: &str) {
        self.missing.get_or_insert_with(|| format!("it lacks {what}"));
    }

    /// Whether there is a row at a place. What cannot be read is met again in the end.
    fn has(&self, place: Sequence, sql: &str) -> bool {
        let found = self.connection.prepare_cached(sql).and_then(|mut statement| {
            statement.query_row([signed(place.0)], |_| Ok(())).optional()
        });
        found.is_ok_and(|found| found.is_some())
    }

    /// Reads every row of a table, and puts those that are bad with the others. How many there are of
    /// each tenant, and how many bytes, where that is counted.
    fn rows(&self, kind: Kind, bad: &mut Vec<BadRow>) -> Result<Counts, Error> {
        let all = format!("SELECT {} FROM {} NOT INDEXED", kind.columns(), kind.rows());
        let mut all = self.connection.prepare(&all)?;
        let mut rows = all.query([])?;
        let mut counts = Counts::new();
        while let Some(row) = rows.next()? {
            let found = sound(kind.checked(self.hashes, row), bad)?;
            if let (Some(()), Some(table)) = (found, kind.counted()) {
                let bytes = row.get_ref(1)?.as_blob()?.len() + row.get_ref(2)?.as_blob()?.len();
                let count = counts.entry(row.get("tenant")?).or_default();
                *count = (count.0 + 1, count.1 + signed(bytes as u64 + table.rest));
            }
        }
        Ok(counts)
    }

    /// What it counts in a table of each tenant that has something. `None` if that does not fit its
    /// checksum.
    fn sums(&self, table: &Table) -> Result<Option<Counts>, Error> {
        let sums = format!("SELECT * FROM {}_sums WHERE tasks <> 0 OR bytes <> 0", table.sums);
        let mut sums = self.connection.prepare(&sums)?;
        let rows = sums.query_map([], |row| Ok(sum_of(row)))?;
        rows.collect()
    }
}

/// Has the next broker that is started make up for what is missing in an index, and puts right what
/// it counts and how it finds what it has. It loses nothing.
///
/// # Errors
/// What SQLite says.
pub(crate) fn mend(folder: &Path) -> Result<(), String> {
    let mended = Store::open_to_mend(folder).and_then(|mut store| store.order_again());
    mended.map_err(|error| error.to_string())
}

/// Takes bad rows out of an index, with a copy of each, and has the next broker that is started make
/// up for them.
///
/// # Errors
/// What SQLite or the disk says.
pub(crate) fn take_out(folder: &Path, rows: &[BadRow]) -> Result<(), String> {
    let taken = Store::open_to_mend(folder).map_err(Unhealed::Index).and_then(|mut store| {
        store.take_out(rows, &mut Copied::default())?;
        Ok(store.order_again()?)
    });
    taken.map_err(|error| error.to_string())
}

/// The tables of what is over that a version has.
fn tables(version: i64) -> impl Iterator<Item = Table> {
    let tasks = (version != WITHOUT_TASKS).then_some(TASKS);
    let letters = ![WITHOUT_TASKS, WITHOUT_LETTERS].contains(&version);
    tasks.into_iter().chain(letters.then_some(LETTERS))
}

/// What an error on reading says.
fn wrong(error: &Error) -> Wrong {
    let text = store::explain(error);
    if is_of_no_use(error) { Wrong::Damaged(text) } else { Wrong::Unchecked(text) }
}

/// Opens a file to be read as it is: neither it nor anything beside it is changed.
fn connect(path: &Path) -> Result<Connection, Error> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    if fs::metadata(&wal).is_ok_and(|wal| wal.len() > 0) {
        // What a crash has left is in the write-ahead log, which stays when this is closed. Alone
        // with it, nothing is shared that would have to be made. Somebody may be looking into it as
        // well, and has made that then.
        return match connect_to_log(path, "PRAGMA locking_mode = EXCLUSIVE") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                connect_to_log(path, "PRAGMA busy_timeout = 5000")
            }
            connected => connected,
        };
    }
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            // Writing to a string cannot fail.
            byte => _ = write!(uri, "%{byte:02x}"),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags)
}

/// Opens a file beside which there is a write-ahead log, and sees whether it can be read.
fn connect_to_log(path: &Path, how: &str) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(path, store::THERE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch(how)?;
    connection.execute_batch("PRAGMA query_only = ON")?;
    connection.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
    Ok(connection)
}
