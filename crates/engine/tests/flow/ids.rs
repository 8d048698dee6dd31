//! What one id stands for.

use super::synced;
use crate::stage::{Stage, accepted, config, deliveries, hello, later, millis};
use std::sync::Arc;
use trunkline_engine::Record;
use trunkline_types::session::Operation;
use trunkline_types::{Kind, RefusalCode, Sequence};

#[test]
fn a_message_is_called_off_although_the_end_of_one_copy_ends_another() {
    let mut stage = Stage::new(config());
    let mut client = stage.client(1);
    let first = synced(stage.message(Kind::Event, "skill:s"));
    let mut second = synced(stage.message(Kind::Event, "skill:s"));
    second.envelope.ttl = Some(millis(10));
    stage.publish(&mut client, &first).unwrap();
    stage.publish(&mut client, &second).unwrap();
    // A log may have two of one id, written when that was not refused.
    for (_, record) in &mut stage.records {
        if let Record::Accepted(accepted) = record {
            Arc::make_mut(&mut accepted.publish).envelope.id = first.envelope.id;
        }
    }
    let mut stage = Stage::on(config(), stage.records, stage.now, Sequence(0));
    let mut greeting = hello(2, Some("a"));
    greeting.credit.deliveries = 1;
    let (_, effects) = stage.connect(greeting);
    assert_eq!(deliveries(&effects).len(), 1);
    let mut greeting = hello(1, None);
    greeting.next_operation = 9;
    let (mut client, _) = stage.connect(greeting);
    // The timer of the second has not gone off yet.
    stage.now = later(stage.now, millis(11));
    let cancel =
        Operation::Cancel { id: first.envelope.id, reason: "enough".into(), descendants: false };
    stage.ask(&mut client, cancel).unwrap();
    let ended = stage.stats().counters;
    assert_eq!((ended.canceled, ended.expired), (1, 1));
}

#[test]
fn an_id_is_taken_for_as_long_as_its_message_is_open() {
    let mut stage = Stage::new(config());
    let mut agent = stage.agent(2, "a");
    stage.agent(3, "b");
    let mut client = stage.client(1);
    let publish = stage.message(Kind::Event, "agent:a");
    let effects = stage.publish(&mut client, &publish).unwrap();
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::AlreadyTaken);
    stage.complete(&mut agent, deliveries(&effects)[0].token, "");
    stage.publish(&mut client, &publish).unwrap();
    let several = stage.message(Kind::Event, "agents:a,b");
    assert_eq!(deliveries(&stage.publish(&mut client, &several).unwrap()).len(), 2);
    let mut keyed = stage.message(Kind::Event, "agent:a");
    keyed.envelope.idempotency_key = Some("k".parse().unwrap());
    stage.publish(&mut client, &keyed).unwrap();
    let again = stage.publish(&mut client, &keyed).unwrap();
    assert!(accepted(&again)[0].duplicate, "a key is asked for before the id");
}
