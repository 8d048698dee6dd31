//! Requests that would wait for themselves are refused at once.

use crate::stage::{Peer, Stage, config, deliveries};
use trunkline_types::session::Delivery;
use trunkline_types::{Kind, MessageId, Publish, RefusalCode};

/// Agents `a`, `b` and `c` in order, and a client.
fn stage() -> (Stage, Vec<Peer>, Peer) {
    let mut stage = Stage::new(config());
    let agents = vec![stage.agent(11, "a"), stage.agent(12, "b"), stage.agent(13, "c")];
    let client = stage.client(1);
    (stage, agents, client)
}

fn request(stage: &mut Stage, to: &str, key: Option<&str>, cause: Option<MessageId>) -> Publish {
    let mut publish = stage.message(Kind::Request, to);
    publish.options.reply = true;
    publish.envelope.ordering_key = key.map(|key| key.parse().unwrap());
    publish.envelope.causation_id = cause;
    publish
}

/// Sends a request that is delivered.
fn held(stage: &mut Stage, from: &mut Peer, publish: &Publish) -> Delivery {
    deliveries(&stage.publish(from, publish).unwrap()).remove(0)
}

#[test]
fn a_request_behind_its_own_ancestor_is_refused_with_the_chain() {
    let (mut stage, mut agents, mut client) = stage();
    let first = request(&mut stage, "agent:a", Some("k"), None);
    held(&mut stage, &mut client, &first);
    let second = request(&mut stage, "agent:b", None, Some(first.envelope.id));
    held(&mut stage, &mut agents[0], &second);
    let third = request(&mut stage, "agent:a", Some("k"), Some(second.envelope.id));
    let refusal = stage.publish(&mut agents[1], &third).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Deadlock);
    let chain = format!(
        "request to 'agent:a' with ordering key 'k' would wait for itself: a ({}) holds the key → \
         b ({}) → this request",
        first.envelope.id, second.envelope.id
    );
    assert!(refusal.message.starts_with(&chain), "{refusal}");
}

#[test]
fn another_key_another_inbox_or_no_wish_for_a_reply_is_no_deadlock() {
    let (mut stage, mut agents, mut client) = stage();
    let first = request(&mut stage, "agent:a", Some("k"), None);
    held(&mut stage, &mut client, &first);
    let cause = Some(first.envelope.id);
    let other_key = request(&mut stage, "agent:a", Some("l"), cause);
    stage.publish(&mut agents[0], &other_key).unwrap();
    let other_inbox = request(&mut stage, "agent:b", Some("k"), cause);
    stage.publish(&mut agents[0], &other_inbox).unwrap();
    let mut unanswered = request(&mut stage, "agent:a", Some("k"), cause);
    unanswered.options.reply = false;
    stage.publish(&mut agents[0], &unanswered).unwrap();
    let unrelated = request(&mut stage, "agent:a", Some("k"), None);
    stage.publish(&mut client, &unrelated).unwrap();
}

#[test]
fn an_ancestor_that_does_not_wait_is_none_and_one_that_has_ended_neither() {
    let (mut stage, mut agents, mut client) = stage();
    let first = request(&mut stage, "agent:a", Some("k"), None);
    let holding = held(&mut stage, &mut client, &first);
    // `a` tells `b` and goes on, so it will end some time whatever `b` waits for.
    let told = {
        let mut told = stage.message(Kind::Event, "agent:b");
        told.envelope.causation_id = Some(first.envelope.id);
        told
    };
    held(&mut stage, &mut agents[0], &told);
    let later = request(&mut stage, "agent:a", Some("k"), Some(told.envelope.id));
    stage.publish(&mut agents[1], &later).unwrap();
    stage.complete(&mut agents[0], holding.token, "done");
    let after = request(&mut stage, "agent:a", Some("k"), Some(first.envelope.id));
    stage.publish(&mut agents[0], &after).unwrap();
}

#[test]
fn a_skills_inbox_is_held_by_whichever_agent_has_the_key() {
    let (mut stage, mut agents, mut client) = stage();
    let first = request(&mut stage, "skill:s", Some("k"), None);
    held(&mut stage, &mut client, &first);
    let second = request(&mut stage, "skill:s", Some("k"), Some(first.envelope.id));
    let refusal = stage.publish(&mut agents[0], &second).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Deadlock);
}

#[test]
fn causes_that_run_in_a_circle_end_the_search() {
    let (mut stage, mut agents, mut client) = stage();
    let ids = (stage.id(), stage.id());
    let mut one = request(&mut stage, "agent:a", None, Some(ids.1));
    one.envelope.id = ids.0;
    let mut two = request(&mut stage, "agent:b", None, Some(ids.0));
    two.envelope.id = ids.1;
    held(&mut stage, &mut client, &one);
    held(&mut stage, &mut client, &two);
    let third = request(&mut stage, "agent:c", Some("k"), Some(ids.0));
    stage.publish(&mut agents[0], &third).unwrap();
}
