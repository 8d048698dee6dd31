//! Schedules and a clock that is wrong for a while.

use crate::stage::{Peer, Stage, config, later, millis};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::Operation;
use trunkline_types::{
    Answer, Kind, Query, Schedule, ScheduleFilter, ScheduleInfo, Sequence, WallTime,
};

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
fn a_clock_that_ran_ahead_costs_no_due_time_but_those_that_came_already() {
    let mut stage = Stage::new(config());
    each_second(&mut stage);
    for wall in 1..=10 {
        show(&mut stage, wall * 1000);
        stage.pass(Duration::ZERO);
    }
    assert_eq!(tick(&mut stage).fired, 10);
    for wall in [3000, 4000, 9000, 10_000] {
        show(&mut stage, wall);
        stage.pass(Duration::ZERO);
        let info = tick(&mut stage);
        assert_eq!((info.fired, info.next), (10, Some(WallTime(11_000))), "these came already");
    }
    let mut stage = stage.restarted(millis(500));
    for wall in [11_000, 12_000] {
        show(&mut stage, wall);
        stage.pass(Duration::ZERO);
    }
    let info = tick(&mut stage);
    assert_eq!((info.fired, info.last.unwrap().1), (12, WallTime(12_000)));
}

#[test]
fn a_schedule_that_ended_while_the_clock_was_ahead_goes_on_when_that_is_set_back() {
    let mut stage = Stage::new(config());
    let (mut client, mut schedule) = each_second(&mut stage);
    schedule.cron = "until 5000 every 1000".into();
    stage.ask(&mut client, Operation::SetSchedule(Box::new(schedule))).unwrap();
    for wall in [1000, 1_000_000_000] {
        show(&mut stage, wall);
        stage.pass(Duration::ZERO);
    }
    let info = tick(&mut stage);
    assert_eq!((info.fired, info.next), (2, None));
    for wall in [1500, 3000, 4000, 5000] {
        show(&mut stage, wall);
        stage.pass(Duration::ZERO);
    }
    let info = tick(&mut stage);
    assert_eq!((info.fired, info.last.unwrap().1, info.next), (5, WallTime(5000), None));
}
