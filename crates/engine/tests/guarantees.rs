//! What each durability keeps through a fault, where no other test says so of all of them.

use crate::world::{Peer, World, config, hello, own, with_ttl};
use std::time::Duration;
use trunkline_engine::{Command, EngineConfig};
use trunkline_types::session::{
    Credit, Delivery, Hello, LetterAddress, Operation, Redrive, SessionItem,
};
use trunkline_types::{
    CopyState, Durability, Kind, MessageId, Outcome, PauseReason, Publish, RefusalCode, Settle,
    TaskUpdate, WallTime,
};

const LEVELS: [Durability; 3] = [Durability::Synced, Durability::Buffered, Durability::Ephemeral];
/// Seconds after which a lease has run out.
const LEASE: usize = 31;
/// Within the resume grace.
const SHORT: Duration = Duration::from_secs(4);

fn work(world: &mut World, level: Durability) -> Publish {
    let mut publish = world.message(Kind::Request, "skill:s");
    publish.options.durability = Some(level);
    publish.options.attempts = Some(3);
    publish
}

/// A client, an agent that is at work, and what it holds.
fn held(level: Durability) -> (World, Peer, Peer, Delivery) {
    let mut world = World::new(config());
    let (mut client, agent) = (world.client(1), world.agent(2, "a"));
    let publish = work(&mut world, level);
    world.publish(&mut client, &publish).unwrap();
    let delivery = world.deliveries(agent).remove(0);
    (world, client, agent, delivery)
}

fn settled(world: &mut World, peer: &mut Peer, delivery: &Delivery) -> Result<(), RefusalCode> {
    let outcome = Outcome::Complete { reply: None };
    let settle = Operation::Settle(Settle { token: delivery.token, outcome });
    world.ask(peer, settle).map(drop).map_err(|refusal| refusal.code)
}

fn state(world: &mut World, id: MessageId) -> Option<CopyState> {
    world.status(id).ok().and_then(|status| status.copies.first().map(|copy| copy.state))
}

#[test]
fn a_late_result_counts_until_somebody_else_has_the_work_and_then_it_is_stale() {
    for level in LEVELS {
        for taken in [false, true] {
            let (mut world, _, mut agent, delivery) = held(level);
            world.credit(agent, 0, 0);
            let other = taken.then(|| world.agent(3, "b"));
            let mut again = 0;
            // In steps: a broker that wakes up late counts that as an absence of its own.
            for _ in 0..LEASE {
                world.pass(Duration::from_secs(1));
                again += other.map_or(0, |other| world.deliveries(other).len());
            }
            assert_eq!(again, usize::from(taken), "{level}");
            let late = settled(&mut world, &mut agent, &delivery);
            let expected = if taken { Err(RefusalCode::StaleToken) } else { Ok(()) };
            assert_eq!(late, expected, "{level}, taken: {taken}");
        }
    }
}

#[test]
fn a_session_that_comes_back_in_time_keeps_what_it_holds_however_durable_that_is() {
    for level in LEVELS {
        let (mut world, _, agent, delivery) = held(level);
        world.disconnect(agent);
        world.pass(SHORT);
        let hello = Hello { held: vec![delivery.token], ..hello(2, Some("a")) };
        let mut agent = world.try_connect(hello).unwrap();
        assert_eq!(world.deliveries(agent).len(), 0, "{level}");
        assert_eq!(settled(&mut world, &mut agent, &delivery), Ok(()), "{level}");
    }
}

#[test]
fn a_late_result_of_a_session_that_was_cut_off_counts_until_somebody_else_has_the_work() {
    for level in LEVELS {
        for taken in [false, true] {
            let (mut world, _, agent, delivery) = held(level);
            world.disconnect(agent);
            let other = taken.then(|| world.agent(3, "b"));
            let mut again = 0;
            // Longer than a session may be away.
            for _ in 0..LEASE {
                world.pass(Duration::from_secs(1));
                again += other.map_or(0, |other| world.deliveries(other).len());
            }
            assert_eq!(again, usize::from(taken), "{level}");
            // It takes nothing more, not even the same work.
            let credit = Credit { deliveries: 0, events: 0 };
            let mut agent = world.try_connect(Hello { credit, ..hello(2, Some("a")) }).unwrap();
            let late = settled(&mut world, &mut agent, &delivery);
            let expected = if taken { Err(RefusalCode::StaleToken) } else { Ok(()) };
            assert_eq!(late, expected, "{level}, taken: {taken}");
            let open = state(&mut world, delivery.publish.envelope.id);
            let expected = if taken { CopyState::Leased } else { CopyState::Completed };
            assert_eq!(open, Some(expected), "{level}, taken: {taken}");
        }
    }
}

#[test]
fn a_task_that_was_completed_is_so_after_a_kill_unless_it_was_ephemeral() {
    for level in LEVELS {
        let (mut world, mut client, mut agent, delivery) = held_task(level, 3);
        let id = delivery.publish.envelope.id;
        settled(&mut world, &mut agent, &delivery).unwrap();
        let before = seen(&mut world, &mut client, id, 0);
        assert_eq!(state(&mut world, id), Some(CopyState::Completed), "{level}");
        let mut world = world.killed();
        let (mut client, agent) = (world.client(3), world.agent(4, "b"));
        assert_eq!(world.deliveries(agent).len(), 0, "{level}");
        let after = seen(&mut world, &mut client, id, 0);
        match level {
            Durability::Ephemeral => assert_eq!(after, Err(RefusalCode::NotFound)),
            _ => assert_eq!(after, before, "{level}"),
        }
    }
}

#[test]
fn what_a_client_says_again_over_another_connection_is_accepted_once() {
    for level in LEVELS {
        let mut world = World::new(config());
        let (mut client, agent) = (world.client(1), world.agent(2, "a"));
        let publish = work(&mut world, level);
        world.publish(&mut client, &publish).unwrap();
        world.disconnect(client);
        // The answer was lost, so the client says it again under the same number.
        let mut client = world.try_connect(hello(1, None)).unwrap();
        world.publish(&mut client, &publish).unwrap();
        assert_eq!(world.deliveries(agent).len(), 0, "{level}");
        assert_eq!(world.stats().counters.accepted, 1, "{level}");
    }
}

#[test]
fn a_jump_of_the_wall_clock_takes_no_lease_away() {
    for level in LEVELS {
        for wall in [0, 1_000_000_000] {
            let (mut world, _, mut agent, delivery) = held(level);
            let other = world.agent(3, "b");
            world.now.wall = WallTime(wall);
            world.pass(Duration::from_secs(1));
            assert_eq!(world.deliveries(other).len(), 0, "{level} at {wall}");
            assert_eq!(settled(&mut world, &mut agent, &delivery), Ok(()), "{level} at {wall}");
        }
    }
}

#[test]
fn a_time_to_live_follows_the_wall_clock_forwards() {
    for level in LEVELS {
        let mut world = World::new(config());
        let mut client = world.client(1);
        let publish = with_ttl(work(&mut world, level), 60_000);
        let id = publish.envelope.id;
        world.publish(&mut client, &publish).unwrap();
        world.pass(Duration::from_secs(1));
        assert!(state(&mut world, id).is_some(), "{level}");
        world.now.wall = world.now.wall.after(Duration::from_hours(1));
        world.pass(Duration::from_secs(1));
        assert_eq!(world.stats().counters.expired, 1, "{level}");
    }
}

#[test]
fn a_wall_clock_that_is_set_back_puts_the_end_of_a_time_to_live_off() {
    for level in LEVELS {
        let mut world = World::new(config());
        world.now.wall = world.now.wall.after(Duration::from_hours(1));
        let mut client = world.client(1);
        let publish = with_ttl(work(&mut world, level), 60_000);
        let id = publish.envelope.id;
        world.publish(&mut client, &publish).unwrap();
        world.now.wall = WallTime(world.now.wall.0 - 600_000);
        world.pass(Duration::from_mins(10));
        assert!(state(&mut world, id).is_some(), "{level}");
        assert_eq!(world.stats().counters.expired, 0, "{level}");
        world.pass(Duration::from_mins(2));
        assert_eq!(world.stats().counters.expired, 1, "{level}");
    }
}

#[test]
fn a_full_disk_refuses_what_would_be_logged_and_takes_what_is_in_memory_only() {
    for level in LEVELS {
        let (mut world, mut client, mut agent, delivery) = held(level);
        world.handle(Command::Space { ample: false });
        let publish = work(&mut world, level);
        let refused = world.publish(&mut client, &publish).map(drop).map_err(|no| no.code);
        let ephemeral = level == Durability::Ephemeral;
        let expected = if ephemeral { Ok(()) } else { Err(RefusalCode::DiskFull) };
        assert_eq!(refused, expected, "{level}");
        // What was begun is finished.
        assert_eq!(settled(&mut world, &mut agent, &delivery), Ok(()), "{level}");
        world.handle(Command::Space { ample: true });
        let publish = work(&mut world, level);
        world.publish(&mut client, &publish).unwrap();
    }
}

#[test]
fn a_stop_loses_what_is_ephemeral_and_keeps_the_rest_with_its_lease() {
    for level in LEVELS {
        let (world, _, _, delivery) = held(level);
        let id = delivery.publish.envelope.id;
        let mut world = world.killed();
        let kept = level != Durability::Ephemeral;
        assert_eq!(state(&mut world, id).is_some(), kept, "{level}");
        let hello = Hello { held: vec![delivery.token], ..hello(2, Some("a")) };
        let mut agent = world.try_connect(hello).unwrap();
        assert_eq!(world.deliveries(agent).len(), 0, "{level}");
        let late = settled(&mut world, &mut agent, &delivery);
        assert_eq!(late.is_ok(), kept, "{level}");
    }
}

/// A client, an agent and a task that it holds.
fn held_task(level: Durability, attempts: u32) -> (World, Peer, Peer, Delivery) {
    let mut world = World::new(config());
    let (mut client, agent) = (world.client(1), world.agent(2, "a"));
    let mut publish = work(&mut world, level);
    publish.options.task = true;
    publish.options.attempts = Some(attempts);
    world.publish(&mut client, &publish).unwrap();
    let delivery = world.deliveries(agent).remove(0);
    (world, client, agent, delivery)
}

/// The events of a task after one of them, by number and epoch; the refusal if it is not known.
fn seen(
    world: &mut World,
    peer: &mut Peer,
    task: MessageId,
    after: u64,
) -> Result<Vec<(u64, u32)>, RefusalCode> {
    world.ask(peer, Operation::Watch { task, after }).map_err(|refusal| refusal.code)?;
    let events = world.items(*peer).into_iter().filter_map(|item| match item {
        SessionItem::Task { update: TaskUpdate::Event(event), .. } => {
            Some((event.number, event.epoch.0))
        }
        _ => None,
    });
    Ok(events.collect())
}

#[test]
fn a_key_is_found_again_after_a_kill_although_ephemeral_work_is_gone() {
    for level in LEVELS {
        let mut world = World::new(config());
        let keyed = |world: &mut World| {
            let mut publish = work(world, level);
            publish.envelope.idempotency_key = Some("k".parse().unwrap());
            publish
        };
        let (mut client, first) = (world.client(1), keyed(&mut world));
        world.publish(&mut client, &first).unwrap();
        let mut world = world.killed();
        let (mut client, again) = (world.client(3), keyed(&mut world));
        let accepted = world.publish(&mut client, &again).unwrap();
        let found = accepted.filter(|it| it.duplicate).map(|it| it.id);
        assert_eq!(found, Some(first.envelope.id), "{level}");
        let kept = level != Durability::Ephemeral;
        assert_eq!(state(&mut world, first.envelope.id).is_some(), kept, "{level}");
    }
}

#[test]
fn a_watch_goes_on_behind_what_was_seen_over_a_cut_and_over_a_kill() {
    for level in LEVELS {
        let (mut world, mut client, _, delivery) = held_task(level, 3);
        let id = delivery.publish.envelope.id;
        let all = seen(&mut world, &mut client, id, 0).unwrap();
        assert!(all.len() > 1, "{level}: {all:?}");
        world.disconnect(client);
        let back = Hello { next_operation: client.next, ..hello(1, None) };
        let mut client = world.try_connect(back).unwrap();
        assert_eq!(seen(&mut world, &mut client, id, all[0].0).unwrap(), all[1..], "{level}");
        let mut world = world.killed();
        let mut client = world.client(4);
        let expected = match level {
            Durability::Ephemeral => Err(RefusalCode::NotFound),
            _ => Ok(all[1..].to_vec()),
        };
        assert_eq!(seen(&mut world, &mut client, id, all[0].0), expected, "{level}");
    }
}

#[test]
fn a_session_that_comes_back_in_time_has_the_events_that_came_meanwhile() {
    for (seconds, kept) in [(4, 2), (300, 0)] {
        let mut world = World::new(config());
        let mut client = world.client(1);
        let wanting = || Hello { subscriptions: vec![own("t")], ..hello(2, None) };
        let listener = world.try_connect(wanting()).unwrap();
        world.disconnect(listener);
        for _ in 0..2 {
            let event = world.event("topic:t");
            world.publish(&mut client, &event).unwrap();
        }
        // In steps: a broker that wakes up late counts that as an absence of its own.
        for _ in 0..seconds {
            world.pass(Duration::from_secs(1));
        }
        let listener = world.try_connect(wanting()).unwrap();
        assert_eq!(world.events(listener).len(), kept, "{seconds} s");
    }
}

#[test]
fn an_event_after_a_restart_carries_the_next_epoch_and_the_next_number() {
    let (world, _, _, delivery) = held_task(Durability::Synced, 3);
    let id = delivery.publish.envelope.id;
    let mut world = world.killed();
    let back = Hello { held: vec![delivery.token], ..hello(2, Some("a")) };
    let mut agent = world.try_connect(back).unwrap();
    assert_eq!(settled(&mut world, &mut agent, &delivery), Ok(()));
    let mut client = world.client(4);
    let events = seen(&mut world, &mut client, id, 0).unwrap();
    let (last, before) = events.split_last().unwrap();
    let (latest, first) = (before.last().unwrap(), before[0]);
    assert_eq!(*last, (latest.0 + 1, first.1 + 1), "{events:?}");
    assert!(before.iter().all(|event| event.1 == first.1), "{events:?}");
}

#[test]
fn what_was_called_off_or_continued_or_redriven_is_so_after_a_kill_unless_it_was_ephemeral() {
    for level in LEVELS {
        let kept = level != Durability::Ephemeral;
        let task_of = |world: &mut World, id| {
            let status = world.status(id).ok();
            status.and_then(|status| status.copies.first().map(|copy| copy.state))
        };

        let (mut world, mut client, _, delivery) = held_task(level, 3);
        let id = delivery.publish.envelope.id;
        let cancel = Operation::Cancel { id, reason: "enough".into(), descendants: false };
        world.ask(&mut client, cancel).unwrap();
        let mut world = world.killed();
        let canceled = task_of(&mut world, id);
        assert_eq!(canceled, kept.then_some(CopyState::Canceled), "{level}");
        let agent = world.agent(5, "b");
        assert_eq!(world.deliveries(agent).len(), 0, "{level}");

        let (mut world, mut client, mut agent, delivery) = held_task(level, 3);
        let id = delivery.publish.envelope.id;
        let pause = Outcome::Pause { reason: PauseReason::Input, message: None };
        world.settle(&mut agent, delivery.token, pause);
        world.disconnect(agent);
        let go_on = Operation::Continue { task: id, payload: "go on".into() };
        world.ask(&mut client, go_on).unwrap();
        let mut world = world.killed();
        let agent = world.agent(2, "a");
        assert_eq!(world.deliveries(agent).len(), usize::from(kept), "{level}");

        let (mut world, mut client, mut agent, delivery) = held_task(level, 1);
        let dead = Outcome::DeadLetter { reason: "cannot".into() };
        world.settle(&mut agent, delivery.token, dead);
        world.disconnect(agent);
        let other = work(&mut world, level).envelope.id;
        let letter = LetterAddress { id: delivery.publish.envelope.id, inbox: None };
        let redrive =
            Redrive { letter, id: other, payload: None, destination: None, priority: None };
        world.ask(&mut client, Operation::Redrive(Box::new(redrive))).unwrap();
        let mut world = world.killed();
        assert_eq!(state(&mut world, other).is_some(), kept, "{level}");
    }
}

#[test]
fn a_wall_clock_that_jumps_forwards_forgets_what_is_over_at_once() {
    for level in LEVELS {
        for (jump, kept) in
            [(Duration::from_hours(24), true), (Duration::from_hours(24 * 8), false)]
        {
            let (mut world, mut client, mut agent, delivery) = held_task(level, 3);
            let id = delivery.publish.envelope.id;
            assert_eq!(settled(&mut world, &mut agent, &delivery), Ok(()), "{level}");
            world.now.wall = world.now.wall.after(jump);
            world.pass(Duration::from_secs(2));
            let there = seen(&mut world, &mut client, id, 0).is_ok();
            assert_eq!(there, kept, "{level} after {jump:?}");
            assert_eq!(world.stats().tasks_forgotten, u64::from(!kept), "{level}");

            let (mut world, _, mut agent, delivery) = held_task(level, 1);
            let dead = Outcome::DeadLetter { reason: "cannot".into() };
            world.settle(&mut agent, delivery.token, dead);
            assert_eq!(world.stats().dead_letters, 1, "{level}");
            world.now.wall = world.now.wall.after(jump);
            world.pass(Duration::from_secs(2));
            let stats = world.stats();
            let letters = (stats.dead_letters, stats.dead_letters_forgotten);
            assert_eq!(letters, (u64::from(kept), u64::from(!kept)), "{level} after {jump:?}");
        }
    }
}

#[test]
fn whoever_is_refused_because_the_log_is_behind_is_told_when_to_come_back() {
    let hint = Duration::from_secs(7);
    let mut world = World::new(EngineConfig { full_hint: hint, ..config() });
    let mut client = world.client(1);
    world.handle(Command::Congestion { congested: true });
    let publish = work(&mut world, Durability::Synced);
    let refusal = world.publish(&mut client, &publish).unwrap_err();
    assert_eq!((refusal.code, refusal.retry_after), (RefusalCode::Unavailable, Some(hint)));
    let nothing_logged = work(&mut world, Durability::Ephemeral);
    world.publish(&mut client, &nothing_logged).unwrap();
    world.handle(Command::Congestion { congested: false });
    world.publish(&mut client, &publish).unwrap();
}

/// A client, an agent without a lease, and a task that it paused.
fn paused(level: Durability) -> (World, Peer, Peer, MessageId) {
    let (mut world, client, mut agent, delivery) = held_task(level, 3);
    let pause = Outcome::Pause { reason: PauseReason::Input, message: None };
    world.settle(&mut agent, delivery.token, pause);
    (world, client, agent, delivery.publish.envelope.id)
}

fn cancel(id: MessageId) -> Operation {
    Operation::Cancel { id, reason: "enough".into(), descendants: false }
}

fn go_on(task: MessageId) -> Operation {
    Operation::Continue { task, payload: "go on".into() }
}

#[test]
fn on_a_full_disk_work_can_be_called_off_and_is_continued_when_there_is_room() {
    for level in LEVELS {
        let (mut world, mut client, _, delivery) = held_task(level, 3);
        let id = delivery.publish.envelope.id;
        world.handle(Command::Space { ample: false });
        world.ask(&mut client, cancel(id)).unwrap();
        assert_eq!(state(&mut world, id), Some(CopyState::Canceled), "{level}");

        let (mut world, mut client, agent, id) = paused(level);
        world.handle(Command::Space { ample: false });
        let refused = world.ask(&mut client, go_on(id)).map(drop).map_err(|no| no.code);
        let ephemeral = level == Durability::Ephemeral;
        let expected = if ephemeral { Ok(()) } else { Err(RefusalCode::DiskFull) };
        assert_eq!(refused, expected, "{level}");
        assert_eq!(world.deliveries(agent).len(), usize::from(ephemeral), "{level}");
        world.handle(Command::Space { ample: true });
        if !ephemeral {
            world.ask(&mut client, go_on(id)).unwrap();
            assert_eq!(world.deliveries(agent).len(), 1, "{level}");
        }
    }
}

#[test]
fn what_is_called_off_or_continued_again_over_another_connection_is_so_once() {
    for level in LEVELS {
        for operation in [cancel as fn(MessageId) -> Operation, go_on] {
            let (mut world, client, agent, id) = paused(level);
            let number = client.next;
            let mut first = client;
            world.ask(&mut first, operation(id)).unwrap();
            let mut delivered = world.deliveries(agent).len();
            world.disconnect(first);
            world.pass(SHORT);
            delivered += world.deliveries(agent).len();
            // The answer was lost, so the client says it again under the same number.
            let hello = Hello { next_operation: number, ..hello(1, None) };
            let mut client = world.try_connect(hello).unwrap();
            client.next = number;
            world.ask(&mut client, operation(id)).unwrap();
            delivered += world.deliveries(agent).len();
            let is_canceled = matches!(operation(id), Operation::Cancel { .. });
            assert_eq!(delivered, usize::from(!is_canceled), "{level}");
            let expected = if is_canceled { CopyState::Canceled } else { CopyState::Leased };
            assert_eq!(world.states(id), [expected], "{level}");
        }
    }
}

#[test]
fn what_is_redriven_again_over_another_connection_is_so_once() {
    for level in LEVELS {
        let (mut world, client, mut agent, delivery) = held_task(level, 1);
        let dead = Outcome::DeadLetter { reason: "cannot".into() };
        world.settle(&mut agent, delivery.token, dead);
        let id = work(&mut world, level).envelope.id;
        let letter = LetterAddress { id: delivery.publish.envelope.id, inbox: None };
        let redrive = Redrive { letter, id, payload: None, destination: None, priority: None };
        let redrive = Operation::Redrive(Box::new(redrive));
        let number = client.next;
        let mut first = client;
        world.ask(&mut first, redrive.clone()).unwrap();
        let mut delivered = world.deliveries(agent).len();
        world.disconnect(first);
        world.pass(SHORT);
        delivered += world.deliveries(agent).len();
        // The answer was lost, so the client says it again under the same number.
        let mut client =
            world.try_connect(Hello { next_operation: number, ..hello(1, None) }).unwrap();
        client.next = number;
        world.ask(&mut client, redrive).unwrap();
        delivered += world.deliveries(agent).len();
        assert_eq!(delivered, 1, "{level}");
        assert_eq!((world.stats().redriven, world.stats().dead_letters), (1, 0), "{level}");
    }
}

#[test]
fn a_broker_that_pauses_forgets_no_acceptance_no_key_and_no_watcher() {
    for level in LEVELS {
        let (mut world, mut client, mut agent, delivery) = held_task(level, 3);
        let id = delivery.publish.envelope.id;
        let mut keyed = work(&mut world, level);
        keyed.envelope.idempotency_key = Some("once".parse().unwrap());
        world.publish(&mut client, &keyed).unwrap();
        world.ask(&mut client, Operation::Watch { task: id, after: 0 }).unwrap();
        // It was not scheduled for longer than a lease, and heard nobody.
        world.pass(Duration::from_mins(2));
        keyed.envelope.id = work(&mut world, level).envelope.id;
        assert!(world.accepted(&mut client, &keyed).duplicate, "{level}");
        assert_eq!(settled(&mut world, &mut agent, &delivery), Ok(()), "{level}");
        let told = world.items(client);
        assert!(told.iter().any(|item| matches!(item, SessionItem::Task { .. })), "{level}");
        assert_eq!(state(&mut world, id), Some(CopyState::Completed), "{level}");
        assert_eq!(state(&mut world, keyed.envelope.id), None, "{level}");
        assert_eq!(world.stats().counters.accepted, 2, "{level}");
    }
}
