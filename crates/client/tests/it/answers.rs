//! What a session makes of answers, and what it answers by itself.

use crate::broker::{FakeBroker, id, operations, request, send};
use std::sync::Arc;
use trunkline_client::ClientConfig;
use trunkline_types::session::{Accepted, Operation, Reply, SessionItem};
use trunkline_types::{Payload, RefusalCode};

#[tokio::test]
async fn operations_over_the_bound_are_refused_here_and_the_numbers_still_fit() {
    let mut broker = FakeBroker::start().await;
    let config = ClientConfig { max_outstanding: 2, ..broker.config() };
    let (connection, mut ear, mut conversation) = broker.session(&config).await;
    connection.send(operations(1, (1..=4).map(send)));
    for number in [3, 4] {
        let SessionItem::Refused { operation, refusal } = ear.item().await else {
            panic!("no refusal")
        };
        assert_eq!((operation, refusal.code), (number, RefusalCode::Unavailable));
        assert!(refusal.retry_after.is_some());
    }
    assert_eq!(conversation.hear_operations(1, 2).await, [send(1), send(2)]);
    conversation.done(1, 1);
    assert_eq!(ear.item().await, SessionItem::Done { first: 1, last: 1 });
    connection.send(operations(5, [send(5)]));
    // The broker sees no gap.
    assert_eq!(conversation.hear_operations(3, 1).await, [send(5)]);
    conversation.done(2, 3);
    let mut done = [ear.item().await, ear.item().await];
    done.sort_by_key(|item| match item {
        SessionItem::Done { first, .. } => *first,
        other => panic!("{other:?}"),
    });
    assert_eq!(
        done,
        [SessionItem::Done { first: 2, last: 2 }, SessionItem::Done { first: 5, last: 5 }]
    );
}

#[tokio::test]
async fn an_operation_that_no_frame_can_carry_is_refused_alone() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    let mut large = crate::broker::publish(1);
    large.envelope.payload.data = vec![0; trunkline_proto::FRAME_BYTES].into();
    connection.send(operations(1, [Operation::Publish(Arc::new(large)), send(2)]));
    let SessionItem::Refused { operation: 1, refusal } = ear.item().await else {
        panic!("no refusal")
    };
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    assert_eq!(conversation.hear_operations(1, 1).await, [send(2)]);
    conversation.done(1, 1);
    assert_eq!(ear.item().await, SessionItem::Done { first: 2, last: 2 });
}

#[tokio::test]
async fn each_number_is_answered_once_and_each_request_gets_one_reply() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    connection.send(operations(1, [request(1), send(2)]));
    conversation.hear_operations(1, 2).await;
    let reply = Reply { request: id(1), agent: None, result: Ok(Payload::text("one")) };
    let accepted =
        Accepted { operation: 2, id: id(2), duplicate: false, targets: 3, dropped: 1, parked: 2 };
    conversation.done(1, 1);
    conversation.done(1, 1);
    conversation.say([
        SessionItem::Reply(reply.clone()),
        SessionItem::Reply(reply.clone()),
        SessionItem::Accepted(accepted.clone()),
        SessionItem::Done { first: 1, last: 2 },
        SessionItem::Cancel { token: crate::broker::token(1), reason: "the end".into() },
    ]);
    assert_eq!(ear.item().await, SessionItem::Done { first: 1, last: 1 });
    assert_eq!(ear.item().await, SessionItem::Reply(reply));
    assert_eq!(ear.item().await, SessionItem::Accepted(accepted));
    assert!(matches!(ear.item().await, SessionItem::Cancel { .. }));
}
