//! What the thread takes in and deletes, on a disk with room and on a full one.

use super::*;
use crate::index::feed::Retention;
use crate::index::rows::{Entry, Row};
use crate::index::store::Entries;
use trunkline_engine::KeyRow;
use trunkline_types::{MessageId, Partition, TenantId};

fn entry(place: u64) -> Entry {
    Entry::Key(row(place, WallTime(1)))
}

fn taken(keys: &[Row], through: u64) -> Taken {
    let entries = Entries { keys: keys.to_vec(), ..Entries::default() };
    Taken { entries, through: Sequence(through), retention: Retention::default() }
}

fn row(place: u64, expires_at: WallTime) -> Row {
    let id = MessageId::from_parts(1, Partition(0), place);
    let accepted = KeyRow { id, fingerprint: u64::MAX - place, expires_at };
    let key = format!("k-{place}").parse().unwrap();
    Row { place: Sequence(place), tenant: TenantId::default(), key, accepted }
}

fn worker(folder: &std::path::Path) -> Worker {
    let store = Store::open(folder).unwrap();
    Worker::new(store, Arc::default(), vec![7], Clock::new())
}

#[test]
fn the_reserve_is_there_before_anything_is_taken_in() {
    let folder = tempfile::tempdir().unwrap();
    let (store, feed) = (Store::open(folder.path()).unwrap(), Arc::<Feed>::default());
    feed.push(entry(1));
    feed.synced(Sequence(1));
    let (tell, told) = std::sync::mpsc::channel();
    let place = folder.path().to_owned();
    let on_commit = move |_| {
        let bytes = |name| std::fs::metadata(place.join(name)).map_or(0, |file| file.len());
        // The test may have heard enough.
        let _ = tell.send(["keys.sqlite-reserve", "keys.sqlite-wal"].map(bytes));
    };
    let index = (store, feed, false);
    let thread = IndexThread::start(index, vec![7], Clock::new(), on_commit, |_| {}, || {});
    let found = told.recv_timeout(Duration::from_mins(1)).unwrap();
    assert_eq!(found, [8 << 20; 2]);
    drop(thread);
}

#[test]
fn after_damage_no_row_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    let feed = worker.feed.clone();
    (1..=3).for_each(|place| feed.push(entry(place)));
    let damage = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    assert!(!worker.goes_on(&Error::SqliteFailure(damage, None), 0));
    assert_eq!(feed.waiting(), 0);
    feed.push(entry(4));
    assert_eq!(feed.waiting(), 0);
}

#[test]
fn rows_that_cannot_be_written_are_let_go_when_there_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    let feed = worker.feed.clone();
    let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    let full = Error::SqliteFailure(full, None);
    (1..=MOST_WAITING as u64).for_each(|_| feed.push(entry(1)));
    // Told, so that the pause ends at once.
    let waker = feed.clone();
    let over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Acquire) {
                waker.synced(Sequence(9));
                thread::yield_now();
            }
        });
        assert!(worker.goes_on(&full, 0), "as many as may wait");
        over.store(true, std::sync::atomic::Ordering::Release);
    });
    assert_eq!(feed.waiting(), MOST_WAITING);
    feed.push(entry(2));
    assert!(!worker.goes_on(&full, 0), "one more");
    feed.push(entry(3));
    assert_eq!(feed.waiting(), 0);
}

#[test]
fn rows_are_found_as_they_were_and_go_when_they_have_long_expired() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    let now = worker.clock.now().wall;
    let long_over = WallTime(now.0 - 2 * millis(STAY));
    let rows = [row(1, long_over), row(2, long_over), row(3, now), row(4, now)];
    worker.fill_filter();
    worker.commit(&taken(&rows, 9), None).unwrap();
    assert_eq!(worker.store.state().unwrap(), (Sequence(9), vec![7]));
    let reader = crate::index::reader::Reader::open(&worker.store, Arc::default()).unwrap();
    let found = |place: usize| {
        let Row { tenant, key, .. } = &rows[place];
        trunkline_engine::KeyIndex::find(&reader, tenant, key)
    };
    assert_eq!([found(0), found(1)], [Ok(None), Ok(None)]);
    assert_eq!([found(2), found(3)], [Ok(Some(rows[2].accepted)), Ok(Some(rows[3].accepted))]);
}

#[test]
fn a_key_used_again_after_its_window_has_its_latest_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    let first = row(1, worker.clock.now().wall);
    let mut second = row(2, worker.clock.now().wall);
    second.key = first.key.clone();
    worker.commit(&taken(&[first.clone(), second.clone()], 2), None).unwrap();
    worker.commit(&taken(std::slice::from_ref(&first), 2), None).unwrap();
    let reader = crate::index::reader::Reader::open(&worker.store, Arc::default()).unwrap();
    let found = trunkline_engine::KeyIndex::find(&reader, &first.tenant, &first.key);
    assert_eq!(found, Ok(Some(second.accepted)));
}

fn reader(worker: &Worker) -> impl Fn(&Row) -> Result<Option<KeyRow>, String> + use<> {
    let reader = crate::index::reader::Reader::open(&worker.store, Arc::default()).unwrap();
    move |row| trunkline_engine::KeyIndex::find(&reader, &row.tenant, &row.key)
}

#[test]
fn a_key_that_the_index_does_not_have_is_not_looked_for_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    let now = worker.clock.now().wall;
    let (known, new) = (row(1, now), row(2, now));
    worker.fill_filter();
    worker.commit(&taken(std::slice::from_ref(&known), 1), None).unwrap();
    let find = reader(&worker);
    assert_eq!([find(&known), find(&new)], [Ok(Some(known.accepted)), Ok(None)]);
    worker.store.connection().execute_batch("DROP TABLE keys").unwrap();
    assert_eq!(find(&new), Ok(None), "the file is not asked");
    assert!(find(&known).is_err(), "the file is asked");
}

#[test]
fn the_thread_learns_what_keys_the_file_has() {
    let folder = tempfile::tempdir().unwrap();
    let now = Clock::new().now().wall;
    let (known, new) = (row(1, now), row(2, now));
    worker(folder.path()).commit(&taken(std::slice::from_ref(&known), 1), None).unwrap();
    let (store, feed) = (Store::open(folder.path()).unwrap(), Arc::<Feed>::default());
    let filter = store.filter().clone();
    let reader = crate::index::reader::Reader::open(&store, Arc::default()).unwrap();
    let thread =
        IndexThread::start((store, feed, true), vec![7], Clock::new(), |_| {}, |_| {}, || {});
    let until = Instant::now() + Duration::from_mins(1);
    while !filter.is_complete() {
        assert!(Instant::now() < until, "the thread does not read what is in the file");
        thread::yield_now();
    }
    let find = |row: &Row| trunkline_engine::KeyIndex::find(&reader, &row.tenant, &row.key);
    assert_eq!([find(&known), find(&new)], [Ok(Some(known.accepted)), Ok(None)]);
    drop(thread);
    let store = Store::open(folder.path()).unwrap();
    store.connection().execute_batch("DROP TABLE keys").unwrap();
    assert_eq!(find(&new), Ok(None), "the file is not asked");
    assert!(find(&known).is_err(), "the file is asked");
}

#[test]
fn what_comes_back_by_ordering_the_file_again_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    let now = worker.clock.now().wall;
    let first = row(1, now);
    worker.fill_filter();
    // Behind the back of the filter, as by an index within the file that lacked it.
    let rows = std::slice::from_ref(&first);
    crate::index::keys::insert(worker.store.connection(), worker.store.hashes(), rows).unwrap();
    let find = reader(&worker);
    assert_eq!(find(&first), Ok(None));
    assert!(worker.order("an index lacks a row"));
    assert_eq!(find(&first), Ok(Some(first.accepted)));
}

#[test]
fn a_key_that_is_put_in_order_again_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let first = row(1, WallTime(u64::MAX / 2));
    let mut worker = worker(folder.path());
    worker.commit(&taken(std::slice::from_ref(&first), 1), None).unwrap();
    worker.store.connection().execute_batch("UPDATE keys SET hash = hash + 1").unwrap();
    drop(worker);
    let mut worker = tests::worker(folder.path());
    worker.fill_filter();
    let find = reader(&worker);
    assert_eq!(find(&first), Ok(None), "nothing is found by that hash");
    let what = "is two things in one".to_owned();
    let kind = crate::index::kinds::Kind::Key;
    worker.feed.note_rows(vec![BadRow { kind, place: first.place, what }]);
    worker.heal();
    assert_eq!(find(&first), Ok(Some(first.accepted)));
}

fn ended(place: u64) -> trunkline_engine::EndedTask {
    let id = MessageId::from_parts(place, Partition(0), place);
    let task = trunkline_types::TaskSnapshot {
        id,
        destination: "skill:s".parse().unwrap(),
        source: "b".parse().ok(),
        context_id: None,
        causation_id: None,
        root_id: None,
        state: trunkline_types::TaskState::Completed,
        reason: None,
        agent: "a".parse().ok(),
        attempts: 1,
        notes: Vec::new(),
        progress: None,
        result: Some("r".into()),
        last_event: 0,
        created_at: WallTime(place),
        updated_at: WallTime(place),
        history: trunkline_types::History::default(),
    };
    trunkline_engine::EndedTask {
        place: Sequence(place),
        tenant: TenantId::default(),
        kind: trunkline_types::Kind::Request,
        task,
        payload: "x".repeat(1000).as_str().into(),
        ended: None,
        events: std::collections::VecDeque::new(),
    }
}

fn history(places: std::ops::RangeInclusive<u64>) -> Taken {
    let entries =
        Entries { tasks: places.clone().map(ended).map(Box::new).collect(), ..Entries::default() };
    let through = Sequence(*places.end());
    Taken { entries, through, retention: Retention::default() }
}

#[test]
fn of_many_tasks_at_once_each_is_there_and_counted_once_whatever_was_there_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    worker.commit(&history(1..=100), None).unwrap();
    // Of these 61 are there already; one has the id of another and one its place, which go.
    let mut more = history(40..=400);
    more.entries.tasks[300].task.id = MessageId::from_parts(7, Partition(0), 7);
    more.entries.tasks[10].task.id = MessageId::from_parts(9000, Partition(0), 9000);
    worker.commit(&more, None).unwrap();
    assert_eq!(places(&worker), (399, 1, 400));
    let holds = |what: &str| {
        worker.store.connection().query_row(what, [], |row| row.get::<_, bool>(0)).unwrap()
    };
    assert!(holds("SELECT count(*) = 0 FROM tasks WHERE place = 7"), "the later one has its id");
    assert!(TASKS.sums_are_sound(worker.store.connection()).unwrap());
    assert!(holds(
        "SELECT tasks = count AND bytes = size FROM task_sums,
            (SELECT count(*) AS count, sum(length(head) + length(rest) + 200) AS size FROM tasks)"
    ));
    assert!(holds("SELECT tasks = 399 FROM task_counts"));
    let check = "SELECT integrity_check = 'ok' FROM pragma_integrity_check";
    assert!(holds(check), "the indexes have what the table has");
}

/// SQLite passes over both in silence if they are said too late.
#[test]
fn a_new_index_has_pages_of_8_kib_and_can_give_room_back() {
    let folder = tempfile::tempdir().unwrap();
    let worker = worker(folder.path());
    let size = "PRAGMA page_size";
    let size = worker.store.connection().query_row(size, [], |row| row.get::<_, u32>(0));
    assert_eq!(size, Ok(8192));
    assert_eq!(worker.store.gives_back(), Ok(true));
}

/// An index of so many tasks, and a disk that has hardly any room left for it.
fn full(folder: &std::path::Path, tasks: u64) -> Worker {
    let mut worker = worker(folder);
    worker.commit(&history(1..=tasks), None).unwrap();
    worker.store.keep().unwrap();
    let pages = worker.store.connection();
    let pages: u32 = pages.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let limit = format!("PRAGMA max_page_count = {}", pages + 8);
    worker.store.connection().query_row(&limit, [], |_| Ok(())).unwrap();
    worker
}

fn places(worker: &Worker) -> (i64, i64, i64) {
    let sql = "SELECT count(*), min(place), max(place) FROM tasks";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    worker.store.connection().query_row(sql, [], read).unwrap()
}

#[test]
fn on_a_full_disk_the_oldest_tasks_give_way_to_what_comes() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = full(folder.path(), 20_000);
    let more = history(20_001..=20_500);
    let mut refused = 0;
    while let Err(error) = worker.commit(&more, None) {
        assert!(room::is_full(&error), "{error}");
        refused += 1;
        assert!(refused < 20 && worker.goes_on(&error, 500), "{refused}");
    }
    assert!(refused > 0, "there was room");
    let (count, first, last) = places(&worker);
    assert!(first > 1 && last == 20_500 && count == last - first + 1, "{count} from {first}");
    assert!(count > 10_000, "no more than is needed: {count}");
    let sum = "SELECT sum(tasks) FROM task_sums";
    assert_eq!(worker.store.connection().query_row(sum, [], |row| row.get(0)), Ok(count));
}

#[test]
fn a_lowered_bound_acts_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = full(folder.path(), 3000);
    let tasks = Keep { bytes: 1 << 20, ..Keep::default() };
    worker.feed.retain(Retention { tasks, ..Retention::default() });
    let more = history(3001..=3500);
    let mut refused = 0;
    while let Err(error) = worker.commit(&more, None) {
        refused += 1;
        assert!(refused < 20 && worker.goes_on(&error, 500), "{refused}");
    }
    let (count, first, _) = places(&worker);
    assert!(first >= 1001 && count <= 2500, "{count} from {first}");
}

#[test]
fn what_gave_way_is_given_back_to_the_disk_and_the_reserve_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = full(folder.path(), 9000);
    assert_eq!(worker.reserve(), Ok(()));
    let reserve = folder.path().join("keys.sqlite-reserve");
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 8 << 20);
    let bytes = || std::fs::metadata(folder.path().join("keys.sqlite")).unwrap().len();
    let before = bytes();
    std::fs::remove_file(&reserve).unwrap();
    for _ in 0..4 {
        worker.make_room(true);
    }
    assert!(bytes() < before - (500 << 10), "{before} and {}", bytes());
    assert!(reserve.exists(), "made again");
}

/// How many tasks are counted for an agent, and how many there are.
fn of_agent(worker: &Worker) -> (i64, i64) {
    let number =
        |sql: &str| worker.store.connection().query_row(sql, [], |row| row.get(0)).unwrap();
    (number("SELECT sum(tasks) FROM task_counts"), number("SELECT count(*) FROM tasks"))
}

#[test]
fn what_is_counted_for_an_agent_follows_what_comes_and_goes_and_is_counted_again_if_it_is_damaged()
{
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    worker.commit(&history(1..=300), None).unwrap();
    assert_eq!(of_agent(&worker), (300, 300));
    let bounds = Bounds { until: WallTime(100), bytes: u64::MAX };
    assert_eq!(worker.store.expire_past(&TASKS, bounds, 1000), Ok(100));
    assert_eq!(of_agent(&worker), (200, 200));
    let damage = "UPDATE task_counts SET tasks = tasks + 1";
    worker.store.connection().execute(damage, []).unwrap();
    assert_eq!(worker.store.count_again(), Ok(true));
    assert_eq!((of_agent(&worker), worker.store.count_again()), ((200, 200), Ok(false)));
}

#[test]
fn what_a_long_reader_keeps_from_the_disk_is_not_told_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    worker.commit(&history(1..=3), None).unwrap();
    assert_eq!(worker.store.keep(), Ok(true));
    let reader = rusqlite::Connection::open(worker.store.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM tasks;").unwrap();
    worker.store.connection().execute_batch("PRAGMA busy_timeout = 0").unwrap();
    worker.commit(&history(4..=6), None).unwrap();
    assert_eq!(worker.store.keep(), Ok(false));
    drop(reader);
    assert_eq!(worker.store.keep(), Ok(true));
}

/// A worker whose index has a task whose row is bad, and the folder into which that is copied.
fn with_bad_row(home: &std::path::Path) -> (Worker, std::path::PathBuf) {
    let folder = home.join("index");
    std::fs::create_dir(&folder).unwrap();
    let mut worker = worker(&folder);
    worker.commit(&history(1..=3), None).unwrap();
    let damage = "UPDATE tasks SET rest = x'00' WHERE place = 2";
    worker.store.connection().execute(damage, []).unwrap();
    worker.store.connection().execute_batch("PRAGMA busy_timeout = 0").unwrap();
    (worker, home.join("quarantine"))
}

/// Has the thread look at what was met, at once.
fn heal(worker: &mut Worker) -> u64 {
    let met = |what: &str| BadRow {
        kind: crate::index::kinds::Kind::Task,
        place: Sequence(2),
        what: what.to_owned(),
    };
    // In a list and by the look at all rows.
    worker.feed.note_rows(vec![met("cannot be read"), met("does not fit its checksum")]);
    worker.tried = None;
    worker.heal();
    worker.feed.lost()
}

fn copies(quarantine: &std::path::Path) -> usize {
    std::fs::read_to_string(quarantine.join("index-rows.sql")).unwrap().matches("INSERT").count()
}

#[test]
fn a_bad_row_that_cannot_be_taken_out_is_copied_once_and_taken_out_later() {
    let home = tempfile::tempdir().unwrap();
    let (mut worker, quarantine) = with_bad_row(home.path());
    let other = rusqlite::Connection::open(worker.store.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..3 {
        assert_eq!(heal(&mut worker), 0);
    }
    assert_eq!((copies(&quarantine), places(&worker).0), (1, 3));
    drop(other);
    worker.tried = None;
    worker.heal();
    assert_eq!((copies(&quarantine), places(&worker).0), (1, 2), "nobody met it again");
    assert_eq!(worker.feed.lost(), 1, "one row, however it was met");
    // Another one at the same place is copied again.
    worker.commit(&history(2..=2), None).unwrap();
    let damage = "UPDATE tasks SET rest = x'01' WHERE place = 2";
    worker.store.connection().execute(damage, []).unwrap();
    assert_eq!((heal(&mut worker), copies(&quarantine)), (2, 2));
}

#[test]
fn a_bad_row_that_cannot_be_copied_stays_until_it_can_be() {
    let home = tempfile::tempdir().unwrap();
    let (mut worker, quarantine) = with_bad_row(home.path());
    std::fs::write(&quarantine, "in the way").unwrap();
    assert_eq!((heal(&mut worker), places(&worker).0), (0, 3));
    (0..20).for_each(|_| worker.look());
    assert!(!worker.scrub.is_over(), "the look at all rows waits for it");
    std::fs::remove_file(&quarantine).unwrap();
    worker.tried = None;
    worker.heal();
    assert_eq!((worker.feed.lost(), places(&worker).0, copies(&quarantine)), (1, 2, 1));
}
