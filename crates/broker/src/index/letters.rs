//! The table of dead letters, and lists of them. A letter lies there until it is cleared or past its
//! time.

use crate::index::seal::{BadRow, Part, sound};
use crate::index::store::{Hashes, signed, unsigned};
use crate::index::table::{Counted, Sums, Table, astray};
use crate::index::tasks::Name;
use rusqlite::{Connection, Error, OptionalExtension, Row, params};
use std::collections::BTreeSet;
use trunkline_engine::{ClearedLetter, DeadPlace, DiedLetter, InMemory, LetterHead, LetterList};
use trunkline_types::{DeadLetterFilter, InboxAddress, MessageId, Sequence, TenantId, WallTime};

/// Letters lie in the order in which they died. Names are hashed to 32 bits; who reads compares what
/// is found with what is wanted. The head is all but what was sent, and the indexes tell of the time
/// of death, so that lists need not read what they leave out.
pub(super) const TABLES: &str = "
    CREATE TABLE letters (
        place INTEGER PRIMARY KEY, id BLOB NOT NULL, tenant INTEGER NOT NULL,
        inbox INTEGER NOT NULL, ended INTEGER NOT NULL, head BLOB NOT NULL, rest BLOB NOT NULL
    );
    CREATE INDEX letters_by_id ON letters (tenant, id, inbox, place);
    CREATE INDEX letters_by_tenant ON letters (tenant, place, ended);
    CREATE INDEX letters_by_inbox ON letters (inbox, place, ended);
    CREATE TABLE letter_sums (tenant INTEGER PRIMARY KEY, tasks INTEGER NOT NULL, bytes INTEGER NOT NULL);";

/// The table of dead letters.
pub(super) const LETTERS: Table =
    Table { rows: "letters", sums: "letter", rest: 150, by_tenant: "letters_by_tenant" };

/// How much one page may cost: what it takes to look at so many letters in their order.
const COST: u32 = 10_000;

/// How many times as much it costs to read a letter.
const READ: u32 = 6;

/// How many bytes of letters one page has, unless its first alone has more.
const BYTES: usize = 4 << 20;

/// How many letters a page has when nobody says.
const DEFAULT: u32 = 100;

/// Of how many letters of one message it is said in which inbox they lie.
const COPIES: u32 = 1000;

/// Takes letters in, those of one commit, and deletes those that were cleared.
pub(super) fn insert(
    connection: &Connection,
    hashes: Hashes,
    letters: &[DiedLetter],
    cleared: &[ClearedLetter],
) -> Result<(), Error> {
    const INSERT: &str = "INSERT OR IGNORE INTO letters VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut sums = Sums::of(LETTERS);
    let (mut head, mut rest) = (Vec::new(), Vec::new());
    for died in letters {
        let Columns { id, tenant, inbox, ended } = Columns::of(hashes, died);
        Part::LetterHead.seal(died.place, &mut head, |out| died.encode_head(out));
        Part::LetterRest.seal(died.place, &mut rest, |out| died.encode_rest(out));
        let values = params![signed(died.place.0), id, tenant, inbox, ended, head, rest];
        if connection.prepare_cached(INSERT)?.execute(values)? > 0 {
            sums.add(tenant, (head.len() + rest.len()) as u64);
        }
    }
    for gone in cleared {
        let found = if gone.died.is_some() {
            gone.died
        } else {
            // What is bad about one that is looked at here is met again.
            let bad = &mut Vec::new();
            let found = find(connection, hashes, &gone.tenant, gone.id, Some(&gone.inbox), bad)?;
            found.into_iter().map(|dead| dead.place).find(|place| *place < gone.place)
        };
        if let Some(place) = found {
            sums.subtract(connection, "NOT INDEXED WHERE place = ?1", &[&signed(place.0)])?;
        }
    }
    sums.keep(connection)
}

/// What the columns of a row say again of the letter in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Columns {
    id: [u8; 16],
    tenant: i64,
    inbox: i64,
    ended: i64,
}

impl Columns {
    fn of(hashes: Hashes, died: &DiedLetter) -> Self {
        let DiedLetter { tenant, letter, .. } = died;
        Self {
            id: letter.publish.envelope.id.to_bytes(),
            tenant: hashes.mark(Name::Tenant, tenant, ""),
            inbox: hashes.mark(Name::Inbox, tenant, &letter.inbox.to_string()),
            ended: signed(letter.at.0),
        }
    }

    fn read(row: &Row<'_>) -> Option<Self> {
        Some(Self {
            id: row.get(3).ok()?,
            tenant: row.get(4).ok()?,
            inbox: row.get(5).ok()?,
            ended: row.get(6).ok()?,
        })
    }
}

/// All columns of a row, those first that are more than a repetition.
pub(super) const EVERYTHING: &str = "place, head, rest, id, tenant, inbox, ended";

/// A row of all columns in the order of [`EVERYTHING`] as the letter that it is, if all of it fits.
pub(super) fn checked(hashes: Hashes, row: &Row<'_>) -> Result<DiedLetter, Error> {
    let died = whole(row)?;
    if Columns::read(row) == Some(Columns::of(hashes, &died)) {
        return Ok(died);
    }
    Err(Part::LetterHead.bad(died.place, "is two things in one".to_owned()))
}

/// The letters that a message became, those of one inbox if one is named, oldest first. Rows that are
/// bad are left out and put with the others.
pub(super) fn find(
    connection: &Connection,
    hashes: Hashes,
    tenant: &TenantId,
    id: MessageId,
    inbox: Option<&InboxAddress>,
    bad: &mut Vec<BadRow>,
) -> Result<Vec<DeadPlace>, Error> {
    const ALL: &str = "SELECT place, head FROM letters INDEXED BY letters_by_id
        WHERE tenant = ?1 AND id = ?2 ORDER BY place LIMIT ?3";
    const OF_INBOX: &str = "SELECT place, head FROM letters INDEXED BY letters_by_id
        WHERE tenant = ?1 AND id = ?2 AND inbox = ?4 ORDER BY place LIMIT ?3";
    let owner = hashes.mark(Name::Tenant, tenant, "");
    let mark = inbox.map(|inbox| hashes.mark(Name::Inbox, tenant, &inbox.to_string()));
    let mut found = Vec::new();
    let mut statement = connection.prepare_cached(if mark.is_none() { ALL } else { OF_INBOX })?;
    let mut rows = match mark {
        None => statement.query(params![owner, id.to_bytes(), COPIES])?,
        Some(mark) => statement.query(params![owner, id.to_bytes(), COPIES, mark])?,
    };
    while let Some(row) = rows.next()? {
        let Some(dead) = sound(head(row), bad)? else { continue };
        let LetterHead { place, inbox: of, at, tenant: whose, id: which, .. } = dead;
        let is_wanted = whose == *tenant && which == id && inbox.is_none_or(|inbox| *inbox == of);
        found.extend(is_wanted.then_some(DeadPlace { place, inbox: of, at }));
    }
    Ok(found)
}

/// The letter that died by the record at a place.
pub(super) fn read(
    connection: &Connection,
    place: Sequence,
) -> Result<Option<Box<DiedLetter>>, Error> {
    const READ: &str = "SELECT place, head, rest FROM letters WHERE place = ?1";
    let found = connection.prepare_cached(READ)?.query_row([signed(place.0)], whole).optional()?;
    Ok(found.map(Box::new))
}

/// How many letters of a tenant there are that died before a place, without those at some places.
pub(super) fn count(
    connection: &Connection,
    hashes: Hashes,
    tenant: &TenantId,
    before: Sequence,
    without: &[Sequence],
) -> Result<Counted, Error> {
    const THERE: &str = "SELECT 1 FROM letters WHERE place = ?1";
    let mut count = LETTERS.count(connection, hashes.mark(Name::Tenant, tenant, ""), before)?;
    let mut there = connection.prepare_cached(THERE)?;
    let without: BTreeSet<_> = without.iter().filter(|&&place| place < before).collect();
    for place in without {
        count.rows = count.rows.saturating_sub(u64::from(there.exists([signed(place.0)])?));
    }
    Ok(count)
}

/// A page of a tenant's letters that had left memory. Rows that are bad are left out and put with the
/// others.
pub(super) fn list(
    connection: &Connection,
    hashes: Hashes,
    tenant: &TenantId,
    filter: &DeadLetterFilter,
    known: &InMemory,
    bad: &mut Vec<BadRow>,
) -> Result<LetterList, Error> {
    const READ_HEAD: &str = "SELECT place, head FROM letters WHERE place = ?1";
    let mark = |name, text: &str| hashes.mark(name, tenant, text);
    let owner = mark(Name::Tenant, "");
    let (order, which) = match (filter.id, &filter.inbox) {
        (Some(_), _) => ("letters_by_id", "tenant = ?1 AND id = ?3"),
        (None, Some(_)) => ("letters_by_inbox", "inbox = ?1 AND ?3 IS NULL"),
        (None, None) => ("letters_by_tenant", "tenant = ?1 AND ?3 IS NULL"),
    };
    let scan = format!(
        "SELECT place, ended FROM letters INDEXED BY {order}
         WHERE {which} AND place < ?2 ORDER BY place DESC"
    );
    let inbox = filter.inbox.as_ref().map(|inbox| mark(Name::Inbox, &inbox.to_string()));
    let mark = if filter.id.is_some() { owner } else { inbox.unwrap_or(owner) };
    // The first place whose letter is not older than the cursor.
    let cursor = filter.before.map_or(Sequence(u64::MAX), first_from);
    let before = cursor.min(known.letters_from);
    let limit = if filter.limit == 0 { DEFAULT } else { filter.limit } as usize;
    let id = filter.id.map(MessageId::to_bytes);
    let mut scan = connection.prepare_cached(&scan)?;
    let mut read_head = connection.prepare_cached(READ_HEAD)?;
    let mut rows = scan.query(params![mark, signed(before.0.min(i64::MAX as u64)), id])?;
    let (mut page, mut cost, mut bytes, mut last) = (LetterList::default(), 0, 0, None);
    while let Some(row) = rows.next()? {
        let (place, ended) = (Sequence(unsigned(row.get(0)?)), WallTime(unsigned(row.get(1)?)));
        // What is asked for by its id is found however much else there is.
        let is_over = cost > COST && filter.id.is_none();
        if is_over || page.letters.len() >= limit || bytes > BYTES {
            page.next = last;
            break;
        }
        cost += 1;
        last = Some(number(place));
        let in_time = filter.since.is_none_or(|since| ended >= since)
            && filter.until.is_none_or(|until| ended < until);
        if !in_time {
            continue;
        }
        cost += READ;
        let head = read_head.query_row([signed(place.0)], head).optional();
        let Some(head) = sound(head, bad)? else { continue };
        let Some(head) = head else {
            // The order tells of a letter that is not there.
            return Err(astray(LETTERS.rows, place));
        };
        let is_cleared = || known.cleared.iter().any(|gone| gone.is(head.id, &head.inbox, place));
        if head.is_wanted(tenant, filter)
            && !is_cleared()
            && let Some(Some(letter)) = sound(read(connection, place), bad)?
        {
            bytes += usize::try_from(letter.bytes()).unwrap_or(usize::MAX);
            page.letters.push(*letter);
        }
    }
    Ok(page)
}

/// The number of the letter at a place.
fn number(place: Sequence) -> u64 {
    LetterHead::number_at(place)
}

/// The first place whose letter has a number from this one on.
fn first_from(number: u64) -> Sequence {
    let per_place = LetterHead::number_at(Sequence(1));
    Sequence(number.div_ceil(per_place))
}

fn head(row: &Row<'_>) -> Result<LetterHead, Error> {
    let place = Sequence(unsigned(row.get(0)?));
    let head = Part::LetterHead.open(place, row.get_ref(1))?;
    LetterHead::decode(place, head).map_err(|error| Part::LetterHead.malformed(place, &error))
}

pub(super) fn whole(row: &Row<'_>) -> Result<DiedLetter, Error> {
    let head = head(row)?;
    let place = head.place;
    let rest = Part::LetterRest.open(place, row.get_ref(2))?;
    head.decode_rest(rest).map_err(|error| Part::LetterRest.malformed(place, &error))
}
