//! The beginning of the log may go once everything durable is said again: what is left rebuilds
//! the same engine.

use crate::world::{Peer, World, config, durable};
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::{Carried, Command, Effect, Engine, EngineConfig, Output, Record};
use trunkline_types::session::{Operation, Update, UpdateBody};
use trunkline_types::{
    Absent, AgentChange, ArtifactChunk, Durability, InboxChange, Kind, Outcome, PauseReason,
    Publish, RefusalCode, Sequence, Settle,
};

fn sure(mut publish: Publish) -> Publish {
    publish.options.durability = Some(Durability::Synced);
    publish
}

fn task(world: &mut World) -> Publish {
    let mut publish = world.message(Kind::Request, "skill:s");
    publish.options.task = true;
    publish
}

/// Cleans as far as it goes; returns how many records the largest step wrote.
fn clean(world: &mut World) -> usize {
    let before = world.records.last().unwrap().0.next();
    clean_before(world, before)
}

/// The same, of what is before a place.
fn clean_before(world: &mut World, before: Sequence) -> usize {
    let (mut most, mut told) = (0, false);
    while !told {
        let records = world.records.len();
        world.handle(Command::Clean { before });
        most = most.max(world.records.len() - records);
        told = world.effects.contains(&Effect::Cleaned { before });
    }
    // The records before are gone.
    world.records.retain(|(at, _)| *at >= before);
    most
}

/// Stops the broker and starts it on what is left of the log; what is durable must be the same,
/// but for the epoch.
fn same_after_restart(world: World) -> World {
    let mut before = world.engine.durable_state();
    let world = world.killed();
    let mut after = world.engine.durable_state();
    before.remove("next");
    after.remove("next");
    assert_eq!(before, after);
    world
}

/// Whether a record says again which tokens were used.
fn says_tokens((_, record): &(Sequence, Record)) -> bool {
    matches!(record, Record::Carried(said) if matches!(**said, Carried::Tokens(_)))
}

/// A world with an agent that holds nothing, and the agent.
fn with_agent(config: EngineConfig) -> (World, Peer) {
    let mut world = World::new(config);
    let agent = world.agent(1, "a");
    (world, agent)
}

/// A world with one of every kind of thing, and a publish whose idempotency key is used.
fn with_everything() -> (World, Publish) {
    let (mut world, mut agent) = with_agent(config());
    world.ask(&mut agent, Operation::Subscribe(durable("news.>"))).unwrap();
    let mut client = world.client(2);
    let ended = task(&mut world);
    world.publish(&mut client, &ended).unwrap();
    let delivery = world.deliveries(agent).remove(0);
    let chunk =
        ArtifactChunk { name: "out".into(), append: false, last: true, payload: "a piece".into() };
    let update = Update { token: delivery.token, body: UpdateBody::Artifact(chunk) };
    world.ask(&mut agent, Operation::Update(update)).unwrap();
    world.complete(&mut agent, &delivery);
    let dead = task(&mut world);
    world.publish(&mut client, &dead).unwrap();
    let token = world.deliveries(agent)[0].token;
    let reason = "cannot".to_owned();
    world.settle(&mut agent, token, Outcome::DeadLetter { reason });
    let paused = task(&mut world);
    world.publish(&mut client, &paused).unwrap();
    let token = world.deliveries(agent)[0].token;
    let message = Some("which one?".into());
    world.settle(&mut agent, token, Outcome::Pause { reason: PauseReason::Input, message });
    let retried = task(&mut world);
    world.publish(&mut client, &retried).unwrap();
    let token = world.deliveries(agent)[0].token;
    let delay = Some(Duration::from_mins(1));
    world.settle(&mut agent, token, Outcome::Retry { reason: "later".to_owned(), delay });
    let mut keyed = world.message(Kind::Request, "skill:s");
    keyed.envelope.idempotency_key = Some("once".parse().unwrap());
    world.publish(&mut client, &keyed).unwrap();
    let mut parked = sure(world.event("topic:nobody.here"));
    parked.envelope.ttl = Some(Duration::from_mins(1));
    parked.options.absent = Some(Absent::Park);
    world.publish(&mut client, &parked).unwrap();
    world.credit(agent, 0, 0);
    for _ in 0..3 {
        let mut waiting = task(&mut world);
        waiting.envelope.ordering_key = Some("k".parse().unwrap());
        world.publish(&mut client, &waiting).unwrap();
    }
    let change = InboxChange { limit: Some(77), ..InboxChange::default() };
    let inbox = "skill:s".parse().unwrap();
    world.ask(&mut client, Operation::SetInbox { inbox, change: Box::new(change) }).unwrap();
    let change = AgentChange { weight: Some(7), ..AgentChange::default() };
    let id = "a".parse().unwrap();
    world.ask(&mut client, Operation::SetAgent { agent: id, change }).unwrap();
    (world, keyed)
}

#[test]
fn every_kind_of_thing_survives_the_loss_of_the_beginning() {
    let (mut world, keyed) = with_everything();
    let before = world.stats();
    clean(&mut world);
    assert!(world.records.iter().all(|(_, record)| record.is_carried()));
    let mut world = same_after_restart(world);
    let after = world.stats();
    assert_eq!(before.counters, after.counters);
    assert_eq!(
        (before.messages_accepted, before.tasks_completed, before.tasks_failed, before.tasks_open),
        (after.messages_accepted, after.tasks_completed, after.tasks_failed, after.tasks_open)
    );
    assert_eq!((before.dead_letters, before.keys), (after.dead_letters, after.keys));
    let mut client = world.client(3);
    let mut again = keyed.clone();
    again.envelope.id = world.message(Kind::Request, "skill:s").envelope.id;
    assert!(world.accepted(&mut client, &again).duplicate, "the key is still known");
}

#[test]
fn a_lease_outlives_the_records_that_granted_it() {
    let (mut world, mut agent) = with_agent(config());
    let mut client = world.client(2);
    let work = task(&mut world);
    world.publish(&mut client, &work).unwrap();
    let delivery = world.deliveries(agent).remove(0);
    clean(&mut world);
    let mut world = same_after_restart(world);
    let mut hello = crate::world::hello(1, Some("a"));
    hello.held = vec![delivery.token];
    hello.next_operation = agent.next;
    agent = world.try_connect(hello).unwrap();
    world.complete(&mut agent, &delivery);
    assert_eq!(world.stats().tasks_completed, 1);
}

#[test]
fn what_a_session_sends_again_is_done_once_although_its_records_are_gone() {
    let (mut world, mut agent) = with_agent(config());
    let mut client = world.client(2);
    let work = task(&mut world);
    let publish = Operation::Publish(Arc::new(work));
    let first = client;
    world.ask(&mut client, publish.clone()).unwrap();
    let delivery = world.deliveries(agent).remove(0);
    let settled = agent;
    world.complete(&mut agent, &delivery);
    clean(&mut world);
    let mut world = same_after_restart(world);
    let mut client = world.try_connect(crate::world::hello(2, None)).unwrap();
    client.next = first.next;
    assert_eq!(world.ask(&mut client, publish), Ok(None), "it was accepted before");
    let mut hello = crate::world::hello(1, Some("a"));
    hello.next_operation = settled.next;
    let mut agent = world.try_connect(hello).unwrap();
    let outcome = Outcome::Complete { reply: None };
    let again = Operation::Settle(Settle { token: delivery.token, outcome });
    assert_eq!(world.ask(&mut agent, again), Ok(None), "it was settled before");
    let stats = world.stats();
    assert_eq!((stats.messages_accepted, stats.tasks_completed), (1, 1));
}

#[test]
fn used_tokens_are_said_again_for_as_long_as_sessions_are_remembered() {
    let up = Duration::from_mins(1);
    for (session_memory, remembered) in [(up, false), (up * 2, true)] {
        let (mut world, mut agent) = with_agent(EngineConfig { session_memory, ..config() });
        let mut client = world.client(2);
        let work = task(&mut world);
        world.publish(&mut client, &work).unwrap();
        let delivery = world.deliveries(agent).remove(0);
        world.complete(&mut agent, &delivery);
        let mut world = world.killed();
        world.pass(up);
        clean(&mut world);
        assert_eq!(world.records.iter().any(says_tokens), remembered);
        let mut world = same_after_restart(world);
        // The session is another one, so that nothing but the token tells what it did before.
        let mut agent = world.agent(3, "a");
        let outcome = Outcome::Complete { reply: None };
        let again = Operation::Settle(Settle { token: delivery.token, outcome });
        let answer = world.ask(&mut agent, again).map_err(|refusal| refusal.code);
        assert_eq!(answer, if remembered { Ok(None) } else { Err(RefusalCode::StaleToken) });
    }
}

#[test]
fn a_step_writes_no_more_than_it_may_and_what_comes_meanwhile_is_kept() {
    let (mut world, agent) = with_agent(EngineConfig { clean_step_bytes: 1000, ..config() });
    world.credit(agent, 0, 0);
    let mut client = world.client(2);
    for _ in 0..200 {
        let work = task(&mut world);
        world.publish(&mut client, &work).unwrap();
    }
    let before = world.records.last().unwrap().0.next();
    let mut steps = 0;
    loop {
        let records = world.records.len();
        world.handle(Command::Clean { before });
        assert!(world.records.len() - records <= 20, "{}", world.records.len() - records);
        steps += 1;
        if world.effects.contains(&Effect::Cleaned { before }) {
            break;
        }
        let work = task(&mut world);
        world.publish(&mut client, &work).unwrap();
    }
    assert!(steps > 20, "{steps} steps");
    world.records.retain(|(at, _)| *at >= before);
    same_after_restart(world);
}

#[test]
fn a_sweep_that_a_stop_cuts_short_does_no_harm() {
    let (mut world, agent) = with_agent(EngineConfig { clean_step_bytes: 1, ..config() });
    world.credit(agent, 0, 0);
    let mut client = world.client(2);
    for _ in 0..10 {
        let work = task(&mut world);
        world.publish(&mut client, &work).unwrap();
    }
    let before = world.records.last().unwrap().0.next();
    for _ in 0..5 {
        world.handle(Command::Clean { before });
    }
    assert_eq!(world.engine.cleaning(), Some(before));
    let mut world = same_after_restart(world);
    assert_eq!(world.engine.cleaning(), None);
    clean(&mut world);
    same_after_restart(world);
}

#[test]
fn a_crash_anywhere_in_a_sweep_takes_nothing_though_the_next_one_begins_anywhere() {
    let (mut world, _) = with_everything();
    let state = |world: &World| {
        let mut state = world.engine.durable_state();
        state.remove("next");
        state
    };
    let (told, right) = (world.records.len(), state(&world));
    let before = world.records.last().unwrap().0.next();
    while !world.effects.contains(&Effect::Cleaned { before }) {
        world.handle(Command::Clean { before });
    }
    for cut in told..=world.records.len() {
        for next in told..cut {
            let kept = world.records[..cut].to_vec();
            let mut after = World::on(config(), kept, world.now);
            assert_eq!(state(&after), right, "cut at {cut}");
            clean_before(&mut after, world.records[next].0);
            let after = World::on(config(), after.stage.records, world.now);
            assert_eq!(state(&after), right, "cut at {cut}, cleaned before {next}");
        }
    }
}

#[test]
fn a_cleaned_log_with_any_record_missing_still_adds_up() {
    let (mut world, _) = with_everything();
    clean(&mut world);
    let mut client = world.client(3);
    for _ in 0..3 {
        let work = task(&mut world);
        world.publish(&mut client, &work).unwrap();
    }
    let records = &world.records;
    for missing in 0..records.len() {
        let mut engine = Engine::new(config());
        for (at, record) in &records[..missing] {
            engine.replay(*at, record.clone()).unwrap();
        }
        engine.replay_gap(records[missing].0);
        for (at, record) in &records[missing + 1..] {
            engine.replay_behind_gap(*at, record.clone()).unwrap();
        }
        engine.mend_figures();
        engine.start(world.now, &mut Output::default());
        engine.conservation().unwrap();
    }
}

#[test]
fn a_task_whose_end_is_missing_has_ended_if_that_is_said_again() {
    let (mut world, mut agent) = with_agent(config());
    let mut client = world.client(2);
    let work = task(&mut world);
    world.publish(&mut client, &work).unwrap();
    let delivery = world.deliveries(agent).remove(0);
    world.complete(&mut agent, &delivery);
    let whole = world.records.clone();
    clean(&mut world);
    let records: Vec<_> = whole.into_iter().chain(world.stage.records).collect();
    let mut engine = Engine::new(config());
    for (at, record) in records {
        if matches!(record, Record::Settled { .. }) {
            engine.replay_gap(at);
        } else {
            engine.replay_behind_gap(at, record).unwrap();
        }
    }
    engine.mend_figures();
    engine.start(world.stage.now, &mut Output::default());
    engine.conservation().unwrap();
    let state = engine.durable_state();
    assert!(state.keys().any(|name| name.starts_with("task ")), "{state:?}");
    assert!(!state.keys().any(|name| name.starts_with("entry ")), "{state:?}");
}

#[test]
fn letters_that_were_forgotten_stay_counted() {
    let most = EngineConfig { dead_letters: 2, ..config() };
    let (mut world, mut agent) = with_agent(most);
    let mut client = world.client(2);
    for forgotten in 0..4 {
        for _ in 0..=u64::from(forgotten == 0) * 2 {
            let dead = task(&mut world);
            world.publish(&mut client, &dead).unwrap();
            let token = world.deliveries(agent)[0].token;
            let reason = "cannot".to_owned();
            world.settle(&mut agent, token, Outcome::DeadLetter { reason });
        }
        clean(&mut world);
        world = same_after_restart(world);
        let stats = world.stats();
        assert_eq!((stats.dead_letters, stats.dead_letters_forgotten), (2, forgotten + 1));
        agent = world.agent(10 + u128::from(forgotten), "a");
        client = world.client(20 + u128::from(forgotten));
    }
}

#[test]
fn a_full_disk_is_no_reason_not_to_clean() {
    let (mut world, mut agent) = with_agent(config());
    let mut client = world.client(2);
    let work = task(&mut world);
    world.publish(&mut client, &work).unwrap();
    let delivery = world.deliveries(agent).remove(0);
    world.handle(Command::Space { ample: false });
    world.complete(&mut agent, &delivery);
    clean(&mut world);
    same_after_restart(world);
}

#[test]
fn a_log_wants_cleaning_when_it_is_large_and_little_of_it_is_live() {
    let quiet = EngineConfig { clean_min_bytes: 5000, clean_percent: 300, ..config() };
    let (mut world, agent) = with_agent(quiet);
    world.credit(agent, 0, 0);
    assert!(!world.engine.wants_cleaning(5000));
    assert!(world.engine.wants_cleaning(5001));
    let mut client = world.client(2);
    for _ in 0..20 {
        let work = task(&mut world);
        world.publish(&mut client, &work).unwrap();
    }
    clean(&mut world);
    let live = world.engine.live_bytes();
    assert!(live > 4000, "{live}");
    assert!(!world.engine.wants_cleaning(live * 3));
    assert!(world.engine.wants_cleaning(live * 3 + 1));
    world.configure(|config| config.clean_percent = 200);
    assert!(world.engine.wants_cleaning(live * 2 + 1));
    world.configure(|config| config.clean_min_bytes = u64::MAX);
    assert!(!world.engine.wants_cleaning(live * 100));
}

#[test]
fn half_live_data_is_written_less_than_twice() {
    let (mut world, mut agent) = with_agent(config());
    let mut client = world.client(2);
    world.credit(agent, 1, 0);
    let size = |records: &[(Sequence, Record)]| -> u64 {
        let mut body = Vec::new();
        for (_, record) in records {
            record.encode(&mut body);
        }
        body.len() as u64 + 24 * records.len() as u64
    };
    // As many tasks stay as one round leaves; all others end at once.
    let (mut all, mut carried, mut log_from) = (0, 0, 0_usize);
    for round in 0..40 {
        let mut kept = world.message(Kind::Request, "agent:nobody");
        kept.options.task = true;
        kept.envelope.payload = vec![7_u8; 1000].into();
        if round < 20 {
            world.publish(&mut client, &kept).unwrap();
        }
        for _ in 0..5 {
            let mut work = task(&mut world);
            work.envelope.payload = vec![7_u8; 500].into();
            work.options.task = false;
            let work = sure(work);
            world.publish(&mut client, &work).unwrap();
            let delivery = world.deliveries(agent).remove(0);
            world.complete(&mut agent, &delivery);
        }
        let bytes = size(&world.records[log_from..]);
        if world.engine.live_bytes() * 5 / 2 < bytes && bytes > 20_000 {
            let records = world.records.len();
            let before = world.records.last().unwrap().0.next();
            let mut told = false;
            while !told {
                world.handle(Command::Clean { before });
                told = world.effects.contains(&Effect::Cleaned { before });
            }
            carried += size(&world.records[records..]);
            log_from = records;
        }
    }
    all += size(&world.records);
    assert!(carried > 0);
    assert!(all < 2 * (all - carried), "{all} bytes were written, {carried} of them carried");
}
