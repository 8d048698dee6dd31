//! The log on a real file system: who may open it, and what survives a restart.

use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, path::Path, sync::Arc};

use crate::common::{SEGMENT, assert_prefix, config, fill, open_with, segment};
use tempfile::TempDir;
use trunkline_log::{Directory, DropUnsynced, OpenError, Storage, verify};

fn directory(path: &Path) -> Arc<dyn Storage> {
    Arc::new(Directory::open(path).expect("the directory opens"))
}

#[test]
fn a_log_in_a_directory_comes_back() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("new/data");
    let mut next = 0;
    for _ in 0..4 {
        let opened = open_with(directory(&path), config()).unwrap();
        assert_prefix(&opened.records, next, 300);
        let mut log = opened.log;
        let mut batch = log.config().batch();
        for _ in 0..20 {
            fill(&mut batch, next..next + 40, 300);
            next += 40;
            log.write(&mut batch).unwrap();
        }
        log.prepare().unwrap();
        log.remove_before(0).unwrap();
        log.close().unwrap();
    }
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        match name.as_str() {
            "LOCK" => {
                let id = fs::read_to_string(entry.path()).unwrap();
                assert_eq!(id.trim(), std::process::id().to_string());
            }
            "FORMAT" => assert_eq!(fs::read_to_string(entry.path()).unwrap(), "trunkline-log 5\n"),
            _ => assert_eq!(entry.metadata().unwrap().len(), SEGMENT, "{name}"),
        }
    }
}

#[test]
fn recycling_works_on_real_files() {
    let home = TempDir::new().unwrap();
    let mut log = open_with(directory(home.path()), config()).unwrap().log;
    let mut batch = log.config().batch();
    let mut next = 0;
    for _ in 0..100 {
        fill(&mut batch, next..next + 100, 300);
        next += 100;
        log.write(&mut batch).unwrap();
        log.remove_before(log.end().segment).unwrap();
        log.prepare().unwrap();
    }
    assert!(log.end().segment > 20);
    log.sync().unwrap();
    drop(log);
    assert!(fs::read_dir(home.path()).unwrap().count() < 8);
    let records = open_with(directory(home.path()), config()).unwrap().records;
    assert_eq!(records.last().unwrap().sequence, next - 1);
}

#[test]
fn a_second_owner_is_told_who_has_it_and_what_to_do() {
    let home = TempDir::new().unwrap();
    let first = Directory::open(home.path()).unwrap();
    let error = Directory::open(home.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "data directory {} is locked by process {}: stop it or use another data directory",
            home.path().display(),
            std::process::id()
        )
    );
    drop(first);
    Directory::open(home.path()).expect("the lock ends with its owner");
}

#[test]
fn a_newer_format_is_refused_and_nothing_is_touched() {
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("FORMAT"), "trunkline-log 6\n").unwrap();
    let error = Directory::open(home.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} has log format 6, this version reads up to 5: \
             use the newer version, or another data directory",
            home.path().join("FORMAT").display()
        )
    );
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "not even a lock file");
}

#[test]
fn a_directory_of_unknown_format_is_refused() {
    for text in [
        "",
        "trunkline-log",
        "trunkline-log 0\n",
        "trunkline-log 1\n",
        "something else\n",
        "\u{1}\n",
    ] {
        let home = TempDir::new().unwrap();
        fs::write(home.path().join("FORMAT"), text).unwrap();
        let error = Directory::open(home.path()).unwrap_err();
        assert!(matches!(error, OpenError::UnknownFormat { .. }), "{error}");
    }
    let home = TempDir::new().unwrap();
    fs::write(home.path().join(segment(1)), "records").unwrap();
    let error = Directory::open(home.path()).unwrap_err();
    assert!(matches!(error, OpenError::UnknownFormat { .. }), "{error}");
}

#[test]
fn a_flip_in_a_real_file_is_named_with_its_path() {
    let home = TempDir::new().unwrap();
    let mut log = open_with(directory(home.path()), config()).unwrap().log;
    crate::common::write(&mut log, 0..10);
    log.close().unwrap();
    let file = home.path().join(segment(1));
    let mut bytes = fs::read(&file).unwrap();
    bytes[4500] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let error = verify(&directory(home.path()), |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
    assert!(error.contains("(segment 1), offset 4"), "{error}");
    assert!(!home.path().join("quarantine").exists(), "looking copies nothing");

    // To go on, the damaged bytes are put aside first.
    let opened = open_with(directory(home.path()), config()).unwrap();
    let damage = &opened.recovery.damage[0];
    let copy = damage.copy.clone().unwrap();
    assert_eq!(copy.parent(), Some(home.path().join("quarantine").as_path()));
    let start = usize::try_from(damage.location.offset).unwrap();
    let end = start + usize::try_from(damage.bytes).unwrap();
    assert!(fs::read(copy).unwrap() == bytes[start..end]);
}

#[test]
fn a_directory_of_the_format_before_opens_and_says_so_only_once_it_is_written_to() {
    let home = TempDir::new().unwrap();
    let mut log = open_with(directory(home.path()), config()).unwrap().log;
    crate::common::write(&mut log, 0..10);
    log.close().unwrap();
    // What format 2 wrote differs in nothing but the numbers.
    let (format, first) = (home.path().join("FORMAT"), home.path().join(segment(1)));
    fs::write(&format, "trunkline-log 2\n").unwrap();
    let mut bytes = fs::read(&first).unwrap();
    bytes[16] = 2;
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &bytes[16..4096]);
    bytes[8..16].copy_from_slice(&sum.to_le_bytes());
    rechain(&mut bytes, sum);
    fs::write(&first, bytes).unwrap();

    let storage: Arc<dyn Storage> = Arc::new(Directory::inspect(home.path()).unwrap());
    assert_eq!(verify(&storage, |_| Ok(())).unwrap().records, 10);
    drop(storage);
    assert_eq!(fs::read_to_string(&format).unwrap(), "trunkline-log 2\n");
    let opened = open_with(directory(home.path()), config()).unwrap();
    assert_prefix(&opened.records, 10, 100);
    assert_eq!(fs::read_to_string(&format).unwrap(), "trunkline-log 5\n");
    opened.log.close().unwrap();
    assert_prefix(&open_with(directory(home.path()), config()).unwrap().records, 10, 100);
}

/// Gives the batches of a segment the chain that follows from its header's checksum.
fn rechain(bytes: &mut [u8], mut chain: u64) {
    let salt = bytes[40..48].to_vec();
    let mut at = 4096;
    while bytes[at..at + 8] == salt {
        let length = 64 + u32::from_le_bytes(bytes[at + 48..at + 52].try_into().unwrap()) as usize;
        bytes[at + 16..at + 24].copy_from_slice(&chain.to_le_bytes());
        let body = &bytes[at + 16..at + length];
        chain = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, body);
        bytes[at + 8..at + 16].copy_from_slice(&chain.to_le_bytes());
        at += length;
    }
}

#[test]
fn looking_at_a_directory_neither_makes_one_nor_writes_its_format() {
    let home = TempDir::new().unwrap();
    let error = Directory::inspect(home.path().join("none")).unwrap_err();
    assert!(matches!(error, OpenError::Io { action: "open", .. }), "{error}");
    let error = Directory::inspect(home.path()).unwrap_err();
    assert!(matches!(error, OpenError::UnknownFormat { .. }), "{error}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_path_that_is_no_directory_is_named() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Directory::open(&file).unwrap_err();
    assert!(matches!(&error, OpenError::Io { path, .. } if *path == file), "{error}");
}

/// What a kill leaves when the page cache does not help: the wrapper dies with its bytes.
#[test]
fn dropping_unsynced_bytes_keeps_exactly_what_was_synced() {
    let home = TempDir::new().unwrap();
    let wrapped = || Arc::new(DropUnsynced::new(directory(home.path())));
    let mut log = open_with(wrapped(), config()).unwrap().log;
    let mut batch = log.config().batch();
    fill(&mut batch, 0..1000, 300);
    log.write(&mut batch).unwrap();
    log.sync().unwrap();
    crate::common::write(&mut log, 1000..1010);
    drop(log);
    let opened = open_with(wrapped(), config()).unwrap();
    assert_prefix(&opened.records, 1000, 300);
}

#[test]
fn the_wrapper_reads_back_what_it_holds() {
    let home = TempDir::new().unwrap();
    let inner = directory(home.path());
    let wrapper = DropUnsynced::new(Arc::clone(&inner));
    let file = wrapper.create("a", 10_000).unwrap();
    let pattern: Vec<u8> = (0..6000_u32).map(|at| at.to_le_bytes()[0]).collect();
    file.write_at(&pattern, 3000).unwrap();
    file.write_at(&[255; 10], 9990).unwrap();
    assert!(file.write_at(&[1], 10_000).is_err(), "files never grow");
    drop(file);
    wrapper.rename("a", "b").unwrap();
    let read = |storage: &dyn Storage| {
        let mut bytes = vec![0; 10_000];
        storage.open("b").unwrap().read_at(&mut bytes, 0).unwrap();
        bytes
    };
    let mut expected = vec![0; 10_000];
    expected[3000..9000].copy_from_slice(&pattern);
    expected[9990..].fill(255);
    assert!(read(&wrapper) == expected);
    assert!(read(inner.as_ref()) == vec![0; 10_000], "nothing has reached the disk");
    wrapper.open("b").unwrap().sync().unwrap();
    assert!(read(inner.as_ref()) == expected);
}

#[test]
fn a_lying_sync_loses_what_was_called_synced() {
    let home = TempDir::new().unwrap();
    for _ in 0..3 {
        let wrapped = Arc::new(DropUnsynced::ignoring_sync(directory(home.path())));
        let opened = open_with(wrapped, config()).unwrap();
        assert_prefix(&opened.records, 0, 300);
        let mut log = opened.log;
        let mut batch = log.config().batch();
        fill(&mut batch, 0..1000, 300);
        log.write(&mut batch).unwrap();
        log.sync().unwrap();
        assert_eq!(log.synced(), 1000);
    }
    assert_prefix(&open_with(directory(home.path()), config()).unwrap().records, 0, 300);
}

#[test]
fn a_file_larger_than_the_disk_is_refused_without_filling_it() {
    let home = TempDir::new().unwrap();
    let storage = directory(home.path());
    let error = storage.create("huge", u64::MAX / 2).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(!home.path().join("huge").exists());
}

/// Files that are removed between their listing and a look at them are no error of the disk.
#[test]
fn files_that_come_and_go_meanwhile_do_not_keep_a_directory_from_being_listed() {
    let home = tempfile::tempdir().unwrap();
    let disk = directory(home.path());
    drop(disk.create("stays", 4096).unwrap());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for number in 0..50 {
                    let file = fs::File::create(home.path().join(format!("goes-{number}")));
                    drop(file.unwrap());
                }
                for number in 0..50 {
                    disk.remove(&format!("goes-{number}")).unwrap();
                }
            }
        });
        let listed = (0..2_000).map(|_| disk.list());
        let missed =
            listed.map(|files| files.map(|files| files.iter().any(|it| it.name == "stays")));
        let missed: Vec<_> = missed.filter(|found| !matches!(found, Ok(true))).collect();
        over.store(true, Ordering::Relaxed);
        assert!(missed.is_empty(), "{} of 2,000, the first: {:?}", missed.len(), missed[0]);
    });
}
