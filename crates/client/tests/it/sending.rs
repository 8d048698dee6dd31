//! What leaves a session, and in which order.

use crate::broker::{FakeBroker, operations, send, token};
use trunkline_types::session::{ClientFrame, Credit};

#[tokio::test]
async fn operations_keep_their_order_however_they_are_batched() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    let count = 20_000;
    for number in 1..=count {
        connection.send(operations(number, [send(number)]));
    }
    let heard = conversation.hear_operations(1, 20_000).await;
    assert!(heard.into_iter().eq((1..=count).map(send)));
    conversation.done(1, count);
    assert_eq!(
        ear.item().await,
        trunkline_types::session::SessionItem::Done { first: 1, last: count }
    );
}

#[tokio::test]
async fn what_gathered_becomes_one_frame_within_the_brokers_limit() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, conversation) = broker.session(&broker.config()).await;
    drop(conversation);
    let conversation = broker.accept().await;
    for number in 1..=7 {
        connection.send(operations(number, [send(number)]));
    }
    let mut welcome = crate::broker::welcome();
    welcome.limits.operations_per_frame = 3;
    conversation.welcome(&welcome);
    ear.reconnected().await;
    let mut conversation = conversation;
    assert_eq!(conversation.operations().await, (1, (1..=3).map(send).collect()));
    assert_eq!(conversation.operations().await, (4, (4..=6).map(send).collect()));
    assert_eq!(conversation.operations().await, (7, vec![send(7)]));
}

#[tokio::test]
async fn what_is_said_twice_goes_out_once() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, conversation) = broker.session(&broker.config()).await;
    drop(conversation);
    let mut conversation = broker.accept().await;
    let credit = |deliveries| ClientFrame::Credit(Credit { deliveries, events: 1 });
    connection.send(credit(1));
    connection.send(credit(2));
    connection.send(ClientFrame::Heartbeat { tokens: vec![token(2), token(1)] });
    connection.send(ClientFrame::Heartbeat { tokens: vec![token(2), token(3)] });
    connection.send(ClientFrame::Acknowledge { through: 5 });
    connection.send(ClientFrame::Acknowledge { through: 4 });
    conversation.welcome(&crate::broker::welcome());
    ear.reconnected().await;
    assert_eq!(conversation.hear().await, Some(credit(2)));
    assert_eq!(conversation.hear().await, Some(ClientFrame::Acknowledge { through: 5 }));
    let tokens = vec![token(1), token(2), token(3)];
    assert_eq!(conversation.hear().await, Some(ClientFrame::Heartbeat { tokens }));
}

#[tokio::test]
async fn goodbye_comes_after_everything_else_and_ends_the_session() {
    let mut broker = FakeBroker::start().await;
    let (connection, ear, mut conversation) = broker.session(&broker.config()).await;
    connection.send(operations(1, [send(1)]));
    connection.send(ClientFrame::Drain);
    connection.close();
    let mut heard = Vec::new();
    while let Some(frame) = conversation.hear().await {
        heard.push(frame);
    }
    assert_eq!(heard.last(), Some(&ClientFrame::Goodbye));
    assert!(heard.contains(&operations(1, [send(1)])) && heard.contains(&ClientFrame::Drain));
    drop(conversation);
    assert_eq!(ear.rest().await, [], "a farewell needs no words");
}

#[tokio::test]
async fn a_connection_that_is_dropped_says_goodbye() {
    let mut broker = FakeBroker::start().await;
    let (connection, _ear, mut conversation) = broker.session(&broker.config()).await;
    drop(connection);
    assert_eq!(conversation.hear().await, Some(ClientFrame::Goodbye));
    assert_eq!(conversation.hear().await, None);
}
