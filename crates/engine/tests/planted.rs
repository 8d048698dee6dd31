//! The planted defects of gathering, schedules and keys show from outside.

use crate::stage::{Stage, accepted, config, deliveries, gathered, millis};
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::{Command, Defect, EngineConfig, KeyIndex, KeyRow};
use trunkline_types::session::Operation;
use trunkline_types::{Gather, GatherRule, IdempotencyKey, Kind, Schedule, TenantId, WallTime};

fn with(defect: Defect) -> EngineConfig {
    EngineConfig { defect: Some(defect), ..config() }
}

/// A stage with an agent `a` and a schedule that is due every second.
fn each_second(defect: Defect) -> Stage {
    let mut stage = Stage::new(with(defect));
    stage.agent(2, "a");
    let mut client = stage.client(1);
    let publish = Arc::new(stage.message(Kind::Event, "agent:a"));
    let (name, cron) = ("tick".parse().unwrap(), "every 1000".into());
    let schedule = Schedule { name, cron, zone: "".into(), publish };
    stage.ask(&mut client, Operation::SetSchedule(Box::new(schedule))).unwrap();
    stage
}

#[test]
fn a_repeated_firing_makes_a_second_message_for_a_due_time() {
    let mut stage = each_second(Defect::RepeatedFiring);
    assert_eq!(deliveries(&stage.pass(millis(1000))).len(), 1);
    let mut stage = stage.restarted(Duration::ZERO);
    stage.agent(3, "a");
    assert_eq!(deliveries(&stage.pass(Duration::ZERO)).len(), 1);
}

#[test]
fn a_delay_by_the_wall_waits_for_a_clock_that_was_set_back() {
    let mut stage = Stage::new(with(Defect::DelayByTheWall));
    stage.now.wall = WallTime(86_400_000);
    stage.agent(2, "a");
    let mut client = stage.client(1);
    let mut publish = stage.message(Kind::Event, "agent:a");
    publish.options.delay = Some(millis(1000));
    stage.publish(&mut client, &publish).unwrap();
    stage.now.wall = WallTime(0);
    assert!(deliveries(&stage.pass(millis(1000))).is_empty());
}

#[test]
fn a_lost_firing_makes_no_message_for_a_due_time() {
    let mut stage = each_second(Defect::LostFiring);
    for _ in 0..50 {
        stage.pass(millis(1000));
    }
    let made = stage.stats().scheduled;
    assert!((1..50).contains(&made), "{made}");
}

#[test]
fn a_gathering_that_forgets_names_fewer_agents_than_were_asked() {
    let mut stage = Stage::new(with(Defect::GatherForgets));
    let mut agent = stage.agent(2, "a");
    let mut client = stage.client(1);
    let mut named = 0;
    for _ in 0..50 {
        let mut publish = stage.message(Kind::Request, "skill:s");
        publish.envelope.ttl = Some(millis(1000));
        publish.options.reply = true;
        publish.options.gather = Some(Gather::new(GatherRule::All));
        let effects = stage.publish(&mut client, &publish).unwrap();
        let effects = stage.complete(&mut agent, deliveries(&effects)[0].token, "yes");
        named += gathered(&effects)[0].parts.len();
    }
    assert!((1..50).contains(&named), "{named}");
}

#[test]
fn a_key_that_left_memory_and_is_forgotten_is_accepted_again() {
    /// Is never asked, whatever it may know.
    #[derive(Debug)]
    struct Never;
    impl KeyIndex for Never {
        fn find(&self, _: &TenantId, _: &IdempotencyKey) -> Result<Option<KeyRow>, String> {
            panic!("it is not asked")
        }
    }
    let index: Option<Arc<dyn KeyIndex>> = Some(Arc::new(Never));
    let config = EngineConfig { key_index: index, ..with(Defect::IndexedKeyForgotten) };
    let mut stage = Stage::new(config);
    let mut client = stage.client(1);
    let mut publish = stage.message(Kind::Event, "agent:a");
    publish.envelope.idempotency_key = Some("k".parse().unwrap());
    stage.publish(&mut client, &publish).unwrap();
    let through = stage.engine.sequence();
    stage.handle(Command::Indexed { through });
    publish.envelope.id = stage.id();
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert!(accepted(&effects).iter().all(|it| !it.duplicate));
}
