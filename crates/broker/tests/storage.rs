//! Damaged data, formats, backups: what a broker starts with, what a check finds, what comes back.

use crate::common::{Peer, at, card, get, hello, stats, task};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{fs, thread};
use trunkline_broker::{
    BackupError, Broker, LogConfig, Repair, Verified, backup, restore, told_of, verify,
};
use trunkline_engine::Record;
use trunkline_log::{Directory, Location, Log, Storage};
use trunkline_types::session::Connector;
use trunkline_types::{
    AgentCard, AgentFilter, AgentInfo, Answer, InboxSettings, MessageId, Outcome, PauseReason,
    Query, SkillSchemas, TaskState,
};

async fn close(broker: Broker) {
    broker.drain(Duration::from_secs(10)).await;
}

fn check(data: &Path) -> Verified {
    verify(data, Repair::No, |_, _| {}).unwrap()
}

fn segment(data: &Path, number: u64) -> PathBuf {
    data.join(format!("{number:020}.log"))
}

/// Every record of a stopped broker: its tag, and where it is.
fn records(data: &Path) -> Vec<(u8, Location)> {
    let storage: Arc<dyn Storage> = Arc::new(Directory::inspect(data).unwrap());
    let mut found = Vec::new();
    trunkline_log::verify(&storage, |record| {
        found.push((record.tag, record.location));
        Ok(())
    })
    .unwrap();
    found
}

/// The only agent that there is.
async fn agent(broker: &Broker) -> AgentInfo {
    let query = Query::Agents(AgentFilter::default());
    let Answer::Agents(page) = broker.query(query).await.unwrap() else { panic!("agents") };
    let [agent] = <[_; 1]>::try_from(page.agents).unwrap();
    agent
}

/// Damages a record.
fn flip(data: &Path, place: Location) {
    let file = segment(data, place.segment);
    let mut bytes = fs::read(&file).unwrap();
    bytes[usize::try_from(place.offset).unwrap() + 25] ^= 4;
    fs::write(file, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Publishes tasks one by one, so that each is a batch of its own.
async fn publish(broker: &Broker, session: u128, count: usize) -> Vec<MessageId> {
    let mut peer = Peer::open(broker, hello(session, None)).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..count {
        let work = task("s", &"x".repeat(4000));
        ids.push(work.envelope.id);
        peer.publish(work).await.unwrap();
    }
    peer.connection.close();
    ids
}

#[tokio::test]
async fn a_broker_starts_over_damage_and_serves_all_that_is_not_damaged() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let broker = Broker::open(at(&data)).await.unwrap();
    let ids = publish(&broker, 1, 60).await;
    close(broker).await;
    let accepted: Vec<_> = records(&data).into_iter().filter(|(tag, _)| *tag == 5).collect();
    assert_eq!(accepted.len(), 60);
    assert!(accepted[20].1.segment < accepted[59].1.segment, "in a closed segment");
    flip(&data, accepted[20].1);

    let found = check(&data);
    assert!(!found.is_sound());
    assert_eq!((found.damage.len(), found.faults_total), (1, 0));
    assert_eq!(found.damage[0].records(), 1);
    assert!(!data.join("quarantine").exists(), "looking writes nothing");

    let broker = Broker::open(at(&data)).await.unwrap();
    let figures = stats(&broker).await.log.unwrap();
    assert_eq!((figures.damaged_places, figures.records_left_out), (1, 0));
    for (index, id) in ids.iter().enumerate() {
        assert_eq!(get(&broker, *id).await.is_ok(), index != 20, "task {index}");
    }
    let more = publish(&broker, 2, 2).await;
    let mut agent = Peer::open(&broker, hello(3, Some(card("a", "s")))).await.unwrap();
    let delivery = agent.delivery().await;
    assert_eq!(delivery.publish.envelope.id, ids[0]);
    let number = agent.settle(delivery.token, Outcome::Complete { reply: None });
    agent.answer(number).await.unwrap();
    agent.connection.close();
    close(broker).await;
    assert_eq!(fs::read_dir(data.join("quarantine")).unwrap().count(), 1);

    let found = check(&data);
    assert!(found.is_sound(), "what has been put aside is no fault any more: {found:?}");
    assert_eq!(found.damage.len(), 1);
    let broker = Broker::open(at(&data)).await.unwrap();
    assert_eq!(get(&broker, ids[0]).await.unwrap().state, TaskState::Completed);
    get(&broker, more[1]).await.unwrap();
    close(broker).await;
}

/// A log with a bit of everything that rests on something before it.
async fn eventful(data: &Path) {
    let broker = Broker::open(at(data)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut paused = None;
    for index in 0..8 {
        let mut work = task("s", "work");
        work.envelope.ordering_key = (index % 4 == 3).then(|| "k".parse().unwrap());
        work.envelope.idempotency_key = (index == 1).then(|| "once".parse().unwrap());
        sender.publish(work).await.unwrap();
    }
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "s")))).await.unwrap();
    for index in 0..7 {
        let delivery = agent.delivery().await;
        let delay = Some(Duration::ZERO);
        let outcome = match index {
            0 => Outcome::Complete { reply: Some("42".into()) },
            1 => Outcome::Retry { reason: "later".into(), delay },
            2 => {
                paused = Some(delivery.publish.envelope.id);
                let message = Some("which?".into());
                Outcome::Pause { reason: PauseReason::Input, message }
            }
            3 => Outcome::Fail { reason: "no".into() },
            4 => Outcome::DeadLetter { reason: "never".into() },
            _ => continue,
        };
        let number = agent.settle(delivery.token, outcome);
        agent.answer(number).await.unwrap();
    }
    let number = sender.send(trunkline_types::session::Operation::Continue {
        task: paused.unwrap(),
        payload: "that one".into(),
    });
    sender.answer(number).await.unwrap();
    agent.connection.close();
    sender.connection.close();
    close(broker).await;
    // A second life, so that an epoch may be missing.
    let broker = Broker::open(at(data)).await.unwrap();
    publish(&broker, 3, 2).await;
    close(broker).await;
}

#[tokio::test]
async fn whichever_record_is_damaged_the_rest_adds_up_and_a_broker_starts() {
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("whole");
    eventful(&whole).await;
    let found = check(&whole);
    assert!(found.is_sound(), "{found:?}");
    let all = records(&whole);
    assert!(all.len() > 25, "{}", all.len());
    let mut skipped = 0;
    for (index, (tag, place)) in all.iter().enumerate() {
        let data = home.path().join(format!("{index}"));
        copy(&whole, &data);
        flip(&data, *place);
        let found = check(&data);
        assert_eq!(found.damage.len(), 1, "record {index}, tag {tag}: {found:?}");
        assert_eq!(found.faults, [], "record {index}, tag {tag}");
        skipped += found.skipped;
        let broker = Broker::open(at(&data)).await.unwrap_or_else(|error| {
            panic!("record {index}, tag {tag}: {error}");
        });
        let left_out = stats(&broker).await.log.unwrap().records_left_out;
        assert_eq!(left_out, found.skipped, "record {index}, tag {tag}");
        let id = publish(&broker, 9, 1).await[0];
        get(&broker, id).await.unwrap();
        close(broker).await;
        let found = check(&data);
        assert!(found.is_sound(), "record {index}, tag {tag}: {found:?}");
        fs::remove_dir_all(data).unwrap();
    }
    assert!(skipped > 0, "no record spoke of what is missing");
}

#[tokio::test]
async fn a_repair_puts_damage_aside_and_an_index_that_is_of_no_use() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    eventful(&data).await;
    let place = records(&data)[10].1;
    flip(&data, place);
    let index = data.join("index/keys.sqlite");
    let mut bytes = fs::read(&index).unwrap();
    let length = bytes.len();
    bytes[length / 3..length / 2].fill(0x55);
    fs::write(&index, &bytes).unwrap();

    let before = check(&data);
    assert_eq!((before.damage.len(), before.faults_total), (1, 1), "{before:?}");
    assert!(before.faults[0].to_string().starts_with("the index is damaged"), "{before:?}");
    let mut seen = (0, 0);
    let repaired = verify(&data, Repair::Yes, |done, total| seen = (done, total)).unwrap();
    assert!(repaired.is_sound(), "{repaired:?}");
    assert_eq!(seen.0, seen.1);
    let moved = repaired.index_moved.unwrap();
    assert!(fs::read(moved).unwrap() == bytes, "nothing is deleted");
    assert!(check(&data).is_sound());
    let broker = Broker::open(at(&data)).await.unwrap();
    close(broker).await;
    assert!(index.exists());
    assert!(check(&data).is_sound());
}

#[tokio::test]
async fn a_directory_in_use_or_of_another_kind_is_not_checked() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let broker = Broker::open(at(&data)).await.unwrap();
    let error = verify(&data, Repair::No, |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("is locked by process"), "{error}");
    close(broker).await;
    assert!(check(&data).is_sound());
    let error = verify(home.path(), Repair::Yes, |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("is not a log format"), "{error}");
    assert!(verify(&home.path().join("none"), Repair::Yes, |_, _| {}).is_err());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

/// The directory that a broker of format 2 left, killed at work.
fn format_2(data: &Path) {
    kept(data, "format-2", 1..=2, 64 << 10);
}

/// The same of format 3, after cleaning had said again what waits.
fn format_3(data: &Path) {
    kept(data, "format-3", 13..=15, 68 << 10);
}

/// The same of format 4, after cleaning had said again what waits and who is registered.
fn format_4(data: &Path) {
    kept(data, "format-4", 11..=13, 64 << 10);
}

/// A directory whose files are kept without the zeros at their ends.
fn kept(data: &Path, name: &str, segments: RangeInclusive<u64>, length: u64) {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name), data);
    for number in segments {
        let file = fs::File::options().write(true).open(segment(data, number)).unwrap();
        file.set_len(length).unwrap();
    }
}

#[tokio::test]
async fn a_data_directory_of_format_2_opens_and_is_brought_up_to_date() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    format_2(&data);
    assert!(check(&data).is_sound());
    let format = || fs::read_to_string(data.join("FORMAT")).unwrap();
    assert_eq!(format(), "trunkline-log 2\n", "looking changes nothing");
    for _ in 0..2 {
        let broker = Broker::open(at(&data)).await.unwrap();
        let found = stats(&broker).await;
        // Two tasks were done, one became a dead letter, two wait and one is not due yet.
        assert_eq!(found.messages_accepted, 6, "{found:?}");
        assert_eq!((found.tasks_open, found.tasks_completed, found.dead_letters), (3, 2, 1));
        assert_eq!(format(), "trunkline-log 5\n");
        close(broker).await;
    }
    assert!(check(&data).is_sound());
}

#[tokio::test]
async fn a_data_directory_of_format_3_opens_with_what_cleaning_had_said_again() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    format_3(&data);
    assert!(records(&data).iter().any(|(tag, _)| *tag == 70), "an inbox was said again");
    assert!(check(&data).is_sound());
    for _ in 0..2 {
        let broker = Broker::open(at(&data)).await.unwrap();
        // Two tasks wait and one is not due for a month; the inbox that they lie in has a limit.
        assert_eq!(stats(&broker).await.tasks_open, 3);
        let inbox = Query::Inbox("skill:wait".parse().unwrap());
        let Answer::Inbox(inbox) = broker.query(inbox).await.unwrap() else { panic!("an inbox") };
        let limited = InboxSettings { limit: Some(7), ..InboxSettings::default() };
        assert_eq!(inbox.settings, limited);
        close(broker).await;
        let format = fs::read_to_string(data.join("FORMAT")).unwrap();
        assert_eq!(format, "trunkline-log 5\n");
    }
    assert!(check(&data).is_sound());
}

#[tokio::test]
async fn a_data_directory_of_format_4_opens_with_its_agent_which_may_then_declare_schemas() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    format_4(&data);
    let tags: Vec<_> = records(&data).into_iter().map(|(tag, _)| tag).collect();
    assert!(tags.contains(&68) && tags.contains(&77), "an agent and an inbox were said again");
    assert!(check(&data).is_sound());
    let mut wanted = AgentCard {
        description: "Works.".into(),
        types: vec!["coder".into()],
        labels: vec![("tier".into(), "gold".into())],
        region: "eu".into(),
        version: "7".into(),
        ..card("ann", "work")
    };
    for _ in 0..2 {
        let broker = Broker::open(at(&data)).await.unwrap();
        assert_eq!(stats(&broker).await.tasks_open, 2);
        let ann = agent(&broker).await;
        assert_eq!((&ann.card, ann.control.weight), (&wanted, 7));
        let inbox = Query::Inbox("agent:ann".parse().unwrap());
        let Answer::Inbox(inbox) = broker.query(inbox).await.unwrap() else { panic!("an inbox") };
        assert_eq!(inbox.settings.ttl, Some(Duration::from_hours(30 * 24)));
        wanted.schemas = vec![SkillSchemas {
            skill: "work".parse().unwrap(),
            input: Some(r#"{"type":"array"}"#.parse().unwrap()),
            output: None,
        }];
        drop(Peer::open(&broker, hello(1, Some(wanted.clone()))).await.unwrap());
        close(broker).await;
        let format = fs::read_to_string(data.join("FORMAT")).unwrap();
        assert_eq!(format, "trunkline-log 5\n");
    }
    assert!(records(&data).iter().any(|(tag, _)| *tag == 25), "a record with schemas");
    assert!(check(&data).is_sound());
}

#[tokio::test]
async fn a_data_directory_of_a_newer_format_is_refused_untouched() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    format_2(&data);
    fs::write(data.join("FORMAT"), "trunkline-log 6\n").unwrap();
    let error = Broker::open(at(&data)).await.unwrap_err().to_string();
    assert!(error.contains("has log format 6, this version reads up to 5"), "{error}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 3, "not even a lock");
}

#[tokio::test]
async fn a_backup_of_a_broker_at_work_comes_back_with_all_that_was_accepted() {
    let home = tempfile::tempdir().unwrap();
    let (data, to) = (home.path().join("data"), home.path().join("backup"));
    let broker = Broker::open(at(&data)).await.unwrap();
    let mut ids = publish(&broker, 1, 40).await;
    let first = backup(&data, &to, |_, _| {}).unwrap();
    assert_eq!(first.files, first.written_files);
    ids.extend(publish(&broker, 2, 40).await);
    let second = backup(&data, &to, |_, _| {}).unwrap();
    assert!(second.files > first.files);
    // The segments that were closed are there already.
    assert!(second.written_bytes < second.bytes, "{second:?}");
    let third = backup(&data, &to, |_, _| {}).unwrap();
    assert!(third.written_files <= 1, "{third:?}");

    let restored = home.path().join("restored");
    let done = restore(&to, &restored, |_, _| {}).unwrap();
    assert_eq!(done.files, third.files);
    let found = check(&restored);
    assert!(found.is_sound() && found.damage.is_empty(), "{found:?}");
    let copy = Broker::open(at(&restored)).await.unwrap();
    for id in &ids {
        get(&copy, *id).await.unwrap();
    }
    close(copy).await;
    close(broker).await;

    let error = restore(&to, &restored, |_, _| {}).unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty { .. }), "{error}");
    let victim = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().path());
    let victim = victim.filter(|path| path.to_str().unwrap().contains("content-0")).min().unwrap();
    let mut bytes = fs::read(&victim).unwrap();
    bytes[5000] ^= 1;
    fs::write(&victim, bytes).unwrap();
    let elsewhere = home.path().join("elsewhere");
    let error = restore(&to, &elsewhere, |_, _| {}).unwrap_err();
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
    assert!(!elsewhere.exists(), "it is checked before anything is written");
    // The next backup puts back what is wrong.
    assert!(backup(&data, &to, |_, _| {}).unwrap().written_files >= 1);
    restore(&to, &elsewhere, |_, _| {}).unwrap();
}

#[test]
fn only_a_backup_is_restored_and_only_data_is_backed_up() {
    let home = tempfile::tempdir().unwrap();
    let (empty, to) = (home.path().join("empty"), home.path().join("to"));
    fs::create_dir(&empty).unwrap();
    let error = backup(&empty, &to, |_, _| {}).unwrap_err();
    assert!(matches!(error, BackupError::Format(_)), "{error}");
    let error = restore(&empty, &to, |_, _| {}).unwrap_err();
    assert!(matches!(error, BackupError::NoBackup { .. }), "{error}");
    assert!(!to.exists());
    format_2(&home.path().join("data"));
    fs::write(empty.join("letters.txt"), "mine").unwrap();
    let error = backup(&home.path().join("data"), &empty, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("other files in it"), "{error}");
}

/// The lowest byte of a sequence.
fn low(sequence: u64) -> u8 {
    sequence.to_le_bytes()[0]
}

/// A log is written, flushed, given up and recycled as fast as it goes, while it is backed up.
#[test]
fn a_backup_is_consistent_while_segments_come_go_and_are_recycled() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let config =
        LogConfig { segment_bytes: 1 << 16, max_body_bytes: 1 << 15, ..LogConfig::default() };
    let storage: Arc<dyn Storage> = Arc::new(Directory::open(&data).unwrap());
    let (mut log, _) = Log::open(storage, config.clone(), |_| Ok(())).unwrap();
    let (stop, synced) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut batch = config.batch();
            let mut next = 1;
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..20 {
                    batch
                        .push(0, next, 9, |body| body.resize(body.len() + 300, low(next)))
                        .unwrap();
                    next += 1;
                }
                log.write(&mut batch).unwrap();
                log.sync().unwrap();
                synced.store(next - 1, Ordering::SeqCst);
                if log.segments().len() > 24 {
                    log.remove_before(log.segments()[4].number).unwrap();
                    log.prepare().unwrap();
                }
            }
        });
        let mut backups = 0;
        for round in 0..12 {
            while synced.load(Ordering::SeqCst) < 2000 * (round + 1) {
                thread::yield_now();
            }
            let accepted = synced.load(Ordering::SeqCst);
            let to = home.path().join("backup");
            match backup(&data, &to, |_, _| {}) {
                Ok(_) => backups += 1,
                Err(BackupError::Changing { .. }) => continue,
                Err(error) => panic!("{error}"),
            }
            let restored = home.path().join(format!("restored-{round}"));
            restore(&to, &restored, |_, _| {}).unwrap();
            let storage: Arc<dyn Storage> = Arc::new(Directory::open(&restored).unwrap());
            let mut found = Vec::new();
            let recovery = trunkline_log::verify(&storage, |record| {
                assert!(record.body.iter().all(|byte| *byte == low(record.sequence)));
                found.push(record.sequence);
                Ok(())
            });
            assert_eq!(recovery.unwrap().torn, None);
            let (first, last) = (found[0], found[found.len() - 1]);
            assert!(found.iter().copied().eq(first..=last), "{first} to {last} without a gap");
            assert!(last >= accepted, "{accepted} was flushed before, {last} is there");
            fs::remove_dir_all(restored).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(backups > 0, "no backup was ever fast enough");
    });
}

#[tokio::test]
async fn it_can_be_told_which_messages_a_part_of_the_log_is_about() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let broker = Broker::open(at(&data)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "s")))).await.unwrap();
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let work = task("s", "work");
        ids.insert(work.envelope.id);
        sender.publish(work).await.unwrap();
        let held = agent.delivery().await;
        let number = agent.settle(held.token, Outcome::Complete { reply: None });
        agent.answer(number).await.unwrap();
    }
    drop((sender, agent));
    broker.drain(Duration::from_secs(10)).await;

    let (mut entries, mut kinds) = (BTreeMap::new(), BTreeSet::new());
    let mut records = Vec::new();
    let storage: Arc<dyn Storage> = Arc::new(Directory::inspect(&data).unwrap());
    trunkline_log::verify(&storage, |found| {
        records.push((Record::decode(found.tag, found.body)?, found.location));
        Ok(())
    })
    .unwrap();
    drop(storage);
    for (record, place) in records {
        let expected = match &record {
            Record::Accepted(accepted) => {
                let id = accepted.publish.envelope.id;
                entries.insert(accepted.first_entry, id);
                Some(id)
            }
            Record::Leased { entry, .. } | Record::Settled { entry, .. } => Some(entries[entry]),
            _ => None,
        };
        kinds.insert((record.tag(), expected.is_some()));
        let told = told_of(&data, place.segment, &(place.offset..place.offset + 1)).unwrap();
        assert_eq!(told, expected.into_iter().collect(), "{record:?}");
    }
    assert_eq!(kinds.iter().filter(|(_, is_about_one)| *is_about_one).count(), 3, "{kinds:?}");
    assert_eq!(told_of(&data, 1, &(0..u64::MAX)).unwrap(), ids);
    assert!(told_of(&data, 2, &(0..u64::MAX)).unwrap().is_empty());
}
