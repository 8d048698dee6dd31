//! What becomes of dead letters.

use crate::stage::{Peer, Stage, accepted, config, deliveries, hello, millis, settle};
use std::time::Duration;
use trunkline_engine::{Command, Effect, EngineConfig};
use trunkline_types::session::{ClientFrame, Delivery, LetterAddress, Operation, Redrive};
use trunkline_types::{
    Absent, Answer, DeadLetter, DeadLetterFilter, Destination, Durability, Gather, GatherRule,
    Kind, MessageId, Outcome, Priority, Publish, Query, RefusalCode, WallTime,
};

/// Makes a good redrive a bad one.
type Edit = fn(&mut Redrive);

fn dead(reason: &str) -> Outcome {
    Outcome::DeadLetter { reason: reason.into() }
}

fn letter(id: MessageId) -> LetterAddress {
    LetterAddress { id, inbox: None }
}

fn again(letter: MessageId, id: MessageId) -> Redrive {
    let letter = self::letter(letter);
    Redrive { letter, id, payload: None, destination: None, priority: None }
}

fn redrive(redrive: &Redrive) -> Operation {
    Operation::Redrive(Box::new(redrive.clone()))
}

/// A stage with an agent `a` that offers `s`, and a client.
fn pair(config: EngineConfig) -> (Stage, Peer, Peer) {
    let mut stage = Stage::new(config);
    let (agent, client) = (stage.agent(2, "a"), stage.client(1));
    (stage, agent, client)
}

/// Publishes what the agent then gives up.
fn die(stage: &mut Stage, agent: &mut Peer, client: &mut Peer, publish: &Publish, reason: &str) {
    let effects = stage.publish(client, publish).unwrap();
    for delivery in deliveries(&effects) {
        stage.ask(agent, settle(delivery.token, dead(reason))).unwrap();
    }
}

fn task(stage: &mut Stage) -> Publish {
    let mut publish = stage.message(Kind::Request, "skill:s");
    publish.options.task = true;
    publish
}

fn letters(stage: &mut Stage, filter: DeadLetterFilter) -> Vec<DeadLetter> {
    match stage.query(Query::DeadLetters(filter)) {
        Ok(Answer::DeadLetters(page)) => page.letters,
        other => panic!("{other:?}"),
    }
}

fn only(effects: &[Effect]) -> Delivery {
    let mut all = deliveries(effects);
    assert_eq!(all.len(), 1, "{effects:?}");
    all.remove(0)
}

#[test]
fn a_redriven_task_is_a_new_one_with_the_same_root() {
    let (mut stage, mut agent, mut client) = pair(config());
    let (cause, root) = (stage.id(), stage.id());
    let mut publish = task(&mut stage);
    publish.options.attempts = Some(7);
    publish.options.reply = true;
    publish.envelope.ttl = Some(millis(5000));
    publish.envelope.causation_id = Some(cause);
    publish.envelope.root_id = Some(root);
    publish.envelope.ordering_key = Some("k".parse().unwrap());
    publish.envelope.idempotency_key = Some("once".parse().unwrap());
    publish.envelope.headers = vec![("h".into(), "v".into())];
    die(&mut stage, &mut agent, &mut client, &publish, "poison");
    stage.pass(millis(4000));
    let (old, id) = (publish.envelope.id, stage.id());
    let effects = stage.ask(&mut client, redrive(&again(old, id))).unwrap();
    let answer = &accepted(&effects)[0];
    assert_eq!((answer.id, answer.duplicate, answer.targets), (id, false, 1));
    let delivery = only(&effects);
    assert_eq!(delivery.expires_at, Some(WallTime(9000)), "its time to live starts anew");
    assert_eq!(delivery.attempt, 1);
    let (new, was) = (&delivery.publish, &publish);
    assert_eq!(new.envelope.id, id);
    assert_eq!(new.envelope.redriven_from.as_deref(), Some(&old));
    assert_eq!((new.envelope.root_id, new.envelope.causation_id), (Some(root), Some(cause)));
    assert_eq!(new.envelope.ordering_key, was.envelope.ordering_key);
    assert_eq!(new.envelope.headers, was.envelope.headers);
    assert_eq!(new.envelope.payload, was.envelope.payload);
    assert_eq!(new.envelope.idempotency_key, None);
    assert_eq!((new.attempts(), new.is_task(), new.options.reply), (7, true, false));
    assert_eq!(new.durability(), Durability::Synced);
    assert!(matches!(stage.query(Query::task(id)), Ok(Answer::Task(_))));
    assert!(letters(&mut stage, DeadLetterFilter::default()).is_empty());
    let stats = stage.stats();
    assert_eq!((stats.redriven, stats.dead_letters, stats.tasks_failed), (1, 0, 1));
}

#[test]
fn a_letter_without_a_root_is_one() {
    let (mut stage, mut agent, mut client) = pair(config());
    let publish = stage.message(Kind::Event, "agent:a");
    die(&mut stage, &mut agent, &mut client, &publish, "poison");
    let id = stage.id();
    let effects = stage.ask(&mut client, redrive(&again(publish.envelope.id, id))).unwrap();
    let delivery = only(&effects);
    assert_eq!(delivery.publish.envelope.root_id, Some(publish.envelope.id));
    assert!(!delivery.publish.is_task(), "what was no task is none now");
}

#[test]
fn what_is_edited_is_sent_as_edited() {
    let (mut stage, mut agent, mut client) = pair(config());
    let mut other = stage.agent(3, "b");
    let publish = task(&mut stage);
    let effects = stage.publish(&mut client, &publish).unwrap();
    let token = only(&effects).token;
    let holder = if stage.ask(&mut agent, settle(token, dead("x"))).is_ok() { "a" } else { "b" };
    if holder == "b" {
        stage.ask(&mut other, settle(token, dead("x"))).unwrap();
    }
    let mut edited = again(publish.envelope.id, stage.id());
    edited.payload = Some("better".into());
    edited.priority = Some(Priority::Urgent);
    edited.destination = Some(Destination::agent("b").unwrap());
    let delivery = only(&stage.ask(&mut client, redrive(&edited)).unwrap());
    assert_eq!(delivery.inbox.to_string(), "agent:b");
    assert_eq!(delivery.publish.envelope.payload.to_text(), "better");
    assert_eq!(delivery.publish.envelope.priority, Priority::Urgent);
}

#[test]
fn an_edit_that_could_not_be_published_leaves_the_letter_where_it_is() {
    let (mut stage, mut agent, mut client) = pair(config());
    let publish = task(&mut stage);
    die(&mut stage, &mut agent, &mut client, &publish, "poison");
    let old = publish.envelope.id;
    let good = again(old, stage.id());
    let edits: [(RefusalCode, Edit); 4] = [
        (RefusalCode::Invalid, |it| it.destination = Some(Destination::All)),
        (RefusalCode::TooLarge, |it| it.payload = Some(vec![0; 2 << 20].into())),
        (RefusalCode::AlreadyTaken, |it| it.id = it.letter.id),
        (RefusalCode::Invalid, |it| {
            it.id = MessageId::from_parts(1, trunkline_types::Partition(9), 1);
        }),
    ];
    for (code, edit) in edits {
        let mut bad = good.clone();
        edit(&mut bad);
        assert_eq!(stage.ask(&mut client, redrive(&bad)).unwrap_err().code, code);
    }
    assert_eq!(letters(&mut stage, DeadLetterFilter::default()).len(), 1);
    stage.ask(&mut client, redrive(&good)).unwrap();
}

#[test]
fn what_is_gone_is_said_to_be_gone() {
    let (mut stage, mut agent, mut client) = pair(config());
    let publish = task(&mut stage);
    die(&mut stage, &mut agent, &mut client, &publish, "poison");
    let old = publish.envelope.id;
    let first = again(old, stage.id());
    stage.ask(&mut client, redrive(&first)).unwrap();
    let second = again(old, stage.id());
    let refusal = stage.ask(&mut client, redrive(&second)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotFound);
    assert!(refusal.message.contains(&format!("dead letter {old} is gone")), "{refusal}");
    let refusal = stage.ask(&mut client, Operation::Purge(letter(old))).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotFound);
}

#[test]
fn of_copies_that_died_in_several_inboxes_one_must_be_named() {
    let (mut stage, mut agent, mut client) = pair(config());
    let mut other = stage.agent(3, "b");
    let publish = stage.message(Kind::Event, "agents:a,b");
    let found = deliveries(&stage.publish(&mut client, &publish).unwrap());
    stage.ask(&mut agent, settle(found[0].token, dead("x"))).unwrap();
    stage.ask(&mut other, settle(found[1].token, dead("y"))).unwrap();
    let old = publish.envelope.id;
    let refusal = stage.ask(&mut client, Operation::Purge(letter(old))).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
    assert!(refusal.message.ends_with("agent:a, agent:b"), "{refusal}");
    let inbox = Some("agent:b".parse().unwrap());
    let mut named = again(old, stage.id());
    named.letter.inbox = inbox;
    let delivery = only(&stage.ask(&mut client, redrive(&named)).unwrap());
    assert_eq!(delivery.inbox.to_string(), "agent:b");
    stage.ask(&mut client, Operation::Purge(letter(old))).unwrap();
    assert!(letters(&mut stage, DeadLetterFilter::default()).is_empty());
    let stats = stage.stats();
    assert_eq!((stats.redriven, stats.purged), (1, 1));
}

#[test]
fn letters_and_what_became_of_them_outlive_the_broker() {
    let (mut stage, mut agent, mut client) = pair(config());
    let (sent, purged, kept) = (task(&mut stage), task(&mut stage), task(&mut stage));
    for publish in [&sent, &purged, &kept] {
        die(&mut stage, &mut agent, &mut client, publish, "poison");
    }
    stage.disconnect(&agent);
    let again_sent = again(sent.envelope.id, stage.id());
    let purge = Operation::Purge(letter(purged.envelope.id));
    let (first, second) = (client.next, client.next + 1);
    stage.ask(&mut client, redrive(&again_sent)).unwrap();
    stage.ask(&mut client, purge.clone()).unwrap();
    let before = stage.engine.durable_state();
    let mut stage = stage.restarted(Duration::ZERO);
    let mut after = stage.engine.durable_state();
    after.insert("next".into(), before["next"].clone());
    assert_eq!(after, before);
    let stats = stage.stats();
    assert_eq!((stats.redriven, stats.purged, stats.dead_letters), (1, 1, 1));
    // The client never heard that it was done, and says it again.
    let mut back = hello(1, None);
    back.next_operation = first;
    let (client, _) = stage.connect(back);
    stage.say(&client, first, redrive(&again_sent)).unwrap();
    stage.say(&client, second, purge).unwrap();
    let stats = stage.stats();
    assert_eq!((stats.redriven, stats.purged, stats.gauges.parked), (1, 1, 1));
    let (_, effects) = stage.connect(hello(7, Some("a")));
    assert_eq!(only(&effects).publish.envelope.id, again_sent.id);
}

#[test]
fn a_full_disk_refuses_to_redrive_and_lets_purge() {
    let (mut stage, mut agent, mut client) = pair(config());
    let publish = task(&mut stage);
    die(&mut stage, &mut agent, &mut client, &publish, "poison");
    stage.handle(Command::Space { ample: false });
    let redriven = again(publish.envelope.id, stage.id());
    let refusal = stage.ask(&mut client, redrive(&redriven)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::DiskFull);
    stage.ask(&mut client, Operation::Purge(letter(publish.envelope.id))).unwrap();
    assert!(letters(&mut stage, DeadLetterFilter::default()).is_empty());
}

#[test]
fn letters_are_found_by_agent_reason_and_time() {
    let (mut stage, mut agent, mut client) = pair(config());
    let mut other = stage.agent(3, "b");
    for (at, (to, reason)) in
        [("agent:a", "out of memory"), ("agent:b", "no such file"), ("agent:a", "no such host")]
            .into_iter()
            .enumerate()
    {
        let publish = stage.message(Kind::Event, to);
        let peer = if to == "agent:a" { &mut agent } else { &mut other };
        die(&mut stage, peer, &mut client, &publish, reason);
        assert_eq!(stage.now.wall, WallTime(at as u64 * 100));
        stage.pass(millis(100));
    }
    let mut found = |filter: DeadLetterFilter| -> Vec<String> {
        letters(&mut stage, filter).into_iter().map(|letter| letter.reason).collect()
    };
    let all = DeadLetterFilter::default;
    let agent = Some("b".parse().unwrap());
    assert_eq!(found(DeadLetterFilter { agent, ..all() }), ["no such file"]);
    let reason = Some("no such".to_owned());
    assert_eq!(found(DeadLetterFilter { reason, ..all() }), ["no such host", "no such file"]);
    let since = Some(WallTime(100));
    assert_eq!(found(DeadLetterFilter { since, ..all() }), ["no such host", "no such file"]);
    let until = Some(WallTime(100));
    assert_eq!(found(DeadLetterFilter { until, ..all() }), ["out of memory"]);
}

#[test]
fn without_a_log_letters_are_redriven_and_purged_all_the_same() {
    let (mut stage, mut agent, mut client) = pair(EngineConfig { logged: false, ..config() });
    let (one, two) = (task(&mut stage), task(&mut stage));
    die(&mut stage, &mut agent, &mut client, &one, "x");
    die(&mut stage, &mut agent, &mut client, &two, "y");
    let redriven = again(one.envelope.id, stage.id());
    stage.ask(&mut client, redrive(&redriven)).unwrap();
    stage.ask(&mut client, Operation::Purge(letter(two.envelope.id))).unwrap();
    assert!(stage.records.is_empty());
    assert!(letters(&mut stage, DeadLetterFilter::default()).is_empty());
}

#[test]
fn letters_beyond_the_bound_are_forgotten_with_their_index() {
    let (mut stage, mut agent, mut client) = pair(EngineConfig { dead_letters: 2, ..config() });
    let publishes = [task(&mut stage), task(&mut stage), task(&mut stage)];
    for publish in &publishes {
        die(&mut stage, &mut agent, &mut client, publish, "x");
    }
    let oldest = Operation::Purge(letter(publishes[0].envelope.id));
    assert_eq!(stage.ask(&mut client, oldest).unwrap_err().code, RefusalCode::NotFound);
    for publish in &publishes[1..] {
        stage.ask(&mut client, Operation::Purge(letter(publish.envelope.id))).unwrap();
    }
}

#[test]
fn a_redriven_event_is_as_durable_as_its_key_had_made_it() {
    let (mut stage, mut agent, mut client) = pair(config());
    let mut publish = stage.message(Kind::Event, "agent:a");
    publish.envelope.idempotency_key = Some("k".parse().unwrap());
    die(&mut stage, &mut agent, &mut client, &publish, "x");
    let redriven = again(publish.envelope.id, stage.id());
    let delivery = only(&stage.ask(&mut client, redrive(&redriven)).unwrap());
    assert_eq!(delivery.publish.durability(), Durability::Synced);
    assert_eq!(delivery.publish.attempts(), 3);
}

#[test]
fn a_part_of_a_gathering_that_died_is_redriven_alone() {
    let (mut stage, mut agent, mut client) = pair(config());
    let mut publish = stage.message(Kind::Request, "skill:s");
    publish.envelope.ttl = Some(millis(5000));
    publish.options.reply = true;
    publish.options.gather = Some(Gather::new(GatherRule::All));
    die(&mut stage, &mut agent, &mut client, &publish, "x");
    let redriven = again(publish.envelope.id, stage.id());
    let delivery = only(&stage.ask(&mut client, redrive(&redriven)).unwrap());
    assert_eq!(delivery.publish.options.gather, None);
    assert_eq!(delivery.publish.envelope.destination.to_string(), "agent:a");
}

#[test]
fn a_letter_is_redriven_to_wait_for_somebody_whatever_its_sender_wanted() {
    let mut stage = Stage::new(config());
    let mut agent = stage.agent(2, "a");
    let mut client = stage.client(1);
    let mut publish = stage.message(Kind::Event, "skill:s");
    publish.options.durability = Some(Durability::Synced);
    publish.options.absent = Some(Absent::Discard);
    let effects = stage.publish(&mut client, &publish).unwrap();
    stage.ask(&mut agent, settle(deliveries(&effects)[0].token, dead("no"))).unwrap();
    let (connection, frame) = (agent.connection, ClientFrame::Goodbye);
    stage.handle(Command::Frame { connection, frame, verdicts: Vec::new() });
    let id = stage.id();
    let effects = stage.ask(&mut client, redrive(&again(publish.envelope.id, id))).unwrap();
    assert_eq!((accepted(&effects)[0].targets, accepted(&effects)[0].parked), (1, 1));
    assert_eq!(letters(&mut stage, DeadLetterFilter::default()).len(), 0);
    let mut stage = stage.restarted(Duration::from_secs(1));
    assert_eq!(letters(&mut stage, DeadLetterFilter::default()).len(), 0);
    let (_, effects) = stage.connect(hello(3, Some("b")));
    assert_eq!(deliveries(&effects)[0].publish.envelope.id, id);
}

#[test]
fn letters_beyond_the_bytes_that_may_be_are_forgotten_and_counted() {
    let settings = EngineConfig { dead_letter_bytes: 250, ..config() };
    let (mut stage, mut agent, mut client) = pair(settings);
    let mut kill = |stage: &mut Stage, size: usize| {
        let mut publish = task(stage);
        publish.envelope.payload = vec![0; size].into();
        die(stage, &mut agent, &mut client, &publish, "x");
        publish.envelope.id
    };
    let ids = [90, 90, 90].map(|size| kill(&mut stage, size));
    let kept = |stage: &mut Stage| -> Vec<_> {
        let letters = letters(stage, DeadLetterFilter::default()).into_iter();
        letters.map(|letter| letter.publish.envelope.id).collect()
    };
    assert_eq!(kept(&mut stage), [ids[2], ids[1]], "each has two reasons besides");
    assert_eq!(stage.stats().dead_letters_forgotten, 1);
    let large = kill(&mut stage, 1000);
    assert_eq!(kept(&mut stage), [large], "the latest is kept however large");
    assert_eq!(stage.stats().dead_letters_forgotten, 3);
    let mut stage = stage.restarted(millis(10));
    assert_eq!(kept(&mut stage), [large]);
    assert_eq!(stage.stats().dead_letters_forgotten, 3, "the log says the same");
}
