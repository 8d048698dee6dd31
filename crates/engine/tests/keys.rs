//! Idempotency keys in memory and in the index.

use crate::stage::{Peer, Stage, accepted, config, hello, millis};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trunkline_engine::{Command, EngineConfig, KeyIndex, KeyRow};
use trunkline_types::session::{Operation, Subscription};
use trunkline_types::{
    Durability, Encoding, IdempotencyKey, Kind, Publish, RefusalCode, Sequence, TenantId,
};

/// An index that is fed by hand, and counts how often it is asked.
#[derive(Debug, Default)]
struct Index {
    rows: Mutex<BTreeMap<(TenantId, IdempotencyKey), KeyRow>>,
    asked: Mutex<u32>,
    /// Why it cannot be read, if so.
    broken: Mutex<Option<&'static str>>,
}

impl KeyIndex for Index {
    fn find(&self, tenant: &TenantId, key: &IdempotencyKey) -> Result<Option<KeyRow>, String> {
        *self.asked.lock().unwrap() += 1;
        if let Some(problem) = *self.broken.lock().unwrap() {
            return Err(problem.to_owned());
        }
        Ok(self.rows.lock().unwrap().get(&(tenant.clone(), key.clone())).copied())
    }
}

fn with_index() -> (EngineConfig, Arc<Index>) {
    let index = Arc::new(Index::default());
    (EngineConfig { key_index: Some(index.clone()), ..config() }, index)
}

/// Puts the keys of all records into the index, as the driver does, and says so.
fn index_all(stage: &mut Stage, index: &Index) -> Sequence {
    for (_, record) in &stage.records {
        if let Some((tenant, key, row)) = record.key_row(stage.config.key_window) {
            index.rows.lock().unwrap().insert((tenant, key), row);
        }
    }
    let through = stage.engine.sequence();
    stage.handle(Command::Indexed { through });
    through
}

fn keyed(stage: &mut Stage, key: &str) -> Publish {
    let mut publish = stage.message(Kind::Event, "agent:a");
    publish.envelope.idempotency_key = Some(key.parse().unwrap());
    publish
}

/// Publishes the same again under a new id. Whether it was found to be a repeat of the first.
fn is_repeat(stage: &mut Stage, client: &mut Peer, first: &Publish) -> bool {
    let mut again = first.clone();
    again.envelope.id = stage.id();
    let effects = stage.publish(client, &again).unwrap();
    accepted(&effects).iter().any(|it| it.duplicate && it.id == first.envelope.id)
}

/// The keys in memory.
fn in_memory(stage: &Stage) -> usize {
    stage.engine.durable_state().keys().filter(|name| name.starts_with("key ")).count()
}

#[test]
fn a_key_that_left_memory_is_found_in_the_index() {
    let (config, index) = with_index();
    let mut stage = Stage::new(config);
    let mut client = stage.client(1);
    let first = keyed(&mut stage, "k");
    stage.publish(&mut client, &first).unwrap();
    assert_eq!(in_memory(&stage), 1);
    index_all(&mut stage, &index);
    assert_eq!(in_memory(&stage), 0);
    assert!(is_repeat(&mut stage, &mut client, &first));
    assert_eq!((stage.stats().duplicates, stage.stats().keys), (1, 1));
    let mut other = keyed(&mut stage, "k");
    other.envelope.payload = "y".into();
    let refusal = stage.publish(&mut client, &other).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::KeyReused);
}

#[test]
fn keys_of_later_records_stay_in_memory_and_are_found_there_first() {
    let (config, index) = with_index();
    let mut stage = Stage::new(config);
    let mut client = stage.client(1);
    let early = keyed(&mut stage, "early");
    stage.publish(&mut client, &early).unwrap();
    let through = index_all(&mut stage, &index);
    let late = keyed(&mut stage, "late");
    stage.publish(&mut client, &late).unwrap();
    stage.handle(Command::Indexed { through });
    assert_eq!(in_memory(&stage), 1);
    let before = *index.asked.lock().unwrap();
    assert!(is_repeat(&mut stage, &mut client, &late));
    assert_eq!(*index.asked.lock().unwrap(), before, "memory knows");
}

#[test]
fn what_is_only_in_memory_never_leaves_it() {
    let (config, index) = with_index();
    let mut stage = Stage::new(config);
    let mut client = stage.client(1);
    let mut first = keyed(&mut stage, "k");
    first.options.durability = Some(Durability::Ephemeral);
    stage.publish(&mut client, &first).unwrap();
    index_all(&mut stage, &index);
    assert!(is_repeat(&mut stage, &mut client, &first));
}

#[test]
fn without_an_index_no_key_leaves_memory() {
    let mut stage = Stage::new(config());
    let mut client = stage.client(1);
    let first = keyed(&mut stage, "k");
    stage.publish(&mut client, &first).unwrap();
    let through = stage.engine.sequence();
    stage.handle(Command::Indexed { through });
    assert!(is_repeat(&mut stage, &mut client, &first));
}

#[test]
fn a_key_in_the_index_expires_with_its_window() {
    let (mut config, index) = with_index();
    config.key_window = millis(10_000);
    let mut stage = Stage::new(config);
    let mut client = stage.client(1);
    let first = keyed(&mut stage, "k");
    stage.publish(&mut client, &first).unwrap();
    index_all(&mut stage, &index);
    stage.pass(millis(9_999));
    assert!(is_repeat(&mut stage, &mut client, &first));
    stage.pass(millis(1));
    assert!(!is_repeat(&mut stage, &mut client, &first));
}

#[test]
fn the_cap_counts_keys_wherever_they_lie_until_they_expire() {
    let (mut config, index) = with_index();
    config.keys = 2;
    config.key_window = millis(10_000);
    let mut stage = Stage::new(config);
    let mut client = stage.client(1);
    for key in ["one", "two"] {
        let publish = keyed(&mut stage, key);
        stage.publish(&mut client, &publish).unwrap();
        index_all(&mut stage, &index);
    }
    let third = keyed(&mut stage, "three");
    let refusal = stage.publish(&mut client, &third).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::KeyCap);
    // A restart counts them too, though it never holds them.
    let (config, records, now) = (stage.config.clone(), stage.records.clone(), stage.now);
    let through = stage.engine.sequence();
    let mut stage = Stage::on(config, records, now, through);
    assert_eq!((in_memory(&stage), stage.stats().keys), (0, 2));
    let mut client = stage.client(9);
    let refusal = stage.publish(&mut client, &third).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::KeyCap);
    // Counted by parts of the window: they may count for one part longer.
    stage.pass(millis(10_010));
    assert_eq!(stage.stats().keys, 0);
    stage.publish(&mut client, &third).unwrap();
}

#[test]
fn a_restart_holds_only_the_keys_that_the_index_lacks() {
    let (config, index) = with_index();
    let mut stage = Stage::new(config.clone());
    let mut client = stage.client(1);
    let early = keyed(&mut stage, "early");
    stage.publish(&mut client, &early).unwrap();
    let through = index_all(&mut stage, &index);
    let late = keyed(&mut stage, "late");
    stage.publish(&mut client, &late).unwrap();
    let before = stage.engine.durable_state();
    let mut stage = Stage::on(config, stage.records, stage.now, through);
    let mut after = stage.engine.durable_state();
    after.insert("next".into(), before["next"].clone());
    assert_eq!(after, before);
    let mut client = stage.client(9);
    assert!(is_repeat(&mut stage, &mut client, &early));
    assert!(is_repeat(&mut stage, &mut client, &late));
}

#[test]
fn a_repeat_that_is_said_again_names_the_first_from_the_index_too() {
    let (config, index) = with_index();
    let mut stage = Stage::new(config);
    let mut client = stage.client(1);
    let first = keyed(&mut stage, "k");
    stage.publish(&mut client, &first).unwrap();
    index_all(&mut stage, &index);
    let mut again = first.clone();
    again.envelope.id = stage.id();
    let number = client.next;
    stage.publish(&mut client, &again).unwrap();
    stage.disconnect(&client);
    let mut back = hello(1, None);
    back.next_operation = number;
    let (client, _) = stage.connect(back);
    let effects = stage.say(&client, number, Operation::Publish(Arc::new(again))).unwrap();
    assert_eq!(accepted(&effects)[0].id, first.envelope.id);
}

#[test]
fn another_encoding_is_another_payload() {
    let mut stage = Stage::new(config());
    let mut client = stage.client(1);
    let first = keyed(&mut stage, "k");
    stage.publish(&mut client, &first).unwrap();
    let mut other = keyed(&mut stage, "k");
    other.envelope.payload.encoding = Encoding::Gzip;
    let refusal = stage.publish(&mut client, &other).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::KeyReused);
    let mut stage = stage.restarted(Duration::ZERO);
    let mut client = stage.client(9);
    assert!(is_repeat(&mut stage, &mut client, &first));
}

#[test]
fn while_the_index_cannot_be_read_nothing_new_is_accepted_under_a_key() {
    let (config, index) = with_index();
    let mut stage = Stage::new(config);
    let mut client = stage.client(1);
    let early = keyed(&mut stage, "early");
    stage.publish(&mut client, &early).unwrap();
    index_all(&mut stage, &index);
    let late = keyed(&mut stage, "late");
    stage.publish(&mut client, &late).unwrap();
    *index.broken.lock().unwrap() = Some("it rots");
    let mut again = early.clone();
    again.envelope.id = stage.id();
    let refusal = stage.publish(&mut client, &again).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::StoreFailed);
    assert!(refusal.message.contains("key 'early'") && refusal.message.contains("it rots"));
    assert!(is_repeat(&mut stage, &mut client, &late), "memory knows");
    let mut plain = stage.message(Kind::Event, "agent:a");
    plain.envelope.id = stage.id();
    stage.publish(&mut client, &plain).unwrap();
}

#[test]
fn a_key_survives_a_restart_although_its_message_does_not() {
    for (destination, durability) in [
        ("topic:t", None),
        ("topic:nobody", None),
        ("agent:a", Some(Durability::Ephemeral)),
        ("topic:t", Some(Durability::Ephemeral)),
    ] {
        let mut stage = Stage::new(config());
        let mut client = stage.client(1);
        stage.agent(2, "a");
        stage
            .ask(&mut client, Operation::Subscribe(Subscription::new("t".parse().unwrap())))
            .unwrap();
        let mut publish = stage.message(Kind::Event, destination);
        publish.envelope.idempotency_key = Some("k".parse().unwrap());
        publish.options.durability = durability;
        stage.is_fast = false;
        let effects = stage.publish(&mut client, &publish).unwrap();
        assert!(accepted(&effects).is_empty(), "the key is not on disk yet: {destination}");
        stage.is_fast = true;
        stage.commit();
        let mut stage = stage.restarted(millis(10));
        assert_eq!(stage.stats().gauges.total(), 0, "{destination}");
        let mut client = stage.client(7);
        let effects = stage.publish(&mut client, &publish).unwrap();
        assert!(accepted(&effects)[0].duplicate, "{destination}");
    }
}
