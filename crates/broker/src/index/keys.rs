//! The table of idempotency keys. Why it is as it is is in `docs/adr/0001-key-index.md`.

use crate::index::rows::Row;
use crate::index::seal::{BadRow, Part, sound};
use crate::index::store::{Hashes, signed, unsigned};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, params};
use trunkline_engine::KeyRow;
use trunkline_types::{IdempotencyKey, MessageId, Sequence, TenantId, WallTime};

/// Rows lie in the order of their records, which is the order in which they expire, so that
/// only the small index by hash is written to here and there. Behind the id lies the checksum of the
/// row: so the table is that of before, and an older file needs no pass over its rows. A row of an
/// earlier version has none.
pub(super) const TABLES: &str = "
    CREATE TABLE keys (
        place INTEGER PRIMARY KEY, hash INTEGER NOT NULL, tenant TEXT NOT NULL, key TEXT NOT NULL,
        id BLOB NOT NULL, fingerprint INTEGER NOT NULL, expires INTEGER NOT NULL
    );
    CREATE INDEX keys_by_hash ON keys (hash);";

/// All columns of a row, that last which is only a repetition.
pub(super) const EVERYTHING: &str = "place, tenant, key, id, fingerprint, expires, hash";

/// How many bytes an id has, and one with the checksum behind it.
const ID: usize = 16;
const SEALED: usize = ID + 4;

/// Takes keys in, those of one commit. The same record may be read from the log again.
pub(super) fn insert(connection: &Connection, hashes: Hashes, keys: &[Row]) -> Result<(), Error> {
    let mut insert = connection
        .prepare_cached("INSERT OR REPLACE INTO keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    let mut said = Vec::new();
    for Row { place, tenant, key, accepted } in keys {
        let KeyRow { id, fingerprint, expires_at } = accepted;
        let (fingerprint, expires) = (signed(*fingerprint), signed(expires_at.0));
        let (tenant_text, key_text) = (tenant.as_str(), key.as_str());
        let mut sealed = [0; SEALED];
        sealed[..ID].copy_from_slice(&id.to_bytes());
        say(&mut said, [tenant_text, key_text], &sealed[..ID], [fingerprint, expires]);
        sealed[ID..].copy_from_slice(&Part::Key.sum(*place, &said));
        insert.execute(params![
            signed(place.0),
            hashes.of(tenant, key),
            tenant_text,
            key_text,
            sealed,
            fingerprint,
            expires,
        ])?;
    }
    Ok(())
}

/// What was accepted under a key. Rows that are bad are left out and put with the others.
pub(super) fn find(
    connection: &Connection,
    hashes: Hashes,
    tenant: &TenantId,
    key: &IdempotencyKey,
    bad: &mut Vec<BadRow>,
) -> Result<Option<KeyRow>, Error> {
    // A key that is used again after its window has a row for each time; the latest counts.
    const FIND: &str = "SELECT place, tenant, key, id, fingerprint, expires
        FROM keys INDEXED BY keys_by_hash WHERE hash = ?1 ORDER BY place DESC";
    let mut find = connection.prepare_cached(FIND)?;
    let mut rows = find.query([hashes.of(tenant, key)])?;
    while let Some(row) = rows.next()? {
        let Some(found) = sound(whole(row), bad)? else { continue };
        if found.tenant == *tenant && found.key == *key {
            return Ok(Some(found.accepted));
        }
    }
    Ok(None)
}

/// Deletes the oldest rows whose window was over at a time, at most so many; how many it were, and up to
/// which record none is left. None is deleted on the word of a row that is bad, which is put with the others.
pub(super) fn expire(
    connection: &Connection,
    until: WallTime,
    most: usize,
    bad: &mut Vec<BadRow>,
) -> Result<Option<(usize, Sequence)>, Error> {
    const OLDEST: &str = "SELECT place, tenant, key, id, fingerprint, expires
        FROM keys ORDER BY place LIMIT ?1";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut last = None;
    {
        let mut oldest = connection.prepare_cached(OLDEST)?;
        let mut rows = oldest.query([most])?;
        while let Some(row) = rows.next()? {
            let found = sound(whole(row), bad)?;
            let Some(found) = found.filter(|found| found.accepted.expires_at <= until) else {
                break;
            };
            last = Some(found.place);
        }
    }
    let Some(last) = last else { return Ok(None) };
    let mut delete = connection.prepare_cached("DELETE FROM keys WHERE place <= ?1")?;
    Ok(Some((delete.execute([signed(last.0)])?, last)))
}

/// Deletes the rows of records behind a place.
pub(super) fn cut(connection: &Connection, last: Sequence) -> Result<(), Error> {
    connection.execute("DELETE FROM keys WHERE place > ?1", [signed(last.0)]).map(|_| ())
}

/// A row of all columns in the order of [`EVERYTHING`] as the key that it is, if all of it fits.
pub(super) fn checked(hashes: Hashes, row: &rusqlite::Row<'_>) -> Result<Row, Error> {
    let found = whole(row)?;
    if row.get(6) == Ok(hashes.of(&found.tenant, &found.key)) {
        return Ok(found);
    }
    Err(Part::Key.bad(found.place, "is two things in one".to_owned()))
}

/// A row in the order of [`EVERYTHING`] as the key that it is, whatever its hash.
pub(super) fn whole(row: &rusqlite::Row<'_>) -> Result<Row, Error> {
    let place = Sequence(unsigned(row.get(0)?));
    let bad = |what: &str| Part::Key.bad(place, what.to_owned());
    let unreadable = || bad("cannot be read: it is no key");
    let text = |column| row.get_ref(column).and_then(|text| Ok(text.as_str()?));
    let number = |column| row.get::<_, i64>(column);
    let (Ok(tenant), Ok(key), Ok(ValueRef::Blob(sealed)), Ok(fingerprint), Ok(expires)) =
        (text(1), text(2), row.get_ref(3), number(4), number(5))
    else {
        return Err(unreadable());
    };
    let Some((id, sum)) = sealed.split_first_chunk::<ID>() else { return Err(unreadable()) };
    let mut said = Vec::new();
    say(&mut said, [tenant, key], id, [fingerprint, expires]);
    if !sum.is_empty() && *sum != Part::Key.sum(place, &said) {
        return Err(bad("does not fit its checksum"));
    }
    let (Ok(tenant), Ok(key), Some(id)) = (tenant.parse(), key.parse(), MessageId::from_bytes(*id))
    else {
        return Err(unreadable());
    };
    let expires_at = WallTime(unsigned(expires));
    let accepted = KeyRow { id, fingerprint: unsigned(fingerprint), expires_at };
    Ok(Row { place, tenant, key, accepted })
}

/// Writes to a buffer, which is cleared before, what the checksum of a row is of besides its place.
fn say(to: &mut Vec<u8>, texts: [&str; 2], id: &[u8], numbers: [i64; 2]) {
    to.clear();
    for text in texts {
        // So that nothing of one text is taken for the other's.
        to.extend((text.len() as u64).to_le_bytes());
        to.extend(text.as_bytes());
    }
    to.extend(id);
    for number in numbers {
        to.extend(number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::store::Store;
    use trunkline_types::Partition;

    fn row(place: u64, key: &str) -> Row {
        let id = MessageId::from_parts(1, Partition(0), place);
        let accepted = KeyRow { id, fingerprint: u64::MAX - place, expires_at: WallTime(place) };
        let key = key.parse().unwrap();
        Row { place: Sequence(place), tenant: TenantId::default(), key, accepted }
    }

    fn store(rows: &[Row]) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        insert(store.connection(), store.hashes(), rows).unwrap();
        (folder, store)
    }

    /// What is found under a key, and the places of bad rows that were met.
    fn found(store: &Store, of: &Row) -> (Option<KeyRow>, Vec<u64>) {
        let mut bad = Vec::new();
        let Row { tenant, key, .. } = of;
        let found = find(store.connection(), store.hashes(), tenant, key, &mut bad).unwrap();
        (found, bad.iter().map(|row| row.place.0).collect())
    }

    #[test]
    fn whatever_column_of_a_key_has_rotted_the_row_is_absent_and_named() {
        for damage in [
            "tenant = 'another'",
            "tenant = x'ff'",
            "key = 'other'",
            "key = 7",
            "id = CAST(x'ff' || substr(id, 2) AS BLOB)",
            "id = substr(id, 1, 19)",
            "id = x'01'",
            "fingerprint = fingerprint + 1",
            "fingerprint = 0.5",
            "expires = expires + (1 << 40)",
            "expires = 'never'",
        ] {
            let rows = [row(7, "k"), row(8, "l")];
            let (_folder, store) = store(&rows);
            assert_eq!(found(&store, &rows[0]), (Some(rows[0].accepted), Vec::new()));
            let damage = format!("UPDATE keys SET {damage} WHERE place = 7");
            assert_eq!(store.connection().execute(&damage, []), Ok(1), "{damage}");
            assert_eq!(found(&store, &rows[0]), (None, vec![7]), "{damage}");
            assert_eq!(found(&store, &rows[1]), (Some(rows[1].accepted), Vec::new()), "{damage}");
        }
    }

    #[test]
    fn a_row_is_not_taken_for_that_of_another_place() {
        let rows = [row(7, "k")];
        let (_folder, store) = store(&rows);
        store.connection().execute("UPDATE keys SET place = 9", []).unwrap();
        assert_eq!(found(&store, &rows[0]), (None, vec![9]));
    }

    #[test]
    fn behind_a_bad_row_of_a_key_its_earlier_one_is_found() {
        let rows = [row(7, "k"), row(8, "k")];
        let (_folder, store) = store(&rows);
        store.connection().execute("UPDATE keys SET expires = 1 WHERE place = 8", []).unwrap();
        assert_eq!(found(&store, &rows[0]), (Some(rows[0].accepted), vec![8]));
    }

    #[test]
    fn a_row_without_a_checksum_is_taken_as_it_is() {
        let rows = [row(7, "k")];
        let (_folder, store) = store(&rows);
        store.connection().execute("UPDATE keys SET id = substr(id, 1, 16)", []).unwrap();
        assert_eq!(found(&store, &rows[0]), (Some(rows[0].accepted), Vec::new()));
    }

    #[test]
    fn on_the_word_of_a_bad_row_no_key_goes() {
        let rows = [row(1, "a"), row(2, "b"), row(3, "c")];
        let (_folder, store) = store(&rows);
        store.connection().execute("UPDATE keys SET expires = 0 WHERE place = 2", []).unwrap();
        let mut bad = Vec::new();
        assert_eq!(
            expire(store.connection(), WallTime(9), 10, &mut bad),
            Ok(Some((1, Sequence(1))))
        );
        assert_eq!(bad.iter().map(|row| row.place.0).collect::<Vec<_>>(), [2]);
        assert_eq!(found(&store, &rows[2]), (Some(rows[2].accepted), Vec::new()));
    }
}
