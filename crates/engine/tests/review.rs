//! Promises that an independent reading of the engine found broken.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod stage;

use stage::{
    Peer, Stage, accepted, cancels, config, deliveries, events, gathered, hello, later, millis,
    settle,
};
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::{Command, Effect, EngineConfig, Record};
use trunkline_types::session::{
    ClientFrame, Credit, LetterAddress, NumberRange, Operation, Redrive, SessionItem, Subscription,
    Update, UpdateBody,
};
use trunkline_types::{
    Absent, Answer, DeadLetterFilter, Durability, FailureCode, Gather, GatherRule, InboxChange,
    Kind, Outcome, Payload, Publish, Query, RefusalCode, Schedule, ScheduleFilter, ScheduleInfo,
    Sequence, WallTime, WhenFull,
};

fn to(pattern: &str) -> Subscription {
    Subscription::new(pattern.parse().unwrap())
}

fn kept(pattern: &str) -> Subscription {
    Subscription { durable: true, ..to(pattern) }
}

fn credit(stage: &mut Stage, peer: &Peer, deliveries: u32, events: u32) -> Vec<Effect> {
    let frame = ClientFrame::Credit(Credit { deliveries, events });
    stage.handle(Command::Frame { connection: peer.connection, frame, verdicts: Vec::new() })
}

fn synced(mut publish: Publish) -> Publish {
    publish.options.durability = Some(Durability::Synced);
    publish
}

fn letters(stage: &mut Stage) -> usize {
    match stage.query(Query::DeadLetters(DeadLetterFilter::default())) {
        Ok(Answer::DeadLetters(page)) => page.letters.len(),
        other => panic!("{other:?}"),
    }
}

fn knows(stage: &mut Stage, inbox: &str) -> bool {
    stage.query(Query::Inbox(inbox.parse().unwrap())).is_ok()
}

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
    let cancel = Operation::Cancel { id: first.envelope.id, reason: "enough".into() };
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

#[test]
fn a_letter_is_redriven_to_wait_for_somebody_whatever_its_sender_wanted() {
    let mut stage = Stage::new(config());
    let mut agent = stage.agent(2, "a");
    let mut client = stage.client(1);
    let mut publish = synced(stage.message(Kind::Event, "skill:s"));
    publish.options.absent = Some(Absent::Discard);
    let effects = stage.publish(&mut client, &publish).unwrap();
    let dead = Outcome::DeadLetter { reason: "no".into() };
    stage.ask(&mut agent, settle(deliveries(&effects)[0].token, dead)).unwrap();
    let (connection, frame) = (agent.connection, ClientFrame::Goodbye);
    stage.handle(Command::Frame { connection, frame, verdicts: Vec::new() });
    let letter = LetterAddress { id: publish.envelope.id, inbox: None };
    let id = stage.id();
    let redrive = Redrive { letter, id, payload: None, destination: None, priority: None };
    let effects = stage.ask(&mut client, Operation::Redrive(Box::new(redrive))).unwrap();
    assert_eq!((accepted(&effects)[0].targets, accepted(&effects)[0].parked), (1, 1));
    assert_eq!(letters(&mut stage), 0);
    let mut stage = stage.restarted(Duration::from_secs(1));
    assert_eq!(letters(&mut stage), 0);
    let (_, effects) = stage.connect(hello(3, Some("b")));
    assert_eq!(deliveries(&effects)[0].publish.envelope.id, id);
}

#[test]
fn what_is_logged_goes_to_no_more_inboxes_than_one_record_may_name() {
    let mut stage = Stage::new(EngineConfig { logged_copies: 2, ..config() });
    let mut client = stage.client(1);
    let mut agents = Vec::new();
    for (session, id) in [(2, "a"), (3, "b"), (4, "c")] {
        agents.push(stage.agent(session, id));
    }
    let publish = synced(stage.message(Kind::Broadcast, "all"));
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    assert!(refusal.message.contains("is 3 inboxes, the limit"), "{refusal}");
    let publish = stage.message(Kind::Broadcast, "all");
    assert_eq!(deliveries(&stage.publish(&mut client, &publish).unwrap()).len(), 3);
    // Who subscribes while an event waits for its time may be too many as well.
    let mut delayed = synced(stage.message(Kind::Event, "topic:t"));
    delayed.options.delay = Some(millis(100));
    stage.publish(&mut client, &delayed).unwrap();
    for agent in &mut agents {
        stage.ask(agent, Operation::Subscribe(kept("t"))).unwrap();
    }
    let before = stage.stats().counters.dropped;
    assert_eq!(deliveries(&stage.pass(millis(100))).len(), 2);
    assert_eq!(stage.stats().counters.dropped, before + 1);
    let publish = stage.message(Kind::Event, "agent:c");
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert_eq!(deliveries(&effects)[0].missed.len(), 1, "who was left out is told");
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
        stage.ask(&mut client, Operation::Subscribe(to("t"))).unwrap();
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

fn gathering(stage: &mut Stage, destination: &str) -> Publish {
    let mut publish = stage.message(Kind::Request, destination);
    publish.options.reply = true;
    publish.envelope.ttl = Some(Duration::from_hours(1));
    publish.options.gather = Some(Gather::new(GatherRule::All));
    publish
}

#[test]
fn the_key_of_a_gathering_survives_a_restart() {
    let mut stage = Stage::new(config());
    let mut client = stage.client(1);
    stage.agent(2, "a");
    let mut publish = gathering(&mut stage, "agents:a");
    publish.envelope.idempotency_key = Some("k".parse().unwrap());
    publish.options.durability = Some(Durability::Ephemeral);
    stage.publish(&mut client, &publish).unwrap();
    let mut stage = stage.restarted(millis(10));
    stage.agent(2, "a");
    let mut client = stage.client(7);
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert!(deliveries(&effects).is_empty());
    assert!(accepted(&effects)[0].duplicate);
}

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
fn an_event_that_waited_to_be_routed_expires_when_it_would_have() {
    let mut stage = Stage::new(config());
    let mut subscriber = stage.client(3);
    credit(&mut stage, &subscriber, 0, 0);
    stage.ask(&mut subscriber, Operation::Subscribe(to("t"))).unwrap();
    let mut client = stage.client(1);
    let mut publish = stage.message(Kind::Event, "topic:t");
    publish.envelope.ttl = Some(millis(1000));
    publish.options.delay = Some(millis(900));
    stage.publish(&mut client, &publish).unwrap();
    stage.pass(millis(900));
    stage.pass(millis(500));
    assert!(events(&credit(&mut stage, &subscriber, 0, 10)).is_empty(), "it expired at 1000");
}

#[test]
fn a_group_passes_over_a_full_member_while_another_has_room() {
    let mut stage = Stage::new(EngineConfig { inbox_ephemeral: 2, ..config() });
    let (mut full, mut free) = (stage.client(2), stage.client(3));
    for peer in [&mut full, &mut free] {
        let grouped = Subscription { group: Some("g".parse().unwrap()), ..to("t") };
        stage.ask(peer, Operation::Subscribe(grouped)).unwrap();
    }
    stage.ask(&mut full, Operation::Subscribe(to("u"))).unwrap();
    let mut client = stage.client(1);
    for topic in ["topic:u", "topic:u", "topic:t", "topic:t"] {
        let publish = stage.message(Kind::Event, topic);
        let effects = stage.publish(&mut client, &publish).unwrap();
        assert_eq!((accepted(&effects)[0].targets, accepted(&effects)[0].dropped), (1, 0));
        let whose = if topic == "topic:u" { &full } else { &free };
        let told = effects.iter().any(|effect| {
            matches!(effect, Effect::Item { connection, item: SessionItem::Event(_) }
                if *connection == whose.connection)
        });
        assert!(told, "{effects:?}");
    }
    let publish = stage.message(Kind::Event, "topic:t");
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert_eq!(accepted(&effects)[0].dropped, 1, "all are full");
}

#[test]
fn a_delivery_that_ran_too_long_is_not_the_sessions_again_when_it_comes_back() {
    let mut stage = Stage::new(config());
    let mut agent = stage.agent(2, "a");
    let mut client = stage.client(1);
    let mut publish = stage.message(Kind::Request, "skill:s");
    publish.options.task = true;
    publish.options.max_run = Some(Duration::from_secs(10));
    let effects = stage.publish(&mut client, &publish).unwrap();
    let token = deliveries(&effects)[0].token;
    stage.ask(&mut agent, Operation::Update(Update { token, body: UpdateBody::Started })).unwrap();
    credit(&mut stage, &agent, 0, 0);
    assert_eq!(cancels(&stage.pass(Duration::from_secs(10))).len(), 1);
    stage.disconnect(&agent);
    let mut greeting = hello(2, Some("a"));
    greeting.held = vec![token];
    greeting.next_operation = agent.next;
    let (_, effects) = stage.connect(greeting);
    let revoked = effects.iter().find_map(|effect| match effect {
        Effect::Welcome { result: Ok(welcome), .. } => Some(welcome.revoked.clone()),
        _ => None,
    });
    assert_eq!(revoked, Some(vec![token]));
    assert_ne!(deliveries(&effects)[0].token, token);
}

fn each_second(stage: &mut Stage) -> (Peer, Schedule) {
    let mut client = stage.client(1);
    let publish = Arc::new(stage.message(Kind::Event, "skill:s"));
    let (name, cron) = ("tick".parse().unwrap(), "every 1000".into());
    let schedule = Schedule { name, cron, zone: "".into(), publish };
    stage.ask(&mut client, Operation::SetSchedule(Box::new(schedule.clone()))).unwrap();
    (client, schedule)
}

fn tick(stage: &mut Stage) -> ScheduleInfo {
    match stage.query(Query::Schedules(ScheduleFilter::default())) {
        Ok(Answer::Schedules(page)) => page.schedules[0].clone(),
        other => panic!("{other:?}"),
    }
}

/// The clock shows a time.
fn show(stage: &mut Stage, wall: u64) {
    stage.now = later(stage.now, millis(1));
    stage.now.wall = WallTime(wall);
}

#[test]
fn a_clock_that_was_ahead_silences_no_schedule_and_no_due_time_comes_twice() {
    let mut stage = Stage::new(config());
    each_second(&mut stage);
    for wall in [1000, 1_000_000_000] {
        show(&mut stage, wall);
        stage.pass(Duration::ZERO);
    }
    assert_eq!(tick(&mut stage).fired, 2, "one for all that the clock jumped over");
    show(&mut stage, 1500);
    stage.pass(Duration::ZERO);
    let info = tick(&mut stage);
    let due = info.last.unwrap().1;
    assert_eq!((due, info.next), (WallTime(2000), Some(WallTime(3000))), "2000 came already");
    show(&mut stage, 3000);
    stage.pass(Duration::ZERO);
    let mut stage = stage.restarted(Duration::ZERO);
    let info = tick(&mut stage);
    assert_eq!((info.fired, info.next), (3, Some(WallTime(4000))));
}

#[test]
fn a_clock_that_is_set_back_while_the_broker_is_down_silences_no_schedule() {
    let mut stage = Stage::new(config());
    each_second(&mut stage);
    show(&mut stage, 1_000_000_000);
    stage.pass(Duration::ZERO);
    show(&mut stage, 1500);
    let mut stage = Stage::on(config(), stage.records, stage.now, Sequence(0));
    assert_eq!(tick(&mut stage).next, Some(WallTime(2000)));
}

#[test]
fn a_schedule_that_is_set_again_looks_at_the_clock_anew() {
    let mut stage = Stage::new(config());
    let (mut client, schedule) = each_second(&mut stage);
    // Not so far that the broker takes it for a clock that was set back.
    let mut slow = schedule;
    slow.cron = "every 10".into();
    stage.ask(&mut client, Operation::SetSchedule(Box::new(slow.clone()))).unwrap();
    show(&mut stage, 900);
    stage.pass(Duration::ZERO);
    show(&mut stage, 100);
    stage.ask(&mut client, Operation::SetSchedule(Box::new(slow))).unwrap();
    assert_eq!(tick(&mut stage).next, Some(WallTime(110)));
}

#[test]
fn a_gathering_that_is_refused_makes_no_inboxes() {
    let mut stage = Stage::new(EngineConfig { inboxes: 10, ..config() });
    let mut client = stage.client(1);
    let ids: Vec<String> = (0..50).map(|number| format!("x{number}")).collect();
    let everybody = format!("agents:{}", ids.join(","));
    let mut publish = gathering(&mut stage, &everybody);
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::InboxFull);
    assert!(refusal.message.contains("there would be 51; the limit is 10"), "{refusal}");
    publish.options.absent = Some(Absent::Fail);
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NobodyThere);
    let publish = stage.message(Kind::Event, &everybody);
    stage.publish(&mut client, &publish).unwrap_err();
    assert!(!ids.iter().any(|id| knows(&mut stage, &format!("agent:{id}"))));
    let publish = gathering(&mut stage, "agents:x1,x2");
    stage.publish(&mut client, &publish).unwrap();
    assert!(knows(&mut stage, "agent:x2"));
}

#[test]
fn the_answers_that_all_gatherings_of_a_tenant_hold_are_bounded() {
    let mut stage = Stage::new(EngineConfig { gather_bytes: 1000, ..config() });
    let mut agent = stage.agent(2, "a");
    let mut client = stage.client(1);
    let large = Payload::new("application/octet-stream", vec![0_u8; 600]);
    let mut answer = |stage: &mut Stage, destination: &str| {
        let publish = gathering(stage, destination);
        let effects = stage.publish(&mut client, &publish).unwrap();
        let token = deliveries(&effects)[0].token;
        let reply = Some(large.clone());
        stage.ask(&mut agent, settle(token, Outcome::Complete { reply })).unwrap()
    };
    answer(&mut stage, "agents:a,away");
    let effects = answer(&mut stage, "agents:a");
    let failure = gathered(&effects)[0].parts[0].result.clone().unwrap_err();
    assert_eq!(failure.code, FailureCode::LeftOut);
    assert!(failure.reason.contains("is 1000, of which 400 are left"), "{}", failure.reason);
    stage.pass(Duration::from_hours(1));
    let effects = answer(&mut stage, "agents:a");
    assert!(gathered(&effects)[0].complete, "the first one has ended");
}

#[test]
fn what_was_missed_is_told_until_a_delivery_that_told_it_has_arrived() {
    let settings = EngineConfig { when_full: WhenFull::DropOldest, inbox_ephemeral: 1, ..config() };
    let mut stage = Stage::new(settings);
    let agent = stage.agent(2, "a");
    credit(&mut stage, &agent, 0, 0);
    let mut client = stage.client(1);
    for _ in 0..3 {
        let mut publish = stage.message(Kind::Event, "agent:a");
        publish.options.attempts = Some(3);
        stage.publish(&mut client, &publish).unwrap();
    }
    let both = vec![NumberRange { first: 1, last: 2 }];
    assert_eq!(deliveries(&credit(&mut stage, &agent, 1, 0))[0].missed, both);
    stage.disconnect(&agent);
    let (mut agent, effects) = stage.connect(hello(2, Some("a")));
    let first = deliveries(&effects).remove(0);
    assert_eq!(first.missed, both, "the session came back without the delivery");
    let started = Update { token: first.token, body: UpdateBody::Started };
    stage.ask(&mut agent, Operation::Update(started)).unwrap();
    stage.disconnect(&agent);
    let mut greeting = hello(2, Some("a"));
    greeting.next_operation = agent.next;
    let (mut agent, effects) = stage.connect(greeting);
    assert_eq!(deliveries(&effects)[0].missed, [], "it had arrived, for it was begun");
    credit(&mut stage, &agent, 1, 0);
    for _ in 0..2 {
        let publish = stage.message(Kind::Event, "agent:a");
        let late = stage.publish(&mut client, &publish).map(|effects| accepted(&effects));
        assert_eq!(late.unwrap_err().code, RefusalCode::InboxFull, "the only one is held");
    }
    let several = stage.message(Kind::Event, "agents:a,b");
    stage.publish(&mut client, &several).unwrap();
    let retry = |token| {
        let outcome = Outcome::Retry { reason: "no".into(), delay: Some(Duration::ZERO) };
        settle(token, outcome)
    };
    let effects = stage.ask(&mut agent, retry(deliveries(&effects)[0].token)).unwrap();
    let second = deliveries(&effects).remove(0);
    assert_eq!(second.missed, [NumberRange { first: 4, last: 4 }]);
    let effects = stage.ask(&mut agent, retry(second.token)).unwrap();
    assert!(deliveries(&effects).is_empty(), "that was its last attempt");
    let publish = stage.message(Kind::Event, "agent:a");
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert_eq!(deliveries(&effects)[0].missed, [], "it had arrived, for it was settled");
}

#[test]
fn a_session_is_told_of_an_event_once_that_is_as_durable_as_it_should_be() {
    for delay in [None, Some(millis(100))] {
        let mut stage = Stage::new(config());
        let mut subscriber = stage.client(3);
        stage.ask(&mut subscriber, Operation::Subscribe(to("t"))).unwrap();
        let mut agent = stage.agent(2, "a");
        stage.ask(&mut agent, Operation::Subscribe(kept("t"))).unwrap();
        let mut client = stage.client(1);
        let mut publish = synced(stage.message(Kind::Event, "topic:t"));
        publish.options.delay = delay;
        stage.is_fast = delay.is_some();
        let mut effects = stage.publish(&mut client, &publish).unwrap();
        stage.is_fast = false;
        if let Some(delay) = delay {
            effects = stage.pass(delay);
        }
        assert!(events(&effects).is_empty() && deliveries(&effects).is_empty());
        stage.is_fast = true;
        let effects = stage.commit();
        assert_eq!((events(&effects).len(), deliveries(&effects).len()), (1, 1));
    }
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
