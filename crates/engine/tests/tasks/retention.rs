//! The past is kept for a time.

use super::task;
use crate::stage::{Stage, config, deliveries, millis, settle};
use std::time::Duration;
use trunkline_engine::{Command, Effect, Engine, EngineConfig};
use trunkline_types::{Answer, DeadLetterFilter, MessageId, Outcome, Query, RefusalCode, WallTime};

const HOUR: Duration = Duration::from_hours(1);

fn short() -> EngineConfig {
    EngineConfig { ended_task_keep: HOUR, dead_letter_keep: 2 * HOUR, ..config() }
}

/// One task that became a dead letter, which is thus an ended task as well.
fn dead_letter(stage: &mut Stage, session: u128) -> MessageId {
    let (mut agent, mut client) = (stage.agent(session, "a"), stage.client(session + 1));
    let publish = task(stage, "skill:s");
    let sent = stage.publish(&mut client, &publish).unwrap();
    let outcome = Outcome::DeadLetter { reason: "no good".into() };
    stage.ask(&mut agent, settle(deliveries(&sent)[0].token, outcome)).unwrap();
    publish.envelope.id
}

fn letters(stage: &mut Stage) -> usize {
    match stage.query(Query::DeadLetters(DeadLetterFilter::default())) {
        Ok(Answer::DeadLetters(page)) => page.letters.len(),
        other => panic!("{other:?}"),
    }
}

fn is_there(stage: &mut Stage, id: MessageId) -> bool {
    match stage.query(Query::task(id)) {
        Ok(_) => true,
        Err(refusal) => {
            assert_eq!(refusal.code, RefusalCode::NotFound);
            false
        }
    }
}

#[test]
fn an_ended_task_is_forgotten_when_its_time_is_over_and_that_is_counted() {
    let mut stage = Stage::new(short());
    let id = dead_letter(&mut stage, 1);
    let ends = WallTime(0).after(HOUR);
    assert_eq!(stage.engine.deadline().wall, Some(ends), "it wakes by itself");
    stage.pass(millis(3_599_999));
    assert!(is_there(&mut stage, id));
    stage.pass(millis(1));
    assert!(!is_there(&mut stage, id));
    let stats = stage.stats();
    assert_eq!((stats.tasks_forgotten, stats.dead_letters_forgotten), (1, 0));
}

#[test]
fn a_dead_letter_is_forgotten_when_its_time_is_over_and_that_is_counted() {
    let mut stage = Stage::new(short());
    dead_letter(&mut stage, 1);
    stage.pass(HOUR + millis(3_599_999));
    assert_eq!(letters(&mut stage), 1);
    let ends = WallTime(0).after(2 * HOUR);
    assert_eq!(stage.engine.deadline().wall, Some(ends), "it wakes by itself");
    stage.pass(millis(1));
    assert_eq!(letters(&mut stage), 0);
    assert_eq!(stage.stats().dead_letters_forgotten, 1);
    assert_eq!(stage.engine.deadline().wall, None, "nothing is left to be forgotten");
}

#[test]
fn another_time_to_keep_holds_for_what_has_ended_before() {
    let mut stage = Stage::new(short());
    let id = dead_letter(&mut stage, 1);
    let longer = EngineConfig { ended_task_keep: 3 * HOUR, ..short() };
    stage.handle(Command::Configure(Box::new(longer)));
    stage.pass(2 * HOUR);
    assert!(is_there(&mut stage, id));
    stage.pass(HOUR);
    assert!(!is_there(&mut stage, id));
}

#[test]
fn an_open_task_is_kept_however_old_it_is() {
    let mut stage = Stage::new(short());
    let mut client = stage.client(1);
    let publish = task(&mut stage, "skill:s");
    stage.publish(&mut client, &publish).unwrap();
    stage.pass(100 * HOUR);
    assert!(is_there(&mut stage, publish.envelope.id));
}

#[test]
fn what_was_forgotten_stays_forgotten_and_is_counted_the_same_after_a_restart() {
    let mut stage = Stage::new(short());
    let old = dead_letter(&mut stage, 1);
    stage.pass(HOUR + millis(1));
    let young = dead_letter(&mut stage, 3);
    stage.pass(HOUR);
    let before = stage.stats();
    assert_eq!((before.tasks_forgotten, before.dead_letters_forgotten), (2, 1));
    let mut stage = stage.restarted(millis(1));
    assert!(!is_there(&mut stage, old) && !is_there(&mut stage, young));
    let after = stage.stats();
    assert_eq!((after.tasks_forgotten, after.dead_letters_forgotten), (2, 1));
    assert_eq!(letters(&mut stage), 1);
}

#[test]
fn a_replay_is_the_same_but_for_what_is_past_its_time() {
    let mut stage = Stage::new(short());
    dead_letter(&mut stage, 1);
    dead_letter(&mut stage, 3);
    stage.pass(HOUR);
    let mut replayed = Engine::new(stage.config.clone());
    for (sequence, record) in stage.records.clone() {
        replayed.replay(sequence, record).unwrap();
    }
    let (live, now) = (&stage.engine, stage.now.wall);
    assert_ne!(live.durable_state(), replayed.durable_state(), "no record tells how late it is");
    let kept = live.durable_state_at(now);
    assert_eq!(kept, replayed.durable_state_at(now));
    assert!(kept.keys().any(|name| name.starts_with("dead ")), "dead letters are kept longer");
    assert!(!kept.keys().any(|name| name.starts_with("task ")));
}

#[test]
fn a_task_with_the_id_of_a_forgotten_one_is_known_after_a_restart() {
    let mut stage = Stage::new(short());
    let id = dead_letter(&mut stage, 1);
    // No record tells that the first is forgotten before the second is there.
    stage.pass(HOUR);
    let mut client = stage.client(3);
    let mut publish = task(&mut stage, "skill:t");
    publish.envelope.id = id;
    publish.envelope.context_id = Some("talk".parse().unwrap());
    stage.publish(&mut client, &publish).unwrap();
    dead_letter(&mut stage, 5);
    let mut stage = stage.restarted(millis(1));
    assert!(is_there(&mut stage, id));
}

/// Cleans the log in steps that are as small as they can be. Time passes before one of them, and
/// one more comes to its end then. Whether there were so many steps.
fn clean(stage: &mut Stage, passes_at: usize, span: Duration) -> bool {
    let before = stage.records.last().unwrap().0.next();
    let mut step = 0;
    loop {
        if step == passes_at {
            stage.pass(span);
            dead_letter(stage, 100);
        }
        let effects = stage.handle(Command::Clean { before });
        if effects.contains(&Effect::Cleaned { before }) {
            stage.records.retain(|(at, _)| *at >= before);
            return step >= passes_at;
        }
        step += 1;
    }
}

/// A stage where a task and a letter were forgotten, and others are about to be.
fn with_past() -> Stage {
    let mut stage = Stage::new(EngineConfig { clean_step_bytes: 1, ..short() });
    for session in [1, 3, 5, 7] {
        dead_letter(&mut stage, session);
        stage.pass(millis(3_000_000));
    }
    stage
}

#[test]
fn what_is_forgotten_during_a_sweep_is_counted_the_same_on_what_is_left_of_the_log() {
    for passes_at in 0.. {
        let mut stage = with_past();
        assert!(stage.stats().tasks_forgotten > 0 && stage.stats().dead_letters_forgotten > 0);
        if !clean(&mut stage, passes_at, millis(3_000_000)) {
            assert!(passes_at > 4, "a sweep of so many things has more steps than {passes_at}");
            return;
        }
        let (before, letters_before) = (stage.stats(), letters(&mut stage));
        let mut state = stage.engine.durable_state_at(stage.now.wall);
        let mut stage = stage.restarted(millis(0));
        let after = stage.stats();
        assert_eq!(before.tasks_forgotten, after.tasks_forgotten, "step {passes_at}");
        assert_eq!(before.dead_letters_forgotten, after.dead_letters_forgotten);
        assert_eq!(letters_before, letters(&mut stage));
        let mut replayed = stage.engine.durable_state_at(stage.now.wall);
        // The epoch is the next one.
        state.remove("next");
        replayed.remove("next");
        assert_eq!(state, replayed);
    }
}
