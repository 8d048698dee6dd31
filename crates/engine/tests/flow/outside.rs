//! Publishes that wait outside a full inbox.

use super::credit;
use crate::stage::{self, Peer, Stage, config, deliveries, later, millis};
use std::time::Duration;
use trunkline_engine::{Effect, EngineConfig};
use trunkline_types::session::{Operation, SessionItem};
use trunkline_types::{InboxChange, Kind, Payload, Refusal, RefusalCode, WallTime, WhenFull};

#[test]
fn a_time_to_live_runs_while_its_message_waits_outside() {
    let settings = EngineConfig { when_full: WhenFull::Wait, inbox_ephemeral: 1, ..config() };
    let mut stage = Stage::new(settings);
    let mut agent = stage.agent(2, "a");
    let mut client = stage.client(1);
    let first = stage.message(Kind::Event, "agent:a");
    let effects = stage.publish(&mut client, &first).unwrap();
    let mut second = stage.message(Kind::Event, "agent:a");
    second.envelope.ttl = Some(millis(1000));
    stage.publish(&mut client, &second).unwrap();
    stage.pass(millis(900));
    let effects = stage.complete(&mut agent, deliveries(&effects)[0].token, "");
    assert_eq!(deliveries(&effects)[0].expires_at, Some(WallTime(1000)));
}

#[test]
fn who_waits_outside_is_admitted_or_refused_when_the_inbox_is_no_longer_one_to_wait_for() {
    for policy in [WhenFull::Reject, WhenFull::DropOldest] {
        let settings = EngineConfig { when_full: WhenFull::Wait, inbox_ephemeral: 1, ..config() };
        let mut stage = Stage::new(settings);
        let agent = stage.agent(2, "a");
        credit(&mut stage, &agent, 0, 0);
        let (mut client, mut operator) = (stage.client(1), stage.client(4));
        for kind in [Kind::Event, Kind::Event, Kind::Request] {
            let publish = stage.message(kind, "agent:a");
            stage.publish(&mut client, &publish).unwrap();
        }
        let change = Box::new(InboxChange { when_full: Some(policy), ..Default::default() });
        let inbox = "agent:a".parse().unwrap();
        let effects = stage.ask(&mut operator, Operation::SetInbox { inbox, change }).unwrap();
        let refused = stage::items(&effects).filter_map(|item| match item {
            SessionItem::Refused { operation, refusal } => {
                Some((*operation, refusal.message.clone()))
            }
            _ => None,
        });
        let refused: Vec<_> = refused.collect();
        let full = "the inbox of 'agent:a' is full: it may hold 1 ephemeral envelopes";
        if policy == WhenFull::Reject {
            assert_eq!(refused, [(2, full.to_owned()), (3, full.to_owned())]);
        } else {
            let why = "and events are dropped for events only, not for a request";
            assert_eq!(refused, [(3, format!("{full}, {why}"))]);
            assert_eq!(stage.stats().counters.dropped, 1);
        }
        assert_eq!(stage.stats().waiting_outside, 0);
    }
}

/// The refusals among effects, with the numbers of the operations.
fn refusals(effects: &[Effect]) -> Vec<(u64, Refusal)> {
    let refusal = |item: &SessionItem| match item {
        SessionItem::Refused { operation, refusal } => Some((*operation, refusal.clone())),
        _ => None,
    };
    stage::items(effects).filter_map(refusal).collect()
}

/// An inbox that holds one event, which its agent has, and a sender.
fn full(change: impl FnOnce(&mut EngineConfig)) -> (Stage, Peer, Peer, Vec<Effect>) {
    let mut settings = EngineConfig { when_full: WhenFull::Wait, inbox_ephemeral: 1, ..config() };
    change(&mut settings);
    let mut stage = Stage::new(settings);
    let (agent, mut client) = (stage.agent(2, "a"), stage.client(1));
    let first = stage.message(Kind::Event, "agent:a");
    let effects = stage.publish(&mut client, &first).unwrap();
    (stage, agent, client, effects)
}

#[test]
fn what_is_of_no_use_any_more_when_there_is_room_is_refused() {
    let (mut stage, mut agent, mut client, effects) = full(|_| {});
    let mut second = stage.message(Kind::Event, "agent:a");
    second.envelope.ttl = Some(millis(1000));
    assert!(refusals(&stage.publish(&mut client, &second).unwrap()).is_empty(), "it waits");
    // The broker is away, which does not count for how long a publish may wait outside.
    stage.now = later(stage.now, Duration::from_hours(1));
    assert!(refusals(&stage.pass(Duration::ZERO)).is_empty());
    let token = deliveries(&effects)[0].token;
    let effects = stage.complete(&mut agent, token, "");
    let refused = refusals(&effects);
    assert_eq!((refused.len(), refused[0].0), (1, 2));
    assert!(refused[0].1.message.contains("time to live has ended"), "{}", refused[0].1);
    assert!(deliveries(&effects).is_empty());
    let stats = stage.stats();
    assert_eq!((stats.counters.accepted, stats.counters.expired), (1, 0), "it never came in");
    assert_eq!((stats.messages_refused, stats.waiting_outside), (1, 0));
}

#[test]
fn how_many_bytes_wait_outside_is_bounded() {
    let (mut stage, mut agent, mut client, effects) = full(|it| it.waiting_outside_bytes = 100);
    let mut send = |stage: &mut Stage, size: usize| {
        let mut publish = stage.message(Kind::Event, "agent:a");
        publish.envelope.payload = Payload::from(vec![0; size]);
        stage.publish(&mut client, &publish)
    };
    send(&mut stage, 60).unwrap();
    let refusal = send(&mut stage, 41).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::InboxFull);
    assert!(
        refusal.message.contains("101 bytes would wait outside, the limit is 100"),
        "{refusal}"
    );
    send(&mut stage, 40).unwrap();
    assert_eq!(stage.stats().waiting_outside, 2);
    let token = deliveries(&effects)[0].token;
    assert_eq!(deliveries(&stage.complete(&mut agent, token, "")).len(), 1);
    send(&mut stage, 60).unwrap();
    assert_eq!(stage.stats().waiting_outside, 2, "what came in makes room outside");
}
