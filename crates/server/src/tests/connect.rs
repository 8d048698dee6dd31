//! Sessions over the stream.

use super::bench::{Bench, config, hello, operations, soon};
use super::scripted::Ended;
use crate::ServerConfig;
use prost::Message;
use std::time::Duration;
use tonic::Code;
use tonic_types::StatusExt;
use trunkline_proto::metadata::PRINCIPAL;
use trunkline_proto::{CarriedItem, CarriedOperation, v1};
use trunkline_types::session::{ClientFrame, Credit, EventDelivery, Hello, SessionItem};
use trunkline_types::{
    AgentCard, Destination, Envelope, Kind, MessageId, Partition, Payload, Principal, Publish,
};

fn done(first: u64, last: u64) -> SessionItem {
    SessionItem::Done { first, last }
}

fn event(number: u64, bytes: usize) -> SessionItem {
    let id = MessageId::from_parts(1, Partition(0), number);
    let to = Destination::topic("t").unwrap();
    let envelope = Envelope::new(id, Kind::Event, to, Payload::from(vec![0; bytes]));
    let publish = Publish::new(envelope).into();
    SessionItem::Event(EventDelivery { number, publish, missed: 0 })
}

#[tokio::test]
async fn frames_reach_the_broker_and_items_come_back_in_order() {
    let (bench, _, mut script) = Bench::start(config());
    let mut session = bench.connect([hello().into()]).await.unwrap();
    assert_eq!(session.welcome.epoch, 3);
    let mut seen = script.session().await;
    assert_eq!((&seen.hello, &seen.principal), (&hello(), &Principal::default()));

    session.send(operations(1, 2));
    session.send(ClientFrame::Credit(Credit { deliveries: 4, events: 5 }));
    assert_eq!(soon(seen.frame()).await, operations(1, 2));
    let credit = ClientFrame::Credit(Credit { deliveries: 4, events: 5 });
    assert_eq!(soon(seen.frame()).await, credit);

    seen.tell([done(1, 1), done(2, 2)]);
    let frame = soon(session.next()).await.unwrap().unwrap();
    let expected: Vec<CarriedItem> = vec![done(1, 1).into(), done(2, 2).into()];
    assert_eq!(frame.items, expected);
}

#[tokio::test]
async fn what_waits_travels_as_one_frame_within_its_bounds() {
    let (bench, _, mut script) = Bench::start(config());
    let mut session = bench.connect([hello().into()]).await.unwrap();
    let seen = script.session().await;
    seen.tell((1..=5_000).map(|number| done(number, number)));
    assert_eq!(soon(session.next()).await.unwrap().unwrap().items.len(), 4_096);
    assert_eq!(soon(session.next()).await.unwrap().unwrap().items.len(), 904);
    seen.tell((1..=3).map(|number| event(number, 600 << 10)));
    for _ in 0..3 {
        assert_eq!(soon(session.next()).await.unwrap().unwrap().items.len(), 1);
    }
}

#[tokio::test]
async fn goodbye_closes_the_session_and_a_lost_stream_loses_it() {
    let (bench, _, mut script) = Bench::start(config());
    let mut session = bench.connect([hello().into()]).await.unwrap();
    let seen = script.session().await;
    session.send(ClientFrame::Goodbye);
    assert_eq!(soon(session.next()).await.unwrap(), None);
    assert_eq!(soon(seen.ended()).await, Ended::Closed);

    let session = bench.connect([hello().into()]).await.unwrap();
    let seen = script.session().await;
    drop(session);
    assert_eq!(soon(seen.ended()).await, Ended::Lost);
}

#[tokio::test]
async fn nobody_outside_is_the_agent_that_calls_webhooks() {
    let (bench, _, _script) = Bench::start(config());
    let card = Some(AgentCard::new(trunkline_a2a::PUSHER.parse().unwrap()));
    let frame = Hello { card, ..hello() }.into();
    let status = bench.connect([frame]).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("is the broker's own"), "{status}");
}

#[tokio::test]
async fn a_connection_that_the_broker_lets_go_ends() {
    let (bench, _, mut script) = Bench::start(config());
    let mut session = bench.connect([hello().into()]).await.unwrap();
    let seen = script.session().await;
    seen.tell([done(1, 1)]);
    drop(seen);
    assert_eq!(soon(session.next()).await.unwrap().unwrap().items.len(), 1);
    assert_eq!(soon(session.next()).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn the_principal_is_who_the_metadata_says() {
    let (bench, _, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    let mut request = tonic::Request::new(futures_util::stream::iter([hello().into()]));
    request.metadata_mut().insert(PRINCIPAL, "ann".parse().unwrap());
    client.connect(request).await.unwrap();
    assert_eq!(script.session().await.principal, Principal::named("ann"));

    let mut request = tonic::Request::new(futures_util::stream::iter([hello().into()]));
    request.metadata_mut().insert(PRINCIPAL, "a/b".parse().unwrap());
    let status = client.connect(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("a/b"), "{status}");
}

#[tokio::test]
async fn a_bad_frame_ends_its_stream_only_and_names_the_field() {
    let (bench, _, mut script) = Bench::start(config());
    let mut other = bench.connect([hello().into()]).await.unwrap();
    let other_seen = script.session().await;

    let nothing = v1::ClientFrame { frame: None };
    let unwatch = v1::Operation {
        operation: Some(v1::operation::Operation::Unwatch(v1::Unwatch {
            task: vec![1, 2, 3].into(),
        })),
    };
    let short = v1::ClientFrame {
        frame: Some(v1::client_frame::Frame::Operations(v1::Operations {
            first: 1,
            operations: vec![CarriedOperation::decode(&*unwatch.encode_to_vec()).unwrap()],
        })),
    };
    let second_hello: v1::ClientFrame = hello().into();
    for (frame, code, named) in [
        (nothing, Code::InvalidArgument, "client_frame.frame"),
        (short, Code::InvalidArgument, "unwatch.task"),
        (second_hello, Code::InvalidArgument, "only the first frame"),
        (
            operations(3, 1).into(),
            Code::Aborted,
            "operations.first is 3, the next operation has the number 1",
        ),
        (operations(0, 1).into(), Code::InvalidArgument, "operations.first"),
        (operations(1, 4_097).into(), Code::InvalidArgument, "4097 operations, the limit is 4096"),
    ] {
        let mut session = bench.connect([hello().into()]).await.unwrap();
        let seen = script.session().await;
        session.send(frame);
        let status = soon(session.error()).await;
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(named), "{status}");
        assert!(status.get_details_error_info().is_some(), "{status}");
        assert_eq!(soon(seen.ended()).await, Ended::Lost);
    }

    other_seen.tell([done(1, 1)]);
    assert!(soon(other.next()).await.unwrap().is_some());
}

#[tokio::test]
async fn numbers_from_before_may_come_again() {
    let (bench, _, mut script) = Bench::start(config());
    let session = bench.connect([hello().into()]).await.unwrap();
    let mut seen = script.session().await;
    for frame in [operations(1, 3), operations(2, 1), operations(4, 1)] {
        session.send(frame.clone());
        assert_eq!(soon(seen.frame()).await, frame);
    }
}

#[tokio::test]
async fn a_stream_begins_with_a_hello_in_time() {
    let deadline = Duration::from_millis(20);
    let (bench, _, _script) = Bench::start(ServerConfig { hello_deadline: deadline, ..config() });
    let silent = bench.connect([]).await.err().unwrap();
    assert_eq!(silent.code(), Code::InvalidArgument);
    assert!(silent.message().contains("nothing came within 20ms"), "{silent}");

    let (bench, _, _script) = Bench::start(config());
    let other = bench.connect([operations(1, 1).into()]).await.err().unwrap();
    assert_eq!(other.code(), Code::InvalidArgument);
    assert!(other.message().contains("hello"), "{other}");
    let empty = futures_util::stream::empty();
    let ended = bench.client().await.connect(empty).await.unwrap_err();
    assert!(ended.message().contains("the stream ended"), "{ended}");
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_by_name() {
    let small = ServerConfig { max_frame_bytes: 64 << 10, payload_bytes: 1 << 10, ..config() };
    let (bench, _, mut script) = Bench::start(small);
    let mut session = bench.connect([hello().into()]).await.unwrap();
    let seen = script.session().await;
    session.send(operations(1, 4_096));
    let status = soon(session.error()).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("65536 bytes"), "{status}");
    assert_eq!(soon(seen.ended()).await, Ended::Lost);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_counted() {
    let (bench, _, mut script) =
        Bench::start(ServerConfig { max_waiting_bytes: 1 << 20, ..config() });
    let mut session = bench.connect([hello().into()]).await.unwrap();
    let seen = script.session().await;
    // More than windows and buffers between the two can take.
    for number in 1..=64 {
        seen.tell([event(number, 1 << 19)]);
        tokio::task::yield_now().await;
    }
    assert_eq!(soon(seen.ended()).await, Ended::Lost);
    let status = soon(session.error()).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("the limit is 1048576"), "{status}");
    assert!(bench.get("/metrics").await.contains("trunkline_streams_cut_total 1\n"));
}

#[tokio::test]
async fn without_a_broker_a_stream_is_told_to_come_back() {
    let bench = Bench::without_broker(config());
    let status = bench.connect([hello().into()]).await.err().unwrap();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("recovering"), "{status}");
}
