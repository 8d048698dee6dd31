//! Messages that recur: each due time makes exactly one, whatever happens to the broker.

use crate::stage::{Peer, Stage, config, deliveries, events, hello, millis, settle};
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::{Command, Effect, EngineConfig, Record};
use trunkline_types::session::{Operation, Subscription};
use trunkline_types::{
    Absent, Answer, DUE_HEADER, Durability, Gather, GatherRule, Kind, Outcome, Publish, Query,
    RefusalCode, SCHEDULE_HEADER, Schedule, ScheduleFilter, ScheduleInfo, WallTime,
};

fn schedule(stage: &mut Stage, name: &str, cron: &str, to: &str) -> Schedule {
    let publish = Arc::new(stage.message(Kind::Event, to));
    Schedule { name: name.parse().unwrap(), cron: cron.into(), zone: "".into(), publish }
}

/// Makes a good schedule a bad one.
type Edit = fn(&mut Schedule);

fn set(schedule: &Schedule) -> Operation {
    Operation::SetSchedule(Box::new(schedule.clone()))
}

/// A stage with an agent `a` and a client, and a schedule that is due every second.
fn each_second(config: EngineConfig) -> (Stage, Peer, Peer) {
    let mut stage = Stage::new(config);
    let agent = stage.agent(2, "a");
    let mut client = stage.client(1);
    let schedule = schedule(&mut stage, "tick", "every 1000", "agent:a");
    stage.ask(&mut client, set(&schedule)).unwrap();
    (stage, agent, client)
}

/// When the delivered messages were due.
fn due(effects: &[Effect]) -> Vec<u64> {
    let publishes = deliveries(effects).into_iter().map(|delivery| delivery.publish);
    publishes.map(|publish| header(&publish, DUE_HEADER).parse().unwrap()).collect()
}

fn header(publish: &Publish, wanted: &str) -> String {
    let headers = &publish.envelope.headers;
    headers.iter().find(|(name, _)| name == wanted).unwrap().1.to_string()
}

fn info(stage: &mut Stage, name: &str) -> ScheduleInfo {
    let filter = ScheduleFilter { name: Some(name.parse().unwrap()), ..Default::default() };
    match stage.query(Query::Schedules(filter)) {
        Ok(Answer::Schedules(mut page)) => page.schedules.remove(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_due_time_makes_one_message_that_says_which() {
    let (mut stage, _, _) = each_second(config());
    assert_eq!(stage.engine.deadline().wall, Some(WallTime(1000)));
    assert!(deliveries(&stage.pass(millis(999))).is_empty());
    let first = stage.pass(millis(1));
    assert_eq!(due(&first), [1000]);
    let publish = deliveries(&first).remove(0).publish;
    assert_eq!(header(&publish, SCHEDULE_HEADER), "tick");
    assert_eq!(publish.envelope.id.millis(), 1000);
    assert_eq!(publish.envelope.payload.to_text(), "x");
    assert!(deliveries(&stage.pass(millis(500))).is_empty());
    let second = stage.pass(millis(500));
    assert_eq!(due(&second), [2000]);
    let other = deliveries(&second).remove(0).publish;
    assert_ne!(other.envelope.id, publish.envelope.id);
    let info = info(&mut stage, "tick");
    assert_eq!((info.fired, info.next), (2, Some(WallTime(3000))));
    assert_eq!(info.last, Some((other.envelope.id, WallTime(2000))));
    assert_eq!(stage.stats().scheduled, 2);
}

#[test]
fn a_schedule_outlives_the_broker_and_does_not_fire_twice() {
    let (mut stage, _, _) = each_second(config());
    stage.pass(millis(1000));
    let before = stage.engine.durable_state();
    let mut stage = stage.restarted(Duration::ZERO);
    let after = stage.engine.durable_state();
    assert_eq!(after["schedule default tick"], before["schedule default tick"]);
    assert_eq!(stage.stats().scheduled, 1);
    let (_, effects) = stage.connect(hello(3, Some("a")));
    assert!(due(&effects).is_empty(), "the session that had it may come back");
    assert!(deliveries(&stage.pass(millis(999))).is_empty());
    assert_eq!(due(&stage.pass(millis(1))), [2000]);
}

#[test]
fn what_was_missed_while_the_broker_was_away_makes_one_message() {
    let (stage, _, _) = each_second(config());
    let mut stage = stage.restarted(millis(3500));
    stage.agent(3, "a");
    assert_eq!(due(&stage.pass(Duration::ZERO)), [1000]);
    assert_eq!(due(&stage.pass(millis(500))), [4000]);
    assert_eq!(info(&mut stage, "tick").fired, 2);
}

#[test]
fn a_message_is_kept_unless_its_schedule_says_otherwise() {
    let (mut stage, agent, _) = each_second(config());
    stage.disconnect(&agent);
    stage.pass(millis(6000));
    let mut stage = stage.restarted(millis(1));
    let (agent, effects) = stage.connect(hello(3, Some("a")));
    assert_eq!(due(&effects), [1000], "it was on disk");
    let mut hasty = schedule(&mut stage, "tick", "every 1000", "agent:a");
    Arc::make_mut(&mut hasty.publish).options.durability = Some(Durability::Ephemeral);
    let mut client = stage.client(4);
    stage.ask(&mut client, set(&hasty)).unwrap();
    stage.disconnect(&agent);
    stage.pass(millis(999));
    assert_eq!(info(&mut stage, "tick").fired, 2);
    let mut stage = stage.restarted(millis(1));
    assert_eq!(info(&mut stage, "tick").fired, 2, "that it fired is on disk");
    let (_, effects) = stage.connect(hello(5, Some("a")));
    assert!(due(&effects).iter().all(|&due| due == 1000), "its message was not");
}

#[test]
fn nothing_is_seen_of_a_message_before_it_is_on_disk_that_it_was_due() {
    for durability in [None, Some(Durability::Ephemeral), Some(Durability::Buffered)] {
        let mut stage = Stage::new(config());
        let mut subscriber = hello(2, Some("a"));
        subscriber.subscriptions = vec![Subscription::new("t.>".parse().unwrap())];
        stage.connect(subscriber);
        let mut client = stage.client(1);
        for (name, to) in [("one", "agent:a"), ("many", "topic:t.x")] {
            let mut schedule = schedule(&mut stage, name, "every 1000", to);
            Arc::make_mut(&mut schedule.publish).options.durability = durability;
            stage.ask(&mut client, set(&schedule)).unwrap();
        }
        stage.is_fast = false;
        let early = stage.pass(millis(1000));
        assert!(deliveries(&early).is_empty() && events(&early).is_empty(), "{durability:?}");
        let latest = stage.engine.sequence();
        stage.engine.durable(stage.now, latest, trunkline_types::Sequence(0), &mut stage.out);
        let written = stage.commit();
        assert!(deliveries(&written).is_empty() && events(&written).is_empty(), "{durability:?}");
        stage.is_fast = true;
        let on_disk = stage.commit();
        assert_eq!((deliveries(&on_disk).len(), events(&on_disk).len()), (1, 1), "{durability:?}");
    }
}

#[test]
fn a_message_that_is_refused_is_tried_again_until_there_is_one() {
    let (mut stage, mut agent, mut client) =
        each_second(EngineConfig { inbox_logged: 1, ..config() });
    let mut filler = stage.message(Kind::Event, "agent:a");
    filler.options.durability = Some(Durability::Synced);
    let filler = deliveries(&stage.publish(&mut client, &filler).unwrap()).remove(0);
    assert!(deliveries(&stage.pass(millis(1000))).is_empty());
    let waits = info(&mut stage, "tick");
    assert_eq!((waits.next, waits.fired), (Some(WallTime(1000)), 0));
    assert_eq!(waits.refused.unwrap().code, RefusalCode::InboxFull);
    assert_eq!(stage.engine.deadline().wall, Some(WallTime(2000)));
    stage.pass(millis(1000));
    stage.ask(&mut agent, settle(filler.token, Outcome::Complete { reply: None })).unwrap();
    assert!(deliveries(&stage.pass(millis(500))).is_empty());
    assert_eq!(due(&stage.pass(millis(500))), [1000], "one message, for the first due time");
    let fired = info(&mut stage, "tick");
    assert_eq!((fired.next, fired.fired, fired.refused), (Some(WallTime(4000)), 1, None));
}

#[test]
fn a_full_disk_holds_schedules_up_and_refuses_new_ones() {
    let (mut stage, _, mut client) = each_second(config());
    stage.handle(Command::Space { ample: false });
    let other = schedule(&mut stage, "other", "every 1000", "agent:a");
    let refusal = stage.ask(&mut client, set(&other)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::DiskFull);
    stage.pass(millis(1000));
    assert_eq!(info(&mut stage, "tick").refused.unwrap().code, RefusalCode::DiskFull);
    stage.handle(Command::Space { ample: true });
    assert_eq!(due(&stage.pass(millis(1000))), [1000]);
    // The times that were missed meanwhile have made one message.
    assert!(due(&stage.pass(millis(999))).is_empty());
    assert_eq!(due(&stage.pass(millis(1))), [3000]);
}

#[test]
fn a_clock_that_is_set_back_makes_no_due_time_come_twice() {
    let (mut stage, _, mut client) = each_second(config());
    stage.pass(millis(1000));
    stage.pass(millis(1000));
    stage.now.wall = WallTime(500);
    stage.pass(Duration::ZERO);
    let again = schedule(&mut stage, "tick", "every 1000", "agent:a");
    stage.ask(&mut client, set(&again)).unwrap();
    assert!(deliveries(&stage.pass(millis(1000))).is_empty());
    let other = schedule(&mut stage, "tick", "every 500", "agent:a");
    stage.ask(&mut client, set(&other)).unwrap();
    assert!(deliveries(&stage.pass(millis(500))).is_empty());
    assert_eq!(due(&stage.pass(millis(500))), [2500]);
}

#[test]
fn the_same_name_replaces_and_what_is_removed_is_gone() {
    let (mut stage, _, mut client) = each_second(config());
    let slower = schedule(&mut stage, "tick", "every 2000", "agent:a");
    stage.ask(&mut client, set(&slower)).unwrap();
    assert!(deliveries(&stage.pass(millis(1000))).is_empty());
    assert_eq!(due(&stage.pass(millis(1000))), [2000]);
    let name: trunkline_types::ScheduleName = "tick".parse().unwrap();
    stage.ask(&mut client, Operation::RemoveSchedule { name: name.clone() }).unwrap();
    assert_eq!(stage.engine.deadline().wall, None);
    let refusal = stage.ask(&mut client, Operation::RemoveSchedule { name }).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotFound);
    let mut stage = stage.restarted(millis(5000));
    stage.agent(3, "a");
    stage.pass(millis(5000));
    assert_eq!(stage.stats().scheduled, 1);
}

#[test]
fn what_is_said_again_after_a_restart_is_done_once() {
    let (mut stage, _, mut client) = each_second(config());
    let name: trunkline_types::ScheduleName = "tick".parse().unwrap();
    let remove = Operation::RemoveSchedule { name };
    stage.ask(&mut client, remove.clone()).unwrap();
    let mut stage = stage.restarted(Duration::ZERO);
    let mut other = stage.client(9);
    let slower = schedule(&mut stage, "tick", "every 2000", "agent:a");
    stage.ask(&mut other, set(&slower)).unwrap();
    let client = stage.client(1);
    let faster = schedule(&mut stage, "tick", "every 1000", "agent:a");
    stage.say(&client, 1, set(&faster)).unwrap();
    stage.say(&client, 2, remove).unwrap();
    assert_eq!(info(&mut stage, "tick").next, Some(WallTime(2000)), "the other's schedule stays");
}

#[test]
fn an_expression_that_ends_fires_no_more() {
    let (mut stage, _, mut client) = each_second(config());
    let ends = schedule(&mut stage, "tick", "until 2000 every 1000", "agent:a");
    stage.ask(&mut client, set(&ends)).unwrap();
    stage.pass(millis(1000));
    stage.pass(millis(1000));
    assert_eq!(info(&mut stage, "tick").next, None);
    assert_eq!(stage.engine.deadline().wall, None);
}

#[test]
fn what_could_never_be_published_is_refused_when_it_is_set() {
    let (mut stage, _, mut client) = each_second(EngineConfig { schedules: 2, ..config() });
    let good = schedule(&mut stage, "good", "every 1000", "agent:a");
    let id = stage.id();
    let edits: [(&str, Edit); 12] = [
        ("is no expression", |it| it.cron = "sometimes".into()),
        ("unknown zone 'Mars'", |it| it.zone = "Mars".into()),
        ("never fires", |it| it.cron = "until 0 every 1000".into()),
        ("the cron expression of schedule 'good' has", |it| it.cron = "x".repeat(2000).into()),
        ("has a reply", |it| {
            let publish = Arc::make_mut(&mut it.publish);
            publish.envelope.kind = Kind::Request;
            publish.options.reply = true;
        }),
        ("has gathering", |it| {
            Arc::make_mut(&mut it.publish).options.gather = Some(Gather::new(GatherRule::All));
        }),
        ("has an idempotency key", |it| {
            Arc::make_mut(&mut it.publish).envelope.idempotency_key = Some("k".parse().unwrap());
        }),
        ("has a not-before time", |it| {
            Arc::make_mut(&mut it.publish).options.not_before = Some(WallTime(5));
        }),
        ("made from dead letter", |it| {
            let envelope = &mut Arc::make_mut(&mut it.publish).envelope;
            envelope.redriven_from = Some(Box::new(envelope.id));
        }),
        ("the source is agent 'a'", |it| {
            Arc::make_mut(&mut it.publish).envelope.source = Some("a".parse().unwrap());
        }),
        ("65 headers, the limit is 64", |it| {
            Arc::make_mut(&mut it.publish).envelope.headers = vec![("h".into(), "v".into()); 63];
        }),
        ("one agent or one skill", |it| {
            let publish = Arc::make_mut(&mut it.publish);
            publish.envelope.kind = Kind::Request;
            publish.envelope.destination = trunkline_types::Destination::All;
        }),
    ];
    for (said, edit) in edits {
        let mut bad = good.clone();
        edit(&mut bad);
        let refusal = stage.ask(&mut client, set(&bad)).unwrap_err();
        assert!(refusal.message.contains(said), "{said}: {refusal}");
    }
    stage.ask(&mut client, set(&good)).unwrap();
    let third = Schedule { name: "third".parse().unwrap(), ..good };
    let refusal = stage.ask(&mut client, set(&third)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    assert!(refusal.message.contains("2 schedules already, the limit is 2"), "{refusal}");
    let mut mine = stage.message(Kind::Event, "agent:a");
    mine.envelope.redriven_from = Some(Box::new(id));
    let refusal = stage.publish(&mut client, &mine).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
}

#[test]
fn schedules_are_listed_by_name_page_by_page() {
    let (mut stage, _, mut client) = each_second(config());
    for name in ["zulu", "alpha"] {
        let schedule = schedule(&mut stage, name, "every 1000", "agent:a");
        stage.ask(&mut client, set(&schedule)).unwrap();
    }
    let mut filter = ScheduleFilter { limit: 2, ..Default::default() };
    let Ok(Answer::Schedules(page)) = stage.query(Query::Schedules(filter.clone())) else {
        panic!("no page")
    };
    let names: Vec<_> = page.schedules.iter().map(|it| it.schedule.name.to_string()).collect();
    assert_eq!(names, ["alpha", "tick"]);
    filter.after = page.next;
    let Ok(Answer::Schedules(page)) = stage.query(Query::Schedules(filter)) else {
        panic!("no page")
    };
    assert_eq!((page.schedules[0].schedule.name.as_str(), page.next), ("zulu", None));
}

#[test]
fn nobody_there_holds_a_message_up_that_does_not_want_to_wait() {
    let (mut stage, agent, mut client) = each_second(config());
    let mut picky = schedule(&mut stage, "tick", "every 1000", "agent:a");
    Arc::make_mut(&mut picky.publish).options.absent = Some(Absent::Fail);
    stage.ask(&mut client, set(&picky)).unwrap();
    stage.disconnect(&agent);
    stage.pass(millis(1000));
    assert_eq!(info(&mut stage, "tick").refused.unwrap().code, RefusalCode::NobodyThere);
    stage.agent(3, "a");
    assert_eq!(due(&stage.pass(millis(1000))), [1000]);
}

#[test]
fn that_it_was_due_and_what_it_made_are_one_record() {
    let (mut stage, _, _) = each_second(config());
    let before = stage.records.len();
    stage.pass(millis(1000));
    let new: Vec<_> = stage.records[before..].iter().map(|(_, record)| record).collect();
    let [Record::Fired { name, due, next, accepted }, Record::Leased { .. }] = new[..] else {
        panic!("{new:?}")
    };
    assert_eq!((name.as_str(), *due, *next), ("tick", WallTime(1000), Some(WallTime(2000))));
    assert_eq!(accepted.inboxes.len(), 1);
}

#[test]
fn what_is_overdue_stays_due_when_its_schedule_is_set_again() {
    let (mut stage, _, mut client) = each_second(EngineConfig { inbox_logged: 0, ..config() });
    stage.pass(millis(1500));
    let again = schedule(&mut stage, "tick", "every 1000", "agent:a");
    stage.ask(&mut client, set(&again)).unwrap();
    assert_eq!(info(&mut stage, "tick").next, Some(WallTime(1000)));
    stage.handle(Command::Configure(Box::new(config())));
    assert_eq!(due(&stage.pass(Duration::ZERO)), [1000]);
}

#[test]
fn limits_that_are_lowered_hold_a_message_up_that_is_over_them() {
    let (mut stage, _, _) = each_second(config());
    let mut strict = config();
    strict.limits.headers = 1;
    stage.handle(Command::Configure(Box::new(strict)));
    stage.pass(millis(1000));
    assert_eq!(info(&mut stage, "tick").refused.unwrap().code, RefusalCode::TooLarge);
}

#[test]
fn how_many_bytes_of_schedules_there_are_is_bounded() {
    let mut stage = Stage::new(EngineConfig { schedule_bytes: 200, ..config() });
    let mut client = stage.client(1);
    let sized = |stage: &mut Stage, name: &str, size: usize| {
        let mut sized = schedule(stage, name, "every 1000", "agent:a");
        Arc::make_mut(&mut sized.publish).envelope.payload = vec![0; size].into();
        sized
    };
    let first = sized(&mut stage, "a", 100);
    stage.ask(&mut client, set(&first)).unwrap();
    let second = sized(&mut stage, "b", 100);
    let refusal = stage.ask(&mut client, set(&second)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    let message = "with schedule 'b' the schedules would have 222 bytes, the limit is 200";
    assert!(refusal.message.starts_with(message), "{refusal}");
    let replaced = sized(&mut stage, "a", 60);
    stage.ask(&mut client, set(&replaced)).unwrap();
    stage.ask(&mut client, set(&second)).unwrap();
    let mut stage = stage.restarted(millis(1));
    let mut client = stage.client(5);
    let third = sized(&mut stage, "c", 10);
    stage.ask(&mut client, set(&third)).unwrap_err();
    stage.ask(&mut client, Operation::RemoveSchedule { name: second.name }).unwrap();
    stage.ask(&mut client, set(&third)).unwrap();
}
