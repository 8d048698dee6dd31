//! How inboxes are run: set, kept, asked for, refused.

use super::world::{Peer, World, secs, skill};
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::EngineConfig;
use trunkline_types::session::Operation;
use trunkline_types::{
    Absent, AgentId, Binding, Durability, InboxAddress, InboxChange, InboxEffective, InboxSettings,
    Kind, Priority, RefusalCode, Routing, WhenFull,
};

fn binding(priority: Priority, key: &str) -> Binding {
    Binding { priority, key: key.into(), value: "yes".into() }
}

#[test]
fn every_setting_of_an_inbox_is_kept_over_a_restart_and_can_be_reset() {
    let mut world = World::new(EngineConfig::default());
    let mut client = world.client();
    let change = InboxChange {
        when_full: Some(WhenFull::DropOldest),
        wait: Some(Duration::from_secs(3)),
        limit: Some(17),
        ttl: Some(secs(60)),
        routing: Some(Routing::RoundRobin),
        bindings: Some(vec![binding(Priority::Urgent, "gpu")]),
        reset: false,
    };
    world.set_inbox(&mut client, change.clone());
    let expected = InboxSettings {
        when_full: change.when_full,
        wait: change.wait,
        limit: change.limit,
        ttl: change.ttl,
        routing: change.routing,
        bindings: change.bindings.unwrap(),
    };
    assert_eq!(world.inbox(skill()).unwrap().settings, expected);
    world.assert_replays();
    let mut world = world.restarted();
    assert_eq!(world.inbox(skill()).unwrap().settings, expected);
    let mut client = world.client();
    let reset = InboxChange { reset: true, limit: Some(5), ..InboxChange::default() };
    world.set_inbox(&mut client, reset);
    let expected = InboxSettings { limit: Some(5), ..InboxSettings::default() };
    assert_eq!(world.inbox(skill()).unwrap().settings, expected);
    world.set_inbox(&mut client, InboxChange { limit: Some(0), ..InboxChange::default() });
    assert!(world.inbox(skill()).unwrap().settings.is_default());
    world.assert_replays();
}

#[test]
fn an_inbox_shows_its_figures_and_who_takes_work_from_it() {
    let mut world = World::plain(|_| {});
    let (first, _second, mut client) = (world.agent("a"), world.agent("b"), world.client());
    world.publish(&mut client, 3);
    let info = world.inbox(skill()).unwrap();
    assert_eq!((info.stats.gauges.leased, info.servers, info.waiting_outside), (3, 2, 0));
    assert_eq!(info.stats.address, Some(skill()));
    world.frame(&first, trunkline_types::session::ClientFrame::Drain);
    assert_eq!(world.inbox(skill()).unwrap().servers, 1);
    let unknown = world.inbox(InboxAddress::Skill("nobody".parse().unwrap())).unwrap_err();
    assert_eq!(unknown.code, RefusalCode::NotFound);
    assert!(unknown.message.contains("'skill:nobody'"), "{unknown}");
}

#[test]
fn an_inbox_shows_by_what_it_is_run_whether_that_is_set_there_or_for_the_broker() {
    let mut world = World::plain(|config| {
        config.when_full = WhenFull::Wait;
        config.wait = Duration::from_secs(7);
        (config.inbox_ephemeral, config.inbox_logged) = (30, 20);
        config.routing = Routing::Random;
    });
    let (_agent, mut client) = (world.agent("a"), world.client());
    let brokers = InboxEffective {
        when_full: WhenFull::Wait,
        wait: Duration::from_secs(7),
        ephemeral: 30,
        logged: 20,
        routing: Some(Routing::Random),
    };
    let info = world.inbox(skill()).unwrap();
    assert_eq!((info.effective, info.settings.is_default()), (brokers, true));
    let own = world.inbox(InboxAddress::Agent(AgentId::new("a").unwrap())).unwrap();
    assert_eq!(own.effective, InboxEffective { routing: None, ..brokers });
    let change = InboxChange::default().limit(25).when_full(WhenFull::Reject);
    world.set_inbox(&mut client, change.routing(Routing::Weighted).wait(Duration::ZERO));
    let info = world.inbox(skill()).unwrap();
    let expected = InboxEffective {
        when_full: WhenFull::Reject,
        wait: Duration::ZERO,
        ephemeral: 25,
        logged: 20,
        routing: Some(Routing::Weighted),
    };
    assert_eq!(info.effective, expected);
    assert_eq!(info.settings.limit, Some(25));
}

#[test]
fn settings_that_cannot_be_are_refused_and_change_nothing() {
    let mut world = World::plain(|config| config.inboxes = 2);
    let mut client = world.client();
    let none = InboxChange::default();
    let twice = vec![binding(Priority::High, "a"), binding(Priority::High, "b")];
    let long = vec![binding(Priority::High, &"x".repeat(2000))];
    let own = InboxAddress::Agent(AgentId::new("a").unwrap());
    let routing = Some(Routing::Random);
    let cases = [
        (skill(), InboxChange { limit: Some(10_000_001), ..none.clone() }, "1 to 10000000"),
        (skill(), InboxChange { wait: Some(Duration::MAX), ..none.clone() }, "the wait of"),
        (skill(), InboxChange { ttl: Some(Duration::MAX), ..none.clone() }, "1ms to"),
        (
            skill(),
            InboxChange { ttl: Some(Duration::from_nanos(1)), ..none.clone() },
            "or 0 for none",
        ),
        (skill(), InboxChange { bindings: Some(twice), ..none.clone() }, "bound twice"),
        (skill(), InboxChange { bindings: Some(long), ..none.clone() }, "the limit is 1024"),
        (own, InboxChange { routing, ..none.clone() }, "inbox of one agent"),
    ];
    for (inbox, change, text) in cases {
        let change = Box::new(change);
        let operation = Operation::SetInbox { inbox: inbox.clone(), change };
        let refusal = world.ask(&mut client, operation).unwrap_err();
        assert!(refusal.message.contains(text), "{refusal}");
        assert_eq!(world.inbox(inbox).unwrap_err().code, RefusalCode::NotFound, "{text}");
    }
    // The inbox that counts bare subscriptions is one of the two.
    world.set_inbox(&mut client, InboxChange { limit: Some(5), ..none.clone() });
    let inbox = InboxAddress::Skill("other".parse().unwrap());
    let change = Box::new(InboxChange { limit: Some(5), ..none });
    let refusal = world.ask(&mut client, Operation::SetInbox { inbox, change }).unwrap_err();
    assert!(refusal.message.contains("2 inboxes already"), "{refusal}");
}

/// Sends a request to the skill `s` with a time to live of its own.
fn send(world: &mut World, peer: &mut Peer, ttl: Option<Duration>) {
    let mut publish = world.request();
    publish.envelope.ttl = ttl;
    publish.options.durability = Some(Durability::Synced);
    world.ask(peer, Operation::Publish(Arc::new(publish))).unwrap();
}

#[test]
fn what_goes_to_an_inbox_alone_lives_no_longer_than_it_says() {
    let mut world = World::new(EngineConfig::default());
    let mut client = world.client();
    send(&mut world, &mut client, None);
    world.set_inbox(&mut client, InboxChange::default().ttl(secs(60)));
    for own in [None, Some(secs(10)), Some(secs(600))] {
        send(&mut world, &mut client, own);
    }
    let mut event = world.message(Kind::Event, "topic:t");
    event.options.absent = Some(Absent::Discard);
    world.ask(&mut client, Operation::Publish(Arc::new(event))).unwrap();
    world.set_inbox(&mut client, InboxChange::default().ttl(Duration::ZERO));
    send(&mut world, &mut client, None);
    world.flush();
    world.assert_replays();

    let mut world = world.restarted();
    assert_eq!(world.inbox(skill()).unwrap().settings.ttl, None);
    world.pass(secs(11));
    assert_eq!(world.inbox(skill()).unwrap().stats.counters.expired, 1);
    world.pass(secs(50));
    let stats = world.inbox(skill()).unwrap().stats;
    assert_eq!((stats.counters.expired, stats.gauges.parked), (3, 2), "{stats:?}");
    let agent = world.agent("a");
    let lives: Vec<_> = world.deliveries(&agent).iter().map(|d| d.publish.envelope.ttl).collect();
    assert_eq!(lives, [None, None], "what was sent before and after that is left");
}

#[test]
fn who_gets_a_message_sees_how_long_its_inbox_lets_it_live() {
    let mut world = World::plain(|_| {});
    let (agent, mut client) = (world.agent("a"), world.client());
    world.set_inbox(&mut client, InboxChange::default().ttl(secs(60)));
    send(&mut world, &mut client, None);
    let delivery = world.deliveries(&agent).pop().unwrap();
    assert_eq!(delivery.publish.envelope.ttl, Some(secs(60)));
    assert_eq!(delivery.expires_at, Some(delivery.accepted_at.after(secs(60))));
}

#[test]
fn what_would_expire_in_an_inbox_before_it_is_due_is_refused() {
    let mut world = World::plain(|_| {});
    let mut client = world.client();
    world.set_inbox(&mut client, InboxChange::default().ttl(secs(60)));
    for (delay, fits) in [(59, true), (60, false)] {
        let mut publish = world.request();
        publish.options.delay = Some(secs(delay));
        let answer = world.ask(&mut client, Operation::Publish(Arc::new(publish)));
        assert_eq!(answer.is_ok(), fits);
        if let Err(refusal) = answer {
            assert_eq!(refusal.code, RefusalCode::Invalid);
            let says = "inbox of 'skill:s' is 1m and delay is 1m";
            assert!(refusal.message.contains(says), "{refusal}");
        }
    }
}
