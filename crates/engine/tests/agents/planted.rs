//! The planted defects do what they say, so that the simulator has something to find.

use super::world::{World, failed};
use trunkline_engine::{Defect, EngineConfig};
use trunkline_types::{AgentChange, Binding, InboxChange, Priority};

fn with(defect: Defect) -> EngineConfig {
    EngineConfig { defect: Some(defect), breaker_failures: 1, ..EngineConfig::default() }
}

fn draining() -> AgentChange {
    AgentChange { draining: Some(true), ..AgentChange::default() }
}

#[test]
fn an_ignored_drain_lets_work_through() {
    let mut world = World::new(with(Defect::IgnoredDrain));
    let (agent, mut client) = (world.agent("a"), world.client());
    world.set(&mut client, "a", draining()).unwrap();
    world.publish(&mut client, 1);
    assert_eq!(world.deliveries(&agent).len(), 1);
}

#[test]
fn an_ignored_breaker_lets_work_through() {
    let mut world = World::new(with(Defect::IgnoredBreaker));
    let (mut agent, mut client) = (world.agent("a"), world.client());
    for _ in 0..2 {
        world.publish(&mut client, 1);
        let token = world.deliveries(&agent).remove(0).token;
        world.settle(&mut agent, token, failed());
    }
}

#[test]
fn an_ignored_binding_lets_work_through() {
    let mut world = World::new(with(Defect::IgnoredBinding));
    let (agent, mut client) = (world.agent("a"), world.client());
    let binding = Binding { priority: Priority::High, key: "gpu".into(), value: "yes".into() };
    let bindings = Some(vec![binding]);
    world.set_inbox(&mut client, InboxChange { bindings, ..InboxChange::default() });
    world.publish_as(&mut client, Priority::High);
    assert_eq!(world.deliveries(&agent).len(), 1);
}

#[test]
fn a_forgotten_control_is_gone_after_a_restart() {
    let mut world = World::new(with(Defect::ForgottenControl));
    let (_agent, mut client) = (world.agent("a"), world.client());
    world.set(&mut client, "a", draining()).unwrap();
    let mut world = world.restarted();
    assert!(!world.info("a").unwrap().control.draining);
}
