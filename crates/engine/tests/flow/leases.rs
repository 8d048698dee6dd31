//! Deliveries and who may still speak for them.

use super::credit;
use crate::stage::{Stage, cancels, config, deliveries, hello};
use std::time::Duration;
use trunkline_engine::Effect;
use trunkline_types::Kind;
use trunkline_types::session::{Operation, Update, UpdateBody};

#[test]
fn a_delivery_that_ran_too_long_is_not_the_sessions_again_when_it_comes_back() {
    let mut stage = Stage::new(config());
    let mut agent = stage.agent(2, "a");
    let mut client = stage.client(1);
    let mut publish = stage.message(Kind::Request, "skill:s");
    publish.options.task = true;
    publish.options.max_run = Some(Duration::from_secs(10));
    let effects = stage.publish(&mut client, &publish).unwrap();
    let token = deliveries(&effects)[0].token;
    stage.ask(&mut agent, Operation::Update(Update { token, body: UpdateBody::Started })).unwrap();
    credit(&mut stage, &agent, 0, 0);
    // As often as the broker wants to look.
    for _ in 0..3 {
        assert!(cancels(&stage.pass(Duration::from_millis(2500))).is_empty());
    }
    assert_eq!(cancels(&stage.pass(Duration::from_millis(2500))).len(), 1);
    stage.disconnect(&agent);
    let mut greeting = hello(2, Some("a"));
    greeting.held = vec![token];
    greeting.next_operation = agent.next;
    let (_, effects) = stage.connect(greeting);
    let revoked = effects.iter().find_map(|effect| match effect {
        Effect::Welcome { result: Ok(welcome), .. } => Some(welcome.revoked.clone()),
        _ => None,
    });
    assert_eq!(revoked, Some(vec![token]));
    assert_ne!(deliveries(&effects)[0].token, token);
}
