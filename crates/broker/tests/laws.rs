//! What a check of the data tells of records that no broker would have written.

use crate::common::scene::copy;
use crate::common::{Peer, at, card, hello, task};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use trunkline_broker::{Broker, LogConfig, Repair, verify};
use trunkline_engine::Record;
use trunkline_log::{Directory, Log, Storage};
use trunkline_types::{Outcome, PauseReason};

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

#[tokio::test]
async fn a_check_holds_the_records_to_the_laws_of_tokens_ordering_keys_and_states() {
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("whole");
    let broker = Broker::open(at(&whole)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "s")))).await.unwrap();
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

    let cases: [(&str, Make); 3] = [
        (
            "a token was granted that is not later than all before",
            Box::new(|found| {
                let mut leases: Vec<_> = found
                    .into_iter()
                    .filter(|record| matches!(record, Record::Leased { .. }))
                    .collect();
                let Record::Leased { token: last, .. } = &leases[2] else { panic!() };
                let last = *last;
                let Record::Leased { token, .. } = &mut leases[0] else { panic!() };
                *token = last;
                vec![leases.remove(0)]
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
            "a task went to a state that does not follow its own",
            Box::new(|found| {
                let paused = found.iter().find(|record| matches!(record, Record::Paused { .. }));
                let mut paused = paused.unwrap().clone();
                let Record::Paused { reason, .. } = &mut paused else { panic!() };
                *reason = PauseReason::Auth;
                vec![paused]
            }),
        ),
    ];
    for (number, (law, records)) in cases.into_iter().enumerate() {
        let data = home.path().join(number.to_string());
        copy(&whole, &data);
        append(&data, records);
        let found = verify(&data, Repair::No, |_, _| {}).unwrap();
        assert_eq!(found.faults_total, 1, "{law}: {found:?}");
        assert!(found.faults[0].to_string().ends_with(law), "{law}: {found:?}");
        assert!(found.faults[0].location.is_some());
    }
}
