//! A client session against a scripted broker.

use crate::common::{Line, Script, id, poll};
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use trunkline_agent::prelude::*;
use trunkline_agent::{Acceptance, SessionOptions};
use trunkline_types::session::{Accepted, ClientFrame, Operation, Reply, SessionItem};
use trunkline_types::{
    Answer, Epoch, Failure, FailureCode, Publish, Refusal, RefusalCode, TaskEvent, TaskEventBody,
    TaskSnapshot, TaskState, TaskUpdate, WallTime,
};

fn skill() -> Destination {
    Destination::skill("s").unwrap()
}

/// The id of the first publish that has come.
async fn published(line: &Arc<Line>) -> MessageId {
    let first = |line: &Line| {
        line.operations().into_iter().find_map(|operation| match operation {
            Operation::Publish(publish) => Some(publish.envelope.id),
            _ => None,
        })
    };
    line.wait(first).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operations_of_many_senders_come_numbered_without_gaps() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    session.send(skill(), "x").await.unwrap();
                    let batch =
                        (0..10).map(|_| Publish::new(session.envelope(Kind::Event, skill(), "y")));
                    let outcome = session.publish_batch(batch).await.unwrap().await.unwrap();
                    assert_eq!(outcome.accepted, 10);
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    // The scripted broker has checked the numbers; here every id is there once.
    let mut ids: Vec<_> = script
        .line(0)
        .operations()
        .into_iter()
        .map(|operation| match operation {
            Operation::Publish(publish) => publish.envelope.id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids.len(), 8 * 200 * 11);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 8 * 200 * 11);
}

#[tokio::test]
async fn over_the_bound_a_send_waits_and_nothing_is_dropped() {
    let script = Script::silent();
    let options = SessionOptions { outstanding: 2, ..SessionOptions::default() };
    let session = script.session_with(options).await.unwrap();
    let line = script.line(0);
    let mut sends: Vec<_> = (0..3).map(|_| session.send(skill(), "x").into_future()).collect();
    for send in &mut sends {
        assert!(poll(send.as_mut()).is_none());
    }
    assert_eq!(line.operations().len(), 2);
    line.say([SessionItem::Done { first: 1, last: 1 }]);
    assert!(poll(sends[0].as_mut()).unwrap().is_ok());
    assert!(poll(sends[2].as_mut()).is_none());
    assert_eq!(line.operations().len(), 3);
    line.say([SessionItem::Done { first: 2, last: 3 }]);
    assert!(poll(sends[1].as_mut()).unwrap().is_ok());
    assert!(poll(sends[2].as_mut()).unwrap().is_ok());
}

#[tokio::test]
async fn an_agent_has_no_more_operations_on_their_way_than_are_set() {
    let script = Script::silent();
    let agent = script.agent("a").on_message(|_: Task| async { Ok(()) }).outstanding(2);
    let agent = agent.start().await.unwrap();
    let tell = || agent.session().tell(skill(), "x").into_future();
    let mut tells = [tell(), tell(), tell()];
    for tell in &mut tells {
        assert!(poll(tell.as_mut()).is_none());
    }
    assert_eq!(script.line(0).operations().len(), 2);
}

#[tokio::test]
async fn each_sender_is_told_what_was_said_of_its_own() {
    let script = Script::silent();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    let mut sends: Vec<_> = (0..4).map(|_| session.send(skill(), "x").into_future()).collect();
    for send in &mut sends {
        assert!(poll(send.as_mut()).is_none());
    }
    let refusal = Refusal::new(RefusalCode::InboxFull, "full").retry_after(Duration::from_secs(1));
    let accepted =
        Accepted { operation: 3, id: id(99), duplicate: true, targets: 5, dropped: 1, parked: 2 };
    line.say([
        SessionItem::Refused { operation: 4, refusal: refusal.clone() },
        SessionItem::Accepted(accepted),
        SessionItem::Done { first: 1, last: 2 },
    ]);
    assert!(poll(sends[0].as_mut()).unwrap().is_ok());
    assert!(poll(sends[1].as_mut()).unwrap().is_ok());
    let expected = Acceptance { id: id(99), duplicate: true, targets: 5, dropped: 1, parked: 2 };
    assert_eq!(poll(sends[2].as_mut()), Some(Ok(expected)));
    assert_eq!(poll(sends[3].as_mut()), Some(Err(refusal)));
}

#[tokio::test]
async fn a_batch_says_which_of_its_publishes_were_refused() {
    let script = Script::silent();
    let session = script.session().await.unwrap();
    let batch = (0..5).map(|_| Publish::new(session.envelope(Kind::Event, skill(), "y")));
    let ticket = session.publish_batch(batch).await.unwrap();
    let refusal = Refusal::new(RefusalCode::InboxFull, "full");
    script.line(0).say([
        SessionItem::Done { first: 1, last: 2 },
        SessionItem::Refused { operation: 3, refusal: refusal.clone() },
        SessionItem::Done { first: 4, last: 5 },
        // A broker that repeats itself frees no place twice.
        SessionItem::Done { first: 1, last: 5 },
    ]);
    let outcome = ticket.await.unwrap();
    assert_eq!((outcome.accepted, outcome.refused), (4, vec![(2, refusal)]));
}

#[tokio::test]
async fn a_request_is_answered_refused_or_failed() {
    let script = Script::silent();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    let ask = || session.request(skill(), "x");

    let request = ask();
    let request_id = request.id();
    let mut answered = request.into_future();
    assert!(poll(answered.as_mut()).is_none());
    let payload = Payload::text("yes");
    line.say([SessionItem::Reply(Reply { request: request_id, agent: None, result: Ok(payload) })]);
    assert_eq!(poll(answered.as_mut()).unwrap().unwrap().text(), "yes");

    let mut refused = ask().into_future();
    assert!(poll(refused.as_mut()).is_none());
    let refusal = Refusal::new(RefusalCode::NobodyThere, "nobody");
    line.say([SessionItem::Refused { operation: 2, refusal: refusal.clone() }]);
    assert_eq!(poll(refused.as_mut()), Some(Err(RequestError::Refused(refusal))));

    let request = ask();
    let request_id = request.id();
    let mut failed = request.into_future();
    assert!(poll(failed.as_mut()).is_none());
    let failure = Failure { code: FailureCode::DeadLettered, reason: "poison".into() };
    let result = Err(failure.clone());
    line.say([SessionItem::Reply(Reply { request: request_id, agent: None, result })]);
    assert_eq!(poll(failed.as_mut()), Some(Err(RequestError::Failed(failure))));
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_a_little_longer_than_its_timeout_for_the_broker_to_say_so() {
    let script = Script::silent();
    let session = script.session().await.unwrap();
    let begun = tokio::time::Instant::now();
    let error = session.request(skill(), "x").timeout(Duration::from_secs(5)).await.unwrap_err();
    let RequestError::Failed(failure) = error else { panic!("{error:?}") };
    assert_eq!(failure.code, FailureCode::Expired);
    // The clock of the test goes on by itself.
    assert_eq!(begun.elapsed().as_secs(), 7);
    let Operation::Publish(publish) = script.line(0).operations().remove(0) else { panic!() };
    assert_eq!(publish.envelope.ttl, Some(Duration::from_secs(5)));
    assert!(publish.options.reply && !publish.options.task);
}

#[tokio::test]
async fn an_ephemeral_request_is_lost_with_its_broker_and_a_task_is_looked_up() {
    let script = Script::silent();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    let mut unanswered = session.request(skill(), "not accepted yet").into_future();
    let mut lost = session.request(skill(), "x").into_future();
    let task = tokio::spawn(session.send(skill(), "y").wait());
    assert!(poll(unanswered.as_mut()).is_none());
    assert!(poll(lost.as_mut()).is_none());
    line.wait(|line| (line.operations().len() == 3).then_some(())).await;
    line.say([SessionItem::Done { first: 2, last: 3 }]);

    script.answer(Ok(Answer::Task(Box::new(snapshot(TaskState::Completed)))));
    line.reconnected(&script.welcome());
    assert!(poll(unanswered.as_mut()).is_none());
    let Some(Err(RequestError::Failed(failure))) = poll(lost.as_mut()) else { panic!() };
    assert_eq!(failure.code, FailureCode::Lost);
    assert_eq!(task.await.unwrap().unwrap().text(), "kept");
}

fn snapshot(state: TaskState) -> TaskSnapshot {
    TaskSnapshot {
        id: id(1),
        destination: skill(),
        source: None,
        context_id: None,
        causation_id: None,
        root_id: None,
        state,
        reason: None,
        agent: None,
        attempts: 1,
        notes: Vec::new(),
        progress: None,
        result: state.is_terminal().then(|| "kept".into()),
        last_event: 2,
        created_at: WallTime(0),
        updated_at: WallTime(0),
        history: trunkline_types::History::default(),
    }
}

#[tokio::test]
async fn a_repeat_waits_for_the_result_of_the_first() {
    let script = Script::silent();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    script.answer(Ok(Answer::Task(Box::new(snapshot(TaskState::Working)))));
    script.answer(Ok(Answer::Task(Box::new(snapshot(TaskState::Completed)))));
    let send = tokio::spawn(session.send(skill(), "x").key("k".parse().unwrap()).wait());
    published(&line).await;
    line.say([SessionItem::Accepted(Accepted {
        operation: 1,
        id: id(1),
        duplicate: true,
        targets: 1,
        dropped: 0,
        parked: 0,
    })]);
    let watch = Operation::Watch { task: id(1), after: 2 };
    line.wait(move |line| line.operations().contains(&watch).then_some(())).await;
    line.say([SessionItem::Done { first: 2, last: 2 }, status(3, TaskState::Completed)]);
    assert_eq!(send.await.unwrap().unwrap().text(), "kept");
}

fn status(number: u64, state: TaskState) -> SessionItem {
    let body = TaskEventBody::Status { state, reason: None };
    let event = TaskEvent { number, epoch: Epoch(1), at: WallTime(0), body };
    SessionItem::Task { task: id(1), update: TaskUpdate::Event(event) }
}

#[tokio::test]
async fn a_watch_gives_every_event_once_until_the_terminal_one() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    let mut updates = session.watch(id(1), 0).await.unwrap();
    let gap = TaskUpdate::Gap { first: 3, last: 4 };
    line.say([
        status(1, TaskState::Submitted),
        status(2, TaskState::Working),
        status(1, TaskState::Submitted),
        SessionItem::Task { task: id(1), update: gap.clone() },
        status(5, TaskState::Completed),
    ]);
    let mut seen = Vec::new();
    while let Some(update) = updates.next().await {
        match update.unwrap() {
            TaskUpdate::Event(event) => seen.push(event.number),
            other => assert_eq!(other, gap),
        }
    }
    assert_eq!(seen, [1, 2, 5]);
    drop(updates);
    assert!(line.operations().contains(&Operation::Unwatch { task: id(1) }));
}

#[tokio::test]
async fn a_slow_watcher_holds_no_other_back_is_told_of_the_gap_and_never_misses_the_end() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let mut updates = session.watch(id(1), 0).await.unwrap();
    let mut quick = session.watch(id(2), 0).await.unwrap();
    let line = script.line(0);
    for number in 1..=3000 {
        let SessionItem::Task { update, .. } = status(number, TaskState::Working) else { panic!() };
        line.say([status(number, TaskState::Working), SessionItem::Task { task: id(2), update }]);
        let Some(Ok(TaskUpdate::Event(event))) = quick.next().await else { panic!("{number}") };
        assert_eq!(event.number, number, "nothing is taken of the other meanwhile");
    }
    line.say([status(3001, TaskState::Failed)]);
    let mut next = 1;
    let mut gaps = 0;
    while let Some(update) = updates.next().await {
        match update.unwrap() {
            TaskUpdate::Event(event) => {
                assert_eq!(event.number, next);
                next += 1;
            }
            TaskUpdate::Gap { first, last } => {
                assert_eq!(first, next);
                next = last + 1;
                gaps += 1;
            }
            TaskUpdate::Progress(_) => panic!(),
        }
    }
    assert_eq!((next, gaps), (3002, 1));
}

#[tokio::test]
async fn events_are_acknowledged_as_they_are_taken() {
    let script = Script::prompt();
    let options = SessionOptions { events: 8, ..SessionOptions::default() };
    let session = script.session_with(options).await.unwrap();
    let line = script.line(0);
    let mut all = session.subscribe("a.>".parse().unwrap()).await.unwrap();
    let mut some = session.subscribe("a.b".parse().unwrap()).await.unwrap();
    line.say([Line::event(1, "a.b", 0), Line::event(2, "a.c", 0), Line::event(3, "a.b", 7)]);
    for (number, missed) in [("1", 0), ("2", 0), ("3", 7)] {
        let event = all.next().await.unwrap();
        assert_eq!((&*event.payload().to_text(), event.missed), (number, missed));
    }
    assert!(all.try_next().is_none());
    assert_eq!(acknowledged(&line), None, "the other consumer has taken nothing");
    assert_eq!(some.next().await.unwrap().payload().to_text(), "1");
    drop(some);
    assert_eq!(acknowledged(&line), Some(3));
    let unsubscribed = line.operations().into_iter().any(|operation| match operation {
        Operation::Unsubscribe(it) => it.pattern.as_str() == "a.b",
        _ => false,
    });
    assert!(unsubscribed);
}

/// Up to where the session has acknowledged.
fn acknowledged(line: &Line) -> Option<u64> {
    let frames = line.frames();
    let all = frames.iter().filter_map(|frame| match frame {
        ClientFrame::Acknowledge { through } => Some(*through),
        _ => None,
    });
    all.max()
}

#[tokio::test]
async fn events_for_nobody_are_acknowledged_too() {
    let script = Script::prompt();
    let options = SessionOptions { events: 8, ..SessionOptions::default() };
    let session = script.session_with(options).await.unwrap();
    let line = script.line(0);
    let _other = session.subscribe("x".parse().unwrap()).await.unwrap();
    line.say((1..=8).map(|number| Line::event(number, "a.b", 0)));
    line.wait(|line| (acknowledged(line) == Some(8)).then_some(())).await;
}

#[tokio::test]
async fn when_the_broker_ends_the_session_everybody_is_told() {
    let script = Script::silent();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    let request = tokio::spawn(session.request(skill(), "x").into_future());
    published(&line).await;
    let watch = session.watch(id(1), 0);
    tokio::pin!(watch);
    assert!(poll(watch.as_mut()).is_none());
    line.say([SessionItem::GoAway { reason: "shutting down".into(), reconnect: false }]);
    let error = request.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "shutting down");
    assert_eq!(watch.await.unwrap_err().message, "shutting down");
    let late = timeout(Duration::from_mins(1), session.send(skill(), "x").into_future());
    assert_eq!(late.await.unwrap().unwrap_err().code, RefusalCode::Unavailable);
    assert!(session.is_closed());
}

#[tokio::test]
async fn the_last_handle_of_a_session_says_goodbye() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let events = session.subscribe("a".parse().unwrap()).await.unwrap();
    drop(session);
    assert!(!script.line(0).is_closed());
    drop(events);
    assert!(script.line(0).is_closed());
}

#[tokio::test]
async fn short_calls_share_a_session_that_is_opened_again_when_it_has_ended() {
    let script = Script::prompt();
    script.send(skill(), "1").await.unwrap();
    script.clone().send(skill(), "2").await.unwrap();
    assert_eq!(script.lines(), 1);
    script.line(0).say([SessionItem::GoAway { reason: "over".into(), reconnect: false }]);
    script.send(skill(), "3").await.unwrap();
    assert_eq!((script.lines(), script.line(1).operations().len()), (2, 1));
    let line = script.line(1);
    drop(script);
    assert!(line.is_closed(), "the last clone of the connector ends it");
}

#[tokio::test]
async fn a_session_that_is_sent_away_finishes_and_leaves() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    let request = session.request(skill(), "x");
    let id = request.id();
    let reply = tokio::spawn(request.into_future());
    published(&line).await;
    line.say([SessionItem::GoAway { reason: "draining".into(), reconnect: true }]);
    tokio::task::yield_now().await;
    assert!(!line.is_closed());
    let result = Ok(Payload::text("in time"));
    line.say([SessionItem::Reply(Reply { request: id, agent: None, result })]);
    assert_eq!(reply.await.unwrap().unwrap().text(), "in time");
    line.wait(|line| line.is_closed().then_some(())).await;
    assert_eq!(session.send(skill(), "y").await.unwrap_err().message, "draining");
}

fn count(line: &Line, operation: &Operation) -> usize {
    line.operations().iter().filter(|it| *it == operation).count()
}

#[tokio::test]
async fn watches_are_asked_for_anew_over_every_connection() {
    for resumed in [true, false] {
        let script = Script::prompt();
        let session = script.session().await.unwrap();
        let line = script.line(0);
        let mut updates = session.watch(id(1), 0).await.unwrap();
        line.say([status(1, TaskState::Submitted), status(2, TaskState::Working)]);
        let mut welcome = script.welcome();
        welcome.resumed = resumed;
        line.reconnected(&welcome);
        let again = Operation::Watch { task: id(1), after: 2 };
        line.wait(move |line| (count(line, &again) == 1).then_some(())).await;
        line.say([status(3, TaskState::Completed)]);
        let mut seen = 0;
        while let Some(update) = updates.next().await {
            update.unwrap();
            seen += 1;
        }
        assert_eq!(seen, 3);
    }
}

#[tokio::test]
async fn a_watch_that_is_refused_anew_ends_with_the_refusal() {
    let script = Script::silent();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    let watching = tokio::spawn(async move { session.watch(id(1), 0).await });
    line.wait(|line| (line.operations().len() == 1).then_some(())).await;
    line.say([SessionItem::Done { first: 1, last: 1 }]);
    let mut updates = watching.await.unwrap().unwrap();
    line.reconnected(&script.welcome());
    line.wait(|line| (line.operations().len() == 2).then_some(())).await;
    let refusal = Refusal::new(RefusalCode::NotFound, "there is no such task");
    line.say([SessionItem::Refused { operation: 2, refusal: refusal.clone() }]);
    let told = timeout(Duration::from_mins(1), updates.next()).await.unwrap();
    assert_eq!(told, Some(Err(refusal)));
}

#[tokio::test]
async fn a_second_watcher_misses_nothing_that_comes_before_its_own_question_is_heard() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    let mut first = session.watch(id(1), 0).await.unwrap();
    line.say([status(1, TaskState::Submitted), status(2, TaskState::Working)]);
    let mut second = session.watch(id(1), 0).await.unwrap();
    line.say([
        status(3, TaskState::Completed),
        status(1, TaskState::Submitted),
        status(2, TaskState::Working),
        status(3, TaskState::Completed),
    ]);
    for updates in [&mut first, &mut second] {
        let mut seen = Vec::new();
        while let Some(update) = updates.next().await {
            if let TaskUpdate::Event(event) = update.unwrap() {
                seen.push(event.number);
            }
        }
        assert_eq!(seen, [1, 2, 3]);
    }
}

#[tokio::test]
async fn a_later_consumer_waits_for_the_first_ones_answer() {
    let script = Script::silent();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    let subscribe = || Box::pin(session.subscribe("a".parse().unwrap()));
    let (mut first, mut second) = (subscribe(), subscribe());
    assert!(poll(first.as_mut()).is_none());
    assert!(poll(second.as_mut()).is_none());
    assert_eq!(line.operations().len(), 1, "the broker is asked once");
    let refusal = Refusal::new(RefusalCode::TooLarge, "too many");
    line.say([SessionItem::Refused { operation: 1, refusal: refusal.clone() }]);
    assert_eq!(poll(second.as_mut()).unwrap().unwrap_err(), refusal);
    // Another one asks again rather than be told the old answer.
    let mut third = subscribe();
    assert!(poll(third.as_mut()).is_none());
    line.wait(|line| line.operations().len().ge(&2).then_some(())).await;
    line.say([SessionItem::Done { first: 2, last: 2 }]);
    assert!(poll(third.as_mut()).unwrap().is_ok());
    assert_eq!(poll(first.as_mut()).unwrap().unwrap_err(), refusal);
}

/// Subscribes and watches.
async fn consumer(session: &Session) -> impl Sized + Send + use<> {
    let events = session.subscribe("a".parse().unwrap()).await.unwrap();
    (events, session.watch(id(1), 0).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_one_consumer_never_undoes_the_beginning_of_the_next() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let mut kept = consumer(&session).await;
    for _ in 0..500 {
        let before = script.line(0).operations().len();
        let start = Arc::new(std::sync::Barrier::new(2));
        let (of_next, begun) = (session.clone(), Arc::clone(&start));
        let next = tokio::spawn(async move {
            begun.wait();
            consumer(&of_next).await
        });
        let end = tokio::task::spawn_blocking(move || {
            start.wait();
            drop(kept);
        });
        kept = next.await.unwrap();
        end.await.unwrap();
        let (mut subscribed, mut watched) = (true, true);
        for operation in script.line(0).operations().into_iter().skip(before) {
            match operation {
                Operation::Subscribe(_) => subscribed = true,
                Operation::Unsubscribe(_) => subscribed = false,
                Operation::Watch { .. } => watched = true,
                Operation::Unwatch { .. } => watched = false,
                other => panic!("{other:?}"),
            }
        }
        assert!(subscribed && watched, "the consumer that is left is told nothing");
    }
}

#[tokio::test]
async fn what_goes_to_several_is_a_message_and_nothing_to_wait_for() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    for (to, kind) in [
        (Destination::Agents(vec!["a".parse().unwrap()]), Kind::Event),
        (Destination::topic("t").unwrap(), Kind::Event),
        (Destination::All, Kind::Broadcast),
    ] {
        session.send(to.clone(), "x").await.unwrap();
        let Some(Operation::Publish(publish)) = line.operations().pop() else { panic!() };
        assert_eq!((publish.envelope.kind, publish.is_task()), (kind, false));
        publish.check(&trunkline_types::Limits::default()).unwrap();
        let error = session.send(to.clone(), "x").wait().await.unwrap_err();
        let message = format!("only one agent or one skill gives an answer, not '{to}'");
        assert_eq!(error, Refusal::new(RefusalCode::Invalid, message).into());
    }
}

#[tokio::test]
async fn options_out_of_range_are_refused_with_the_range() {
    let script = Script::prompt();
    for outstanding in [0, (1 << 20) + 1] {
        let options = SessionOptions { outstanding, ..SessionOptions::default() };
        let refusal = script.session_with(options).await.unwrap_err();
        let message = format!("outstanding is {outstanding}, the range is 1 to 1048576");
        assert_eq!(refusal, Refusal::new(RefusalCode::Invalid, message));
    }
    let options = SessionOptions { events: 0, ..SessionOptions::default() };
    let session = script.session_with(options).await.unwrap();
    let refusal = session.subscribe("a".parse().unwrap()).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
    assert!(refusal.message.contains("may hold 0 events"), "{refusal}");
}
