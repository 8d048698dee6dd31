//! Everything that can be said of a message, and every kind of it, as a broker sees it.

use crate::common::{Line, Script, id, poll, request};
use std::future::IntoFuture;
use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_types::session::{Operation, Reply, SessionItem};
use trunkline_types::{
    Absent, Envelope, Failure, FailureCode, Gather, GatherRule, Gathered, GatheredPart,
    InboxAddress, Outcome, Publish, PublishOptions, Refusal, RefusalCode, WallTime,
};

fn skill() -> Destination {
    Destination::skill("s").unwrap()
}

fn agent(id: &str) -> Destination {
    Destination::agent(id).unwrap()
}

/// What was published last.
fn last(line: &Line) -> Publish {
    let publish = |operation| match operation {
        Operation::Publish(publish) => Some((*publish).clone()),
        _ => None,
    };
    line.operations().into_iter().rev().find_map(publish).unwrap()
}

#[tokio::test]
async fn whatever_is_said_of_a_message_is_in_what_is_published() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let outgoing = session
        .tell(skill(), "x")
        .kind(Kind::Status)
        .priority(Priority::Urgent)
        .ttl(Duration::from_secs(1))
        .key("key".parse().unwrap())
        .ordering_key("order".parse().unwrap())
        .header("a", "1")
        .headers([("b", "2")])
        .context("talk".parse().unwrap())
        .correlation(id(5))
        .traceparent("00-1-2-01")
        .delay(Duration::from_secs(2))
        .not_before(WallTime(3))
        .max_run(Duration::from_secs(4))
        .attempts(5)
        .durability(Durability::Buffered)
        .absent(Absent::Fail);
    let mut envelope = Envelope::new(outgoing.id(), Kind::Status, skill(), "x".into());
    envelope.priority = Priority::Urgent;
    envelope.ttl = Some(Duration::from_secs(1));
    envelope.idempotency_key = Some("key".parse().unwrap());
    envelope.ordering_key = Some("order".parse().unwrap());
    envelope.headers = vec![("a".into(), "1".into()), ("b".into(), "2".into())];
    envelope.context_id = Some("talk".parse().unwrap());
    envelope.correlation_id = Some(id(5));
    envelope.traceparent = Some("00-1-2-01".into());
    let options = PublishOptions {
        task: false,
        reply: false,
        durability: Some(Durability::Buffered),
        attempts: Some(5),
        delay: Some(Duration::from_secs(2)),
        not_before: Some(WallTime(3)),
        max_run: Some(Duration::from_secs(4)),
        gather: None,
        absent: Some(Absent::Fail),
    };
    outgoing.await.unwrap();
    assert_eq!(last(&script.line(0)), Publish { envelope, options });
}

#[tokio::test]
async fn every_kind_has_a_call() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    session.broadcast("x").await.unwrap();
    let broadcast = last(&line).envelope;
    assert_eq!((broadcast.kind, broadcast.destination), (Kind::Broadcast, Destination::All));
    let to = agent("b");
    for (outgoing, kind) in [
        (session.share_context(to.clone(), "x"), Kind::ContextShare),
        (session.report_status(to.clone(), "x"), Kind::Status),
        (session.report_error(to.clone(), "x"), Kind::Error),
        (session.tell(to.clone(), "x"), Kind::Event),
    ] {
        outgoing.await.unwrap();
        let sent = last(&line).envelope;
        assert_eq!((sent.kind, sent.destination, sent.source), (kind, to.clone(), None));
        assert_eq!((sent.correlation_id, sent.causation_id), (None, None));
    }
    script.broadcast("x").await.unwrap();
    assert_eq!(last(&script.line(1)).envelope.kind, Kind::Broadcast, "over the shared session");
}

#[tokio::test]
async fn a_response_goes_to_who_sent_what_it_answers_and_names_it() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    let mut asked = request("s", "?");
    asked.source = Some("asker".parse().unwrap());
    asked.context_id = Some("talk".parse().unwrap());
    asked.root_id = Some(id(1));
    asked.traceparent = Some("00-1-2-01".into());
    session.respond(&asked, "!").await.unwrap();
    let sent = last(&line).envelope;
    assert_eq!((sent.kind, sent.destination), (Kind::Response, agent("asker")));
    assert_eq!((sent.correlation_id, sent.causation_id), (Some(asked.id), Some(asked.id)));
    assert_eq!((sent.root_id, sent.context_id), (Some(id(1)), asked.context_id.clone()));
    assert_eq!(sent.traceparent, asked.traceparent);

    asked.source = None;
    let before = line.operations().len();
    let refusal = session.respond(&asked, "!").await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
    assert!(refusal.message.contains("no agent that a response could go to"), "{refusal}");
    assert_eq!(line.operations().len(), before);
    let lost = session.respond(&asked, "!").into_publish();
    assert!(lost.check(&trunkline_types::Limits::default()).is_err(), "nor in a batch");
}

#[tokio::test]
async fn what_a_handler_sends_names_its_causes_by_itself() {
    let script = Script::prompt();
    let handler = |task: Task| async move {
        task.broadcast("broadcast").await?;
        task.share_context(agent("b"), "context").await?;
        task.report_status(agent("b"), "status").await?;
        task.report_error(agent("b"), "error").await?;
        task.respond("response").await?;
        Ok(())
    };
    let worker = script.agent("worker").skill("s", handler).start().await.unwrap();
    let line = script.line(0);
    let mut asked = request("s", "?");
    asked.source = Some("asker".parse().unwrap());
    asked.context_id = Some("talk".parse().unwrap());
    asked.traceparent = Some("00-1-2-01".into());
    let delivery = line.delivery_of(asked.clone(), InboxAddress::Skill("s".parse().unwrap()));
    let token = delivery.token;
    line.say([SessionItem::Delivery(delivery)]);
    assert_eq!(line.outcome_of(token).await, Outcome::Complete { reply: None });
    let sent: Vec<Envelope> = line
        .operations()
        .into_iter()
        .filter_map(|operation| match operation {
            Operation::Publish(publish) => Some(publish.envelope.clone()),
            _ => None,
        })
        .collect();
    let kinds: Vec<_> = sent.iter().map(|it| (it.kind, it.destination.clone())).collect();
    let expected = [
        (Kind::Broadcast, Destination::All),
        (Kind::ContextShare, agent("b")),
        (Kind::Status, agent("b")),
        (Kind::Error, agent("b")),
        (Kind::Response, agent("asker")),
    ];
    assert_eq!(kinds, expected);
    for envelope in &sent {
        assert_eq!(envelope.source.as_ref().unwrap().as_str(), "worker");
        assert_eq!((envelope.causation_id, envelope.root_id), (Some(asked.id), Some(asked.id)));
        assert_eq!(envelope.context_id, asked.context_id);
        assert_eq!(envelope.traceparent, asked.traceparent);
        let about = matches!(envelope.kind, Kind::Status | Kind::Error | Kind::Response);
        assert_eq!(envelope.correlation_id, about.then_some(asked.id), "{:?}", envelope.kind);
    }
    // Its own session speaks for it too, without a cause.
    worker.session().tell(agent("b"), "x").await.unwrap();
    let told = last(&line).envelope;
    assert_eq!((told.source.unwrap().as_str(), told.causation_id), ("worker", None));
    assert!(worker.session().envelope(Kind::Event, agent("b"), "x").source.is_some());
    worker.stop().await;
}

fn gathered(request: MessageId) -> Gathered {
    let failure = Failure { code: FailureCode::Expired, reason: "too late".into() };
    let part = |agent: &str, result| GatheredPart { agent: agent.parse().unwrap(), result };
    let parts = vec![part("a", Ok("yes".into())), part("b", Err(failure))];
    Gathered { request, complete: false, parts }
}

#[tokio::test]
async fn a_gather_says_its_rule_and_bounds_and_gives_what_came_and_who_is_missing() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    let gather = session.gather(skill(), "?");
    let request = gather.id();
    let mut gather = gather.into_future();
    assert!(poll(gather.as_mut()).is_none());
    let sent = last(&line);
    assert_eq!(sent.envelope.ttl, Some(Duration::from_secs(30)));
    assert_eq!(sent.options.gather, Some(Gather::new(GatherRule::All)));
    sent.check(&trunkline_types::Limits::default()).unwrap();
    line.say([SessionItem::Gathered(gathered(request))]);
    let answers = gather.await.unwrap();
    assert_eq!(answers, gathered(request));
    assert_eq!(answers.missing().next().unwrap().0.as_str(), "b");

    let gather = session
        .gather(Destination::All, "?")
        .rule(GatherRule::Quorum(2))
        .timeout(Duration::from_secs(3))
        .reply_bytes(7)
        .priority(Priority::High);
    let mut gather = gather.into_future();
    assert!(poll(gather.as_mut()).is_none());
    let sent = last(&line);
    assert_eq!(sent.envelope.ttl, Some(Duration::from_secs(3)));
    assert_eq!(sent.envelope.priority, Priority::High);
    let expected = Gather { rule: GatherRule::Quorum(2), reply_bytes: 7 };
    assert_eq!(sent.options.gather, Some(expected));
    drop(gather);
    session.settled().await;
}

#[tokio::test]
async fn a_refused_gather_and_a_broker_that_answers_otherwise_are_told() {
    let script = Script::silent();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    let mut gather = session.gather(skill(), "?").into_future();
    assert!(poll(gather.as_mut()).is_none());
    let refusal = Refusal::new(RefusalCode::Invalid, "a quorum is at least 1");
    line.say([SessionItem::Refused { operation: 1, refusal: refusal.clone() }]);
    assert_eq!(gather.await.unwrap_err(), refusal.into());

    let request = session.request(skill(), "?");
    let answer = gathered(request.id());
    let mut request = request.into_future();
    assert!(poll(request.as_mut()).is_none());
    line.say([SessionItem::Gathered(answer)]);
    let RequestError::Refused(refusal) = request.await.unwrap_err() else { panic!() };
    assert_eq!(refusal.code, RefusalCode::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_gather_whose_broker_never_comes_back_ends_soon_after_its_time() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let gather = session.gather(skill(), "?").timeout(Duration::from_secs(5));
    let RequestError::Failed(failure) = gather.await.unwrap_err() else { panic!() };
    assert_eq!(failure.code, FailureCode::Expired);
}

#[tokio::test]
async fn a_handler_that_gathers_lends_its_place() {
    let script = Script::prompt();
    let asks = |task: Task| async move {
        let answers = task.gather(Destination::All, "?").await?;
        Ok(format!("{} missing", answers.missing().count()))
    };
    let quick = |_: Task| async move { Ok("quick") };
    let worker = script.agent("a").skill("asks", asks).skill("quick", quick).workers(1..=1);
    let worker = worker.start().await.unwrap();
    let line = script.line(0);
    let asking = line.deliver("asks", "");
    let first = |line: &Line| {
        line.operations().into_iter().find_map(|operation| match operation {
            Operation::Publish(publish) => Some(publish.envelope.id),
            _ => None,
        })
    };
    let request = line.wait(first).await;
    let other = line.deliver("quick", "");
    assert_eq!(crate::common::reply_text(line.outcome_of(other).await), "quick");
    line.say([SessionItem::Gathered(gathered(request))]);
    assert_eq!(crate::common::reply_text(line.outcome_of(asking).await), "1 missing");
    worker.stop().await;
}

#[tokio::test]
async fn a_request_that_would_wait_for_itself_fails_at_once_with_the_chain() {
    let script = Script::silent();
    let asks = |task: Task| async move {
        match task.request(skill(), "?").ordering_key("k".parse().unwrap()).await {
            Err(RequestError::Refused(refusal)) if refusal.code == RefusalCode::Deadlock => {
                Ok(refusal.message)
            }
            other => panic!("{other:?}"),
        }
    };
    let worker = script.agent("a").skill("asks", asks).workers(1..=1).start().await.unwrap();
    let line = script.line(0);
    let token = line.deliver("asks", "");
    let at =
        |line: &Line| line.operations().iter().position(|it| matches!(it, Operation::Publish(_)));
    let operation = line.wait(at).await as u64 + 1;
    let chain = "the request would wait for itself: a > b > a hold the ordering key 'k'";
    let refusal = Refusal::new(RefusalCode::Deadlock, chain);
    line.say([SessionItem::Refused { operation, refusal }]);
    assert_eq!(crate::common::reply_text(line.outcome_of(token).await), chain);
    assert_eq!(worker.stats().lent, 0);
    drop(worker);
}

#[test]
fn a_handler_that_passes_such_a_refusal_on_fails_rather_than_tries_again() {
    let refusal = Refusal::new(RefusalCode::Deadlock, "a > b > a");
    let failed = Outcome::Fail { reason: "a > b > a".into() };
    let error: HandlerError = RequestError::Refused(refusal.clone()).into();
    assert_eq!(error.into_outcome(), failed);
    let error: HandlerError = refusal.into();
    assert_eq!(error.into_outcome(), failed);
    let full = Refusal::new(RefusalCode::InboxFull, "full");
    let error: HandlerError = RequestError::Refused(full).into();
    assert!(matches!(error.into_outcome(), Outcome::Retry { .. }));
}

#[tokio::test]
async fn a_task_tells_its_number_and_what_its_inbox_missed() {
    let script = Script::prompt();
    let tell = |task: Task| async move {
        let missed: Vec<_> = task.missed().iter().map(|it| (it.first, it.last)).collect();
        Ok(format!("{} {missed:?}", task.number()))
    };
    let worker = script.agent("a").skill("s", tell).start().await.unwrap();
    let line = script.line(0);
    let mut delivery = line.delivery("s", "");
    delivery.number = 9;
    delivery.missed = vec![trunkline_types::session::NumberRange { first: 3, last: 8 }];
    let token = delivery.token;
    line.say([SessionItem::Delivery(delivery)]);
    assert_eq!(crate::common::reply_text(line.outcome_of(token).await), "9 [(3, 8)]");
    worker.stop().await;
}

#[tokio::test]
async fn a_task_tells_how_many_more_wait_and_how_old_the_oldest_is() {
    let script = Script::prompt();
    let tell =
        |task: Task| async move { Ok(format!("{} {:?}", task.backlog(), task.backlog_age())) };
    let worker = script.agent("a").skill("s", tell).start().await.unwrap();
    let line = script.line(0);
    for (backlog, age, told) in [(0, 0, "0 0ns"), (41, 7, "41 7s")] {
        let mut delivery = line.delivery("s", "");
        (delivery.backlog, delivery.backlog_age) = (backlog, Duration::from_secs(age));
        let token = delivery.token;
        line.say([SessionItem::Delivery(delivery)]);
        assert_eq!(crate::common::reply_text(line.outcome_of(token).await), told);
    }
    worker.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_told_to_leave_finishes_what_it_holds_and_says_why() {
    let script = Script::prompt();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let opened = gate.clone();
    let work = move |_: Task| {
        let gate = opened.clone();
        async move {
            gate.acquire().await?.forget();
            Ok("done")
        }
    };
    let worker = script.agent("a").skill("s", work).start().await.unwrap();
    let line = script.line(0);
    let token = line.deliver("s", "");
    line.say([SessionItem::Drain { reason: "replaced by version 2".into() }]);
    let drains = |line: &Line| {
        let is_drain = |frame: &_| matches!(frame, trunkline_types::session::ClientFrame::Drain);
        line.frames().iter().any(is_drain).then_some(())
    };
    line.wait(drains).await;
    assert!(!line.is_closed());
    gate.add_permits(1);
    assert_eq!(crate::common::reply_text(line.outcome_of(token).await), "done");
    let reason = worker.ended().await;
    assert_eq!(reason, Refusal::new(RefusalCode::Draining, "replaced by version 2"));
    assert!(line.is_closed());
}

#[tokio::test]
async fn a_reply_to_nobody_is_no_matter() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    line.say([
        SessionItem::Gathered(gathered(id(3))),
        SessionItem::Reply(Reply { request: id(3), agent: None, result: Ok("x".into()) }),
    ]);
    session.send(skill(), "x").await.unwrap();
}
