//! One request, several answers.

use crate::stage::{
    Peer, Stage, accepted, cancels, config, deliveries, gathered, hello, millis, replies, settle,
};
use std::time::Duration;
use trunkline_engine::{Effect, EngineConfig};
use trunkline_types::session::Operation;
use trunkline_types::{
    Absent, Durability, FailureCode, Gather, GatherRule, Gathered, InboxAddress, Kind, Outcome,
    Payload, Publish, Query, RefusalCode,
};

/// Three agents that offer the skill `s`, `a` to `c`, and a client.
fn three() -> (Stage, Vec<Peer>, Peer) {
    three_with(config())
}

fn three_with(config: EngineConfig) -> (Stage, Vec<Peer>, Peer) {
    let mut stage = Stage::new(config);
    // In another order than that of their ids.
    let mut agents = vec![stage.agent(13, "c"), stage.agent(11, "a"), stage.agent(12, "b")];
    agents.rotate_left(1);
    let client = stage.client(1);
    (stage, agents, client)
}

fn request(stage: &mut Stage, to: &str, rule: GatherRule) -> Publish {
    let mut publish = stage.message(Kind::Request, to);
    publish.envelope.ttl = Some(millis(10_000));
    publish.options.reply = true;
    publish.options.gather = Some(Gather::new(rule));
    publish
}

fn only(effects: &[Effect]) -> Gathered {
    let mut all = gathered(effects);
    assert_eq!(all.len(), 1, "{effects:?}");
    assert!(replies(effects).is_empty(), "the answers come together");
    all.remove(0)
}

fn shape(gathered: &Gathered) -> Vec<(&str, Result<String, FailureCode>)> {
    let parts = gathered.parts.iter().map(|part| {
        let result = part.result.as_ref().map(|payload| payload.to_text().into_owned());
        (part.agent.as_str(), result.map_err(|failure| failure.code))
    });
    parts.collect()
}

#[test]
fn all_answers_come_together_in_the_order_of_the_agents() {
    let (mut stage, mut agents, mut client) = three();
    let publish = request(&mut stage, "agents:c,a,b,a", GatherRule::All);
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert_eq!(accepted(&effects)[0].targets, 3);
    let asked = deliveries(&effects);
    let inboxes: Vec<_> = asked.iter().map(|delivery| delivery.inbox.to_string()).collect();
    assert_eq!(inboxes, ["agent:a", "agent:b", "agent:c"]);
    for at in [2, 0] {
        let text = format!("answer {at}");
        let effects = stage.complete(&mut agents[at], asked[at].token, &text);
        assert!(gathered(&effects).is_empty());
    }
    let fail = Outcome::Fail { reason: "no".into() };
    let effects = stage.ask(&mut agents[1], settle(asked[1].token, fail)).unwrap();
    let all = only(&effects);
    assert_eq!(all.request, publish.envelope.id);
    assert!(!all.complete, "one answer of those wanted is missing");
    let (first, last) = (Ok("answer 0".to_owned()), Ok("answer 2".to_owned()));
    assert_eq!(shape(&all), [("a", first), ("b", Err(FailureCode::Failed)), ("c", last)]);
}

#[test]
fn all_are_complete_only_with_everybodys_answer() {
    let (mut stage, mut agents, mut client) = three();
    let publish = request(&mut stage, "agents:a,b", GatherRule::All);
    let effects = stage.publish(&mut client, &publish).unwrap();
    let asked = deliveries(&effects);
    stage.complete(&mut agents[0], asked[0].token, "1");
    let effects = stage.complete(&mut agents[1], asked[1].token, "2");
    assert!(only(&effects).complete);
}

#[test]
fn every_agent_with_the_skill_is_asked_for_it_in_its_own_inbox() {
    let (mut stage, mut agents, mut client) = three();
    let mut other = hello(14, Some("d"));
    other.card.as_mut().unwrap().skills.clear();
    stage.connect(other);
    let publish = request(&mut stage, "skill:s", GatherRule::All);
    let asked = deliveries(&stage.publish(&mut client, &publish).unwrap());
    assert_eq!(asked.len(), 3);
    let wanted = InboxAddress::Skill("s".parse().unwrap());
    assert!(asked.iter().all(|delivery| delivery.inbox == wanted), "{asked:?}");
    let own = stage.stats().inboxes;
    assert!(own.iter().all(|inbox| matches!(inbox.address, Some(InboxAddress::Agent(_)))));
    for at in 0..2 {
        stage.complete(&mut agents[at], asked[at].token, "yes");
    }
    let effects = stage.complete(&mut agents[2], asked[2].token, "yes");
    assert!(only(&effects).complete);
}

#[test]
fn all_means_every_agent_but_the_sender() {
    let (mut stage, mut agents, _) = three();
    let mut publish = request(&mut stage, "all", GatherRule::All);
    publish.envelope.source = Some("b".parse().unwrap());
    let asked = deliveries(&stage.publish(&mut agents[1], &publish).unwrap());
    let inboxes: Vec<_> = asked.iter().map(|delivery| delivery.inbox.to_string()).collect();
    assert_eq!(inboxes, ["agent:a", "agent:c"]);
}

#[test]
fn the_first_answer_calls_the_others_off() {
    let (mut stage, mut agents, mut client) = three();
    let publish = request(&mut stage, "skill:s", GatherRule::First);
    let asked = deliveries(&stage.publish(&mut client, &publish).unwrap());
    let reject = Outcome::Reject { reason: "busy".into() };
    let effects = stage.ask(&mut agents[0], settle(asked[0].token, reject)).unwrap();
    assert!(gathered(&effects).is_empty(), "who declines does not answer");
    let effects = stage.complete(&mut agents[2], asked[2].token, "me");
    let first = only(&effects);
    assert!(first.complete);
    let canceled = Err(FailureCode::Canceled);
    let rejected = Err(FailureCode::Rejected);
    assert_eq!(shape(&first), [("a", rejected), ("b", canceled), ("c", Ok("me".into()))]);
    let why = "canceled: enough answers have come".to_owned();
    assert_eq!(cancels(&effects), [(asked[1].token, why)]);
    let late = stage.ask(&mut agents[1], settle(asked[1].token, Outcome::Complete { reply: None }));
    assert_eq!(late.unwrap_err().code, RefusalCode::StaleToken);
}

#[test]
fn a_quorum_is_enough_and_more_than_there_are_is_refused() {
    let (mut stage, mut agents, mut client) = three();
    let publish = request(&mut stage, "skill:s", GatherRule::Quorum(4));
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
    assert!(refusal.message.contains("quorum of 4"), "{refusal}");
    assert!(refusal.message.contains("is 3 agents"), "{refusal}");
    let publish = request(&mut stage, "skill:s", GatherRule::Quorum(2));
    let asked = deliveries(&stage.publish(&mut client, &publish).unwrap());
    assert!(gathered(&stage.complete(&mut agents[0], asked[0].token, "1")).is_empty());
    let effects = stage.complete(&mut agents[1], asked[1].token, "2");
    let both = only(&effects);
    assert!(both.complete);
    assert_eq!(both.answers().count(), 2);
    assert_eq!(both.missing().next().unwrap().1.code, FailureCode::Canceled);
}

#[test]
fn the_time_to_live_ends_it_with_what_has_come() {
    let (mut stage, mut agents, mut client) = three();
    let publish = request(&mut stage, "skill:s", GatherRule::All);
    let asked = deliveries(&stage.publish(&mut client, &publish).unwrap());
    stage.complete(&mut agents[0], asked[0].token, "1");
    assert!(gathered(&stage.pass(millis(9_999))).is_empty());
    let part = only(&stage.pass(millis(1)));
    assert!(!part.complete);
    let expired = || Err(FailureCode::Expired);
    assert_eq!(shape(&part), [("a", Ok("1".into())), ("b", expired()), ("c", expired())]);
}

#[test]
fn answers_over_the_bound_are_left_out_and_do_not_count() {
    let (mut stage, mut agents, mut client) = three();
    let mut publish = request(&mut stage, "skill:s", GatherRule::Quorum(2));
    publish.options.gather = Some(Gather { rule: GatherRule::Quorum(2), reply_bytes: 10 });
    let asked = deliveries(&stage.publish(&mut client, &publish).unwrap());
    stage.complete(&mut agents[0], asked[0].token, "123456");
    assert!(gathered(&stage.complete(&mut agents[1], asked[1].token, "12345")).is_empty());
    let effects = stage.complete(&mut agents[2], asked[2].token, "1234");
    let part = only(&effects);
    assert!(part.complete);
    assert_eq!(shape(&part)[1].1, Err(FailureCode::LeftOut));
    let reason = &part.missing().next().unwrap().1.reason;
    assert!(reason.contains("5 bytes") && reason.contains("together is 10"), "{reason}");
}

#[test]
fn no_more_agents_are_asked_than_may_be() {
    let (mut stage, _, mut client) = three_with(EngineConfig { gather_agents: 2, ..config() });
    let publish = request(&mut stage, "skill:s", GatherRule::First);
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    assert!(refusal.message.contains("is 3 agents, the limit"), "{refusal}");
}

#[test]
fn nobody_to_ask_is_said_at_once() {
    let (mut stage, agents, mut client) = three();
    let publish = request(&mut stage, "skill:other", GatherRule::First);
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NobodyThere);
    for agent in &agents {
        stage.disconnect(agent);
    }
    let mut publish = request(&mut stage, "skill:s", GatherRule::First);
    publish.options.absent = Some(Absent::Fail);
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NobodyThere);
    assert_eq!(stage.stats().messages_refused, 2);
}

#[test]
fn who_is_away_is_named_or_asked_when_it_comes() {
    let (mut stage, mut agents, mut client) = three();
    stage.disconnect(&agents[1]);
    let mut publish = request(&mut stage, "agents:a,b", GatherRule::All);
    publish.options.absent = Some(Absent::Fail);
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert_eq!((accepted(&effects)[0].targets, accepted(&effects)[0].parked), (1, 0));
    let only_asked = deliveries(&effects).remove(0);
    let part = only(&stage.complete(&mut agents[0], only_asked.token, "1"));
    assert_eq!(shape(&part), [("a", Ok("1".into())), ("b", Err(FailureCode::NobodyThere))]);

    let publish = request(&mut stage, "agents:a,b", GatherRule::All);
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert_eq!((accepted(&effects)[0].targets, accepted(&effects)[0].parked), (2, 1));
    stage.complete(&mut agents[0], deliveries(&effects)[0].token, "1");
    let (mut back, effects) = stage.connect(hello(22, Some("b")));
    let effects = stage.complete(&mut back, deliveries(&effects)[0].token, "2");
    assert!(only(&effects).complete);
}

#[test]
fn a_full_inbox_is_a_part_of_its_own() {
    let (mut stage, mut agents, mut client) =
        three_with(EngineConfig { inbox_ephemeral: 1, ..config() });
    let filler = stage.message(Kind::Event, "agent:b");
    stage.publish(&mut client, &filler).unwrap();
    let publish = request(&mut stage, "agents:a,b", GatherRule::All);
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert_eq!((accepted(&effects)[0].targets, accepted(&effects)[0].dropped), (1, 1));
    let part = only(&stage.complete(&mut agents[0], deliveries(&effects)[0].token, "1"));
    assert_eq!(shape(&part)[1], ("b", Err(FailureCode::Rejected)));
    assert!(part.missing().next().unwrap().1.reason.contains("inbox is full"));
    let publish = request(&mut stage, "agents:b", GatherRule::All);
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::InboxFull);
    assert!(refusal.retry_after.is_some());
}

#[test]
fn a_sender_that_comes_back_is_told_and_one_that_is_gone_is_counted() {
    let (mut stage, mut agents, mut client) = three();
    let publish = request(&mut stage, "skill:s", GatherRule::First);
    let first = deliveries(&stage.publish(&mut client, &publish).unwrap());
    stage.disconnect(&client);
    stage.complete(&mut agents[0], first[0].token, "1");
    let mut again = hello(1, None);
    again.next_operation = client.next;
    let (mut client, effects) = stage.connect(again);
    assert!(only(&effects).complete);

    let publish = request(&mut stage, "skill:s", GatherRule::First);
    let second = deliveries(&stage.publish(&mut client, &publish).unwrap());
    stage.disconnect(&client);
    // In steps, for a clock that leaps means that it was the broker that was away.
    for _ in 0..24 {
        stage.pass(millis(250));
    }
    stage.complete(&mut agents[0], second[0].token, "1");
    assert_eq!(stage.stats().replies_dropped, 1);
}

#[test]
fn calling_it_off_ends_every_copy() {
    let (mut stage, mut agents, mut client) = three();
    let publish = request(&mut stage, "skill:s", GatherRule::All);
    let asked = deliveries(&stage.publish(&mut client, &publish).unwrap());
    stage.complete(&mut agents[1], asked[1].token, "2");
    let (id, reason) = (publish.envelope.id, "never mind".to_owned());
    let effects =
        stage.ask(&mut client, Operation::Cancel { id, reason, descendants: false }).unwrap();
    let part = only(&effects);
    let canceled = || Err(FailureCode::Canceled);
    assert_eq!(shape(&part), [("a", canceled()), ("b", Ok("2".into())), ("c", canceled())]);
    assert!(!part.complete);
    assert_eq!(cancels(&effects).len(), 2);
}

#[test]
fn a_request_to_several_says_that_gathering_is_what_it_needs() {
    let (mut stage, _, mut client) = three();
    let publish = stage.message(Kind::Request, "agents:a,b");
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert!(refusal.message.contains("set gather"), "{refusal}");
}

#[test]
fn a_stop_forgets_what_was_being_gathered_and_counts_it() {
    let (mut stage, _, mut client) = three();
    let publish = request(&mut stage, "skill:s", GatherRule::All);
    stage.publish(&mut client, &publish).unwrap();
    stage.handle(trunkline_engine::Command::Stop);
    assert_eq!(stage.stats().counters.lost, 3);
}

#[test]
fn a_key_makes_a_gathering_request_be_asked_once() {
    let (mut stage, _, mut client) = three();
    let mut publish = request(&mut stage, "skill:s", GatherRule::All);
    publish.envelope.idempotency_key = Some("k".parse().unwrap());
    publish.options.durability = Some(Durability::Ephemeral);
    stage.publish(&mut client, &publish).unwrap();
    let first = publish.envelope.id;
    publish.envelope.id = stage.id();
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert!(deliveries(&effects).is_empty());
    assert_eq!((accepted(&effects)[0].id, accepted(&effects)[0].duplicate), (first, true));
}

#[test]
fn unknown_agents_make_no_more_inboxes_than_there_may_be() {
    let (mut stage, _, mut client) = three_with(EngineConfig { inboxes: 5, ..config() });
    let publish = request(&mut stage, "agents:a,nobody", GatherRule::First);
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert!(refusal.message.contains("'agents:a,nobody' is unknown as to 1"), "{refusal}");
}

fn gathering(stage: &mut Stage, destination: &str) -> Publish {
    let mut publish = stage.message(Kind::Request, destination);
    publish.options.reply = true;
    publish.envelope.ttl = Some(Duration::from_hours(1));
    publish.options.gather = Some(Gather::new(GatherRule::All));
    publish
}

#[test]
fn the_key_of_a_gathering_survives_a_restart() {
    let mut stage = Stage::new(config());
    let mut client = stage.client(1);
    stage.agent(2, "a");
    let mut publish = gathering(&mut stage, "agents:a");
    publish.envelope.idempotency_key = Some("k".parse().unwrap());
    publish.options.durability = Some(Durability::Ephemeral);
    stage.publish(&mut client, &publish).unwrap();
    let mut stage = stage.restarted(millis(10));
    stage.agent(2, "a");
    let mut client = stage.client(7);
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert!(deliveries(&effects).is_empty());
    assert!(accepted(&effects)[0].duplicate);
}

fn knows(stage: &mut Stage, inbox: &str) -> bool {
    stage.query(Query::Inbox(inbox.parse().unwrap())).is_ok()
}

#[test]
fn a_gathering_that_is_refused_makes_no_inboxes() {
    let mut stage = Stage::new(EngineConfig { inboxes: 10, ..config() });
    let mut client = stage.client(1);
    let ids: Vec<String> = (0..50).map(|number| format!("x{number}")).collect();
    let everybody = format!("agents:{}", ids.join(","));
    let mut publish = gathering(&mut stage, &everybody);
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::InboxFull);
    assert!(refusal.message.contains("there would be 51; the limit is 10"), "{refusal}");
    publish.options.absent = Some(Absent::Fail);
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NobodyThere);
    let publish = stage.message(Kind::Event, &everybody);
    stage.publish(&mut client, &publish).unwrap_err();
    assert!(!ids.iter().any(|id| knows(&mut stage, &format!("agent:{id}"))));
    let publish = gathering(&mut stage, "agents:x1,x2");
    stage.publish(&mut client, &publish).unwrap();
    assert!(knows(&mut stage, "agent:x2"));
}

#[test]
fn the_answers_that_all_gatherings_of_a_tenant_hold_are_bounded() {
    let mut stage = Stage::new(EngineConfig { gather_bytes: 1000, ..config() });
    let mut agent = stage.agent(2, "a");
    let mut client = stage.client(1);
    let large = Payload::new("application/octet-stream", vec![0_u8; 600]);
    let mut answer = |stage: &mut Stage, destination: &str| {
        let publish = gathering(stage, destination);
        let effects = stage.publish(&mut client, &publish).unwrap();
        let token = deliveries(&effects)[0].token;
        let reply = Some(large.clone());
        stage.ask(&mut agent, settle(token, Outcome::Complete { reply })).unwrap()
    };
    answer(&mut stage, "agents:a,away");
    let effects = answer(&mut stage, "agents:a");
    let failure = gathered(&effects)[0].parts[0].result.clone().unwrap_err();
    assert_eq!(failure.code, FailureCode::LeftOut);
    assert!(failure.reason.contains("is 1000, of which 400 are left"), "{}", failure.reason);
    stage.pass(Duration::from_hours(1));
    let effects = answer(&mut stage, "agents:a");
    assert!(gathered(&effects)[0].complete, "the first one has ended");
}
