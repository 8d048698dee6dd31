//! Subscriptions: their filters and groups, who keeps them, and every kind on its way.

use crate::world::{
    HeaderRules, Peer, World, config, durable, ephemeral, filtered, grouped, hello, own,
    with_header,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use trunkline_engine::{Command, Effect, EngineConfig, Verdict};
use trunkline_types::session::{ClientFrame, NumberRange, Operation, Subscription};
use trunkline_types::{Filter, Kind, RefusalCode, WhenFull};

/// Which filters came (`true`) and went with the latest call.
fn filters(world: &World) -> Vec<(String, String, bool)> {
    let told = |effect: &Effect| match effect {
        Effect::Filter { pattern, filter, wanted, .. } => {
            Some((pattern.to_string(), filter.to_string(), *wanted))
        }
        _ => None,
    };
    world.effects.iter().filter_map(told).collect()
}

fn subscribe(world: &mut World, peer: &mut Peer, subscription: Subscription) {
    world.ask(peer, Operation::Subscribe(subscription)).unwrap();
}

#[test]
fn a_filter_lets_through_only_what_it_wants_in_inboxes_and_sessions() {
    let mut world = World::new(ephemeral());
    let (mut agent, mut client) = (world.agent(1, "a"), world.client(2));
    subscribe(&mut world, &mut agent, filtered(durable("t.>"), "env=prod"));
    subscribe(&mut world, &mut client, filtered(own("t.*"), "env=prod"));
    let mut sender = world.client(3);
    let test = with_header(world.event("topic:t.x"), "env", "test");
    assert_eq!(world.accepted(&mut sender, &test).targets, 0);
    let prod = with_header(world.event("topic:t.x"), "env", "prod");
    assert_eq!(world.accepted(&mut sender, &prod).targets, 2);
    assert_eq!((world.deliveries(agent).len(), world.events(client).len()), (1, 1));
}

#[test]
fn a_filter_that_does_not_compile_is_refused_in_subscriptions_and_hellos() {
    let mut world = World::new(ephemeral());
    let mut client = world.client(1);
    let wrong = filtered(own("t"), "nonsense");
    let refusal = world.ask(&mut client, Operation::Subscribe(wrong.clone())).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
    let message = "filter 'nonsense' does not compile: there is no '='; write name=value";
    assert_eq!(refusal.message, message);
    let mut greeting = hello(2, None);
    greeting.subscriptions = vec![wrong];
    assert_eq!(world.try_connect(greeting).unwrap_err().message, message);
}

#[test]
fn a_subscription_cannot_let_events_wait() {
    let mut world = World::new(ephemeral());
    let mut client = world.client(1);
    let waits = Subscription { when_full: WhenFull::Wait, ..own("t") };
    let refusal = world.ask(&mut client, Operation::Subscribe(waits)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
    assert!(refusal.message.contains("reject or drop-oldest"), "{refusal}");
}

#[test]
fn a_durable_subscription_does_not_say_what_happens_when_it_is_full() {
    let mut world = World::new(config());
    let mut agent = world.agent(1, "a");
    let drops = durable("t").drop_oldest();
    let refusal = world.ask(&mut agent, Operation::Subscribe(drops.clone())).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
    assert!(refusal.message.contains("'t' cannot say drop-oldest"), "{refusal}");
    assert!(refusal.message.contains("the inbox of its agent"), "{refusal}");
    let mut greeting = hello(2, Some("b"));
    greeting.subscriptions = vec![drops];
    assert_eq!(world.try_connect(greeting).unwrap_err().message, refusal.message);
    subscribe(&mut world, &mut agent, own("t").drop_oldest());
    subscribe(&mut world, &mut agent, durable("t"));
}

#[test]
fn another_subscription_at_the_same_place_replaces_the_first() {
    let mut world = World::new(ephemeral());
    let mut client = world.client(1);
    subscribe(&mut world, &mut client, filtered(own("t"), "a=1"));
    subscribe(&mut world, &mut client, filtered(own("t"), "a=2"));
    let mut sender = world.client(2);
    let first = with_header(world.event("topic:t"), "a", "1");
    assert_eq!(world.accepted(&mut sender, &first).targets, 0);
    let second = with_header(world.event("topic:t"), "a", "2");
    assert_eq!(world.accepted(&mut sender, &second).targets, 1);
    world.ask(&mut client, Operation::Unsubscribe(own("t"))).unwrap();
    assert_eq!(world.accepted(&mut sender, &second).targets, 0);
}

#[test]
fn the_driver_is_told_which_filters_come_and_go() {
    let mut world = World::new(config());
    let mut agent = world.agent(1, "a");
    let told = |filter: &str, wanted| ("t".to_owned(), filter.to_owned(), wanted);
    subscribe(&mut world, &mut agent, filtered(durable("t"), "a=1"));
    assert_eq!(filters(&world), [told("a=1", true)]);
    subscribe(&mut world, &mut agent, filtered(durable("t"), "a=1"));
    assert_eq!(filters(&world), []);
    subscribe(&mut world, &mut agent, filtered(durable("t"), "a=2"));
    assert_eq!(filters(&world), [told("a=2", true), told("a=1", false)]);
    let mut world = world.restarted();
    assert_eq!(filters(&world), [told("a=2", true)], "a recovered one is told at the start");
    let mut agent = world.agent(1, "a");
    world.ask(&mut agent, Operation::Unsubscribe(durable("t"))).unwrap();
    assert_eq!(filters(&world), [told("a=2", false)]);
    let mut client = world.client(2);
    subscribe(&mut world, &mut client, filtered(own("t"), "a=3"));
    assert_eq!(filters(&world), [told("a=3", true)]);
    world.frame(client, ClientFrame::Goodbye);
    assert_eq!(filters(&world), [told("a=3", false)]);
}

#[test]
fn a_filter_is_evaluated_once_for_an_event_and_not_at_all_if_the_driver_has_done_it() {
    let rules = Arc::new(HeaderRules::default());
    let mut world = World::new(EngineConfig { rules: rules.clone(), ..ephemeral() });
    for session in 1..=10 {
        let mut client = world.client(session);
        subscribe(&mut world, &mut client, filtered(own("t"), "a=1"));
    }
    let mut sender = world.client(20);
    let event = with_header(world.event("topic:t"), "a", "1");
    assert_eq!(world.accepted(&mut sender, &event).targets, 10);
    assert_eq!(rules.evaluated.load(Ordering::Relaxed), 1);

    let filter: Filter = "a=1".parse().unwrap();
    let unwanted = with_header(world.event("topic:t"), "a", "1");
    let other = world.event("topic:t");
    let operations: Vec<_> =
        [other, unwanted].into_iter().map(|it| Operation::Publish(Arc::new(it))).collect();
    let first = sender.next;
    let frame = ClientFrame::Operations { first, operations };
    let verdicts =
        vec![(0, vec![(filter.clone(), true.into())]), (1, vec![(filter, false.into())])];
    world.handle(Command::Frame { connection: sender.connection, frame, verdicts });
    let targets = |number| world.answer(sender, number).unwrap().unwrap().unwrap().targets;
    assert_eq!((targets(first), targets(first + 1)), (10, 0), "the driver's word is taken");
    assert_eq!(rules.evaluated.load(Ordering::Relaxed), 1);
}

#[test]
fn who_misses_an_event_because_its_filter_was_left_out_is_told_and_so_is_the_sender() {
    let mut world = World::new(config());
    let (mut agent, mut client) = (world.agent(1, "a"), world.client(2));
    let (mut member, mut other) = (world.client(3), world.client(4));
    subscribe(&mut world, &mut agent, filtered(durable("t"), "a=1"));
    subscribe(&mut world, &mut client, filtered(own("t"), "a=1"));
    subscribe(&mut world, &mut member, filtered(grouped(own("t"), "g"), "a=1"));
    subscribe(&mut world, &mut other, grouped(own("t"), "g"));
    let mut sender = world.client(20);
    let mut judged = |world: &mut World, verdict: Verdict| {
        let event = with_header(world.event("topic:t"), "a", "1");
        let (first, operations) = (sender.next, vec![Operation::Publish(Arc::new(event))]);
        sender.next += 1;
        let frame = ClientFrame::Operations { first, operations };
        let verdicts = vec![(0, vec![("a=1".parse().unwrap(), verdict)])];
        world.handle(Command::Frame { connection: sender.connection, frame, verdicts });
        world.answer(sender, first).unwrap().unwrap().unwrap()
    };
    let accepted = judged(&mut world, Verdict::LeftOut);
    assert_eq!((accepted.targets, accepted.dropped), (1, 2), "of the group one has it");
    assert_eq!(world.stats().counters.dropped, 2);
    let accepted = judged(&mut world, Verdict::Wanted);
    assert_eq!((accepted.targets, accepted.dropped), (3, 0));
    assert_eq!(world.deliveries(agent)[0].missed, [NumberRange { first: 1, last: 1 }]);
    let event = &world.events(client)[0];
    assert_eq!((event.number, event.missed), (2, 1));
    let accepted = judged(&mut world, Verdict::Unwanted);
    assert_eq!((accepted.targets, accepted.dropped), (1, 0));
}

#[test]
fn an_event_goes_to_one_member_of_each_group_in_turn() {
    let mut world = World::new(ephemeral());
    let mut agents = [world.agent(1, "a"), world.agent(2, "b")];
    for (agent, pattern) in agents.iter_mut().zip(["t.>", "t.x"]) {
        subscribe(&mut world, agent, grouped(durable(pattern), "workers"));
    }
    let mut other = world.client(3);
    subscribe(&mut world, &mut other, grouped(own("t.*"), "others"));
    let mut sender = world.client(4);
    let mut got = [0, 0];
    for _ in 0..10 {
        let event = world.event("topic:t.x");
        assert_eq!(world.accepted(&mut sender, &event).targets, 2);
        assert_eq!(world.events(other).len(), 1, "the other group gets it too");
        for (got, agent) in got.iter_mut().zip(agents) {
            *got += world.deliveries(agent).len();
        }
    }
    assert_eq!(got, [5, 5]);
}

#[test]
fn a_group_prefers_members_that_are_connected_and_want_the_event() {
    let mut world = World::new(ephemeral());
    let mut agents = [world.agent(1, "a"), world.agent(2, "b"), world.agent(3, "c")];
    for (agent, filter) in agents.iter_mut().zip(["n=1", "n=1", "n=2"]) {
        subscribe(&mut world, agent, filtered(grouped(durable("t"), "workers"), filter));
    }
    world.disconnect(agents[0]);
    let mut sender = world.client(4);
    for _ in 0..4 {
        let event = with_header(world.event("topic:t"), "n", "1");
        assert_eq!(world.accepted(&mut sender, &event).parked, 0);
        assert_eq!(world.deliveries(agents[1]).len(), 1);
    }
    world.disconnect(agents[1]);
    let event = with_header(world.event("topic:t"), "n", "1");
    let accepted = world.accepted(&mut sender, &event);
    assert_eq!((accepted.targets, accepted.parked), (1, 1), "one that is away keeps it");
}

#[test]
fn a_subscriber_gets_one_copy_however_many_of_its_subscriptions_match() {
    let mut world = World::new(ephemeral());
    let (mut agent, mut client) = (world.agent(1, "a"), world.client(2));
    for subscription in [durable("t.x"), durable("t.*"), grouped(durable("t.x"), "g")] {
        subscribe(&mut world, &mut agent, subscription);
    }
    for subscription in [own("t.x"), own("t.>")] {
        subscribe(&mut world, &mut client, subscription);
    }
    let mut sender = world.client(3);
    let event = world.event("topic:t.x");
    assert_eq!(world.accepted(&mut sender, &event).targets, 2);
    assert_eq!((world.deliveries(agent).len(), world.events(client).len()), (1, 1));
}

#[test]
fn a_durable_subscription_survives_a_restart_with_all_that_it_says() {
    let mut world = World::new(config());
    let mut agent = world.agent(1, "a");
    let wanted = filtered(grouped(durable("t"), "g"), "n=1");
    subscribe(&mut world, &mut agent, wanted);
    let before = world.engine.durable_state();
    let mut world = world.killed();
    let agent_line = |state: &std::collections::BTreeMap<String, String>| {
        state.iter().find(|(name, _)| name.starts_with("agent")).unwrap().1.clone()
    };
    assert_eq!(agent_line(&before), agent_line(&world.engine.durable_state()));
    let mut sender = world.client(2);
    let unwanted = world.event("topic:t");
    assert_eq!(world.accepted(&mut sender, &unwanted).targets, 0);
    let wanted = with_header(world.event("topic:t"), "n", "1");
    assert_eq!(world.accepted(&mut sender, &wanted).targets, 1);
}

#[test]
fn every_kind_travels_to_every_destination_that_makes_sense_for_it() {
    let mut world = World::new(ephemeral());
    let mut agent = world.agent(1, "a");
    let mut sender = world.agent(2, "b");
    subscribe(&mut world, &mut agent, durable("t"));
    for &kind in Kind::ALL {
        for to in ["agent:a", "skill:s", "topic:t", "all", "agents:a"] {
            let mut publish = world.message(kind, to);
            publish.envelope.source = Some("b".parse().unwrap());
            if kind == Kind::Response {
                publish.envelope.correlation_id = Some(publish.envelope.id);
            }
            let several = !matches!(to, "agent:a" | "skill:s");
            let result = world.publish(&mut sender, &publish);
            if kind == Kind::Request && several {
                assert_eq!(result.unwrap_err().code, RefusalCode::Invalid, "{kind} to {to}");
                continue;
            }
            result.unwrap();
            let got = world.deliveries(agent).into_iter().chain(world.deliveries(sender));
            let got: Vec<_> = got.map(|delivery| delivery.publish.envelope.kind).collect();
            assert_eq!(got, [kind], "{kind} to {to}");
            assert!(to == "skill:s" || world.deliveries(sender).is_empty(), "not to its sender");
        }
    }
}

#[test]
fn a_response_must_say_what_it_answers() {
    let mut world = World::new(ephemeral());
    let mut sender = world.client(1);
    let response = world.message(Kind::Response, "agent:a");
    let refusal = world.publish(&mut sender, &response).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
    assert!(refusal.message.contains("correlation id"), "{refusal}");
}
