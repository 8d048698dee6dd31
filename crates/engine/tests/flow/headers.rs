//! Headers that only the broker may set.

use crate::stage::{Stage, config, deliveries, millis, settle};
use std::sync::Arc;
use trunkline_types::session::{LetterAddress, Operation, Redrive};
use trunkline_types::{DUE_HEADER, Kind, Outcome, RefusalCode, Schedule};

#[test]
fn a_sender_that_sets_a_header_of_the_brokers_is_refused() {
    let mut stage = Stage::new(config());
    stage.agent(2, "a");
    let mut client = stage.client(1);
    for name in ["trunkline-due", "trunkline-anything", "Trunkline-Due"] {
        let mut publish = stage.message(Kind::Event, "agent:a");
        publish.envelope.headers.push((name.into(), "1".into()));
        let refusal = stage.publish(&mut client, &publish).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Invalid);
        assert!(refusal.message.contains(name), "{refusal}");
        assert!(refusal.message.contains("begins with 'trunkline-'"), "{refusal}");
        let (name, cron) = ("tick".parse().unwrap(), "every 1000".into());
        let schedule = Schedule { name, cron, zone: "".into(), publish: Arc::new(publish) };
        let set = Operation::SetSchedule(Box::new(schedule));
        assert_eq!(stage.ask(&mut client, set).unwrap_err().message, refusal.message);
    }
    let mut publish = stage.message(Kind::Event, "agent:a");
    publish.envelope.headers.push(("x-trunkline-due".into(), "1".into()));
    assert_eq!(deliveries(&stage.publish(&mut client, &publish).unwrap()).len(), 1);
}

#[test]
fn what_a_schedule_made_keeps_its_headers_when_it_is_redriven() {
    let mut stage = Stage::new(config());
    let (mut agent, mut client) = (stage.agent(2, "a"), stage.client(1));
    let publish = Arc::new(stage.message(Kind::Event, "agent:a"));
    let (name, cron) = ("tick".parse().unwrap(), "every 1000".into());
    let schedule = Schedule { name, cron, zone: "".into(), publish };
    stage.ask(&mut client, Operation::SetSchedule(Box::new(schedule))).unwrap();
    let delivery = deliveries(&stage.pass(millis(1000))).remove(0);
    let outcome = Outcome::DeadLetter { reason: "no".into() };
    stage.ask(&mut agent, settle(delivery.token, outcome)).unwrap();
    let letter = LetterAddress { id: delivery.publish.envelope.id, inbox: None };
    let id = stage.id();
    let redrive = Redrive { letter, id, payload: None, destination: None, priority: None };
    let effects = stage.ask(&mut client, Operation::Redrive(Box::new(redrive))).unwrap();
    let again = &deliveries(&effects)[0].publish.envelope;
    assert!(again.headers.iter().any(|(name, _)| name == DUE_HEADER), "{again:?}");
}
