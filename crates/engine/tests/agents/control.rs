//! What operators set about agents, and how agents leave the directory.

use super::world::{World, card, done, secs, skill};
use std::sync::Arc;
use trunkline_engine::{Command, EngineConfig};
use trunkline_types::AgentCard;
use trunkline_types::session::{ClientFrame, Operation, SessionItem, Subscription};
use trunkline_types::{
    AgentChange, AgentControl, Destination, InboxAddress, InboxChange, Presence, RefusalCode,
};

fn draining(draining: bool) -> AgentChange {
    AgentChange { draining: Some(draining), ..AgentChange::default() }
}

fn healthy(healthy: bool) -> AgentChange {
    AgentChange { healthy: Some(healthy), ..AgentChange::default() }
}

fn weight(weight: u32) -> AgentChange {
    AgentChange { weight: Some(weight), ..AgentChange::default() }
}

fn is_drain(item: &SessionItem) -> bool {
    matches!(item, SessionItem::Drain { reason } if reason.contains("'a'"))
}

#[test]
fn a_drained_agent_is_told_and_gets_nothing_new_until_it_is_resumed() {
    let mut world = World::new(EngineConfig::default());
    let (first, second, mut client) = (world.agent("a"), world.agent("a"), world.client());
    world.publish(&mut client, 1);
    world.set(&mut client, "a", draining(true)).unwrap();
    world.publish(&mut client, 3);
    let told = [world.take(&first), world.take(&second)];
    assert!(told.iter().all(|items| items.iter().any(is_drain)), "{told:?}");
    let delivered = told.iter().flatten().filter(|item| matches!(item, SessionItem::Delivery(_)));
    assert_eq!(delivered.count(), 1, "only what came before");
    assert_eq!(world.info("a").unwrap().presence, Presence::Draining);
    world.set(&mut client, "a", draining(false)).unwrap();
    let delivered = world.deliveries(&first).len() + world.deliveries(&second).len();
    assert_eq!(delivered, 3, "at once");
    assert_eq!(world.info("a").unwrap().presence, Presence::Ready);
}

#[test]
fn an_unfit_agent_gets_no_work_until_it_is_fit_again() {
    let mut world = World::new(EngineConfig::default());
    let (agent, mut client) = (world.agent("a"), world.client());
    world.set(&mut client, "a", healthy(false)).unwrap();
    world.publish(&mut client, 2);
    assert!(world.take(&agent).is_empty(), "it is not asked to leave either");
    assert!(!world.info("a").unwrap().control.healthy);
    world.set(&mut client, "a", healthy(true)).unwrap();
    assert_eq!(world.deliveries(&agent).len(), 2);
}

#[test]
fn work_that_must_not_wait_is_refused_while_the_only_agent_is_drained() {
    let mut world = World::new(EngineConfig::default());
    let (_agent, mut client) = (world.agent("a"), world.client());
    world.set(&mut client, "a", draining(true)).unwrap();
    let mut publish = world.request();
    publish.options.absent = Some(trunkline_types::Absent::Fail);
    let refusal = world.ask(&mut client, Operation::Publish(Arc::new(publish))).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NobodyThere);
}

#[test]
fn a_session_that_comes_later_is_under_what_was_set_before() {
    let mut world = World::new(EngineConfig::default());
    let (agent, mut client) = (world.agent("a"), world.client());
    world.frame(&agent, ClientFrame::Goodbye);
    world.set(&mut client, "a", draining(true)).unwrap();
    world.publish(&mut client, 1);
    let late = world.agent("a");
    let told = world.take(&late);
    assert!(told.iter().any(is_drain), "{told:?}");
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn what_was_set_about_an_agent_outlives_a_restart() {
    let mut world = World::new(EngineConfig::default());
    let (_agent, mut client) = (world.agent("a"), world.client());
    let change = AgentChange { weight: Some(7), draining: Some(true), healthy: Some(false) };
    world.set(&mut client, "a", change).unwrap();
    world.set(&mut client, "a", healthy(true)).unwrap();
    world.assert_replays();
    let mut world = world.restarted();
    let agent = world.agent("a");
    let control = AgentControl { weight: 7, draining: true, healthy: true };
    assert_eq!(world.info("a").unwrap().control, control);
    let mut client = world.client();
    world.publish(&mut client, 1);
    assert!(world.deliveries(&agent).is_empty());
}

#[test]
fn a_change_is_confirmed_and_told_only_once_it_is_on_disk() {
    let mut world = World::new(EngineConfig::default());
    let (agent, mut client) = (world.agent("a"), world.client());
    world.is_fast = false;
    let change = draining(true);
    world.send(&mut client, Operation::SetAgent { agent: "a".parse().unwrap(), change });
    assert!(world.take(&client).is_empty());
    assert!(world.take(&agent).is_empty());
    world.flush();
    assert!(matches!(world.take(&client)[..], [SessionItem::Done { .. }]));
    assert!(world.take(&agent).iter().any(is_drain));
}

#[test]
fn a_subscription_of_an_agent_is_confirmed_only_once_it_is_on_disk() {
    let mut world = World::new(EngineConfig::default());
    let mut agent = world.agent("a");
    world.take(&agent);
    world.is_fast = false;
    let wanted = Subscription { durable: true, ..Subscription::new("t.*".parse().unwrap()) };
    world.send(&mut agent, Operation::Subscribe(wanted));
    assert!(world.take(&agent).is_empty());
    world.flush();
    assert!(matches!(world.take(&agent)[..], [SessionItem::Done { .. }]));
}

#[test]
fn an_unknown_agent_and_a_weight_out_of_range_are_refused() {
    let mut world = World::new(EngineConfig::default());
    let (_agent, mut client) = (world.agent("a"), world.client());
    let refusal = world.set(&mut client, "b", draining(true)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotFound);
    assert!(refusal.message.contains("'b'"), "{refusal}");
    world.set(&mut client, "a", weight(1000)).unwrap();
    let refusal = world.set(&mut client, "a", weight(1001)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
    assert!(refusal.message.contains("1001") && refusal.message.contains("0 to 1000"), "{refusal}");
    assert_eq!(world.info("a").unwrap().control.weight, 1000);
    world.handle(Command::Space { ample: false });
    let refusal = world.set(&mut client, "a", weight(1)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::DiskFull);
}

#[test]
fn what_was_set_is_not_set_again_over_a_newer_setting_when_it_is_sent_again() {
    let mut world = World::new(EngineConfig::default());
    let (_agent, mut client) = (world.agent("a"), world.client());
    let limit = |limit| {
        let change = Box::new(InboxChange { limit: Some(limit), ..InboxChange::default() });
        Operation::SetInbox { inbox: skill(), change }
    };
    let unheard = client.clone();
    world.set(&mut client, "a", weight(7)).unwrap();
    // Also what changes nothing has been done.
    world.set(&mut client, "a", weight(7)).unwrap();
    world.ask(&mut client, limit(7)).unwrap();
    world.ask(&mut client, limit(7)).unwrap();
    let mut world = world.restarted();
    let mut other = world.client();
    world.set(&mut other, "a", weight(8)).unwrap();
    world.ask(&mut other, limit(8)).unwrap();
    // The session has not heard that all this was done before the broker was killed.
    let mut client = world.come_back(&unheard, Vec::new()).unwrap();
    for _ in 0..2 {
        world.set(&mut client, "a", weight(7)).unwrap();
    }
    for _ in 0..2 {
        world.ask(&mut client, limit(7)).unwrap();
    }
    assert_eq!(world.info("a").unwrap().control.weight, 8);
    assert_eq!(world.inbox(skill()).unwrap().settings.limit, Some(8));
    world.assert_replays();
}

fn unregister(id: &str) -> Operation {
    Operation::Unregister { agent: id.parse().unwrap() }
}

#[test]
fn an_unregistered_agent_leaves_its_work_and_its_id_to_others() {
    let mut world = World::new(EngineConfig::default());
    let mut agent = world.connect_as("alice", Some(card("a"))).unwrap();
    let pattern: trunkline_types::TopicPattern = "x.y".parse().unwrap();
    let wanted = Subscription { durable: true, ..Subscription::new(pattern) };
    world.ask(&mut agent, Operation::Subscribe(wanted)).unwrap();
    let mut client = world.connect_as("alice", None).unwrap();
    world.set(&mut client, "a", weight(3)).unwrap();
    let mut publish = world.request();
    publish.envelope.destination = Destination::agent("a").unwrap();
    publish.options.task = true;
    world.ask(&mut client, Operation::Publish(Arc::new(publish))).unwrap();
    let held = world.deliveries(&agent).remove(0);
    world.ask(&mut client, unregister("a")).unwrap();
    let told = world.take(&agent);
    let [SessionItem::GoAway { reason, reconnect: false }] = &told[..] else { panic!("{told:?}") };
    assert!(reason.contains("unregistered"), "{reason}");
    assert_eq!(world.info("a"), None);
    let own = InboxAddress::Agent("a".parse().unwrap());
    assert_eq!(world.inbox(own.clone()).unwrap().stats.gauges.parked, 1, "its inbox stays");
    assert!(!format!("{:?}", world.engine.durable_state()).contains("x.y"));
    world.assert_replays();
    let mut world = world.restarted();
    let mut other = world.connect_as("bob", Some(card("a"))).unwrap();
    let info = world.info("a").unwrap();
    assert_eq!((info.owner.as_str(), info.control), ("bob", AgentControl::default()));
    let again = world.deliveries(&other).remove(0);
    assert_eq!(again.publish.envelope.id, held.publish.envelope.id);
    let settle = trunkline_types::Settle { token: held.token, outcome: done() };
    let refusal = world.ask(&mut other, Operation::Settle(settle)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::StaleToken, "it is not what the former owner held");
}

#[test]
fn whoever_registers_the_id_next_does_not_speak_for_what_its_former_owner_held() {
    let mut world = World::new(EngineConfig::default());
    let agent = world.connect_as("alice", Some(card("a"))).unwrap();
    let mut client = world.connect_as("alice", None).unwrap();
    world.publish(&mut client, 1);
    let token = world.deliveries(&agent).remove(0).token;
    world.ask(&mut client, unregister("a")).unwrap();
    let same_id = AgentCard::new("a".parse().unwrap());
    let mut other = world.connect_as("bob", Some(same_id)).unwrap();
    let settle = trunkline_types::Settle { token, outcome: done() };
    let refusal = world.ask(&mut other, Operation::Settle(settle)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::StaleToken);
    assert_eq!(world.inbox(skill()).unwrap().stats.gauges.parked, 1);
}

#[test]
fn only_its_owner_may_unregister_an_agent_and_only_one_that_is_there() {
    let mut world = World::new(EngineConfig::default());
    let agent = world.connect_as("alice", Some(card("a"))).unwrap();
    let mut stranger = world.connect_as("bob", None).unwrap();
    let refusal = world.ask(&mut stranger, unregister("a")).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Forbidden);
    assert!(refusal.message.contains("'alice'"), "{refusal}");
    let refusal = world.ask(&mut stranger, unregister("z")).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotFound);
    assert!(refusal.message.contains("'z'"), "{refusal}");
    world.publish(&mut stranger, 1);
    assert_eq!(world.deliveries(&agent).len(), 1, "it is still there");
}

#[test]
fn an_agent_that_unregisters_itself_is_answered_before_its_session_ends() {
    for logged in [true, false] {
        let mut world = World::new(EngineConfig { logged, ..EngineConfig::default() });
        let mut agent = world.agent("a");
        world.take(&agent);
        let operations = vec![unregister("a"), unregister("a")];
        world.frame(&agent, ClientFrame::Operations { first: 1, operations });
        let told = world.take(&agent);
        let done = |item: &SessionItem| matches!(item, SessionItem::Done { first: 1, last: 1 });
        let done = told.iter().position(done).unwrap();
        assert!(matches!(told[done + 1..], [SessionItem::GoAway { .. }]), "{told:?}");
        world.send(&mut agent, unregister("a"));
        assert!(world.take(&agent).is_empty(), "the connection is gone");
        assert_eq!(world.stats().sessions, 0);
    }
}

#[test]
fn sessions_of_an_unregistered_agent_end_once_that_is_on_disk_and_get_nothing_before() {
    let mut world = World::new(EngineConfig::default());
    let (agent, mut client) = (world.agent("a"), world.client());
    world.is_fast = false;
    world.send(&mut client, unregister("a"));
    world.publish(&mut client, 1);
    assert!(world.take(&agent).is_empty());
    let confirmed = |item: &SessionItem| matches!(item, SessionItem::Done { first: 1, .. });
    assert!(!world.take(&client).iter().any(confirmed));
    world.flush();
    assert!(world.take(&client).iter().any(confirmed));
    assert!(matches!(world.take(&agent)[..], [SessionItem::GoAway { .. }]));
    assert_eq!(world.inbox(skill()).unwrap().stats.gauges.parked, 1);
}

#[test]
fn a_session_that_comes_back_before_that_is_on_disk_has_registered_anew() {
    let mut world = World::new(EngineConfig::default());
    let (agent, mut client) = (world.agent("a"), world.client());
    world.is_fast = false;
    world.send(&mut client, unregister("a"));
    let back = world.come_back(&agent, Vec::new()).unwrap();
    world.flush();
    world.publish(&mut client, 1);
    assert!(matches!(world.take(&back)[..], [SessionItem::Delivery(_)]));
    assert!(world.info("a").is_some());
    world.assert_replays();
}

#[test]
fn a_session_whose_agent_was_unregistered_leaves_no_subscription_behind() {
    let mut world = World::new(EngineConfig::default());
    let (mut agent, mut client) = (world.agent("a"), world.client());
    world.is_fast = false;
    world.send(&mut client, unregister("a"));
    let pattern: trunkline_types::TopicPattern = "x.y".parse().unwrap();
    let wanted = Subscription { durable: true, ..Subscription::new(pattern) };
    let refusal = world.ask(&mut agent, Operation::Subscribe(wanted)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
    world.flush();
}

#[test]
fn a_session_is_welcomed_only_once_what_was_set_about_its_agent_is_on_disk() {
    let mut world = World::new(EngineConfig::default());
    let (_agent, mut client) = (world.agent("a"), world.client());
    world.is_fast = false;
    let change = draining(true);
    world.send(&mut client, Operation::SetAgent { agent: "a".parse().unwrap(), change });
    let late = world.agent("a");
    assert!(world.take(&late).is_empty(), "nothing is told that a crash could take back");
    world.flush();
    assert!(world.take(&late).iter().any(is_drain));
}

#[test]
fn what_was_unregistered_is_said_again_after_a_restart_and_done_once() {
    let mut world = World::new(EngineConfig::default());
    let (_agent, mut client) = (world.agent("a"), world.client());
    let before = client.clone();
    world.ask(&mut client, unregister("a")).unwrap();
    let mut world = world.restarted();
    let mut client = world.come_back(&before, Vec::new()).unwrap();
    world.ask(&mut client, unregister("a")).unwrap();
    world.pass(secs(1));
}

#[test]
fn each_process_of_an_agent_serves_the_skills_that_it_offers_itself() {
    let mut world = World::plain(|_| {});
    let offering = |skill: &str| {
        let mut card = AgentCard::new("a".parse().unwrap());
        card.skills.push(skill.parse().unwrap());
        card
    };
    let first = world.connect(Some(offering("s"))).unwrap();
    let second = world.connect(Some(offering("other"))).unwrap();
    let mut client = world.client();
    world.publish(&mut client, 2);
    assert_eq!(world.deliveries(&first).len(), 2);
    assert!(world.deliveries(&second).is_empty(), "it has no handler for that");
}
