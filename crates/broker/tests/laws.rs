//! What a check of the data tells of records that no broker would have written.

use crate::common::scene::copy;
use crate::common::{Peer, at, card, hello, task};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use trunkline_broker::{Broker, LogConfig, Repair, verify};
use trunkline_engine::{
    Carried, CarriedEnded, CarriedTask, EntryId, Part, PartOf, Record, ReturnedRecord,
};
use trunkline_log::{Directory, Log, Storage};
use trunkline_types::{Epoch, Outcome, PauseReason, Sequence, TaskEvent, TaskEventBody, TaskState};

/// The last lease of an entry.
fn lease(found: &[Record]) -> Record {
    let leases = found.iter().filter(|record| matches!(record, Record::Leased { .. }));
    leases.cloned().next_back().unwrap()
}

/// Makes records of those that there are.
type Make = Box<dyn FnOnce(Vec<Record>) -> Vec<Record>>;

/// Appends records to a log that is whole and can be replayed, which no broker would have written.
fn append(data: &Path, records: impl FnOnce(Vec<Record>) -> Vec<Record>) {
    let config =
        LogConfig { segment_bytes: 1 << 16, max_body_bytes: 1 << 15, ..LogConfig::default() };
    let storage: Arc<dyn Storage> = Arc::new(Directory::open(data).unwrap());
    let (mut found, mut last) = (Vec::new(), 0);
    let (mut log, _) = Log::open(storage, config.clone(), |record| {
        found.push(Record::decode(record.tag, record.body).unwrap());
        last = record.sequence;
        Ok(())
    })
    .unwrap();
    let mut batch = config.batch();
    for record in records(found) {
        last += 1;
        batch.push(0, last, record.tag(), |body| record.encode(body)).unwrap();
    }
    log.write(&mut batch).unwrap();
    log.sync().unwrap();
}

/// What no broker would have written, made of what one has, and the law that it breaks.
fn cases() -> [(&'static str, Make); 5] {
    [
        (
            "a token was granted that is not later than all before",
            Box::new(|found| {
                let mut leases: Vec<_> = found
                    .into_iter()
                    .filter(|record| matches!(record, Record::Leased { .. }))
                    .collect();
                let Record::Leased { token: last, .. } = &leases[3] else { panic!() };
                let last = *last;
                let Record::Leased { token, .. } = &mut leases[1] else { panic!() };
                *token = last;
                vec![leases.remove(1)]
            }),
        ),
        (
            "two entries with one ordering key were leased at a time",
            Box::new(|found| {
                // The first and the one before the last, which waits for it.
                let last = lease(&found);
                let again = |back: u64| {
                    let mut record = last.clone();
                    let Record::Leased { entry, token, .. } = &mut record else { panic!() };
                    (entry.0, token.counter) = (entry.0 - back, token.counter + 9 - back);
                    record
                };
                vec![again(3), again(1)]
            }),
        ),
        (
            "an entry was leased before an earlier one with its ordering key",
            Box::new(|found| {
                // The first is given back, and the one that waits for it is leased.
                let mut last = lease(&found);
                let Record::Leased { entry, token, at, .. } = &mut last else { panic!() };
                let returned = Record::Returned(Box::new(ReturnedRecord {
                    entry: EntryId(entry.0 - 3),
                    attempts: 1,
                    losses: 0,
                    due: *at,
                    token_stays: false,
                    called_off: false,
                    note: None,
                    at: *at,
                }));
                (entry.0, token.counter) = (entry.0 - 1, token.counter + 9);
                vec![returned, last]
            }),
        ),
        (
            "a task's events are not numbered without gaps",
            Box::new(|found| {
                let Some(Record::Accepted(first)) =
                    found.iter().find(|record| matches!(record, Record::Accepted(_)))
                else {
                    panic!()
                };
                let ended =
                    found.iter().position(|record| matches!(record, Record::Settled { .. }));
                let events = [(1, TaskState::Submitted), (3, TaskState::Completed)];
                let events = events.map(|(number, state)| {
                    let body = TaskEventBody::Status { state, reason: None };
                    Part::Event(TaskEvent { number, epoch: Epoch(1), at: first.at, body })
                });
                let of = PartOf::Task(first.publish.envelope.id);
                let task = CarriedTask {
                    state: TaskState::Completed,
                    reason: None,
                    agent: None,
                    deliveries: 1,
                    last_event: 3,
                    created_at: first.at,
                    updated_at: first.at,
                };
                let ended = CarriedEnded {
                    publish: first.publish.clone(),
                    task,
                    ended: None,
                    place: Sequence(ended.unwrap() as u64 + 1),
                    parts: 2,
                };
                let parts = Carried::Parts { of, parts: events.into() };
                let said = [Carried::Ended(ended), parts];
                said.map(|thing| Record::Carried(Box::new(thing))).into()
            }),
        ),
        (
            "a task went to a state that does not follow its own",
            Box::new(|found| {
                let paused = found.iter().find(|record| matches!(record, Record::Paused { .. }));
                let mut paused = paused.unwrap().clone();
                let Record::Paused { reason, .. } = &mut paused else { panic!() };
                *reason = PauseReason::Auth;
                vec![paused]
            }),
        ),
    ]
}

#[tokio::test]
async fn a_check_holds_the_records_to_the_laws_of_tokens_ordering_keys_states_and_events() {
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("whole");
    let broker = Broker::open(at(&whole)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "s")))).await.unwrap();
    sender.publish(task("s", "done")).await.unwrap();
    let done = agent.delivery().await;
    let number = agent.settle(done.token, Outcome::Complete { reply: None });
    agent.answer(number).await.unwrap();
    for key in [Some("k"), None, Some("k"), None] {
        let mut work = task("s", "work");
        work.envelope.ordering_key = key.map(|key| key.parse().unwrap());
        sender.publish(work).await.unwrap();
    }
    let first = agent.delivery().await;
    assert!(first.publish.envelope.ordering_key.is_some());
    let second = agent.delivery().await;
    let outcome = Outcome::Pause { reason: PauseReason::Input, message: None };
    let number = agent.settle(second.token, outcome);
    agent.answer(number).await.unwrap();
    agent.delivery().await;
    agent.connection.close();
    sender.connection.close();
    broker.drain(Duration::from_secs(10)).await;
    assert!(verify(&whole, Repair::No, |_, _| {}).unwrap().is_sound());

    for (number, (law, records)) in cases().into_iter().enumerate() {
        let data = home.path().join(number.to_string());
        copy(&whole, &data);
        append(&data, records);
        let found = verify(&data, Repair::No, |_, _| {}).unwrap();
        assert_eq!(found.faults_total, 1, "{law}: {found:?}");
        assert!(found.faults[0].to_string().ends_with(law), "{law}: {found:?}");
        assert!(found.faults[0].location.is_some());
    }
}
