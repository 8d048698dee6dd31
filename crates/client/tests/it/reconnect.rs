//! What survives a broken connection.

use crate::broker::{
    FakeBroker, hello, id, operations, publish, send, subscription, token, welcome,
};
use crate::real::kept_port;
use crate::sink::{Told, sink};
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;
use trunkline_client::{Client, ClientConfig};
use trunkline_proto::status;
use trunkline_types::session::{
    ClientFrame, Connector, Credit, Delivery, Hello, Operation, SessionItem,
};
use trunkline_types::{
    InboxAddress, MessageId, Outcome, Partition, Refusal, RefusalCode, SessionId, Settle, WallTime,
};

fn delivery(counter: u64) -> SessionItem {
    SessionItem::Delivery(Delivery {
        token: token(counter),
        publish: Arc::new(publish(counter)),
        inbox: InboxAddress::Skill("count".parse().unwrap()),
        attempt: 1,
        accepted_at: WallTime(1),
        expires_at: None,
        backlog: 0,
        backlog_age: Duration::ZERO,
        messages: Vec::new(),
        number: counter,
        missed: Vec::new(),
        max_run: None,
    })
}

fn settle(counter: u64) -> Operation {
    let outcome = Outcome::Complete { reply: None };
    Operation::Settle(Settle { token: token(counter), outcome })
}

#[tokio::test]
async fn unanswered_operations_are_sent_again_in_order_under_their_numbers() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    connection.send(operations(1, (1..=6).map(send)));
    conversation.hear_operations(1, 6).await;
    conversation.done(1, 2);
    conversation.done(4, 4);
    assert_eq!(ear.item().await, SessionItem::Done { first: 1, last: 2 });
    assert_eq!(ear.item().await, SessionItem::Done { first: 4, last: 4 });
    conversation.fail(Status::unavailable("a proxy restarts"));

    let mut conversation = broker.accept().await;
    assert_eq!(conversation.hello, Hello { next_operation: 3, ..hello() });
    connection.send(operations(7, [send(7)]));
    conversation.welcome(&welcome());
    assert_eq!(ear.reconnected().await, welcome());
    // What is answered already is not done again; its number is filled.
    let nothing = Operation::Unwatch { task: MessageId::from_parts(0, Partition(0), 0) };
    let again = conversation.hear_operations(3, 5).await;
    assert_eq!(again, [send(3), nothing, send(5), send(6), send(7)]);
    conversation.done(3, 7);
    assert_eq!(ear.item().await, SessionItem::Done { first: 3, last: 3 });
    assert_eq!(ear.item().await, SessionItem::Done { first: 5, last: 7 });
}

#[tokio::test]
async fn the_hello_says_how_things_stand() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    conversation.say((1..=5).map(delivery));
    for _ in 1..=5 {
        ear.item().await;
    }
    let subscribe = |pattern| Operation::Subscribe(subscription(pattern));
    let unsubscribe = Operation::Unsubscribe(subscription("a"));
    let first = [settle(1), settle(2), subscribe("a"), subscribe("b"), unsubscribe];
    connection.send(operations(1, first));
    connection.send(ClientFrame::Credit(Credit { deliveries: 9, events: 9 }));
    let mut heard = 0;
    while heard < 5 {
        if let Some(ClientFrame::Operations { operations, .. }) = conversation.hear().await {
            heard += operations.len();
        }
    }
    let reason = "the token is not the latest";
    conversation.say([
        SessionItem::Done { first: 1, last: 1 },
        SessionItem::Refused {
            operation: 2,
            refusal: Refusal::new(RefusalCode::StaleToken, reason),
        },
        SessionItem::Done { first: 3, last: 5 },
        SessionItem::Cancel { token: token(3), reason: "called off".into() },
    ]);
    for _ in 0..4 {
        ear.item().await;
    }
    connection.send(operations(6, [settle(4)]));
    conversation.hear_operations(6, 1).await;
    drop(conversation);

    let conversation = broker.accept().await;
    let stands = Hello {
        credit: Credit { deliveries: 9, events: 9 },
        subscriptions: vec![subscription("b")],
        next_operation: 6,
        // The fourth is settled, but the broker may not know.
        held: vec![token(4), token(5)],
        ..hello()
    };
    assert_eq!(conversation.hello, stands);

    let mut again = welcome();
    again.revoked = vec![token(5)];
    conversation.welcome(&again);
    assert_eq!(ear.reconnected().await, again, "comes before anything else");
    assert!(matches!(ear.item().await, SessionItem::Cancel { token: t, .. } if t == token(5)));
    conversation.done(6, 6);
    drop(conversation);
    let conversation = broker.accept().await;
    assert_eq!(conversation.hello.held, [], "an answer counts on whichever connection it comes");
}

#[tokio::test]
async fn a_broker_that_asks_for_it_is_met_again() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, conversation) = broker.session(&broker.config()).await;
    let go_away = SessionItem::GoAway { reason: "restarting".into(), reconnect: true };
    conversation.say([go_away.clone()]);
    assert_eq!(ear.item().await, go_away);

    // The first attempts may fail.
    broker.accept().await.fail(Status::unavailable("not yet"));
    let draining = Refusal::new(RefusalCode::Draining, "the broker is shutting down");
    broker.accept().await.fail(status::from_refusal(&draining));
    let mut conversation = broker.accept().await;
    assert_eq!(conversation.hello, hello());
    conversation.welcome(&welcome());
    ear.reconnected().await;
    connection.send(operations(1, [send(1)]));
    assert_eq!(conversation.hear_operations(1, 1).await, [send(1)]);
}

#[tokio::test]
async fn what_the_broker_may_have_missed_is_said_again() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    connection.send(ClientFrame::Acknowledge { through: 3 });
    assert_eq!(conversation.hear().await, Some(ClientFrame::Acknowledge { through: 3 }));
    connection.send(ClientFrame::Drain);
    assert_eq!(conversation.hear().await, Some(ClientFrame::Drain));
    drop(conversation);

    let mut conversation = broker.accept().await;
    conversation.welcome(&welcome());
    ear.reconnected().await;
    assert_eq!(conversation.hear().await, Some(ClientFrame::Acknowledge { through: 3 }));
    assert_eq!(conversation.hear().await, Some(ClientFrame::Drain));
    drop(conversation);

    // A broker that forgot the session counts its events anew.
    let mut conversation = broker.accept().await;
    let anew = trunkline_types::session::Welcome { resumed: false, ..welcome() };
    conversation.welcome(&anew);
    ear.reconnected().await;
    assert_eq!(conversation.hear().await, Some(ClientFrame::Drain));
}

#[tokio::test]
async fn a_session_that_would_end_the_same_way_again_ends_for_good() {
    for how in 0..3 {
        let mut broker = FakeBroker::start().await;
        let (connection, mut ear, conversation) = broker.session(&broker.config()).await;
        connection.send(operations(1, [send(1)]));
        let malformed = Refusal::new(RefusalCode::Invalid, "envelope.kind is 99");
        let expected = match how {
            0 => {
                conversation.fail(status::from_refusal(&malformed));
                "envelope.kind is 99"
            }
            1 => {
                let reason = "envelope.kind is 99".to_owned();
                conversation.say([SessionItem::GoAway { reason, reconnect: false }]);
                "envelope.kind is 99"
            }
            _ => {
                drop(conversation);
                let taken = Refusal::new(RefusalCode::AlreadyTaken, "agent id 'a' is taken");
                broker.accept().await.fail(status::from_refusal(&taken));
                "agent id 'a' is taken"
            }
        };
        let SessionItem::GoAway { reason, reconnect: false } = ear.item().await else {
            panic!("no end")
        };
        assert_eq!(reason, expected);
        assert_eq!(ear.rest().await, [], "the session has let go of its sink");
    }
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_breaks_the_connection_and_not_the_session() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    connection.send(operations(1, [send(1)]));
    conversation.hear_operations(1, 1).await;
    let SessionItem::Delivery(mut large) = delivery(1) else { panic!("no delivery") };
    large.messages = vec![vec![0_u8; trunkline_proto::FRAME_BYTES].into()];
    conversation.say([SessionItem::Delivery(large)]);

    let mut conversation = broker.accept().await;
    assert_eq!(conversation.hello, hello(), "what could not be read is not held");
    conversation.welcome(&welcome());
    assert_eq!(ear.reconnected().await, welcome());
    assert_eq!(conversation.hear_operations(1, 1).await, [send(1)]);
    let mut frame = trunkline_proto::server_frame(&mut vec![delivery(1)]);
    frame.items.iter_mut().for_each(|item| *item = trunkline_proto::CarriedItem::default());
    conversation.say_frame(frame);

    let conversation = broker.accept().await;
    conversation.welcome(&welcome());
    assert_eq!(ear.reconnected().await, welcome());
}

#[tokio::test]
async fn a_session_can_be_closed_and_refuse_operations_while_the_broker_is_away() {
    let mut broker = FakeBroker::start().await;
    let config = ClientConfig { max_outstanding: 1, ..broker.config() };
    let (connection, mut ear, conversation) = broker.session(&config).await;
    drop(conversation);
    let conversation = broker.accept().await;
    connection.send(operations(1, [send(1), send(2)]));
    assert!(matches!(ear.item().await, SessionItem::Refused { operation: 2, .. }));
    connection.close();
    assert_eq!(ear.rest().await, Vec::<Told>::new());
    drop(conversation);
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_named_with_the_remedy() {
    let nobody = kept_port();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    let client = Client::new(&ClientConfig::new(&url)).unwrap();
    let refusal = client.connect(hello(), sink().0).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    assert!(refusal.message.contains(&url), "{refusal}");
    assert!(refusal.message.contains("`trunkline serve`"), "{refusal}");
    let refusal = client.query(trunkline_types::Query::task(id(1))).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    assert!(refusal.message.contains(&url), "{refusal}");
}

#[tokio::test]
async fn a_hello_that_the_broker_refuses_is_told_as_it_was_meant() {
    let mut broker = FakeBroker::start().await;
    let client = Client::new(&broker.config()).unwrap();
    let connecting = tokio::spawn(async move { client.connect(hello(), sink().0).await });
    let taken = Refusal::new(RefusalCode::AlreadyTaken, "agent id 'a' belongs to 'b'");
    broker.accept().await.fail(status::from_refusal(&taken));
    assert_eq!(connecting.await.unwrap().unwrap_err(), taken);
}

/// What a broker says that has too many sessions to welcome.
fn put_off(span: Duration) -> Status {
    let refusal = Refusal::new(RefusalCode::Unavailable, "too many").retry_after(span);
    status::from_refusal(&refusal)
}

#[tokio::test]
async fn a_session_that_is_put_off_comes_back_no_sooner_than_it_was_told() {
    let mut broker = FakeBroker::start().await;
    let (_told, _, conversation) = broker.session(&broker.config()).await;
    conversation.fail(Status::unavailable("a proxy restarts"));
    let again = broker.accept().await;
    again.fail(put_off(Duration::from_hours(1)));
    // Another one, which is told nothing, comes back as often as it likes meanwhile.
    let other = Hello { session: SessionId(78), ..hello() };
    let (sink, _ear) = sink();
    let client = Client::new(&broker.config()).unwrap();
    let connecting = tokio::spawn({
        let other = other.clone();
        async move { client.connect(other, sink).await }
    });
    let first = broker.accept().await;
    first.welcome(&welcome());
    let _connected = connecting.await.unwrap().unwrap();
    first.fail(Status::unavailable("a proxy restarts"));
    for _ in 0..50 {
        let again = broker.accept().await;
        assert_eq!(again.hello, other);
        again.fail(Status::unavailable("and again"));
    }
}

#[tokio::test]
async fn a_session_that_is_put_off_for_a_moment_comes_back() {
    let mut broker = FakeBroker::start().await;
    let (_connection, mut ear, conversation) = broker.session(&broker.config()).await;
    conversation.fail(Status::unavailable("a proxy restarts"));
    for _ in 0..3 {
        broker.accept().await.fail(put_off(Duration::from_millis(2)));
    }
    let again = broker.accept().await;
    again.welcome(&welcome());
    assert_eq!(ear.reconnected().await, welcome());
}

#[tokio::test]
async fn a_first_session_that_is_put_off_is_opened_when_it_was_told() {
    let mut broker = FakeBroker::start().await;
    let connect = |config: ClientConfig| {
        let client = Client::new(&config).unwrap();
        tokio::spawn(async move { client.connect(hello(), sink().0).await })
    };
    let connecting = connect(broker.config());
    broker.accept().await.fail(put_off(Duration::from_millis(2)));
    broker.accept().await.welcome(&welcome());
    assert_eq!(connecting.await.unwrap().unwrap().welcome, welcome());
    // Not if it is to wait for longer than a welcome may take.
    let connecting = connect(broker.config());
    broker.accept().await.fail(put_off(Duration::from_hours(1)));
    let refusal = connecting.await.unwrap().err().unwrap();
    assert_eq!(refusal.retry_after, Some(Duration::from_hours(1)));
    // Nor if it was not told when.
    let connecting = connect(broker.config());
    broker.accept().await.fail(Status::unavailable("gone"));
    assert!(connecting.await.unwrap().is_err());
}
