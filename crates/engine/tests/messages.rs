//! Messages by their ids: how they stand, and how they are called off.

use crate::world::{World, config, ephemeral, with_ttl};
use std::time::Duration;
use trunkline_engine::EngineConfig;
use trunkline_types::session::{Operation, SessionItem};
use trunkline_types::{
    Absent, CopyState, Durability, FailureCode, Kind, MessageId, Outcome, PauseReason, RefusalCode,
    WallTime,
};

fn cancel(id: MessageId) -> Operation {
    Operation::Cancel { id, reason: "enough".into(), descendants: false }
}

#[test]
fn a_message_is_followed_from_its_acceptance_to_its_end() {
    let mut world = World::new(ephemeral());
    let mut sender = world.client(1);
    let mut request = world.message(Kind::Request, "skill:s");
    request.options.delay = Some(Duration::from_secs(1));
    request.options.task = true;
    let id = request.envelope.id;
    world.publish(&mut sender, &request).unwrap();
    assert_eq!(world.states(id), [CopyState::Delayed]);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.states(id), [CopyState::Parked]);
    let mut agent = world.agent(2, "a");
    let delivery = world.deliveries(agent).pop().unwrap();
    let status = world.status(id).unwrap();
    assert_eq!(status.kind, Some(Kind::Request));
    assert_eq!(status.destination, Some(request.envelope.destination));
    let copy = &status.copies[0];
    assert_eq!((copy.state, copy.attempts), (CopyState::Leased, 1));
    assert_eq!(copy.agent.as_ref().unwrap().as_str(), "a");
    let pause = Outcome::Pause { reason: PauseReason::Input, message: None };
    world.settle(&mut agent, delivery.token, pause);
    assert_eq!(world.states(id), [CopyState::Paused]);
    let payload = "more".into();
    world.ask(&mut sender, Operation::Continue { task: id, payload }).unwrap();
    let delivery = world.deliveries(agent).pop().unwrap();
    world.complete(&mut agent, &delivery);
    let status = world.status(id).unwrap();
    assert_eq!(status.copies[0].state, CopyState::Completed);
    assert_eq!(status.kind, Some(Kind::Request), "the table of tasks knows more");
}

#[test]
fn every_copy_of_a_message_shows_and_how_it_ended() {
    let mut world = World::new(ephemeral());
    let mut agents = [world.agent(1, "a"), world.agent(2, "b"), world.agent(3, "c")];
    world.credit(agents[2], 0, 0);
    let mut sender = world.client(4);
    let event = world.event("agents:a,b,c,d");
    let id = event.envelope.id;
    world.publish(&mut sender, &event).unwrap();
    let first = world.deliveries(agents[0]).pop().unwrap();
    let second = world.deliveries(agents[1]).pop().unwrap();
    world.complete(&mut agents[0], &first);
    world.settle(&mut agents[1], second.token, Outcome::Reject { reason: "no".into() });
    let states = [CopyState::Completed, CopyState::Rejected, CopyState::Waiting, CopyState::Parked];
    assert_eq!(world.states(id), states);
    world.ask(&mut sender, cancel(id)).unwrap();
    let status = world.status(id).unwrap();
    assert_eq!((status.kind, status.destination), (Some(Kind::Event), None), "their ends and kind");
    let status = world.status(id).unwrap();
    let states: Vec<_> = status.copies.iter().map(|copy| copy.state).collect();
    let ended =
        [CopyState::Completed, CopyState::Rejected, CopyState::Canceled, CopyState::Canceled];
    assert_eq!(states, ended);
    assert_eq!(status.copies[0].agent.as_ref().unwrap().as_str(), "a");
}

#[test]
fn each_way_to_end_is_remembered_up_to_a_bound() {
    let mut world = World::new(EngineConfig { ended_messages: 3, ..ephemeral() });
    let mut agent = world.agent(1, "a");
    let mut sender = world.client(2);
    let mut ends = Vec::new();
    let reason = || "so".to_owned();
    for (outcome, state) in [
        (Outcome::Complete { reply: None }, CopyState::Completed),
        (Outcome::Fail { reason: reason() }, CopyState::Failed),
        (Outcome::DeadLetter { reason: reason() }, CopyState::DeadLettered),
    ] {
        let event = world.event("agent:a");
        world.publish(&mut sender, &event).unwrap();
        let delivery = world.deliveries(agent).pop().unwrap();
        world.settle(&mut agent, delivery.token, outcome);
        ends.push((event.envelope.id, state));
    }
    for &(id, state) in &ends {
        assert_eq!(world.states(id), [state]);
    }
    let event = with_ttl(world.event("agent:nobody"), 5);
    world.publish(&mut sender, &event).unwrap();
    world.pass(Duration::from_millis(5));
    assert_eq!(world.states(event.envelope.id), [CopyState::Expired]);
    let refusal = world.status(ends[0].0).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotFound, "the oldest is forgotten");
}

#[test]
fn a_canceled_request_is_taken_from_its_holder_and_its_sender_has_its_answer() {
    let mut world = World::new(ephemeral());
    let agent = world.agent(1, "a");
    let (mut sender, mut other) = (world.client(2), world.client(3));
    let mut request = world.message(Kind::Request, "agent:a");
    request.options.reply = true;
    let id = request.envelope.id;
    world.publish(&mut sender, &request).unwrap();
    let token = world.deliveries(agent).pop().unwrap().token;
    world.ask(&mut other, cancel(id)).unwrap();
    let told = SessionItem::Cancel { token, reason: "canceled: enough".into() };
    assert_eq!(world.items(agent), [told]);
    let replies = world.items(sender);
    let [SessionItem::Reply(reply)] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(
        (reply.request, reply.result.clone().unwrap_err().code),
        (id, FailureCode::Canceled)
    );
    world.ask(&mut other, cancel(id)).unwrap();
}

#[test]
fn an_event_that_waits_for_its_first_subscriber_can_be_called_off() {
    let mut world = World::new(config());
    let mut sender = world.client(1);
    let mut event = with_ttl(world.event("topic:t"), 60_000);
    event.options.absent = Some(Absent::Park);
    event.options.durability = Some(Durability::Synced);
    let id = event.envelope.id;
    world.accepted(&mut sender, &event);
    let status = world.status(id).unwrap();
    let copy = status.copies[0].clone();
    assert_eq!((copy.inbox, copy.state), (None, CopyState::Parked), "it is nowhere yet");
    world.ask(&mut sender, cancel(id)).unwrap();
    let stats = world.stats();
    assert_eq!((stats.counters.canceled, stats.gauges.total()), (1, 0));
    let mut world = world.killed();
    assert_eq!(world.stats().gauges.total(), 0);
}

#[test]
fn what_has_ended_otherwise_or_never_was_cannot_be_called_off() {
    let mut world = World::new(ephemeral());
    let mut agent = world.agent(1, "a");
    let mut sender = world.client(2);
    for task in [false, true] {
        let mut request = world.message(Kind::Request, "agent:a");
        request.options.task = task;
        world.publish(&mut sender, &request).unwrap();
        let delivery = world.deliveries(agent).pop().unwrap();
        world.complete(&mut agent, &delivery);
        let refusal = world.ask(&mut sender, cancel(request.envelope.id)).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::WrongState);
        assert!(refusal.message.contains("is completed already"), "{refusal}");
    }
    let never = world.event("agent:a").envelope.id;
    assert_eq!(world.ask(&mut sender, cancel(never)).unwrap_err().code, RefusalCode::NotFound);
    assert_eq!(world.status(never).unwrap_err().code, RefusalCode::NotFound);
}

#[test]
fn a_message_belongs_to_its_tenant() {
    let mut world = World::new(ephemeral());
    let mut sender = world.client(1);
    let event = world.event("agent:a");
    world.publish(&mut sender, &event).unwrap();
    let mut stranger = world.stranger(2, "other");
    let refusal = world.ask(&mut stranger, cancel(event.envelope.id)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotFound);
    assert_eq!(world.states(event.envelope.id), [CopyState::Parked]);
}

#[test]
fn how_an_event_ended_that_nobody_came_for_is_remembered() {
    let mut world = World::new(ephemeral());
    let mut sender = world.client(1);
    let parked = |world: &mut World| {
        let mut event = with_ttl(world.event("topic:t"), 60_000);
        event.options.absent = Some(Absent::Park);
        event
    };
    let (expires, canceled) = (parked(&mut world), parked(&mut world));
    let mut drops = world.event("topic:t");
    drops.options.delay = Some(Duration::from_secs(1));
    let ids = [&expires, &canceled, &drops].map(|event| {
        world.accepted(&mut sender, event);
        event.envelope.id
    });
    let places = ids.map(|id| world.states(id)[0]);
    assert_eq!(places, [CopyState::Parked, CopyState::Parked, CopyState::Delayed]);
    world.ask(&mut sender, cancel(ids[1])).unwrap();
    world.pass(Duration::from_secs(1));
    world.pass(Duration::from_secs(59));
    let ends = [CopyState::Expired, CopyState::Canceled, CopyState::Dropped];
    for (id, end) in ids.into_iter().zip(ends) {
        let status = world.status(id).unwrap();
        assert_eq!(status.copies.len(), 1);
        assert_eq!((&status.copies[0].inbox, status.copies[0].state), (&None, end));
        let to = status.destination.map(|to| to.to_string());
        assert_eq!((status.kind, to.as_deref()), (Some(Kind::Event), Some("topic:t")));
        assert_eq!(status.accepted_at, Some(WallTime(0)));
    }
}

#[test]
fn a_delivery_tells_how_many_more_wait_and_how_old_the_oldest_is() {
    let mut world = World::new(ephemeral());
    let agent = world.agent(1, "a");
    world.credit(agent, 0, 0);
    let mut sender = world.client(2);
    let low = |world: &mut World| {
        let mut event = world.event("agent:a");
        event.envelope.priority = trunkline_types::Priority::Low;
        event
    };
    for event in [low(&mut world), world.event("agent:a"), world.event("agent:a")] {
        world.publish(&mut sender, &event).unwrap();
        world.pass(Duration::from_secs(1));
    }
    let mut told = Vec::new();
    for credit in 1..=3 {
        world.credit(agent, credit, 0);
        let delivery = world.deliveries(agent).remove(0);
        told.push((delivery.backlog, delivery.backlog_age.as_secs()));
    }
    assert_eq!(told, [(2, 3), (1, 3), (0, 0)], "the low one waits longest");
}
