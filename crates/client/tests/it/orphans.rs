//! Requests whose broker forgot the session.

use crate::broker::{FakeBroker, id, operations, publish, request, welcome};
use crate::sink::Told;
use std::collections::VecDeque;
use std::sync::Arc;
use tonic::Status;
use trunkline_types::session::{Operation, Reply, SessionItem, Welcome};
use trunkline_types::{
    Destination, Failure, FailureCode, MessageId, Payload, TaskSnapshot, TaskState, WallTime,
};

fn task_request(unique: u64) -> Operation {
    let mut publish = publish(unique);
    publish.options.reply = true;
    publish.options.task = true;
    Operation::Publish(Arc::new(publish))
}

fn snapshot(id: MessageId, state: TaskState) -> TaskSnapshot {
    TaskSnapshot {
        id,
        destination: Destination::skill("count").unwrap(),
        source: None,
        context_id: None,
        causation_id: None,
        root_id: None,
        state,
        reason: state.is_terminal().then(|| format!("it is {state}")),
        agent: Some("worker".parse().unwrap()),
        attempts: 1,
        notes: Vec::new(),
        progress: None,
        result: (state == TaskState::Completed).then(|| Payload::text("42")),
        last_event: 2,
        created_at: WallTime(1),
        updated_at: WallTime(2),
        history: trunkline_types::History::default(),
    }
}

#[tokio::test]
async fn a_request_in_memory_only_is_reported_lost_and_a_task_is_looked_up() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    let asked = [request(1), request(2), request(3), task_request(4), task_request(5)];
    connection.send(operations(1, asked.into_iter().chain([task_request(6)])));
    conversation.hear_operations(1, 6).await;
    let reply = Reply { request: id(2), agent: None, result: Ok(Payload::text("two")) };
    conversation.say([
        SessionItem::Reply(reply),
        SessionItem::Done { first: 1, last: 2 },
        SessionItem::Done { first: 4, last: 6 },
    ]);
    for _ in 0..3 {
        ear.item().await;
    }
    {
        let open = |id| Ok(snapshot(id, TaskState::Working).into());
        let ended = |id, state| Ok(snapshot(id, state).into());
        let away = || Err(Status::unavailable("not yet"));
        let mut tasks = broker.script.tasks.lock();
        let four = [away(), open(id(4)), ended(id(4), TaskState::Completed)];
        tasks.insert(id(4), VecDeque::from(four));
        tasks.insert(id(5), VecDeque::from([ended(id(5), TaskState::Rejected)]));
    }
    drop(conversation);

    let mut conversation = broker.accept().await;
    let anew = Welcome { resumed: false, ..welcome() };
    conversation.welcome(&anew);
    assert_eq!(ear.reconnected().await, anew);
    let failed = |unique, agent: Option<&str>, code, reason: &str| {
        let agent = agent.map(|agent| agent.parse().unwrap());
        let result = Err(Failure { code, reason: reason.to_owned() });
        Told::Item(SessionItem::Reply(Reply { request: id(unique), agent, result }))
    };
    let lost = "the broker went away with the request in its memory";
    assert_eq!(ear.next().await, failed(1, None, FailureCode::Lost, lost));

    // The third had no answer, so it is asked again.
    assert_eq!(conversation.operations().await.1[0], request(3));
    let mut ended = [ear.next().await, ear.next().await, ear.next().await];
    ended.sort_by_key(|told| match told {
        Told::Item(SessionItem::Reply(reply)) => reply.request,
        other => panic!("{other:?}"),
    });
    let four = Reply {
        request: id(4),
        agent: Some("worker".parse().unwrap()),
        result: Ok(Payload::text("42")),
    };
    let unknown = format!("the broker cannot tell what became of it: task {} is unknown", id(6));
    assert_eq!(ended[0], Told::Item(SessionItem::Reply(four)));
    let rejected = "it is rejected";
    assert_eq!(ended[1], failed(5, Some("worker"), FailureCode::Rejected, rejected));
    assert_eq!(ended[2], failed(6, None, FailureCode::Lost, &unknown));
    assert_eq!(*broker.script.watched.lock(), [(id(4), 2)]);
}

#[tokio::test]
async fn a_task_that_was_asked_again_is_looked_up_when_it_turns_out_to_be_accepted() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    connection.send(operations(1, [task_request(1)]));
    conversation.hear_operations(1, 1).await;
    // Accepted and ended, and nobody was told: the broker stops in between.
    let ended = Ok(snapshot(id(1), TaskState::Completed).into());
    broker.script.tasks.lock().insert(id(1), VecDeque::from([ended]));
    drop(conversation);

    let mut conversation = broker.accept().await;
    conversation.welcome(&Welcome { resumed: false, ..welcome() });
    ear.reconnected().await;
    assert_eq!(conversation.operations().await.1[0], task_request(1));
    conversation.done(1, 1);
    ear.item().await;
    let agent = Some("worker".parse().unwrap());
    let reply = Reply { request: id(1), agent, result: Ok(Payload::text("42")) };
    assert_eq!(ear.next().await, Told::Item(SessionItem::Reply(reply)));
}

#[tokio::test]
async fn a_broker_that_kept_the_session_sends_the_replies_itself() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    connection.send(operations(1, [request(1)]));
    conversation.hear_operations(1, 1).await;
    conversation.done(1, 1);
    ear.item().await;
    drop(conversation);
    let conversation = broker.accept().await;
    conversation.welcome(&welcome());
    ear.reconnected().await;
    let reply = Reply { request: id(1), agent: None, result: Ok(Payload::text("one")) };
    conversation.say([SessionItem::Reply(reply.clone())]);
    assert_eq!(ear.next().await, Told::Item(SessionItem::Reply(reply)));
}
