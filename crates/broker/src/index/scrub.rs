//! A look at every row and every entry of the indexes within the file, a few at a time between the
//! commits: bits that rot in what nobody reads for long are found before they matter, and what a list
//! would leave out without anybody seeing it is found at all.

use crate::index::changes::has_all;
use crate::index::kinds::Kind;
use crate::index::seal::{BadRow, sound};
use crate::index::store::Store;
use crate::index::table::astray;
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
    /// The last place in each table when it began: what has come since was only just written, and as
    /// fast as that may come it would never end.
    until: Option<[i64; Kind::ALL.len()]>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The rows of a table behind a place, and whether the indexes tell of each.
    Rows(usize, i64),
    /// What an index tells of the rows of a table behind an entry: whether they are there.
    Entries(usize, Entry),
    Over,
}

/// Behind which entry of the index that has all rows of a table: the tenant and the id, or the hash of
/// a key and its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Entry {
    Id(i64, [u8; 16]),
    Hash(i64, i64),
}

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
fn untold(kind: Kind) -> &'static str {
    match kind {
        Kind::Task => {
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
        }
        Kind::Letter => {
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
        Kind::Key => {
            "SELECT place FROM keys AS t NOT INDEXED WHERE place > ?1 AND place <= ?2 AND
            NOT EXISTS (SELECT 1 FROM keys AS i INDEXED BY keys_by_hash
                WHERE i.hash = t.hash AND i.place = t.place)
         LIMIT 1"
        }
    }
}

/// The entries of the index that has all rows of a table, from one on, and whether each row is there.
fn entries(kind: Kind) -> String {
    let rows = kind.rows();
    let (order, row) = match kind {
        Kind::Key => ("hash, place", "t.hash = i.hash"),
        Kind::Task | Kind::Letter => ("tenant, id", "t.tenant = i.tenant AND t.id = i.id"),
    };
    let by = if kind == Kind::Key { "keys_by_hash".to_owned() } else { format!("{rows}_by_id") };
    format!(
        "SELECT {order}, place, place > ?3
            OR (SELECT {row} FROM {rows} AS t NOT INDEXED WHERE t.place = i.place)
         FROM {rows} AS i INDEXED BY {by}
         WHERE ({order}) > (?1, ?2) ORDER BY {order} LIMIT {ROWS}"
    )
}

/// The last place in each table.
fn lasts(store: &Store) -> Result<[i64; Kind::ALL.len()], Error> {
    let mut lasts = [-1; Kind::ALL.len()];
    for (kind, last) in Kind::ALL.into_iter().zip(&mut lasts) {
        let sql = format!("SELECT coalesce(max(place), -1) FROM {}", kind.rows());
        *last = store.connection().query_row(&sql, [], |row| row.get(0))?;
    }
    Ok(lasts)
}

impl Entry {
    /// Before the first of them.
    fn first(kind: Kind) -> Self {
        match kind {
            Kind::Key => Self::Hash(i64::MIN, i64::MIN),
            Kind::Task | Kind::Letter => Self::Id(i64::MIN, [0; 16]),
        }
    }

    /// The one in the first columns of a row. `None` if it is none.
    fn read(self, row: &rusqlite::Row<'_>) -> Option<Self> {
        let first = row.get(0).ok()?;
        Some(match self {
            Self::Id(..) => Self::Id(first, row.get(1).ok()?),
            Self::Hash(..) => Self::Hash(first, row.get(1).ok()?),
        })
    }
}

impl Scrub {
    /// One that has everything before it.
    pub(super) fn new() -> Self {
        Self { stage: Stage::Rows(0, -1), until: None }
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
        if self.until.is_none() {
            self.until = Some(lasts(store)?);
        }
        while !self.is_over() && bad.is_empty() && begun.elapsed() < LOOK {
            match self.stage {
                Stage::Rows(at, behind) => self.rows(store, at, behind, bad)?,
                Stage::Entries(at, entry) => self.entries(store, at, entry)?,
                Stage::Over => {}
            }
        }
        Ok(())
    }

    /// Up to where a table is looked at.
    fn until(&self, at: usize) -> i64 {
        self.until.map_or(i64::MAX, |until| until[at])
    }

    fn rows(
        &mut self,
        store: &Store,
        at: usize,
        behind: i64,
        bad: &mut Vec<BadRow>,
    ) -> Result<(), Error> {
        let (kind, connection) = (Kind::ALL[at], store.connection());
        let sql = format!(
            "SELECT {} FROM {} NOT INDEXED WHERE place > ?1 AND place <= ?2
             ORDER BY place LIMIT {ROWS}",
            kind.columns(),
            kind.rows()
        );
        let mut last = None;
        {
            let mut some = connection.prepare_cached(&sql)?;
            let mut rows = some.query([behind, self.until(at)])?;
            while let Some(row) = rows.next()? {
                last = Some(row.get(0)?);
                sound(kind.checked(store.hashes(), row), bad)?;
            }
        }
        let Some(last) = last else {
            self.stage = Stage::Entries(at, Entry::first(kind));
            return Ok(());
        };
        self.stage = Stage::Rows(at, last);
        let changes = kind == Kind::Task && has_all(connection)?;
        let others = changes.then_some(UNTOLD_CHANGES);
        for sql in [Some(untold(kind)), others].into_iter().flatten() {
            let mut untold = connection.prepare_cached(sql)?;
            let found = untold.query_row([behind, last], |row| row.get::<_, i64>(0)).optional()?;
            if let Some(place) = found {
                return Err(astray(kind.rows(), Sequence(place.cast_unsigned())));
            }
        }
        Ok(())
    }

    fn entries(&mut self, store: &Store, at: usize, after: Entry) -> Result<(), Error> {
        let (kind, until) = (Kind::ALL[at], self.until(at));
        let mut last = None;
        let mut some = store.connection().prepare_cached(&entries(kind))?;
        let mut rows = match after {
            Entry::Id(tenant, id) => some.query(params![tenant, id, until])?,
            Entry::Hash(hash, place) => some.query([hash, place, until])?,
        };
        while let Some(row) = rows.next()? {
            let place = Sequence(row.get::<_, i64>(2)?.cast_unsigned());
            let is_it = row.get::<_, Option<bool>>(3)? == Some(true);
            let entry = after.read(row).filter(|&entry| is_it && entry >= last.unwrap_or(after));
            let Some(entry) = entry else {
                self.stage = Stage::Over;
                return Err(astray(kind.rows(), place));
            };
            last = Some(entry);
        }
        self.stage = match last {
            Some(entry) => Stage::Entries(at, entry),
            None if at + 1 < Kind::ALL.len() => Stage::Rows(at + 1, -1),
            None => Stage::Over,
        };
        Ok(())
    }

    /// Begins again.
    pub(super) fn again(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::keys;
    use crate::index::rows::Row;
    use trunkline_engine::KeyRow;
    use trunkline_types::{MessageId, Partition, TenantId, WallTime};

    fn row(place: u64) -> Row {
        let id = MessageId::from_parts(1, Partition(0), place);
        let accepted = KeyRow { id, fingerprint: place, expires_at: WallTime(place) };
        let key = format!("k-{place}").parse().unwrap();
        Row { place: Sequence(place), tenant: TenantId::default(), key, accepted }
    }

    /// The places of bad rows that are found until it is over.
    fn found(mut scrub: Scrub, store: &Store) -> Vec<u64> {
        let mut found = Vec::new();
        while !scrub.is_over() {
            let mut bad = Vec::new();
            scrub.look(store, &mut bad).unwrap();
            found.extend(bad.iter().map(|row| row.place.0));
        }
        found
    }

    #[test]
    fn rows_that_came_after_it_began_are_left_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let insert = |rows: &[Row]| keys::insert(store.connection(), store.hashes(), rows).unwrap();
        insert(&[row(1), row(2)]);
        let begun = Scrub { until: Some(lasts(&store).unwrap()), ..Scrub::new() };
        insert(&[row(3), row(4)]);
        let damage = "UPDATE keys SET expires = 9 WHERE place IN (2, 4)";
        assert_eq!(store.connection().execute(damage, []), Ok(2));
        assert_eq!(found(begun, &store), [2]);
        assert_eq!(found(Scrub::new(), &store), [2, 4]);
    }
}
